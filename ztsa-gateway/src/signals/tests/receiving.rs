use std::time::Duration;

use serde_json::json;

use super::wire::{Wire, person};
use crate::lease::Access;
use crate::signals::receiver::Taken;

fn open(lease: &crate::lease::Lease) -> bool {
    lease.tunnel().access() == Access::Open
}

#[tokio::test]
async fn a_revoked_session_ends_its_tunnels_with_the_reason_and_nobody_elses() {
    let mut wire = Wire::new();
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let bob = wire.world.session("bob", &["dev"], "tablet");
    let (hers, his) = (wire.world.open(&alice, "wiki").unwrap(), wire.world.open(&bob, "wiki").unwrap());
    let why = json!({"reason_user": {"en": "Land speed violation."}, "reason_admin": {"en": "C076E82F"}});
    assert_eq!(wire.tell(0, &person("alice"), "session-revoked", &why).await, Taken::Applied);
    let Access::Ended(problem) = hers.tunnel().access() else { panic!("still open") };
    assert_eq!(
        (problem.code.as_str(), problem.detail.as_str()),
        ("session.revoked", "corp says Land speed violation.")
    );
    assert!(open(&his));
    assert_eq!(wire.world.open(&alice, "wiki").unwrap_err().code, "session.revoked");
    let said = wire.said().await;
    for word in ["corp: session-revoked", "jti-1", "idp.example|alice", "ended 1 sessions, 1 tunnels"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[tokio::test]
async fn an_old_revocation_does_not_kill_a_newer_session_but_the_older_one_whose_token_was_renewed() {
    let mut wire = Wire::new();
    let old = wire.world.session("alice", &["dev"], "laptop");
    wire.world.hand.advance(Duration::from_secs(100));
    let event = wire.claims(0, &person("alice"), "session-revoked", &json!({}));
    wire.world.hand.advance(Duration::from_secs(100));
    // the old session got another token since, and she signed in anew elsewhere
    let old = wire.world.renew(&old, &["dev"]);
    let new = wire.world.session("alice", &["dev"], "phone");
    let (first, second) = (wire.world.open(&old, "wiki").unwrap(), wire.world.open(&new, "wiki").unwrap());
    wire.world.hand.advance(Duration::from_secs(100));
    wire.send(&event).await.unwrap();
    assert!(!open(&first), "it began before the event");
    assert!(open(&second), "it began after the event");
    assert!(wire.world.open(&new, "wiki").is_ok() && wire.world.open(&old, "wiki").is_err());
    assert_eq!(wire.send(&event).await, Ok(Taken::Again));
    assert!(open(&second));
}

#[tokio::test]
async fn events_of_days_ago_that_are_told_today_keep_their_order() {
    let mut wire = Wire::new();
    wire.world.hand.advance(Duration::from_secs(5 * 86_400));
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let device = json!({"format": "opaque", "id": alice.device.as_str()});
    // the transmitter was down: it makes the tokens now, and says when the events happened
    for (days, status) in [(2, "compliant"), (3, "not-compliant")] {
        let status = json!({"current_status": status});
        let mut claims = wire.claims(days * 86_400, &device, "device-compliance-change", &status);
        claims["iat"] = json!(wire.world.engine.now());
        wire.send(&claims).await.unwrap();
    }
    assert!(wire.world.open(&alice, "db").is_ok(), "it was mended two days ago, whatever was before");
}

#[tokio::test]
async fn one_session_or_one_device_of_two_ends_alone() {
    let mut wire = Wire::new();
    let laptop = wire.world.session("alice", &["dev"], "laptop");
    let phone = wire.world.session("alice", &["dev"], "phone");
    let desk = wire.world.session("alice", &["dev"], "desk");
    let leases = [&laptop, &phone, &desk].map(|session| wire.world.open(session, "wiki").unwrap());
    let [first, second, third] = &leases;
    let session = json!({"format": "opaque", "id": laptop.id.as_str()});
    wire.tell(0, &session, "session-revoked", &json!({})).await;
    assert!(!open(first) && open(second) && open(third));
    let device = json!({"format": "opaque", "id": phone.device.as_str()});
    let both = json!({"format": "complex", "user": person("alice"), "device": device});
    wire.tell(0, &both, "session-revoked", &json!({})).await;
    assert!(!open(second) && open(third));
    // and the sign-in behind them begins nothing new, until there is a new one
    wire.world.hand.advance(Duration::from_secs(5));
    let again = wire.world.session("alice", &["dev"], "laptop");
    assert!(wire.world.open(&again, "wiki").is_ok());
}

#[tokio::test]
async fn risk_follows_the_last_event_and_not_the_last_arrival_even_across_a_restart() {
    let mut wire = Wire::new();
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let lease = wire.world.open(&alice, "wiki").unwrap();
    wire.world.hand.advance(Duration::from_secs(100));
    let level = |level: &str| json!({"current_level": level, "principal": "USER", "risk_reason": "BREACH"});
    wire.tell(10, &person("alice"), "risk-level-change", &level("HIGH")).await;
    let Access::Suspended(problem) = lease.tunnel().access() else { panic!("not suspended") };
    assert!(problem.code == "risk.user" && problem.detail.contains("corp says"), "{problem:?}");
    wire.tell(20, &person("alice"), "risk-level-change", &level("LOW")).await;
    assert!(!open(&lease), "that it was low before changes nothing");
    assert!(wire.said().await.contains("a later event of this kind has been applied already"));
    let high = wire.claims(8, &person("alice"), "risk-level-change", &level("HIGH"));
    wire.tell(5, &person("alice"), "risk-level-change", &level("LOW")).await;
    assert!(open(&lease), "it is low now, and access is back without a login");
    drop(lease);
    wire.restart(1).await;
    wire.send(&high).await.unwrap();
    assert!(wire.world.open(&alice, "wiki").is_ok(), "the older event is known to be older after a restart");
}

#[tokio::test]
async fn a_device_that_others_call_compliant_is_until_that_runs_out() {
    let mut wire = Wire::new();
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let device = json!({"format": "complex", "device": {"format": "opaque", "id": alice.device.as_str()}});
    assert_eq!(wire.world.open(&alice, "db").unwrap_err().code, "posture.device_compliant");
    let status = |status: &str, lasts: u64| json!({"current_status": status, "ztsa": {"facts": {}, "lasts": lasts}});
    wire.tell(3, &device, "device-compliance-change", &status("compliant", 600)).await;
    let lease = wire.world.open(&alice, "db").unwrap();
    wire.tell(2, &device, "device-compliance-change", &status("not-compliant", 600)).await;
    assert!(matches!(lease.tunnel().access(), Access::Suspended(_)));
    wire.tell(1, &device, "device-compliance-change", &status("compliant", 600)).await;
    assert!(open(&lease), "mended");
    drop(lease);
    wire.restart(10).await;
    assert!(wire.world.open(&alice, "db").is_ok(), "it outlives a restart");
    wire.world.hand.advance(Duration::from_secs(600));
    wire.world.engine.sweep();
    let alice = wire.world.renew(&alice, &["dev"]);
    assert_eq!(wire.world.open(&alice, "db").unwrap_err().code, "posture.device_compliant", "unknown is not pass");
}

#[tokio::test]
async fn facts_that_do_not_read_are_in_the_audit_log() {
    let mut wire = Wire::new();
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let device = json!({"format": "opaque", "id": alice.device.as_str()});
    let facts = json!({"disk.root": "failed", "os.version": true, "firewall": "pass"});
    let members = json!({"current_status": "compliant", "ztsa": {"facts": facts, "lasts": "1h"}});
    wire.tell(0, &device, "device-compliance-change", &members).await;
    let said = wire.said().await;
    for word in
        ["disk.root is neither pass nor fail: failed", "os.version is neither pass nor fail: true", "seconds: 1h"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[tokio::test]
async fn a_session_that_is_named_with_its_device_and_person_stands_for_them() {
    let mut wire = Wire::new();
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let phone = wire.world.session("alice", &["dev"], "phone");
    let id = |id: &str| json!({"format": "opaque", "id": id});
    let all = json!({
        "format": "complex", "user": person("alice"), "device": id(alice.device.as_str()), "session": id(alice.id.as_str()),
    });
    wire.tell(0, &all, "device-compliance-change", &json!({"current_status": "compliant"})).await;
    assert!(wire.world.open(&alice, "db").is_ok() && wire.world.open(&phone, "db").is_err());
    wire.tell(0, &all, "device-compliance-change", &json!({"current_status": "not-compliant"})).await;
    assert_eq!(wire.world.open(&alice, "db").unwrap_err().code, "posture.device_compliant");
    wire.tell(0, &all, "risk-level-change", &json!({"current_level": "HIGH", "principal": "USER"})).await;
    assert_eq!(wire.world.open(&phone, "wiki").unwrap_err().code, "risk.user", "it is of the person, on every device");
}

#[tokio::test]
async fn an_event_is_applied_as_its_table_says() {
    let mut wire =
        Wire::with("[signals.transmitter.actions]\nsession-revoked = \"ignore\"\ncredential-change = \"suspend\"\n");
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let lease = wire.world.open(&alice, "wiki").unwrap();
    wire.tell(0, &person("alice"), "session-revoked", &json!({})).await;
    assert!(open(&lease));
    assert!(wire.said().await.contains("nothing is done about it"));
    let change = json!({"credential_type": "password", "change_type": "update"});
    wire.tell(0, &person("alice"), "credential-change", &change).await;
    assert!(matches!(lease.tunnel().access(), Access::Suspended(_)));
    wire.world.hand.advance(Duration::from_secs(30));
    assert_eq!(wire.world.engine.sweep().ended, 0);
}

#[tokio::test]
async fn what_nobody_here_understands_is_taken_and_named_and_does_nothing() {
    let mut wire = Wire::new();
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let lease = wire.world.open(&alice, "wiki").unwrap();
    for (subject, kind, word) in [
        (person("alice"), "urn:example:lunch", "urn:example:lunch"),
        (person("nobody"), "session-revoked", "its subject is nobody here"),
        (json!({"format": "email", "email": "alice@evil.example"}), "session-revoked", "nobody here"),
        (json!({"format": "iss_sub", "iss": "https://evil.example", "sub": "alice"}), "session-revoked", "nobody here"),
        (json!({"format": "complex", "tenant": {"format": "opaque", "id": "1"}}), "session-revoked", "neither person"),
    ] {
        assert_eq!(wire.tell(0, &subject, kind, &json!({})).await, Taken::Applied);
        let said = wire.said().await;
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(open(&lease));
}

#[tokio::test]
async fn an_event_from_long_ago_or_from_the_future_does_no_more_than_it_may() {
    let mut wire = Wire::new();
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let lease = wire.world.open(&alice, "wiki").unwrap();
    wire.tell(8 * 86_400, &person("alice"), "session-revoked", &json!({})).await;
    assert!(open(&lease) && wire.said().await.contains("older than seven days"));
    let mut claims = wire.claims(0, &person("alice"), "session-revoked", &json!({}));
    let events = claims["events"].as_object_mut().unwrap();
    events.values_mut().for_each(|event| event["event_timestamp"] = json!(4_000_000_000_u64));
    wire.send(&claims).await.unwrap();
    assert!(!open(&lease), "it holds for now");
    assert!(wire.said().await.contains("it tells of the future, so its time was moved"));
    wire.world.hand.advance(Duration::from_secs(1));
    let again = wire.world.session("alice", &["dev"], "laptop");
    assert!(wire.world.open(&again, "wiki").is_ok(), "and for nothing that begins later");
    assert_eq!(wire.world.engine.list_sessions().len(), 1);
}
