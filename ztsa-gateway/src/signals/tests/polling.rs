//! What a poll brings beside tokens: it holds up none of them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use ztsa_net::task::Scope;

use super::foreign::{Foreign, POLICIES, TOKEN, until};
use super::wire::person;
use crate::engine::tests::World;
use crate::lease::Access;
use crate::signals::Signals;

/// Ten megabytes.
const HUGE: usize = 10_000_000;

/// A gateway that polls a transmitter.
async fn polling() -> (World, Signals, Arc<Foreign>, Scope) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let table = format!(
        "[[signals.transmitter]]\nname = \"foreign\"\nissuer = \"{url}\"\nprivate = true\npeople = [\"corp\"]\n\
         api_token_file = \"api.token\"\n"
    );
    let world = World::configured(POLICIES, &table);
    std::fs::write(world.dir().join("api.token"), TOKEN).unwrap();
    let (foreign, scope) = (Foreign::new(&url, false), Scope::new());
    let router = foreign.router();
    scope.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let signals = Signals::new(&world.engine.config(), &world.engine).unwrap();
    (world, signals, foreign, scope)
}

fn revoked(world: &World, foreign: &Foreign, jti: &str, who: &str) {
    foreign.tell(jti, world.engine.now().0, &person(who), "session-revoked", &json!({}));
}

fn about(log: &[Value], code: &str, words: &str) -> bool {
    let told = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(words));
    log.iter().any(|line| line["status_code"] == code && told(line))
}

#[tokio::test]
async fn what_is_ten_megabytes_long_or_no_token_is_refused_by_name_and_all_behind_it_is_heard() {
    let (world, signals, foreign, scope) = polling().await;
    let people = ["alice", "bob"].map(|name| world.session(name, &["dev"], "laptop"));
    let leases = people.each_ref().map(|session| world.open(session, "wiki").unwrap());
    revoked(&world, &foreign, "c", "alice");
    revoked(&world, &foreign, "y", "bob");
    let odd =
        [("a", json!("x".repeat(HUGE))), ("b", json!(null)), ("d", json!({"e": [1]})), ("x", json!("x".repeat(HUGE)))];
    foreign.odd.lock().unwrap().extend(odd.map(|(jti, odd)| (jti.to_owned(), odd)));
    signals.start(&scope.spawner());
    until("the end of both tunnels", || leases.iter().all(|lease| lease.tunnel().access() != Access::Open)).await;
    until("the answers", || {
        let polls = foreign.polls.lock().unwrap();
        polls.iter().any(|poll| poll["ack"].as_array().is_some_and(|ack| ack.contains(&json!("y"))))
    })
    .await;
    let polls = foreign.polls.lock().unwrap().clone();
    let faults: Vec<(String, Value)> = polls
        .iter()
        .filter_map(|poll| poll["setErrs"].as_object())
        .flatten()
        .map(|(j, f)| (j.clone(), f.clone()))
        .collect();
    let named: Vec<&str> = faults.iter().map(|(jti, _)| jti.as_str()).collect();
    assert_eq!(named, ["a", "b", "d", "x"], "{faults:?}");
    assert!(faults.iter().all(|(_, fault)| fault["err"] == "invalid_request"), "{faults:?}");
    scope.drain(Duration::from_secs(1)).await;
    assert!(about(&world.log().await, "signal.invalid_request", "cannot be read within the 8 MiB"));
}

#[tokio::test]
async fn an_answer_that_does_not_read_at_all_is_said_once_and_heard_again_when_it_is_mended() {
    let (world, signals, foreign, scope) = polling().await;
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    revoked(&world, &foreign, "z", "alice");
    // not even the name of the first token ends within what is read
    foreign.odd.lock().unwrap().insert("a".repeat(HUGE), json!("x"));
    signals.start(&scope.spawner());
    until("two polls", || foreign.polls.lock().unwrap().len() >= 2).await;
    assert_eq!(lease.tunnel().access(), Access::Open);
    foreign.odd.lock().unwrap().clear();
    until("the end of the tunnel", || lease.tunnel().access() != Access::Open).await;
    scope.drain(Duration::from_secs(1)).await;
    let log = world.log().await;
    assert!(about(&log, "signal.unreadable", "larger than 8 MiB"), "{log:?}");
    assert_eq!(log.iter().filter(|line| line["status_code"] == "signal.unreadable").count(), 1);
}
