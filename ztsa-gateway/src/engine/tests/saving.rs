//! Policy files as programs save them: piece by piece.

use super::World;
use super::evaluation::state;

const PERMIT: &str = "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n";
const FORBID: &str = "@id(\"no-db\") forbid (principal, action, resource == App::\"db\");\n";

#[test]
fn a_file_that_is_half_saved_ends_no_tunnel() {
    let world = World::with(PERMIT);
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let step = || world.engine.reload_changed_policies();
    // what an editor, `cp` or `git checkout` leaves for a moment
    world.policies("");
    step();
    assert_eq!(state(&lease), "open");
    world.policies(PERMIT);
    step();
    assert_eq!(state(&lease), "open");
    step();
    step();
    assert_eq!((state(&lease), world.engine.policy_count()), ("open".into(), 1));
    // what stands still counts
    world.policies("");
    step();
    step();
    assert_eq!((state(&lease), world.engine.policy_count()), ("ended app.unknown".into(), 0));
}

#[test]
fn a_directory_that_is_half_copied_lets_nobody_in() {
    let world = World::with(&format!("{PERMIT}{FORBID}"));
    let alice = world.session("alice", &["dev"], "laptop");
    let step = || world.engine.reload_changed_policies();
    let forbid = world.dir().join("policies/forbid.cedar");
    // the forbid moves into a file of its own, one file after the other
    world.policies(PERMIT);
    step();
    assert_eq!(world.open(&alice, "db").unwrap_err().code, "policy.forbidden");
    std::fs::write(&forbid, FORBID).unwrap();
    step();
    assert_eq!(world.open(&alice, "db").unwrap_err().code, "policy.forbidden");
    step();
    assert_eq!(world.open(&alice, "db").unwrap_err().code, "policy.forbidden");
    assert!(world.open(&alice, "wiki").is_ok());
    std::fs::remove_file(&forbid).unwrap();
    step();
    step();
    assert!(world.open(&alice, "db").is_ok(), "what stands still counts");
}

#[tokio::test]
async fn a_mistake_is_told_once_and_an_administrator_waits_for_no_step() {
    let world = World::with(PERMIT);
    world.policies("permit (principal, action, resource) when { 1 };");
    for _ in 0..5 {
        world.engine.reload_changed_policies();
    }
    world.policies(&format!("{PERMIT}{FORBID}"));
    assert_eq!(world.engine.reload_policies().unwrap().0, 2);
    for _ in 0..3 {
        world.engine.reload_changed_policies();
    }
    let log = world.log().await;
    let told = |outcome: u64| {
        let policy = |line: &&serde_json::Value| line["metadata"]["event_code"] == "policy";
        log.iter().filter(policy).filter(|line| line["status_id"] == outcome).count()
    };
    assert_eq!((told(1), told(2)), (2, 1), "loaded at the start and by the administrator, refused once: {log:#?}");
}
