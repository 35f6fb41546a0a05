//! Sessions over time: renewal, restart, revocation, posture.

use std::time::Duration;

use serde_json::json;
use ztsa_proto::jws::SoftwareKey;
use ztsa_proto::posture::{self, ClientInfo, Os, Privilege, Report};
use ztsa_proto::session::DeviceState;

use super::fake::{GATEWAY, NOW, World, after, form, fresh, renewal};
use crate::authn::{AuthnError, ExchangeForm, TokenFault};
use crate::store::Subject;

#[tokio::test]
async fn a_renewal_keeps_the_session_and_what_is_known() {
    let mut world = World::new("");
    let (session, _) = world.session(NOW).await;
    world.restart();
    let access = world.access(&json!({"iat": NOW.0 + 200, "exp": NOW.0 + 900}));
    let renewed = world.exchange(renewal(&access, &session), after(200)).await.unwrap();
    assert!(renewed.renewed);
    let next = renewed.session;
    assert_eq!(
        (&next.id, next.started_at, next.issued_at, next.expires_at),
        (&session.id, NOW, after(200), after(500))
    );
    assert_eq!(next.identity, session.identity, "the access token alone says no groups: those of the sign-in stay");
}

#[tokio::test]
async fn a_renewal_takes_new_groups_and_a_stronger_sign_in() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let access = world.access(&json!({"groups": ["ops"]}));
    let id = world.id(&json!({"acr": "hardware", "amr": ["hwk"], "auth_time": NOW.0 + 100, "groups": null}));
    let both = ExchangeForm { session: Some(session.id.clone()), ..form(&access, Some(&id)) };
    let next = world.exchange(both, after(100)).await.unwrap().session;
    assert_eq!(next.id, session.id);
    let identity = &next.identity;
    assert_eq!((identity.groups.as_slice(), identity.acr.as_deref()), (&["ops".to_owned()][..], Some("hardware")));
    assert_eq!((identity.amr.as_slice(), identity.auth_time), (&["hwk".to_owned()][..], Some(after(100))));
    let emptied = world.exchange(renewal(&world.access(&json!({"groups": []})), &session), after(110)).await.unwrap();
    assert!(emptied.session.identity.groups.is_empty(), "groups that were taken away are gone");
}

#[tokio::test]
async fn an_id_token_that_ran_out_does_not_stop_a_renewal() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let later = after(7200);
    let access = world.access(&json!({"iat": later.0, "exp": later.0 + 600}));
    let both = || ExchangeForm { session: Some(session.id.clone()), ..form(&access, Some(&world.id(&json!({})))) };
    assert_eq!(world.exchange(both(), later).await.unwrap().session.id, session.id);
    let error = world.exchange(ExchangeForm { session: None, ..both() }, later).await.unwrap_err();
    assert!(matches!(error, AuthnError::Refused { fault: TokenFault::Expired(_), .. }), "{error}");
}

#[tokio::test]
async fn nobody_renews_somebody_elses_session() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let bob = world.exchange(renewal(&world.access(&json!({"sub": "bob"})), &session), NOW).await.unwrap();
    assert!(!bob.renewed && bob.session.id != session.id && bob.session.identity.groups.is_empty());
    let other = World { device: SoftwareKey::generate().unwrap(), ..world };
    let elsewhere = other.exchange(renewal(&other.access(&json!({})), &session), NOW).await.unwrap();
    assert!(!elsewhere.renewed && elsewhere.session.id != session.id, "another device begins a session of its own");
}

#[tokio::test]
async fn a_session_ends_at_the_end_of_its_life() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let renew = |at: u64| world.access(&json!({"iat": NOW.0 + at, "exp": NOW.0 + at + 600}));
    let last = world.exchange(renewal(&renew(43_100), &session), after(43_100)).await.unwrap();
    assert_eq!(last.session.expires_at, after(43_200), "the last token ends with the session");
    let error = world.exchange(renewal(&renew(43_200), &session), after(43_200)).await.unwrap_err();
    assert_eq!((error.clone(), error.problem().code.as_str()), (AuthnError::Over, "session.expired"));
    let (next, _) = world.session(after(43_200)).await;
    assert!(next.id != session.id);
}

