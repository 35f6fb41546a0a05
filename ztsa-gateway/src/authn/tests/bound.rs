//! What anybody makes the gateway remember, and its issuers answer, is bounded.

use std::time::Duration;

use serde_json::{Value, json};
use ztsa_proto::jws::SoftwareKey;
use ztsa_proto::name::SessionId;
use ztsa_proto::posture;
use ztsa_proto::problem::Retry;
use ztsa_proto::session::DeviceState;

use super::fake::{GATEWAY, NOW, World, after, form, renewal};
use super::login::refused;
use super::renewal::report;
use crate::authn::{AuthnError, ExchangeForm, Head, IssuerError, TokenFault};

/// A gateway that asks its issuer about each token.
fn introspecting() -> World {
    let file = std::env::temp_dir().join(format!("ztsa-introspection-{}-{}", std::process::id(), SessionId::random()));
    std::fs::write(&file, "s3cret:x\n").unwrap();
    let world = World::new(&format!(
        "tokens = \"introspection\"\nintrospection = {{ client_id = \"gw\", client_secret_file = {file:?} }}"
    ));
    std::fs::remove_file(&file).unwrap();
    world
}

#[tokio::test]
async fn strangers_make_an_issuer_be_asked_so_often_and_nobody_who_is_known_waits_for_them() {
    let world = introspecting();
    world.site.json("/introspect", &json!({"active": true, "sub": "alice", "aud": GATEWAY}));
    world.exchange(form("hers", None), NOW).await.unwrap();
    world.site.json("/introspect", &json!({"active": false}));
    let stranger = SoftwareKey::generate().unwrap();
    let forge = async |token: &str, now| world.exchange_from(&stranger, form(token, None), now).await.unwrap_err();
    for again in 0..3 {
        assert!(
            matches!(forge("forged", NOW).await, AuthnError::Refused { fault: TokenFault::Inactive, .. }),
            "{again}"
        );
    }
    assert_eq!(world.site.hits("/introspect"), 2, "an answer of a moment ago counts");
    for number in 0..200 {
        let error = forge(&format!("forged-{number}"), NOW).await;
        let turned_away = matches!(error, AuthnError::Issuer { cause: IssuerError::Crowded, .. });
        assert_eq!(turned_away, number >= 98, "{number}: {error}");
    }
    assert_eq!(world.site.hits("/introspect"), 100, "hers, when nobody knew her, among them");
    let problem = forge("one more", NOW).await.problem();
    assert_eq!((problem.code.as_str(), problem.status), ("auth.issuer", 503));
    world.site.json("/introspect", &json!({"active": true, "sub": "alice", "aud": GATEWAY}));
    world.exchange(form("hers, refreshed", None), NOW).await.unwrap();
    // and a newcomer comes in as soon as they pause
    world.exchange_from(&stranger, form("a newcomer's", None), after(1)).await.unwrap();
}

