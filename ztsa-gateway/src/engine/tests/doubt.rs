//! Policies that fail and a store that fails: no is said, aloud, and what is bounded stays bounded.

use std::time::Duration;

use serde_json::json;
use ztsa_proto::jws::random_id;
use ztsa_proto::problem::Retry;
use ztsa_proto::why::Decision;

use super::World;
use super::evaluation::state;
use super::world::PEER;
use crate::store::Subject;

const OVERFLOW: &str = "context.time.unix * 9223372036854775807 > 0";

#[tokio::test]
async fn a_forbid_that_cannot_be_evaluated_denies_and_the_person_gets_a_code_and_a_number() {
    let world = World::with(&format!(
        "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n\
         @id(\"broken\") forbid (principal, action, resource == App::\"db\") when {{ {OVERFLOW} }};"
    ));
    let (alice, mallory) = (world.session("alice", &["dev"], "laptop"), world.session("mallory", &[], "phone"));
    let refused = world.open(&alice, "db").unwrap_err();
    assert_eq!((refused.code.as_str(), refused.policy.as_slice()), ("policy.error", ["broken".to_owned()].as_slice()));
    let decision = refused.decision.clone().unwrap();
    assert_eq!(world.open(&mallory, "db").unwrap_err().code, "app.unknown", "nothing about what they may not know of");
    assert!(world.open(&alice, "wiki").is_ok(), "what it does not concern goes on");
    assert_eq!(world.engine.measures().policy_errors.read(), 1);
    let log = world.log().await;
    let line = log.iter().find(|line| line["unmapped"]["decision"] == decision.as_str()).unwrap();
    assert_eq!((&line["status_code"], &line["unmapped"]["failed"]), (&json!("policy.error"), &json!(["broken"])));
}

#[tokio::test]
async fn a_permit_that_cannot_be_evaluated_denies_what_another_permits() {
    let world = World::with(&format!(
        "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n\
         @id(\"broken\") permit (principal, action, resource == App::\"db\") when {{ {OVERFLOW} }};"
    ));
    let alice = world.session("alice", &["dev"], "laptop");
    assert_eq!(world.open(&alice, "db").unwrap_err().code, "policy.error");
}

#[tokio::test]
async fn a_monitored_policy_that_fails_denies_nobody_and_is_marked() {
    let world = World::with(&format!(
        "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n\
         @id(\"broken\") @mode(\"monitor\") forbid (principal, action, resource) when {{ {OVERFLOW} }};"
    ));
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "db").unwrap();
    assert_eq!(world.engine.measures().policy_errors.read(), 1);
    let log = world.log().await;
    assert!(log.iter().any(|line| line["unmapped"]["failed"] == json!(["broken"])), "{log:#?}");
    drop(lease);
}

