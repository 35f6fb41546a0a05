//! What a request with a session token must show.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use ztsa_proto::dpop::DpopError;
use ztsa_proto::jws::{self, SoftwareKey};
use ztsa_proto::session::DeviceState;

use super::fake::{GATEWAY, NOW, World, after, fresh, proof};
use crate::authn::{AuthnError, Head};
use crate::store::Subject;

fn claims_of(token: &str) -> Value {
    use base64::Engine as _;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[tokio::test]
async fn a_token_and_its_proof_show_who_is_asking() {
    let world = World::new("");
    let (session, token) = world.session(NOW).await;
    for _ in 0..3 {
        let seen = world.check(&token, NOW).unwrap();
        assert_eq!(*seen, *session, "what was minted reads back");
    }
    let claims = claims_of(&token);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(GATEWAY), &json!(GATEWAY)));
    assert_eq!(claims["cnf"]["jkt"], json!(world.device_id()));
    assert_eq!(session.identity.groups, ["dev"]);
    assert_eq!(session.identity.acr.as_deref(), Some("mfa"));
    assert_eq!(session.identity.auth_time, Some(NOW));
}

#[tokio::test]
async fn a_token_runs_out_at_its_second() {
    let world = World::new("");
    let (session, token) = world.session(NOW).await;
    assert_eq!(session.expires_at, after(300));
    assert!(world.check(&token, after(299)).is_ok());
    let error = world.check(&token, after(300)).unwrap_err();
    assert_eq!(error, AuthnError::Expired);
    assert_eq!(error.problem().code, "auth.expired");
}

#[tokio::test]
async fn a_token_that_ran_out_still_ends_its_own_session_and_nothing_else() {
    let world = World::new("");
    let (session, token) = world.session(NOW).await;
    let leave = |token: &str, now| {
        let headers = world.request(token, now);
        world.authn.check_leaving(&Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &headers }, now)
    };
    assert_eq!(world.check(&token, after(3600)).unwrap_err(), AuthnError::Expired);
    assert_eq!(leave(&token, after(3600)).unwrap().id, session.id);
    assert_eq!(leave(&token, after(43_200)).unwrap_err(), AuthnError::Expired, "the session is over too");
    let thief = SoftwareKey::generate().unwrap();
    let url = format!("{GATEWAY}/ztsa/v1/apps");
    let mut stolen = proof(&thief, "GET", &url, Some(&token), Some(&world.authn.nonce(NOW)));
    stolen.insert("authorization", HeaderValue::try_from(format!("DPoP {token}")).unwrap());
    let head = Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &stolen };
    assert!(matches!(world.authn.check_leaving(&head, NOW), Err(AuthnError::Proof(_))), "not by another device");
    world.store.sign_out(&session.id, &session.identity.user, &session.device, after(10));
    assert_eq!(leave(&token, after(20)).unwrap_err().problem().code, "session.revoked");
}

#[tokio::test]
async fn forged_foreign_and_changed_tokens_are_refused() {
    let world = World::new("");
    let (_, token) = world.session(NOW).await;
    let claims = claims_of(&token);
    let other = SoftwareKey::generate().unwrap();
    let header = |typ: &str, alg: &str| json!({"typ": typ, "alg": alg});
    let forged = jws::sign(&other, &header("at+jwt", "ES256"), &claims).unwrap();
    let (head, rest) = token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let mut admin = claims.clone();
    admin["ztsa"]["groups"] = json!(["ops"]);
    let unsigned = jws::sign(&other, &header("at+jwt", "none"), &admin).unwrap();
    let admin = jws::sign(&other, &header("at+jwt", "ES256"), &admin).unwrap();
    let grafted = format!("{head}.{}.{signature}", admin.split('.').nth(1).unwrap());
    let elsewhere = World::new("").session(NOW).await.1;
    for (name, token) in [
        ("signed by another key", forged),
        ("claims changed", grafted),
        ("alg none", unsigned.clone()),
        ("no signature", unsigned.rsplit_once('.').unwrap().0.to_owned() + "."),
        ("another gateway's", elsewhere),
        ("the issuer's own", world.access(&fresh(NOW))),
        ("an ID token", world.id(&fresh(NOW))),
        ("no token", "abc".to_owned()),
        ("huge", "a".repeat(40_000)),
    ] {
        let error = world.check(&token, NOW).unwrap_err();
        assert!(matches!(error, AuthnError::Token(_)), "{name}: {error}");
        assert_eq!(error.problem().status, 401);
    }
}