#[tokio::test]
async fn introspection_answers_for_opaque_tokens() {
    let world = introspecting();
    let answer = |value: Value| world.site.json("/introspect", &value);
    let good = json!({"active": true, "sub": "alice", "aud": GATEWAY, "exp": NOW.0 + 60, "groups": ["ops"], "cnf": {"jkt": world.device_id()}});
    answer(good.clone());
    let session = world.exchange(form("opaque", None), NOW).await.unwrap().session;
    assert_eq!(session.identity.groups, ["ops"]);
    let asked = world.site.last("/introspect");
    assert!(asked.contains("token=opaque") && asked.contains("Basic Z3c6czNjcmV0JTNBeA=="), "{asked}");
    for (number, (changes, wanted)) in [
        (json!({"active": false}), TokenFault::Inactive),
        (json!({"active": "true"}), TokenFault::Inactive),
        (json!({"exp": NOW.0 - 60}), TokenFault::Inactive),
        (json!({"aud": "x"}), TokenFault::Audience { found: "\"x\"".to_owned() }),
        (json!({"aud": null, "client_id": "x"}), TokenFault::Audience { found: "nobody in particular".to_owned() }),
        (json!({"iss": "https://evil.example"}), TokenFault::Issuer),
        (json!({"cnf": {"jkt": "x"}}), TokenFault::Device),
        (json!({"sub": null}), TokenFault::Claim("sub")),
    ]
    .into_iter()
    .enumerate()
    {
        answer(super::fake::changed(good.clone(), &changes));
        // an answer counts for a moment: each token is asked about once
        let token = format!("opaque-{number}");
        assert_eq!(refused(&world, &token, None).await.1, wanted, "{changes}");
    }
    answer(super::fake::changed(good.clone(), &json!({"active": false})));
    assert!(world.exchange(form("opaque", None), after(4)).await.is_ok(), "an answer of a moment ago counts");
    assert!(world.exchange(form("opaque", None), after(5)).await.is_err());
    answer(super::fake::changed(good.clone(), &json!({"aud": null, "client_id": "ztsa-cli"})));
    assert!(world.exchange(form("another", None), NOW).await.is_ok());
    world.site.page("/introspect", (400, "application/json", "{\"error\":\"unsupported_token_type\"}".to_owned()));
    let error = world.exchange(form("a third", None), NOW).await.unwrap_err();
    assert!(error.to_string().contains("set tokens = \"jwt\"") && error.oauth().status == 503, "{error}");
}

#[tokio::test]
async fn a_device_begins_sessions_so_often_and_renews_as_it_likes() {
    let world = World::new("");
    let sign_in = async |now| world.exchange(form(&world.access(&json!({})), None), now).await;
    let first = sign_in(NOW).await.unwrap().session;
    for _ in 1..1000 {
        sign_in(NOW).await.unwrap();
    }
    let error = sign_in(NOW).await.unwrap_err();
    assert_eq!(error, AuthnError::Often { what: "sessions", wait: Duration::from_secs(1) });
    let problem = error.problem();
    assert_eq!((problem.code.as_str(), problem.status), ("gateway.limit", 429));
    assert_eq!(problem.retry, Retry::After { seconds: Some(1) });
    // what is there goes on, and others begin
    assert!(world.exchange(renewal(&world.access(&json!({})), &first), NOW).await.unwrap().renewed);
    let other = SoftwareKey::generate().unwrap();
    world.exchange_from(&other, form(&world.access(&json!({})), None), NOW).await.unwrap();
    assert!(sign_in(after(1)).await.is_ok() && sign_in(after(1)).await.is_err());
    // what a blocked device asks for is not remembered
    let (session, token) = (first, world.authn.mint(&sign_in(after(12)).await.unwrap().session).unwrap());
    let headers = world.request(token.expose(), after(12));
    let ask = || world.authn.check(&Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &headers }, after(12));
    world.store.set_device_state(&session.device, DeviceState::Blocked).unwrap();
    assert!(
        matches!(ask(), Err(AuthnError::DeviceBlocked { .. }))
            && matches!(ask(), Err(AuthnError::DeviceBlocked { .. }))
    );
    world.store.set_device_state(&session.device, DeviceState::Unmanaged).unwrap();
    assert!(ask().is_ok());
    assert!(matches!(ask(), Err(AuthnError::Replay { .. })));
}

#[tokio::test]
async fn a_device_reports_so_often_and_gets_its_session_without_the_rest() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let signed = || posture::sign(&world.device, &report(), GATEWAY, None, NOW).unwrap();
    for _ in 0..240 {
        world.authn.posture(&signed(), &session, NOW).unwrap();
    }
    let error = world.authn.posture(&signed(), &session, NOW).unwrap_err();
    assert_eq!(error, AuthnError::Often { what: "posture reports", wait: Duration::from_secs(1) });
    let with = || ExchangeForm { posture: Some(signed()), ..renewal(&world.access(&json!({})), &session) };
    let exchanged = world.exchange(with(), NOW).await.unwrap();
    assert!(exchanged.renewed && exchanged.posture.is_none());
    let exchanged = world.exchange(with(), after(1)).await.unwrap();
    assert!(exchanged.renewed && exchanged.posture.is_some());
}
