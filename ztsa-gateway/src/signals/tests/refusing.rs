use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use ztsa_proto::jws::{self, Header, SoftwareKey};

use super::wire::{Wire, person};
use crate::lease::Access;
use crate::signals::receiver::{Refusal, Taken, push};

async fn fault(wire: &Wire, token: &str) -> String {
    match wire.receiver().take(token).await {
        Err(Refusal::Fault(fault)) => fault.err,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_that_is_not_proved_does_nothing() {
    let mut wire = Wire::new();
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let lease = wire.world.open(&alice, "wiki").unwrap();
    let good = wire.claims(0, &person("alice"), "session-revoked", &json!({}));
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |alg: &str, signature: &str| {
        format!("{}.{}.{signature}", part(&json!({"alg": alg, "typ": "secevent+jwt"})), part(&good))
    };
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let signed = |claims: &Value, typ: &str| jws::sign(&wire.key, &Header::es256(typ), claims).unwrap();
    let forger = SoftwareKey::generate().unwrap();
    let forged = jws::sign(&forger, &Header::es256("secevent+jwt"), &good).unwrap();
    let own = wire.sign(&good);
    let (head, _) = own.rsplit_once('.').unwrap();
    let cases = [
        ("of another key", forged, "invalid_key"),
        ("unsigned", unsigned("none", ""), "invalid_key"),
        ("signed with a shared secret", unsigned("HS256", "AAAA"), "invalid_key"),
        ("with half a signature", format!("{head}.AAAA"), "invalid_key"),
        ("of another issuer", wire.sign(&with("iss", json!("https://evil.example"))), "invalid_issuer"),
        ("for somebody else", wire.sign(&with("aud", json!("https://other.example"))), "invalid_audience"),
        ("of another type", signed(&good, "at+jwt"), "invalid_request"),
        ("that runs out", wire.sign(&with("exp", json!(1))), "invalid_request"),
        ("with a subject of a JWT", wire.sign(&with("sub", json!("alice"))), "invalid_request"),
        ("without events", wire.sign(&with("events", json!({}))), "invalid_request"),
        ("that is none", "hello".to_owned(), "invalid_request"),
        ("that is empty", String::new(), "invalid_request"),
    ];
    for (what, token, code) in cases {
        assert_eq!(fault(&wire, &token).await, code, "a token {what}");
        assert!(wire.said().await.contains("a token was refused"));
    }
    assert_eq!(lease.tunnel().access(), Access::Open);
    assert_eq!(wire.send(&good).await, Ok(Taken::Applied));
    assert_ne!(lease.tunnel().access(), Access::Open);
}

#[tokio::test]
async fn google_sends_no_type_and_is_taken_where_the_table_says_so() {
    let mut wire = Wire::with("relaxed_typ = true");
    let claims = wire.claims(0, &person("alice"), "account-disabled", &json!({"reason": "hijacking"}));
    let token = |typ: &str| jws::sign(&wire.key, &Header::es256(typ), &claims).unwrap();
    assert_eq!(wire.receiver().take(&token("JWT")).await, Ok(Taken::Applied));
    assert_eq!(fault(&wire, &token("at+jwt")).await, "invalid_request");
}

#[tokio::test]
async fn a_push_is_answered_as_the_standard_says() {
    let mut wire = Wire::new();
    let good = wire.claims(0, &person("alice"), "session-revoked", &json!({}));
    let good = wire.sign(&good);
    let router = push::router(&wire.receivers);
    let push = async |path: &str, token: &str, kind: &str, body: &str| {
        let request = Request::post(path).header("authorization", token).header("content-type", kind);
        let answer = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 4096).await.unwrap();
        (status, serde_json::from_slice::<Value>(&body).unwrap_or_default()["err"].clone())
    };
    let (path, bearer, kind) = ("/ztsa/v1/signals/corp", "Bearer 0123456789abcdefghij", "application/secevent+jwt");
    let denied = (StatusCode::UNAUTHORIZED, json!("authentication_failed"));
    assert_eq!(push(path, "Bearer wrong", kind, &good).await, denied);
    assert!(wire.said().await.contains("a push was refused: it shows another credential"));
    let lines = wire.world.log().await.len();
    assert_eq!(push(path, "Bearer wrong", kind, &good).await, denied);
    assert_eq!(wire.world.log().await.len(), lines, "once an hour");
    assert_eq!(push(path, "Bearer ", kind, &good).await, denied);
    assert_eq!(push(path, "Basic 0123456789abcdefghij", kind, &good).await, denied);
    assert_eq!(push("/ztsa/v1/signals/other", bearer, kind, &good).await, denied, "nobody learns who is configured");
    let forged = format!("{}.AAAA", good.rsplit_once('.').unwrap().0);
    let bad = (StatusCode::BAD_REQUEST, json!("invalid_request"));
    assert_eq!(push(path, bearer, "application/json", &good).await, bad);
    assert_eq!(push(path, bearer, kind, &"x".repeat(65 * 1024)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(push(path, bearer, kind, &forged).await, (StatusCode::BAD_REQUEST, json!("invalid_key")));
    for time in ["first", "second"] {
        assert_eq!(push(path, bearer, kind, &good).await, (StatusCode::ACCEPTED, Value::Null), "the {time} time");
    }
    assert_eq!(push(path, "bearer 0123456789abcdefghij", kind, &good).await.0, StatusCode::ACCEPTED);
}