#[tokio::test]
async fn a_revoked_person_signs_in_anew_and_nothing_older_helps() {
    let world = World::new("");
    let (session, token) = world.session(NOW).await;
    world.store.revoke(Subject::User(session.identity.user.clone()), after(50), "left her laptop");
    let access = world.access(&json!({}));
    let revoked = |outcome: Result<_, AuthnError>| match outcome {
        Err(error) => assert_eq!(error.problem().code, "session.revoked", "{error}"),
        Ok(()) => panic!("accepted"),
    };
    revoked(world.check(&token, after(51)).map(drop));
    revoked(world.exchange(renewal(&access, &session), after(51)).await.map(drop));
    revoked(world.exchange(form(&access, Some(&world.id(&json!({})))), after(51)).await.map(drop));
    // a refresh: new tokens of the old sign-in
    let refreshed = world.access(&json!({"iat": NOW.0 + 60}));
    let still = world.id(&json!({"iat": NOW.0 + 60}));
    revoked(world.exchange(form(&refreshed, Some(&still)), after(61)).await.map(drop));
    let silent = world.exchange(form(&refreshed, None), after(61)).await.unwrap_err();
    assert!(matches!(silent, AuthnError::Refused { fault: TokenFault::NoLoginTime, .. }), "{silent}");
    let (next, token) = world.session(after(70)).await;
    assert!(next.id != session.id);
    assert!(world.check(&token, after(71)).is_ok());
    let renewed = world.exchange(renewal(&world.access(&json!({"iat": NOW.0 + 80})), &next), after(80)).await.unwrap();
    assert_eq!(renewed.session.id, next.id);
}

#[tokio::test]
async fn a_revoked_session_is_gone_with_its_sign_in_but_others_stay() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let phone = SoftwareKey::generate().unwrap();
    world.store.revoke(Subject::Session(session.id.clone()), after(50), "suspicious");
    let tokens = || form(&world.access(&json!({})), Some(&world.id(&json!({}))));
    let again = world.exchange(tokens(), after(60)).await.unwrap_err();
    assert_eq!(again.problem().code, "session.revoked");
    assert_eq!(again.problem().max_age, Some(10), "what a new sign-in has to be younger than");
    let sid = ExchangeForm { session: Some(session.id.clone()), ..tokens() };
    assert_eq!(world.exchange(sid, after(60)).await.unwrap_err().problem().code, "session.revoked");
    let (next, _) = world.session(after(60)).await;
    assert!(next.id != session.id);
    let other = World { device: phone, ..world };
    assert!(
        other.exchange(form(&other.access(&json!({})), Some(&other.id(&json!({})))), after(61)).await.is_ok(),
        "her phone"
    );
}

#[tokio::test]
async fn a_sign_in_within_the_second_of_a_revocation_counts_as_new_once() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    world.store.revoke(Subject::User(session.identity.user.clone()), NOW, "test");
    let old = form(&world.access(&fresh(NOW)), Some(&world.id(&fresh(NOW))));
    assert_eq!(world.exchange(old, NOW).await.unwrap_err().problem().code, "session.revoked");
    world.store.revoke(Subject::User(session.identity.user.clone()), after(9), "test");
    let (_, token) = world.session(after(9)).await;
    assert!(world.check(&token, after(9)).is_ok());
    assert!(world.check(&token, after(20)).is_ok());
}

#[tokio::test]
async fn whose_session_gave_way_may_begin_another() {
    let world = World::new("");
    let (session, token) = world.session(NOW).await;
    world.store.end_session(&session.id, after(5));
    assert!(world.check(&token, after(6)).is_err());
    assert!(world.exchange(renewal(&world.access(&json!({})), &session), after(6)).await.is_err());
    let again = world.exchange(form(&world.access(&json!({})), Some(&world.id(&json!({})))), after(6)).await.unwrap();
    assert!(again.session.id != session.id);
    assert!(world.check(world.authn.mint(&again.session).unwrap().expose(), after(7)).is_ok());
}

