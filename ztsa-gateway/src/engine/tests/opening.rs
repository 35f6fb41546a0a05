use std::time::Duration;

use ztsa_proto::app::AccessState;
use ztsa_proto::grant::{GrantRequest, TicketRequest};

use super::World;
use super::world::PEER;
use crate::audit::Activity;
use crate::lease::End;
use crate::policy::step;
use crate::store::DeviceState;

fn grant(app: &str) -> GrantRequest {
    GrantRequest { app: app.parse().unwrap(), reason: None }
}

fn ticket(app: &str, for_seconds: Option<u64>, uses: Option<u32>) -> TicketRequest {
    TicketRequest { app: app.parse().unwrap(), for_seconds, uses }
}

#[test]
fn what_policy_permits_opens_and_the_rest_does_not_exist() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let mallory = world.session("mallory", &[], "laptop");
    assert_eq!(world.open(&alice, "wiki").unwrap().app().name.to_string(), "wiki");
    let hidden = world.open(&mallory, "wiki").unwrap_err();
    assert!(world.engine.named(&"nothing".parse().unwrap()).is_err());
    let missing = world.engine.not_found(Activity::Connect, &mallory, PEER, "nothing");
    assert_eq!(hidden.code, "app.unknown");
    let blank = |problem: &ztsa_proto::problem::Problem| {
        let mut problem = problem.clone();
        problem.decision = problem.decision.map(|decision| "x".repeat(decision.len()));
        problem.to_json()
    };
    assert_eq!(blank(&hidden), blank(&missing), "a hidden app answers exactly like one that is not there");
    assert!(world.engine.apps(&mallory, PEER).apps.is_empty());
    let apps = world.engine.apps(&alice, PEER).apps;
    assert_eq!(apps.len(), 3);
    assert!(apps.iter().all(|app| app.access.state == AccessState::Open));
}

#[tokio::test]
async fn an_app_that_is_not_there_takes_the_same_steps_as_one_that_is_hidden() {
    let world = World::new();
    let mallory = world.session("mallory", &["sales"], "laptop");
    // what the log says of a person once a file is there
    world.open(&mallory, "wiki").unwrap_err();
    step::taken();
    let lines = world.log().await.len();
    world.open(&mallory, "wiki").unwrap_err();
    let hidden = (step::taken(), world.log().await.len() - lines);
    let lines = world.log().await.len();
    world.engine.not_found(Activity::Connect, &mallory, PEER, "nothing");
    assert_eq!((step::taken(), world.log().await.len() - lines), hidden);
    assert_eq!(hidden, (vec!["judge", "facets", "visible", "visible"], 1));
}

#[tokio::test]
async fn a_list_has_no_decision_and_every_why_is_on_record() {
    let world = World::with(
        "@id(\"mfa\") @step_up(\"mfa\") forbid (principal, action, resource == App::\"db\") unless { context.auth.acr == \"mfa\" };
         @id(\"dev\") permit (principal in Group::\"dev\", action, resource);",
    );
    let alice = world.session("alice", &["dev"], "laptop");
    let apps = world.engine.apps(&alice, PEER).apps;
    let db = apps.iter().find(|app| app.name.as_str() == "db").unwrap();
    assert!(db.access.problem.as_ref().unwrap().decision.is_none(), "no line of the audit log has this number");
    let why = world.engine.why(&alice, &"db".parse().unwrap(), PEER).unwrap();
    let change: Vec<String> = why.changes.iter().map(ToString::to_string).collect();
    assert_eq!(change, ["allowed when the sign-in is fresh and as strong as mfa"]);
    let shown = why.problem.unwrap().decision.unwrap();
    let hidden = world.engine.why(&alice, &"nothing".parse().unwrap(), PEER).unwrap_err();
    let log = world.log().await;
    for decision in [shown, hidden.decision.clone().unwrap()] {
        let of = log.iter().filter(|line| line["unmapped"]["decision"] == decision.as_str()).collect::<Vec<_>>();
        let [line] = of.as_slice() else { panic!("{decision}: {of:?}") };
        assert_eq!(
            (line["activity_name"].as_str(), line["actor"]["user"]["name"].as_str()),
            (Some("Explain"), Some("alice"))
        );
    }
}

#[test]
fn a_grant_is_for_one_app_one_session_and_a_while() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let bob = world.session("bob", &["dev"], "desktop");
    let granted = world.engine.grant(&alice, &grant("wiki"), PEER).unwrap();
    let open = |session, app| world.engine.open(session, &world.app(app), &world.to(app), PEER, Some(&granted.grant));
    assert!(open(&alice, "wiki").is_ok());
    assert_eq!(open(&alice, "db").unwrap_err().code, "grant.unknown");
    assert_eq!(open(&bob, "wiki").unwrap_err().code, "grant.unknown");
    world.hand.advance(Duration::from_secs(301));
    let alice = world.renew(&alice, &["dev"]);
    assert_eq!(open(&alice, "wiki").unwrap_err().code, "grant.expired");
    assert!(world.open(&alice, "wiki").is_ok(), "without a grant the decision is the grant");
}