#[tokio::test]
async fn a_token_of_a_gateway_with_another_url_is_refused() {
    let world = World::new("");
    let (_, token) = world.session(NOW).await;
    // the same signing key, as two gateways on one store would have
    let text = format!(
        "public_url = \"https://other.example.com\"\ntls = {{ cert = \"c\", key = \"k\" }}\n[[issuer]]\nname = \"corp\"\nissuer = \"{}\"\nclient_id = \"c\"",
        world.site.url
    );
    let config = crate::config::Config::parse(&text, std::path::Path::new("/")).unwrap();
    let other = crate::authn::Authn::new(&config, &world.store).unwrap();
    let url = "https://other.example.com/ztsa/v1/apps";
    let mut headers = proof(&world.device, "GET", url, Some(&token), Some(&other.nonce(NOW)));
    headers.insert("authorization", HeaderValue::try_from(format!("DPoP {token}")).unwrap());
    let error = other.check(&Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &headers }, NOW).unwrap_err();
    assert_eq!(error, AuthnError::Token("it is for another gateway"));
}

#[tokio::test]
async fn the_token_comes_once_as_dpop_or_not_at_all() {
    let world = World::new("");
    let (_, token) = world.session(NOW).await;
    let ask = |values: &[String]| {
        let mut headers = world.request(&token, NOW);
        headers.remove("authorization");
        for value in values {
            headers.append("authorization", HeaderValue::try_from(value.as_str()).unwrap());
        }
        world.authn.check(&Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &headers }, NOW)
    };
    assert!(ask(&[format!("dpop {token}")]).is_ok(), "a scheme has no case");
    assert_eq!(ask(&[]).unwrap_err(), AuthnError::Missing);
    assert_eq!(ask(&["DPoP".to_owned()]).unwrap_err(), AuthnError::Missing);
    assert_eq!(ask(&[format!("Bearer {token}")]).unwrap_err(), AuthnError::Scheme("Bearer"));
    assert_eq!(ask(&[format!("Basic {token}")]).unwrap_err(), AuthnError::Scheme("another scheme"));
    let twice = ask(&[format!("DPoP {token}"), format!("DPoP {token}")]).unwrap_err();
    assert_eq!(twice, AuthnError::Scheme("several Authorization headers"));
}

#[tokio::test]
async fn a_proof_is_for_one_request_of_one_device() {
    let world = World::new("");
    let (_, token) = world.session(NOW).await;
    let url = format!("{GATEWAY}/ztsa/v1/apps");
    let nonce = world.authn.nonce(NOW);
    let stranger = SoftwareKey::generate().unwrap();
    let with = |headers: HeaderMap| {
        let mut headers = headers;
        headers.insert("authorization", HeaderValue::try_from(format!("DPoP {token}")).unwrap());
        world.authn.check(&Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &headers }, NOW)
    };
    let made = |key, method, url: &str, token, nonce| proof(key, method, url, token, nonce);
    let own = &world.device;
    for (headers, wanted) in [
        (HeaderMap::new(), DpopError::Missing),
        (made(&stranger, "GET", &url, Some(&*token), Some(&*nonce)), DpopError::Device),
        (made(own, "POST", &url, Some(&*token), Some(&*nonce)), DpopError::Method),
        (made(own, "GET", "https://evil.example/ztsa/v1/apps", Some(&*token), Some(&*nonce)), DpopError::Url),
        (made(own, "GET", &format!("{GATEWAY}/ztsa/v1/session"), Some(&*token), Some(&*nonce)), DpopError::Url),
        (made(own, "GET", &url, None, Some(&*nonce)), DpopError::Token),
        (made(own, "GET", &url, Some("another"), Some(&*nonce)), DpopError::Token),
    ] {
        let error = with(headers).unwrap_err();
        assert_eq!(error, AuthnError::Proof(wanted));
        assert_eq!(error.problem().code, "auth.proof");
    }
    let old = world.authn.nonce(NOW.minus(std::time::Duration::from_secs(301)));
    for stale in [None, Some("made-up"), Some(&*old)] {
        assert_eq!(with(made(own, "GET", &url, Some(&token), stale)).unwrap_err(), AuthnError::UseNonce);
    }
    assert!(with(made(own, "GET", &url, Some(&token), Some(&nonce))).is_ok(), "with a clock that says 1970");
}

