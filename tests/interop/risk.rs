//! Risk as administrators say and read it.

use std::time::SystemTime;

use serde_json::Value;

use crate::gateway::Gateway;
use crate::home::Home;

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn a_score_is_shown_with_what_it_is_made_of_and_when_it_ends() {
    let gateway = Gateway::dev(&[]);
    let _home = Home::signed_in(&gateway);
    assert_eq!(gateway.admin(&["risk", "show"]).ok(), "there is no risk signal\n");
    let set = gateway.admin(&["risk", "set", "alice", "70", "--reason", "a badge was lost", "--for", "1h"]).ok();
    let (until, changed) = set.trim_end().split_once(" until ").unwrap().1.split_once(": ").unwrap();
    assert_eq!(changed, "no live tunnel changed");

    let shown = gateway.admin(&["risk", "show", "alice"]).ok();
    let [head, row] = shown.lines().map(cells).collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{shown}"));
    assert_eq!(head, ["ABOUT", "SCORE", "SIGNAL", "POINTS", "REASON", "SOURCE", "UNTIL"]);
    assert_eq!(row, ["Alice", "70", "admin", "70", "a badge was lost", "admin", until]);

    let answer = gateway.admin(&["risk", "show", "alice", "--json"]).ok();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let about = &answer["risk"][0];
    assert_eq!((&about["name"], &about["score"]), (&"Alice".into(), &70.into()), "{answer}");
    let [signal] = about["signals"].as_array().unwrap().as_slice() else { panic!("{answer}") };
    assert_eq!((&signal["score"], &signal["reason"]), (&70.into(), &"a badge was lost".into()), "{answer}");
    assert_eq!(signal["source"], "admin", "{answer}");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let left = signal["expires_at"].as_u64().unwrap() - now;
    assert!((3_400..=3_600).contains(&left), "{left} s are left: {answer}");

    gateway.admin(&["risk", "clear", "alice"]).ok();
    let cleared = gateway.admin(&["risk", "show", "alice"]).ok();
    assert_eq!(cells(cleared.lines().last().unwrap())[..2], ["Alice", "0"], "{cleared}");
}