#[test]
fn tickets_open_their_app_as_often_and_as_long_as_they_say() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let open = |ticket: &str, to: &str| world.engine.open_ticket(ticket, &to.parse().unwrap(), PEER);
    let twice = world.engine.ticket(&alice, &ticket("db", None, Some(2)), PEER).unwrap();
    let secret = twice.ticket.expose();
    assert_eq!(open(secret, "wiki:80").unwrap_err().code, "ticket.invalid", "another app");
    assert_eq!(open("ztk_guess", "db:5432").unwrap_err().code, "ticket.invalid");
    let (_first, app) = open(secret, "db:5432").unwrap();
    assert_eq!(app.name.to_string(), "db");
    let _second = open(secret, "db.example:5432").unwrap();
    assert_eq!(open(secret, "db:5432").unwrap_err().code, "ticket.invalid", "used up");
    let short = world.engine.ticket(&alice, &ticket("db", Some(60), None), PEER).unwrap();
    let (lease, _) = open(short.ticket.expose(), "db:5432").unwrap();
    world.hand.advance(Duration::from_secs(60));
    assert_eq!(world.engine.sweep().ended, 1, "its tunnels end with it");
    assert_eq!(lease.tunnel().access(), crate::lease::Access::Ended(ended(&lease)));
    assert_eq!(open(short.ticket.expose(), "db:5432").unwrap_err().code, "ticket.invalid");
}

fn ended(lease: &crate::lease::Lease) -> std::sync::Arc<ztsa_proto::problem::Problem> {
    match lease.tunnel().access() {
        crate::lease::Access::Ended(problem) => problem,
        other => panic!("not ended: {other:?}"),
    }
}

#[test]
fn ticket_requests_out_of_bounds_are_refused() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let mallory = world.session("mallory", &[], "laptop");
    let ask = |session, request| world.engine.ticket(session, &request, PEER).unwrap_err().code.clone();
    assert_eq!(ask(&alice, ticket("db", Some(3_601), None)), "request.invalid");
    assert_eq!(ask(&alice, ticket("db", Some(0), None)), "request.invalid");
    assert_eq!(ask(&alice, ticket("db", None, Some(0))), "request.invalid");
    assert_eq!(ask(&mallory, ticket("db", None, None)), "app.unknown");
    for _ in 0..100 {
        world.engine.ticket(&alice, &ticket("db", None, None), PEER).unwrap();
    }
    assert_eq!(ask(&alice, ticket("db", None, None)), "gateway.limit");
}

#[tokio::test]
async fn tickets_and_risk_survive_a_restart() {
    let mut world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let kept = world.engine.ticket(&alice, &ticket("db", Some(600), None), PEER).unwrap();
    let secret = kept.ticket.expose().clone();
    drop(alice);
    world.restart(60).await;
    let open = |world: &World| world.engine.open_ticket(&secret, &"db:5432".parse().unwrap(), PEER);
    assert!(open(&world).is_ok());
    let alice = world.engine.store().find_user("alice").unwrap();
    world.engine.risk_set(&crate::store::Subject::User(alice), 90, "lost laptop", None);
    world.restart(60).await;
    assert_eq!(open(&world).unwrap_err().code, "risk.user", "decided anew at each use");
}

#[test]
fn a_blocked_device_opens_nothing_and_a_draining_gateway_neither() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    world.engine.device_set(&alice.device, DeviceState::Blocked).unwrap();
    assert_eq!(world.open(&alice, "wiki").unwrap_err().code, "device.blocked");
    world.engine.device_set(&alice.device, DeviceState::Approved).unwrap();
    assert!(world.open(&alice, "wiki").is_ok());
    world.engine.drain();
    assert_eq!(world.open(&alice, "wiki").unwrap_err().code, "gateway.draining");
}

#[tokio::test]
async fn who_asks_for_what_is_no_app_leaves_a_trace() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let told = world.engine.grant(&alice, &grant("treasury"), PEER).unwrap_err().decision.clone().unwrap();
    let text: Vec<String> = world.log().await.iter().map(ToString::to_string).collect();
    let line = text.iter().find(|line| line.contains("treasury")).expect("a line about the app that was asked for");
    assert!(["alice", "app.unknown", &told].iter().all(|part| line.contains(part)), "{line}");
}