#[tokio::test]
async fn a_proof_counts_once_even_across_a_restart() {
    let mut world = World::new("");
    let (_, token) = world.session(NOW).await;
    let headers = world.request(&token, NOW);
    let head = Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &headers };
    assert!(world.authn.check(&head, NOW).is_ok());
    assert!(matches!(world.authn.check(&head, after(1)).unwrap_err(), AuthnError::Replay { .. }));
    world.restart();
    let head = Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &headers };
    assert_eq!(world.authn.check(&head, after(2)).unwrap_err(), AuthnError::UseNonce);
    assert!(world.check(&token, after(2)).is_ok(), "the session outlives the restart");
}

#[tokio::test]
async fn what_is_revoked_or_blocked_is_refused_at_once() {
    let world = World::new("");
    let (session, token) = world.session(NOW).await;
    let subjects = [
        Subject::User(session.identity.user.clone()),
        Subject::Device(session.device.clone()),
        Subject::Session(session.id.clone()),
    ];
    for subject in subjects {
        let world = World::new("");
        let (session, token) = world.session(NOW).await;
        let subject = match subject {
            Subject::User(_) => Subject::User(session.identity.user.clone()),
            Subject::Device(_) => Subject::Device(session.device.clone()),
            _ => Subject::Session(session.id.clone()),
        };
        world.store.revoke(subject.clone(), after(5), "lost");
        let error = world.check(&token, after(6)).unwrap_err();
        assert_eq!(error.problem().code, "session.revoked", "{subject}");
        assert!(error.problem().detail.contains("(lost)"), "the administrator's reason is told: {error}");
        assert!(world.authn.standing(&session, after(6)).is_err());
    }
    world.store.set_device_state(&session.device, DeviceState::Blocked).unwrap();
    let error = world.check(&token, NOW).unwrap_err();
    assert_eq!((error.problem().code.as_str(), error.problem().status), ("device.blocked", 403));
    world.store.set_device_state(&session.device, DeviceState::Unmanaged).unwrap();
    assert!(world.check(&token, NOW).is_ok());
}

#[tokio::test]
async fn a_refusal_says_how_to_ask_again() {
    let world = World::new("");
    let text = |error: &AuthnError| {
        let headers = world.authn.challenge(error, NOW);
        let lines = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        lines.collect::<Vec<_>>().join("\n")
    };
    let missing = text(&AuthnError::Missing);
    assert!(missing.starts_with("www-authenticate: DPoP algs=\"ES256\", resource_metadata=\"https://gw.example.com/.well-known/oauth-protected-resource\""), "{missing}");
    assert!(missing.contains("dpop-nonce: "), "{missing}");
    assert!(text(&AuthnError::UseNonce).contains("error=\"use_dpop_nonce\""));
    assert!(text(&AuthnError::Expired).contains("error=\"invalid_token\""));
    let blocked = text(&AuthnError::DeviceBlocked { device: world.device_id() });
    assert!(!blocked.contains("www-authenticate") && blocked.contains("dpop-nonce"), "{blocked}");
    let more = ztsa_proto::problem::new("auth.step_up").with_step_up(Some("mfa".to_owned()), Some(300));
    let step_up = world.authn.step_up(&more, NOW);
    let value = step_up[0].1.to_str().unwrap();
    assert!(
        value.contains("insufficient_user_authentication")
            && value.contains("acr_values=\"mfa\"")
            && value.contains("max_age=\"300\""),
        "{value}"
    );
    let odd = AuthnError::UnknownIssuer("https://x\"\r\nset-cookie: a=b".to_owned());
    assert!(!text(&odd).contains("\nset-cookie"));
}
