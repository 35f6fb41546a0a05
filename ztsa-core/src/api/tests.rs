use serde_json::{Value, json};
use ztsa_proto::{event::Event, problem};

use super::*;
use crate::{
    config::{Config, StoreChoice},
    http::{
        Http,
        script::{Received, Reply, Script},
    },
    login::DeviceFlow,
    store::Store,
    token::LoginOptions,
};

/// A gateway that signs anybody in, and answers calls as the test says.
async fn gateway(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> (Script, Api) {
    let exchanged = std::sync::atomic::AtomicUsize::new(0);
    let script = Script::serve(move |request| {
        let url = format!("http://{}", request.header("host"));
        let at = |path: &str| format!("{url}{path}");
        match request.path.as_str() {
            "/.well-known/oauth-protected-resource" => Reply::json(200, &metadata(&url)),
            "/.well-known/openid-configuration" => Reply::json(
                200,
                &json!({"issuer": url, "token_endpoint": at("/token"), "device_authorization_endpoint": at("/device")}),
            ),
            "/device" => Reply::json(
                200,
                &json!({"device_code": "d", "user_code": "A", "verification_uri": "https://i/", "interval": 1}),
            ),
            "/token" => Reply::json(200, &json!({"access_token": "a", "expires_in": 9999})),
            "/exchange" => {
                let number = exchanged.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                let device =
                    ztsa_proto::jws::Compact::parse(request.header("dpop")).unwrap().header().jwk.clone().unwrap();
                Reply::json(
                    200,
                    &json!({
                        "access_token": format!("session-{number}"), "token_type": "DPoP", "expires_in": 300,
                        "ztsa": {"session": "s", "user": {"issuer": url, "subject": "alice"},
                                 "device": {"id": device.thumbprint(), "state": "unmanaged"}, "expires_at": 1},
                    }),
                )
            }
            _ => answer(request),
        }
    })
    .await;
    let mut config = Config::new(&script.url).unwrap();
    config.store = StoreChoice::Memory;
    let (http, store) = (Http::new(&config).unwrap(), Store::open(&config).unwrap());
    let tokens = Tokens::open(config, http, store).await.unwrap();
    tokens.login(DeviceFlow::new(|_| ()), LoginOptions::default()).await.unwrap();
    (script, Api::new(tokens))
}

fn metadata(url: &str) -> Value {
    let at = |path: &str| format!("{url}/{path}");
    json!({
        "resource": url, "authorization_servers": [url],
        "ztsa": {
            "version": 1, "token_endpoint": at("exchange"), "session_endpoint": at("session"), "apps_endpoint": at("apps"),
            "grants_endpoint": at("grants"), "tickets_endpoint": at("tickets"), "why_endpoint": at("why?v=1"),
            "posture_endpoint": at("posture"), "events_endpoint": at("events"), "tunnel_template": at("t"),
            "issuers": [{"issuer": url, "name": "dev", "client_id": "c"}], "posture": ["os.kernel"],
        },
    })
}

#[tokio::test]
async fn calls_carry_the_session_and_its_proof() {
    let (script, api) = gateway(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/apps") => Reply::json(200, &json!({"apps": []})),
        ("POST", "/grants") => Reply::json(201, &json!({"grant": "g", "app": "db", "expires_at": 7})),
        ("POST", "/tickets") => Reply::json(201, &json!({"ticket": "t", "id": "i", "app": "db", "expires_at": 7})),
        ("GET", "/why?v=1&app=db") => Reply::json(200, &json!({"app": "db", "decision": "allow"})),
        ("POST", "/posture") => Reply::text(204, "text/plain", ""),
        _ => Reply::text(500, "text/plain", "?"),
    })
    .await;
    let app: AppName = "db".parse().unwrap();
    assert!(api.apps().await.unwrap().apps.is_empty());
    let grant = api.grant(&GrantRequest { app: app.clone(), reason: Some("on call".into()) }).await.unwrap();
    assert_eq!(grant.grant.as_str(), "g");
    let ticket = TicketRequest { app: app.clone(), for_seconds: Some(60), uses: None };
    assert_eq!(api.ticket(&ticket).await.unwrap().ticket.expose(), "t");
    assert_eq!(api.why(&app).await.unwrap().app, app);
    api.report_posture().await.unwrap();
    let seen = script.received();
    let grant = seen.iter().find(|request| request.path == "/grants").unwrap();
    assert_eq!(
        (grant.header("authorization"), grant.body.as_str()),
        ("DPoP session-1", r#"{"app":"db","reason":"on call"}"#)
    );
    assert_eq!(grant.proof()["ath"], json!(ztsa_proto::jws::sha256_base64url(b"session-1")));
    assert_eq!(seen.last().unwrap().header("content-type"), MEDIA_TYPE);
    assert_eq!(api.posture().await.unwrap().checks[0].id, "os.kernel");
}

#[tokio::test]
async fn a_session_that_is_not_taken_any_more_is_renewed_once() {
    let (script, api) = gateway(|request| match request.header("authorization") {
        "DPoP session-1" => {
            Reply::json(401, &json!({"code": "auth.expired"})).with("WWW-Authenticate", "DPoP error=\"invalid_token\"")
        }
        _ => Reply::json(200, &json!({"apps": []})),
    })
    .await;
    api.apps().await.unwrap();
    assert_eq!((script.count("/apps"), script.count("/exchange")), (2, 2));
    let (script, api) =
        gateway(|_| Reply::json(401, &json!({"code": "auth.expired"})).with("WWW-Authenticate", "DPoP")).await;
    let error = api.apps().await.unwrap_err();
    assert_eq!((script.count("/apps"), error.problem().unwrap().code.as_str()), (2, "auth.expired"));
}

#[tokio::test]
async fn a_refusal_has_its_reason_and_a_page_from_between_is_none() {
    let (script, api) = gateway(|request| match request.path.as_str() {
        "/apps" => Reply::html(401),
        "/session" => Reply::html(200),
        _ => Reply::json(403, &serde_json::to_value(problem::new("policy.forbidden")).unwrap()),
    })
    .await;
    let error = api.grant(&GrantRequest { app: "db".parse().unwrap(), reason: None }).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, "policy.forbidden");
    assert!(matches!(api.apps().await.unwrap_err(), ApiError::Http(_)));
    assert!(api.session().await.unwrap_err().hint().contains("sign in to this network"));
    assert_eq!(script.count("/exchange"), 1, "nobody was signed out by a page");
}

#[tokio::test]
async fn step_up_is_not_mistaken_for_an_ended_session() {
    let (script, api) = gateway(|_| {
        let body = serde_json::to_value(problem::new("auth.step_up")).unwrap();
        Reply::json(401, &body).with("WWW-Authenticate", "DPoP error=\"insufficient_user_authentication\"")
    })
    .await;
    assert_eq!(api.apps().await.unwrap_err().problem().unwrap().code, "auth.step_up");
    assert_eq!(script.count("/apps"), 1);
}

#[tokio::test]
async fn events_come_without_pings() {
    let event =
        |id, kind| Event { id, at: ztsa_proto::time::UnixTime(7), kind, tunnel: None, app: None, problem: None };
    let text = [
        event(1, ztsa_proto::event::EventKind::Ping).encode(),
        event(2, ztsa_proto::event::EventKind::Suspended).encode(),
        event(3, ztsa_proto::event::EventKind::Restored).encode(),
    ];
    let (_script, api) = gateway(move |_| Reply::text(200, "text/event-stream", &text.concat())).await;
    let mut events = api.events().await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().id, 2);
    assert_eq!(events.next().await.unwrap().unwrap().id, 3);
    assert!(events.next().await.unwrap().is_none());
}