#[tokio::test]
async fn every_decision_and_every_end_is_in_the_audit_log() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let bob = world.session("bob", &["ops"], "desktop");
    let lease = world.open(&alice, "wiki").unwrap();
    assert!(world.open(&bob, "wiki").is_err());
    lease.count_up(10);
    lease.count_down(32);
    world.hand.advance(Duration::from_secs(7));
    lease.finish(End::Completed);
    drop(lease);
    let other = world.open(&alice, "db").unwrap();
    world.engine.risk_set(&crate::store::Subject::User(alice.identity.user.clone()), 90, "lost laptop", None);
    let told = ended(&other).decision.clone().unwrap();
    drop(other);
    let log = world.log().await;
    let text: Vec<String> = log.iter().map(ToString::to_string).collect();
    assert_eq!(
        log.len(),
        1 + 2 + 2 + 3 + 2 + 1,
        "the policies, two sign-ins, two people, three decisions, two ends, one order: {text:#?}"
    );
    let holds = |parts: &[&str]| text.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(holds(&["wiki", "alice", "dev"]), "{text:#?}");
    assert!(holds(&["wiki", "bob", "app.unknown"]), "{text:#?}");
    assert!(holds(&["completed", "32", "10", "wiki"]), "{text:#?}");
    assert!(holds(&["risk.user", "lost laptop", &told]), "what the person was told can be found: {text:#?}");
}

/// What the log says came of each question of a sort, with the code of a refusal.
async fn answers(world: &World, code: &str) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let log = world.log().await;
    let of = log.iter().filter(|line| line["metadata"]["event_code"] == code);
    of.map(|line| (text(&line["status"]), text(&line["status_code"]), text(&line["unmapped"]["decision"]))).collect()
}

fn refused(problem: &ztsa_proto::problem::Problem) -> (String, String, String) {
    ("Failure".to_owned(), problem.code.clone(), problem.decision.clone().unwrap())
}

#[tokio::test]
async fn what_there_is_no_room_for_is_on_record_as_refused() {
    let world = World::configured(super::world::POLICIES, "[limits]\nmax_tunnels = 1\n");
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let full = world.open(&alice, "db").unwrap_err();
    assert_eq!(full.code, "gateway.limit");
    let opened = lease.tunnel().decision.clone();
    drop(lease);
    // somebody else takes the room between the question and the answer
    let (engine, app, to, other) = (world.engine.clone(), world.app("wiki"), world.to("wiki"), alice.clone());
    let taken = std::rc::Rc::new(std::cell::RefCell::new(None));
    let theirs = std::rc::Rc::clone(&taken);
    step::at("judge", move || *theirs.borrow_mut() = engine.open(&other, &app, &to, PEER, None).ok());
    let late = world.open(&alice, "wiki").unwrap_err();
    assert_eq!(late.code, "gateway.limit");
    let lines = answers(&world, "connect").await;
    let allowed = |decision: &str| ("Success".to_owned(), String::new(), decision.to_owned());
    assert_eq!(lines[..2], [allowed(&opened), refused(&full)]);
    let theirs = taken.borrow().as_ref().unwrap().tunnel().decision.clone();
    let taken_back = late.decision.clone().unwrap();
    assert_eq!(lines[2..], [allowed(&theirs), allowed(&taken_back), refused(&late)], "and the last takes it back");
}

#[tokio::test]
async fn a_ticket_that_cannot_be_had_is_on_record_as_refused() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let ask = |request| world.engine.ticket(&alice, &request, PEER).unwrap_err();
    let never =
        [ask(ticket("db", Some(0), None)), ask(ticket("db", Some(3_601), None)), ask(ticket("db", None, Some(0)))];
    assert_eq!(answers(&world, "ticket").await, never.map(|problem| refused(&problem)));
}

#[tokio::test]
async fn who_loses_the_race_for_the_last_use_of_a_ticket_is_on_record_as_refused() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let once = world.engine.ticket(&alice, &ticket("db", None, Some(1)), PEER).unwrap();
    let (engine, secret) = (world.engine.clone(), once.ticket.expose().clone());
    let open = move |engine: &crate::engine::Engine| engine.open_ticket(&secret, &"db:5432".parse().unwrap(), PEER);
    let first = open.clone();
    step::at("judge", move || assert!(first(&engine).is_ok()));
    let lost = open(&world.engine).unwrap_err();
    assert_eq!(lost.code, "ticket.invalid");
    let decision = lost.decision.clone().unwrap();
    let log = world.log().await;
    let of: Vec<_> = log.iter().filter(|line| line["unmapped"]["decision"] == decision.as_str()).collect();
    let said: Vec<_> = of.iter().map(|line| (line["status"].as_str(), line["status_code"].as_str())).collect();
    assert_eq!(said, [(Some("Success"), None), (Some("Failure"), Some("ticket.invalid"))]);
}