#[tokio::test]
async fn who_signs_out_signs_in_anew_and_a_copied_token_begins_nothing() {
    let mut world = World::new("");
    let (session, _) = world.session(NOW).await;
    // used by a renewal, and issued by a clock that is ahead of ours by less than the sign-out is later
    let refreshed = world.access(&json!({"iat": NOW.0 + 30, "exp": NOW.0 + 3600, "jti": "j2"}));
    world.exchange(renewal(&refreshed, &session), after(30)).await.unwrap();
    let unused = world.access(&json!({"iat": NOW.0 + 20, "exp": NOW.0 + 3600, "jti": "j3"}));
    world.store.sign_out(&session.id, &session.identity.user, &session.device, after(100));
    let revoked = |outcome: Result<_, AuthnError>| match outcome {
        Err(error) => assert_eq!(error.problem().code, "session.revoked", "{error}"),
        Ok(_) => panic!("accepted"),
    };
    let first = world.access(&fresh(NOW));
    let thief = SoftwareKey::generate().unwrap();
    for round in ["before a restart", "after it"] {
        for copy in [&refreshed, &first] {
            revoked(world.exchange(form(copy, None), after(110)).await);
            revoked(world.exchange(renewal(copy, &session), after(110)).await);
            revoked(world.exchange_from(&thief, form(copy, None), after(110)).await);
        }
        revoked(world.exchange(form(&unused, None), after(110)).await);
        assert!(!round.is_empty());
        world.restart();
    }
    // the browser still knows her: new tokens of an old `auth_time`, by a clock that is 50 s behind
    let anew = world.access(&json!({"iat": NOW.0 + 60, "exp": NOW.0 + 3600, "jti": "j4"}));
    let id = world.id(&json!({"iat": NOW.0 + 60, "auth_time": NOW.0 - 10}));
    let next = world.exchange(form(&anew, Some(&id)), after(110)).await.unwrap();
    assert!(next.session.id != session.id && !next.renewed);
    assert!(world.check(world.authn.mint(&next.session).unwrap().expose(), after(111)).is_ok());
    let renewed = world.exchange(renewal(&anew, &next.session), after(120)).await.unwrap();
    assert_eq!(renewed.session.id, next.session.id);
    let bob = world.access(&json!({"sub": "bob", "jti": "j5"}));
    assert!(world.exchange(form(&bob, None), after(110)).await.is_ok(), "another person on the same device");
}

#[tokio::test]
async fn a_blocked_device_gets_no_session() {
    let world = World::new("");
    world.session(NOW).await;
    world.store.set_device_state(&world.device_id(), DeviceState::Blocked).unwrap();
    let error = world.exchange(form(&world.access(&json!({})), None), NOW).await.unwrap_err();
    assert_eq!((error.problem().code.as_str(), error.oauth().status), ("device.blocked", 403));
}

