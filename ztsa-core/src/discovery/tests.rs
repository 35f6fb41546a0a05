use serde_json::{Value, json};

use super::*;
use crate::http::script::{Reply, Script};

fn document(url: &str) -> Value {
    let at = |path: &str| format!("{url}/ztsa/v1/{path}");
    json!({
        "resource": url, "authorization_servers": ["https://idp.example.com"],
        "ztsa": {
            "version": 1, "token_endpoint": at("token"), "session_endpoint": at("session"), "apps_endpoint": at("apps"),
            "grants_endpoint": at("grants"), "tickets_endpoint": at("tickets"), "why_endpoint": at("why"),
            "posture_endpoint": at("posture"), "events_endpoint": at("events"),
            "tunnel_template": format!("{url}/.well-known/masque/tcp/{{target_host}}/{{target_port}}/"),
            "issuers": [
                {"issuer": "https://idp.example.com", "name": "corp", "client_id": "c"},
                {"issuer": "https://other.example.com", "name": "partner", "client_id": "c"},
            ],
        }
    })
}

async fn ask(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Result<ResourceMetadata, DiscoveryError> {
    let script = Script::serve(move |request| {
        assert_eq!(request.path, "/.well-known/oauth-protected-resource");
        let mut document = document(&format!("http://{}", request.header("host")));
        change(&mut document);
        Reply::json(200, &document)
    })
    .await;
    let config = Config::new(&script.url).unwrap();
    gateway(&Http::new(&config).unwrap(), &config).await
}

#[tokio::test]
async fn a_gateway_speaks_for_itself_only() {
    let metadata = ask(|_| ()).await.unwrap();
    assert_eq!(choose(&metadata, None).unwrap().name, "corp");
    assert_eq!(choose(&metadata, Some("partner")).unwrap().issuer, "https://other.example.com");
    assert_eq!(choose(&metadata, Some("https://other.example.com")).unwrap().name, "partner");
    let error = choose(&metadata, Some("nobody")).unwrap_err();
    assert!(error.to_string().contains("no issuer `nobody`; it names: corp, partner"), "{error}");
    let error = ask(|document| document["resource"] = json!("https://evil.example.com")).await.unwrap_err();
    assert!(error.hint().contains("ztsa login https://evil.example.com"), "{error}: {}", error.hint());
    let error = ask(|document| document["ztsa"]["version"] = json!(2)).await.unwrap_err();
    assert_eq!(error.hint(), "update ztsa");
    assert!(ask(|document| document["ztsa"]["token_endpoint"] = json!("https://evil.example.com/t")).await.is_err());
}

#[tokio::test]
async fn what_is_no_gateway_is_named() {
    for (reply, said) in [
        (Reply::html(200), "sign in to this network"),
        (Reply::text(404, "text/plain", "not found"), "check the gateway's URL"),
        (Reply::json(200, &json!({"hello": 1})), "check the gateway's URL"),
        (Reply::text(503, "text/plain", ""), "try again later"),
    ] {
        let script = Script::serve(move |_| reply.clone()).await;
        let config = Config::new(&script.url).unwrap();
        let error = gateway(&Http::new(&config).unwrap(), &config).await.unwrap_err();
        assert!(error.hint().contains(said), "{error}: {}", error.hint());
    }
}

#[tokio::test]
async fn a_path_is_put_after_the_well_known_part() {
    let script = Script::serve(|_| Reply::Close).await;
    let config = Config::new(&format!("{}/east/", script.url)).unwrap();
    let http = Http::new(&config).unwrap();
    assert!(gateway(&http, &config).await.is_err());
    assert_eq!(script.received()[0].path, "/.well-known/oauth-protected-resource/east");
}

#[tokio::test]
async fn an_issuer_is_found_on_either_path_and_must_be_itself() {
    let script = Script::serve(|request| {
        let url = format!("http://{}/realms/a", request.header("host"));
        let document = |issuer: &str| json!({"issuer": issuer, "token_endpoint": format!("{url}/token")});
        match request.path.as_str() {
            "/.well-known/oauth-authorization-server/realms/a" => Reply::json(200, &document(&url)),
            "/wrong/.well-known/openid-configuration" => Reply::json(200, &document("https://evil.example.com")),
            "/plain/.well-known/openid-configuration" => {
                let issuer = format!("http://{}/plain", request.header("host"));
                Reply::json(200, &json!({"issuer": issuer, "token_endpoint": "http://idp.example.com/token"}))
            }
            _ => Reply::html(404),
        }
    })
    .await;
    let http = Http::new(&Config::new(&script.url).unwrap()).unwrap();
    let found = issuer(&http, &format!("{}/realms/a", script.url)).await.unwrap();
    assert!(!found.takes_dpop());
    for (path, said) in [("/wrong", "must be exactly the same"), ("/plain", "is not https"), ("/none", "404")] {
        let error = issuer(&http, &format!("{}{path}", script.url)).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(issuer(&http, "http://idp.example.com").await.unwrap_err().to_string().contains("only https"));
}

#[test]
fn only_issuers_that_nobody_met_are_strangers() {
    let metadata: ResourceMetadata = serde_json::from_value(document("https://gw.example.com")).unwrap();
    let pin = |issuer: &str| Pin { issuer: issuer.to_owned(), client_id: None, page: None };
    assert!(strangers(&[], &metadata).is_empty(), "first login");
    assert!(strangers(&[pin("https://idp.example.com")], &metadata).is_empty());
    assert_eq!(strangers(&[pin("https://old.example.com")], &metadata), ["https://idp.example.com"]);
    let (info, described) = (&metadata.ztsa.issuers[0], json!({"issuer": "i", "token_endpoint": "https://i/token"}));
    let described: IssuerMetadata = serde_json::from_value(described).unwrap();
    let pins = pinned(vec![pin("https://old.example.com")], &metadata, info, &described);
    assert_eq!(pins.len(), 2, "who comes back to the old one is not asked again");
    assert!(strangers(&pins, &metadata).is_empty());
}