#[tokio::test]
async fn strict_tunnels_wait_when_the_store_is_out_for_too_long_and_go_on_when_it_is_back() {
    let world = World::configured(
        "@id(\"dev\") permit (principal in Group::\"dev\", action, resource == App::\"wiki\");\n\
         @id(\"strict\") @strict permit (principal in Group::\"dev\", action, resource == App::\"db\");\n\
         @id(\"ends\") @strict @on_change(\"terminate\") permit (principal in Group::\"dev\", action, resource == App::\"payroll\");",
        "[risk]\nmax_staleness = \"40s\"\n",
    );
    let alice = world.session("alice", &["dev"], "laptop");
    let [wiki, db, payroll] = ["wiki", "db", "payroll"].map(|app| world.open(&alice, app).unwrap());
    world.engine.store().flush().await.unwrap();
    // another program holds the write lock
    let other = rusqlite::Connection::open(world.dir().join("ztsa.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.engine.store().revoke(Subject::Session(random_id().parse().unwrap()), world.engine.now(), "");
    world.engine.store().flush().await.unwrap_err();
    let states = || [&wiki, &db, &payroll].map(state);
    let why = |app: &str| {
        let why = world.engine.why(&alice, &app.parse().unwrap(), PEER).unwrap();
        let quiet = why.policies.is_empty() && why.changes.is_empty() && why.missing.is_empty();
        assert_eq!(quiet, why.decision == Decision::Deny, "nothing of theirs decided or would change it: {why:?}");
        (why.decision, why.problem.map(|problem| (problem.code, problem.decision.is_some())))
    };
    let out = (Decision::Deny, Some(("gateway.unavailable".to_owned(), true)));
    assert_eq!(why("wiki"), out, "as it would be refused: {:?}", world.open(&alice, "wiki").unwrap_err());
    world.engine.sweep();
    world.hand.advance(Duration::from_secs(39));
    assert_eq!(world.engine.sweep().suspended, 0);
    assert_eq!(states(), ["open", "open", "open"]);
    world.hand.advance(Duration::from_secs(1));
    assert_eq!(world.engine.sweep().suspended, 1);
    assert_eq!(states(), ["open", "suspended gateway.unavailable", "ended gateway.unavailable"]);
    assert_eq!((why("wiki"), why("db")), (out.clone(), out.clone()));
    let told = world.engine.explain_user(&alice.identity.user, &"db".parse().unwrap()).unwrap();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((told.why.decision, told.why.changes.as_slice()), (Decision::Deny, [].as_slice()));
    assert_eq!(told.why.problem.as_ref().map(|problem| &*problem.code), Some("gateway.unavailable"));
    other.execute_batch("COMMIT").unwrap();
    world.engine.store().flush().await.unwrap();
    assert_eq!(world.engine.sweep().restored, 1);
    assert_eq!(states(), ["open", "open", "ended gateway.unavailable"]);
    assert_eq!((why("wiki"), why("db")), ((Decision::Allow, None), (Decision::Allow, None)));
}

#[tokio::test]
async fn why_says_what_would_be_answered_while_the_gateway_goes_down() {
    let world = World::new();
    let (alice, mallory) = (world.session("alice", &["dev"], "laptop"), world.session("mallory", &[], "phone"));
    world.engine.drain();
    let refused = world.open(&alice, "wiki").unwrap_err();
    let why = world.engine.why(&alice, &"wiki".parse().unwrap(), PEER).unwrap();
    let problem = why.problem.unwrap();
    assert_eq!(
        (why.decision, &problem.code, refused.code.as_str()),
        (Decision::Deny, &refused.code, "gateway.draining")
    );
    let log = world.log().await;
    let line = log.iter().find(|line| line["unmapped"]["decision"] == problem.decision.as_deref().unwrap()).unwrap();
    assert_eq!(line["status_code"], "gateway.draining", "what is told is what is written down");
    assert_eq!(world.engine.why(&mallory, &"wiki".parse().unwrap(), PEER).unwrap_err().code, "app.unknown");
}

#[test]
fn a_session_asks_one_question_at_a_time() {
    let world = World::new();
    let (alice, bob) = (world.session("alice", &["dev"], "laptop"), world.session("bob", &["dev"], "tablet"));
    let wiki = "wiki".parse().unwrap();
    let asking = world.engine.asking(&alice).unwrap();
    let refused = world.engine.asking(&alice).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.status), ("gateway.limit", 429));
    assert_eq!(refused.retry, Retry::After { seconds: Some(1) });
    assert!(world.engine.asking(&bob).unwrap().why(&wiki, PEER).is_ok(), "another session is not held up");
    assert_eq!(asking.why(&wiki, PEER).unwrap().decision, Decision::Allow);
    drop(asking);
    assert!(world.engine.asking(&alice).is_ok(), "and the next may be asked");
}

#[test]
fn a_policy_that_cannot_be_evaluated_is_nobodys_risk() {
    let broken = format!("@id(\"broken\") permit (principal, action, resource) when {{ {OVERFLOW} }};");
    let policies = format!("@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n{broken}");
    let world = World::configured(&policies, "[risk.signals.grant.refused]\ncount = 2\neach = 10\n");
    let alice = world.session("alice", &["dev"], "laptop");
    for _ in 0..10 {
        assert_eq!(world.open(&alice, "db").unwrap_err().code, "policy.error");
    }
    assert_eq!(world.engine.signals(None), []);
}