pub(super) fn report() -> Report {
    Report {
        v: 1,
        id: "r1".to_owned(),
        os: Os { family: "linux".to_owned(), ..Os::default() },
        privilege: Privilege::User,
        client: ClientInfo::default(),
        checks: Vec::new(),
        partial: false,
        evidence: std::collections::BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_posture_report_is_of_this_device_for_this_gateway_now_and_once() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let nonce = world.authn.nonce(NOW);
    let sign = |key: &SoftwareKey, audience: &str, nonce: Option<&str>, at| {
        posture::sign(key, &report(), audience, nonce, at).unwrap()
    };
    let send = |jws: &str, now| world.authn.posture(jws, &session, now);
    let good = sign(&world.device, GATEWAY, Some(&nonce), ztsa_proto::time::UnixTime(1000));
    assert_eq!(send(&good, NOW).unwrap().report, report(), "with a clock that says 1970 and a nonce");
    assert_eq!(send(&good, NOW).unwrap_err(), AuthnError::PostureNonce);
    let plain = sign(&world.device, GATEWAY, None, NOW);
    assert!(send(&plain, after(200)).is_ok(), "with a right clock and no nonce");
    assert_eq!(send(&plain, after(250)).unwrap_err(), AuthnError::PostureNonce, "used before");
    let thief = SoftwareKey::generate().unwrap();
    let old = world.authn.nonce(NOW.minus(Duration::from_secs(400)));
    for (name, jws) in [
        ("another device's", sign(&thief, GATEWAY, Some(&nonce), NOW)),
        ("for another gateway", sign(&world.device, "https://other.example", Some(&nonce), NOW)),
        ("an old nonce", sign(&world.device, GATEWAY, Some(&old), NOW)),
        ("a made-up nonce", sign(&world.device, GATEWAY, Some("abc"), NOW)),
        ("old", sign(&world.device, GATEWAY, None, NOW.minus(Duration::from_secs(361)))),
        ("from the future", sign(&world.device, GATEWAY, None, after(61))),
        ("no report", world.access(&json!({}))),
    ] {
        let error = send(&jws, NOW).expect_err(name);
        assert!(error.problem().code.starts_with("posture."), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_bad_report_refuses_the_exchange() {
    let world = World::new("");
    let thief = SoftwareKey::generate().unwrap();
    let with = |jws: String| ExchangeForm { posture: Some(jws), ..form(&world.access(&json!({})), None) };
    let forged = posture::sign(&thief, &report(), GATEWAY, None, NOW).unwrap();
    let error = world.exchange(with(forged), NOW).await.unwrap_err();
    assert_eq!(
        (error.oauth().error, error.to_string().contains("another device")),
        ("invalid_request", true),
        "{error}"
    );
    let good = posture::sign(&world.device, &report(), GATEWAY, None, NOW).unwrap();
    assert_eq!(world.exchange(with(good), NOW).await.unwrap().posture.map(|accepted| accepted.report), Some(report()));
}

#[tokio::test]
async fn a_fresh_sign_in_goes_on_with_its_session_and_begins_its_time_anew() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let ends = world.store.session(&session.id).unwrap().ends_at;
    let at = |seconds: u64| {
        let now = after(seconds);
        let id = world.id(&json!({"iat": now.0, "exp": now.0 + 600, "auth_time": now.0, "acr": "hardware"}));
        ExchangeForm { session: Some(session.id.clone()), ..form(&world.access(&fresh(now)), Some(&id)) }
    };
    let renewed = world.exchange(renewal(&world.access(&fresh(after(60))), &session), after(60)).await;
    let kept = renewed.unwrap().session;
    assert_eq!(kept.identity.auth_time, Some(after(60)), "an access token may tell the time of the sign-in too");
    let silent = world.access(&json!({"iat": NOW.0 + 90, "exp": NOW.0 + 600}));
    world.exchange(renewal(&silent, &session), after(90)).await.unwrap();
    let now = world.store.session(&session.id).unwrap().ends_at;
    assert_eq!(now, ends.plus(Duration::from_secs(60)), "a mere refresh does not");
    let next = world.exchange(at(3600), after(3600)).await.unwrap();
    assert!(next.renewed && next.session.id == session.id);
    let identity = &next.session.identity;
    assert_eq!((identity.acr.as_deref(), identity.auth_time), (Some("hardware"), Some(after(3600))));
    assert_eq!(world.store.session(&session.id).unwrap().ends_at, ends.plus(Duration::from_secs(3600)));
    assert_eq!(next.session.started_at, NOW);
}

#[tokio::test]
async fn a_session_that_ran_out_was_not_revoked_by_what_was_before_it() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    world.store.revoke(Subject::User(session.identity.user.clone()), after(50), "lost laptop");
    let (next, _) = world.session(after(60)).await;
    let late = after(60 + 12 * 3600);
    let access = world.access(&json!({"iat": late.0, "exp": late.0 + 60}));
    assert_eq!(world.exchange(renewal(&access, &next), late).await.unwrap_err(), AuthnError::Over);
    let first = world.exchange(renewal(&access, &session), late).await.unwrap_err();
    assert_eq!(first.problem().code, "session.revoked");
}

#[tokio::test]
async fn one_token_is_not_for_many_devices() {
    let world = World::new("");
    let access = world.access(&json!({}));
    let devices: Vec<SoftwareKey> = (0..4).map(|_| SoftwareKey::generate().unwrap()).collect();
    for device in &devices[..3] {
        assert!(world.exchange_from(device, form(&access, None), NOW).await.is_ok());
    }
    let error = world.exchange_from(&devices[3], form(&access, None), NOW).await.unwrap_err();
    assert!(matches!(error, AuthnError::Refused { fault: TokenFault::Shared, .. }), "{error}");
    assert!(world.exchange_from(&devices[0], form(&access, None), after(1)).await.is_ok());
}

#[tokio::test]
async fn a_failed_exchange_says_whom_it_is_about_as_far_as_that_is_proved() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    let ask = async |form: ExchangeForm, now| {
        let url = format!("{GATEWAY}/ztsa/v1/token");
        let headers = super::fake::proof(&world.device, "POST", &url, None, Some(&world.authn.nonce(now)));
        let head = crate::authn::Head { method: "POST", url_path: "/ztsa/v1/token", headers: &headers };
        world.authn.exchange(form, &head, now).await.unwrap_err()
    };
    let forged = ask(renewal("forged", &session), after(5)).await;
    assert_eq!(forged.user.as_ref(), Some(&session.identity.user), "the key proves whose session it is");
    assert_eq!((forged.device, forged.session), (Some(world.device_id()), Some(session.id.clone())));
    let stranger = ask(form("forged", None), after(5)).await;
    assert_eq!((stranger.user, stranger.session, stranger.device), (None, None, Some(world.device_id())));
    world.store.set_device_state(&world.device_id(), DeviceState::Blocked).unwrap();
    let blocked = ask(form(&world.access(&json!({})), None), after(6)).await;
    let device = world.device_id();
    assert_eq!((blocked.error, blocked.device), (AuthnError::DeviceBlocked { device: device.clone() }, Some(device)));
}
