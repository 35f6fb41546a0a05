use std::sync::Mutex;

use serde_json::{Value, json};
use ztsa_proto::{jws::SoftwareKey, metadata::IssuerInfo};

use super::*;
use crate::{
    config::Config,
    discovery::IssuerMetadata,
    http::script::{Reply, Script},
    login::Login,
};

fn issuer(url: &str, dpop: bool) -> Issuer {
    let metadata: IssuerMetadata = serde_json::from_value(json!({
        "issuer": url,
        "token_endpoint": format!("{url}//token"),
        "device_authorization_endpoint": format!("{url}/device"),
        "dpop_signing_alg_values_supported": if dpop { vec!["ES256"] } else { vec![] },
    }))
    .unwrap();
    let info: IssuerInfo = serde_json::from_value(json!({
        "issuer": url, "name": "dev", "client_id": "ztsa-cli", "scopes": ["openid", "offline_access"],
        "resource": "https://gw.example.com", "device_flow": true,
    }))
    .unwrap();
    Issuer { info, metadata }
}

fn grant() -> Value {
    json!({"device_code": "d", "user_code": "BCDF-GHJK\u{1b}[2J", "verification_uri": "https://idp/device", "interval": 1, "expires_in": "600"})
}

async fn run(script: &Script, dpop: bool, prompts: &Mutex<Vec<Prompt>>) -> Result<IssuerTokens, LoginError> {
    let http = Http::new(&Config::new(&script.url).unwrap()).unwrap();
    let flow = DeviceFlow::new(|prompt| prompts.lock().unwrap().push(prompt));
    super::super::run(Login::from(flow), &http, &issuer(&script.url, dpop), &SoftwareKey::generate().unwrap()).await
}

#[tokio::test]
async fn the_person_is_shown_a_code_and_is_in() {
    let script = Script::serve(|request| match request.path.as_str() {
        "/device" => Reply::json(200, &grant()),
        _ => {
            Reply::json(200, &json!({"access_token": "a", "token_type": "DPoP", "refresh_token": "r", "id_token": "i"}))
        }
    })
    .await;
    let prompts = Mutex::new(Vec::new());
    let tokens = run(&script, true, &prompts).await.unwrap();
    assert!(tokens.bound && tokens.refresh_token.is_some() && tokens.id_token.is_some());
    let prompts = prompts.into_inner().unwrap();
    assert_eq!(prompts.len(), 1);
    assert_eq!((prompts[0].user_code.as_str(), prompts[0].expires_in.as_secs()), ("BCDF-GHJK", 600));
    let seen = script.received();
    assert_eq!(seen[0].field("scope").as_deref(), Some("openid offline_access"));
    assert_eq!(seen[0].field("resource").as_deref(), Some("https://gw.example.com"));
    assert_eq!(seen[1].path, "//token", "endpoints are used byte for byte");
    assert_eq!(seen[1].proof()["htu"], json!(format!("{}//token", script.url)));
    assert_eq!(seen[1].field("device_code").as_deref(), Some("d"));
}

#[tokio::test]
async fn an_issuer_without_dpop_gets_no_proof() {
    let script = Script::serve(|request| match request.path.as_str() {
        "/device" => Reply::json(200, &grant()),
        _ => Reply::json(200, &json!({"access_token": "a", "token_type": "Bearer"})),
    })
    .await;
    assert!(!run(&script, false, &Mutex::default()).await.unwrap().bound);
    assert!(script.received().iter().all(|request| request.header("dpop").is_empty()));
}

#[tokio::test]
async fn a_refused_start_names_the_other_flow_or_the_cause() {
    for (reply, said) in [
        (Reply::json(400, &json!({"error": "unauthorized_client"})), "--browser"),
        (Reply::json(403, &json!({"error": "access_denied", "error_description": "AADSTS530032"})), "--browser"),
        (Reply::text(404, "text/plain", "nope"), "--browser"),
        (Reply::html(400), "--browser"),
        (Reply::json(400, &json!({"error": "invalid_scope"})), "invalid_scope"),
        (Reply::html(200), "sign in to this network"),
        (Reply::text(503, "text/plain", ""), "try again"),
        (
            Reply::json(200, &json!({"device_code": "d", "user_code": "", "verification_uri": "https://idp"})),
            "no usable code",
        ),
        (
            Reply::json(200, &json!({"device_code": "d", "user_code": "A", "verification_uri": "javascript:alert(1)"})),
            "no web address",
        ),
    ] {
        let script = Script::serve(move |_| reply.clone()).await;
        let prompts = Mutex::new(Vec::new());
        let error = run(&script, false, &prompts).await.unwrap_err();
        let text = format!("{error}; {}", error.hint());
        assert!(text.contains(said), "{said}: {text}");
        assert!(prompts.into_inner().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_issuer_without_the_flow_says_so() {
    let script = Script::serve(|_| Reply::Close).await;
    let mut issuer = issuer(&script.url, false);
    issuer.metadata.device_authorization_endpoint = None;
    let http = Http::new(&Config::new(&script.url).unwrap()).unwrap();
    let key = SoftwareKey::generate().unwrap();
    let error = super::super::run(DeviceFlow::new(|_| ()).into(), &http, &issuer, &key).await.unwrap_err();
    assert_eq!(error.hint(), "sign in the other way: `ztsa login --browser`");
}

#[tokio::test]
async fn a_flow_that_the_gateway_does_not_want_is_not_begun() {
    let script = Script::serve(|_| Reply::Close).await;
    let mut issuer = issuer(&script.url, false);
    (issuer.info.device_flow, issuer.info.browser_flow) = (false, true);
    let http = Http::new(&Config::new(&script.url).unwrap()).unwrap();
    let key = SoftwareKey::generate().unwrap();
    let error = super::super::run(DeviceFlow::new(|_| ()).into(), &http, &issuer, &key).await.unwrap_err();
    assert!(matches!(error, LoginError::FlowMissing { flow: Flow::Device }));
    assert!(script.received().is_empty());
}
