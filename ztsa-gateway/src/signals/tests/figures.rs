//! Tokens in the forms of CAEP's own examples, pushed as another system pushes them.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::wire::{IDP, Wire, person};
use crate::lease::Access;
use crate::signals::receiver::push;

/// Pushes what happened `ago` seconds before now, made now: with one audience as a text and a `txn`.
async fn push(wire: &mut Wire, ago: u64, sub_id: &Value, kind: &str, members: &Value) {
    let mut claims = wire.claims(ago, sub_id, kind, members);
    claims["aud"] = json!("https://gw.example");
    claims["txn"] = json!("b41d-7");
    claims["iat"] = json!(wire.world.engine.now());
    let request = Request::post("/ztsa/v1/signals/corp")
        .header("authorization", "Bearer 0123456789abcdefghij")
        .header("content-type", "application/secevent+jwt")
        .body(Body::from(wire.sign(&claims)))
        .unwrap();
    let answer = push::router(&wire.receivers).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED, "{kind}");
}

#[tokio::test]
async fn tokens_in_the_forms_of_the_examples_of_caep_do_what_they_tell() {
    let mut wire = Wire::new();
    let laptop = wire.world.session("alice", &["dev"], "laptop");
    let phone = wire.world.session("alice", &["dev"], "phone");
    wire.world.hand.advance(Duration::from_secs(60));
    let wiki = wire.world.open(&laptop, "wiki").unwrap();
    let other = wire.world.open(&phone, "wiki").unwrap();
    let tenant = json!({"format": "opaque", "id": "tenant-7"});

    // section 3.5.2: a device by the transmitter's word, in a tenant
    let device = json!({"format": "iss_sub", "iss": IDP, "sub": laptop.device.as_str()});
    let device = json!({"format": "complex", "device": device, "tenant": tenant});
    let status = |now: &str, before: &str| {
        json!({
            "current_status": now, "previous_status": before, "initiating_entity": "policy",
            "reason_admin": {"en": "P-10"}, "reason_user": {"en": "It is elsewhere."},
        })
    };
    push(&mut wire, 20, &device, "device-compliance-change", &status("compliant", "not-compliant")).await;
    let db = wire.world.open(&laptop, "db").unwrap();
    push(&mut wire, 15, &device, "device-compliance-change", &status("not-compliant", "compliant")).await;
    assert!(matches!(db.tunnel().access(), Access::Suspended(_)));
    assert_eq!(wiki.tunnel().access(), Access::Open, "which asks for no such device");

    // section 3.8.2: the risk of a person
    let risk = |now: &str, before: &str| {
        let reason = "LEAKED";
        json!({"current_level": now, "previous_level": before, "principal": "USER", "risk_reason": reason})
    };
    push(&mut wire, 10, &person("alice"), "risk-level-change", &risk("HIGH", "LOW")).await;
    assert!(matches!(wiki.tunnel().access(), Access::Suspended(_)));
    push(&mut wire, 5, &person("alice"), "risk-level-change", &risk("LOW", "HIGH")).await;
    assert_eq!(wiki.tunnel().access(), Access::Open);

    // section 3.1.2: one session of a person in a tenant
    let session = json!({"format": "opaque", "id": laptop.id.as_str()});
    let session = json!({"format": "complex", "session": session, "user": person("alice"), "tenant": tenant});
    let why = json!({
        "initiating_entity": "policy", "reason_admin": {"en": "P-7"},
        "reason_user": {"en": "Two places at once.", "es-419": "Dos lugares a la vez."},
    });
    push(&mut wire, 1, &session, "session-revoked", &why).await;
    let Access::Ended(problem) = wiki.tunnel().access() else { panic!("still open") };
    assert_eq!(problem.detail, "corp says Two places at once.");
    assert_eq!(other.tunnel().access(), Access::Open, "another session of hers");
    assert!(wire.said().await.contains("txn b41d-7"));
}
