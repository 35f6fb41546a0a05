//! What was decided is decided again from the audit log alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use ztsa_proto::grant::GrantRequest;
use ztsa_proto::posture::{Assurance, State};

use super::World;
use super::evaluation::{about, report};
use super::world::{PEER, thumbprint};
use crate::audit::{Activity, By};
use crate::policy::case::Expect;
use crate::policy::replay::{Filter, Group, Line, Log, Lost, Replay, Report, Turn, find};
use crate::policy::{Policies, Source};
use crate::posture::Attested;
use crate::store::DeviceState;

const RULES: &str = r#"
@id("dev") permit (principal in Group::"dev", action == Action::"connect", resource);
@id("disk") @code("posture.disk_encryption")
forbid (principal, action, resource in Tag::"prod") unless { context.device.posture.disk_root.state == "pass" };
@id("mfa") @step_up("mfa") forbid (principal, action, resource == App::"payroll") unless { context.auth.acr == "mfa" };
@id("young") @mode("monitor")
forbid (principal, action, resource == App::"wiki") when { context.device.posture.disk_root.age == 40 };
"#;

fn compile(world: &World, text: &str) -> Policies {
    let source = Source { file: PathBuf::from("new.cedar"), text: text.to_owned() };
    Policies::compile(&[source], &world.engine.config().apps, &std::sync::Arc::default()).unwrap()
}

fn replay(world: &World, text: &str, filter: Filter) -> Report {
    let policies = compile(world, text);
    let config = world.engine.config();
    let mut replay = Replay::new(&policies, &config.apps, filter);
    replay.file(std::fs::read(&config.audit.file).unwrap().as_slice()).unwrap();
    replay.finish()
}

/// A day of a small company: every sort of answer, by policy and by others.
async fn day() -> World {
    let world = World::with(RULES);
    let (alice, bob) = (world.session("alice", &["dev"], "laptop"), world.session("bob", &["dev", "ops"], "tablet"));
    let mallory = world.session("mallory", &[], "phone");
    let all = |session: &_| {
        for app in ["wiki", "db", "payroll"] {
            let _ = world.open(session, app);
        }
    };
    all(&alice);
    world.engine.posture_reported(&thumbprint("laptop"), report(&world, &[("disk.root", State::Pass)]));
    world.hand.advance(Duration::from_secs(40));
    all(&alice);
    all(&bob);
    all(&mallory);
    world.engine.not_found(Activity::Connect, &alice, PEER, "nothing");
    world.engine.not_found(Activity::Explain, &bob, PEER, "nothing");
    let request = GrantRequest { app: "db".parse().unwrap(), reason: Some("ticket 7".to_owned()) };
    world.engine.grant(&alice, &request, PEER).unwrap();
    world.engine.why(&alice, &"db".parse().unwrap(), PEER).unwrap();
    world.engine.risk_set(&about(&bob), 90, "lost", None);
    all(&bob);
    world.engine.device_set(&thumbprint("laptop"), DeviceState::Blocked).unwrap();
    all(&alice);
    world.log().await;
    world
}

fn group(report: &Report, before: Expect, after: Expect) -> &Group {
    let mut groups = report.groups.iter().filter(|group| (group.key.before, group.key.after) == (before, after));
    let group = groups.next().unwrap_or_else(|| panic!("{report:?}"));
    assert!(groups.next().is_none(), "{report:?}");
    group
}

#[tokio::test]
async fn the_same_policies_turn_nothing() {
    let world = day().await;
    let report = replay(&world, RULES, Filter::default());
    assert_eq!((report.groups.as_slice(), report.turned()), ([].as_slice(), 0));
    // 12 questions about apps of three people, and one grant
    assert_eq!((report.replayed, report.unchanged, report.by_others), (13, 13, 0));
    assert_eq!(report.outside, [(By::Risk, 3), (By::Standing, 3)].into());
    assert_eq!((&report.lost, report.no_app), (&[].into(), 1));
    assert_eq!((report.questions, report.foreign, report.torn), (2, 0, 0));
    // the age of a fact is that of the decision, not of its line
    assert_eq!(report.monitored, [("young".to_owned(), 1)].into());
}

#[tokio::test]
async fn exactly_what_a_change_turns_is_told() {
    let world = day().await;
    let changed = RULES
        .replace(
            "forbid (principal, action, resource in Tag::\"prod\")",
            "forbid (principal, action, resource in Tag::\"none\")",
        )
        .replace("@step_up(\"mfa\") ", "")
        + "@id(\"mobile\") @reason(\"no tablets\") forbid (principal == User::\"https://idp.example|bob\", action, resource == App::\"wiki\");";
    let report = replay(&world, &changed, Filter::default());
    let opened = group(&report, Expect::Deny, Expect::Allow);
    assert_eq!((opened.count, opened.key.turn()), (2, Turn::Loosen));
    assert_eq!(
        (&opened.key.policies_before[..], &opened.key.policies_after[..]),
        (&["disk".to_owned()][..], &["dev".to_owned()][..])
    );
    assert_eq!(opened.key.code_before.as_deref(), Some("posture.disk_encryption"));
    let people: Vec<&str> = opened.people.values().map(String::as_str).collect();
    assert_eq!((people, opened.apps.len()), (vec!["alice", "bob"], 1));
    assert_eq!(opened.last.since(opened.first), Duration::from_secs(40));
    let closed = group(&report, Expect::Allow, Expect::Deny);
    assert_eq!((closed.count, closed.key.code_after.as_deref()), (1, Some("policy.forbidden")));
    assert_eq!(group(&report, Expect::StepUp, Expect::Deny).count, 3);
    assert_eq!((report.turned(), report.unchanged), (6, 7));
    assert_eq!(report.groups[0].key.turn(), Turn::Loosen, "what opens comes first");
    let of_bob = Filter { user: Some("bob".to_owned()), app: Some("wiki".parse().unwrap()), since: None };
    let report = replay(&world, &changed, of_bob);
    assert_eq!((report.replayed, report.turned()), (1, 1));
    let later = Filter { since: Some(world.engine.now()), ..Filter::default() };
    assert_eq!(replay(&world, &changed, later).replayed, 10);
}

#[tokio::test]
async fn a_permit_that_is_only_watched_counts_those_whom_it_would_let_in() {
    let world = day().await;
    let text = format!("{RULES}@id(\"all\") @mode(\"monitor\") permit (principal, action, resource == App::\"wiki\");");
    let report = replay(&world, &text, Filter::default());
    assert_eq!(report.turned(), 0);
    // alice twice and bob, who may already, and mallory, from whom the wiki is hidden
    assert_eq!(report.monitored.get("all"), Some(&4));
}

#[tokio::test]
async fn a_fact_that_nobody_was_asked_for_is_named() {
    let world = day().await;
    let text = format!(
        "{RULES}@id(\"fw\") forbid (principal, action, resource == App::\"wiki\") unless {{ context.device.posture.fw_enabled.state == \"pass\" }};"
    );
    let closed = replay(&world, &text, Filter::default());
    let closed = group(&closed, Expect::Allow, Expect::Deny);
    assert_eq!((closed.count, closed.untold.iter().map(String::as_str).collect::<Vec<_>>()), (3, vec!["fw.enabled"]));
}

#[tokio::test]
async fn lines_that_say_nothing_are_counted_and_harm_nothing() {
    let world = day().await;
    let config = world.engine.config();
    let text = std::fs::read_to_string(&config.audit.file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decided = |line: &&Value| line["class_uid"] == 3003 && line["unmapped"]["input"].is_object();
    let mut old = lines.iter().find(decided).unwrap().clone();
    old["unmapped"].as_object_mut().unwrap().remove("input");
    let mut newer = lines.iter().find(decided).unwrap().clone();
    newer["unmapped"]["input"]["v"] = json!(2);
    newer["unmapped"]["input"]["risk"] = json!("elsewhere");
    let mut stray = lines.iter().find(decided).unwrap().clone();
    stray["unmapped"]["input"]["person"] = json!("gone");
    let long = "x".repeat(3 * 1024 * 1024);
    let odd = format!("{old}\n{newer}\n{stray}\nno json\n{{\"class_uid\":3003}}\n\n{long}\n{text}{}", &text[..200]);
    let policies = compile(&world, RULES);
    let mut replay = Replay::new(&policies, &config.apps, Filter::default());
    replay.file(odd.as_bytes()).unwrap();
    let report = replay.finish();
    assert_eq!((report.replayed, report.unchanged, report.foreign, report.torn), (13, 13, 3, 1));
    assert_eq!(report.lost, [(Lost::NoInput, 1), (Lost::Newer, 1), (Lost::NoSheet, 1)].into());
    // whom such a line is about, and when, is known all the same
    let lost = |filter: Filter| {
        let mut replay = Replay::new(&policies, &config.apps, filter);
        replay.file(odd.as_bytes()).unwrap();
        let report = replay.finish();
        (report.lost.values().sum::<u64>(), report.no_app, report.questions)
    };
    let of = |user: &str| Filter { user: Some(user.to_owned()), ..Filter::default() };
    assert_eq!(lost(of("alice")), (3, 1, 1));
    assert_eq!((lost(of("bob")), lost(of("mallory"))), ((0, 0, 1), (0, 0, 0)));
    assert_eq!(lost(Filter { app: Some("db".parse().unwrap()), ..Filter::default() }), (0, 0, 1));
    assert_eq!(
        lost(Filter { since: Some(world.engine.now().plus(Duration::from_secs(1))), ..Filter::default() }),
        (0, 0, 0)
    );
    // an app that the configuration does not have any more
    let apps = &config.apps[..1];
    let mut replay = Replay::new(&policies, apps, Filter::default());
    replay.file(text.as_bytes()).unwrap();
    let report = replay.finish();
    assert_eq!((report.replayed, report.lost.get(&Lost::AppGone)), (4, Some(&9)));
}

#[tokio::test]
async fn claims_and_facts_that_somebody_changed_are_left_out_and_counted() {
    let world = day().await;
    let config = world.engine.config();
    let text = std::fs::read_to_string(&config.audit.file).unwrap();
    let policies = compile(&world, RULES);
    let replayed = |text: &str| {
        let mut replay = Replay::new(&policies, &config.apps, Filter::default());
        replay.file(text.as_bytes()).unwrap();
        replay.finish()
    };
    assert_eq!((replayed(&text).altered, replayed(&text).replayed), (0, 13));
    // mallory's claims get a group, under the digest of what they were
    let promoted = text.replace("\"groups\":[]", "\"groups\":[\"dev\"]");
    let report = replayed(&promoted);
    assert_eq!(
        (report.altered, report.turned(), report.replayed),
        (1, 0, 10),
        "her three decisions are not made again"
    );
    assert_eq!(report.lost.get(&Lost::NoSheet), Some(&3));
    // and so for what a device said
    let state = |state: &str| format!("\"disk.root\":{{\"state\":\"{state}\"");
    assert!(text.contains(&state("pass")), "{text}");
    let failed = replayed(&text.replace(&state("pass"), &state("fail")));
    assert_eq!((failed.altered, failed.turned()), (1, 0));
}

#[tokio::test]
async fn a_report_of_which_nothing_could_be_decided_again_says_nothing() {
    let world = day().await;
    let config = world.engine.config();
    let text = std::fs::read_to_string(&config.audit.file).unwrap();
    let policies = compile(&world, RULES);
    let void = |wanted: &dyn Fn(&Value) -> bool| {
        let lines = text.split_inclusive('\n').filter(|line| wanted(&serde_json::from_str(line).unwrap()));
        let mut replay = Replay::new(&policies, &config.apps, Filter::default());
        replay.file(lines.collect::<String>().as_bytes()).unwrap();
        replay.finish().is_void()
    };
    let by = |line: &Value, who: &str| line["unmapped"]["input"]["by"] == who;
    let sheet = |line: &Value| line["class_uid"] == 5002 || line["class_uid"] == 5003;
    assert!(!void(&|_| true));
    assert!(void(&|_| false), "no line at all");
    assert!(!void(&|line| sheet(line) || by(line, "risk")), "policy had no say in any of them");
    let no_app = |line: &Value| line["status_code"] == "app.unknown" && line["dst_endpoint"].is_null();
    assert!(!void(&|line| sheet(line) || no_app(line)), "there was nothing to decide in any of them");
    assert!(void(&|line| by(line, "risk") || by(line, "policy")), "what they were decided from is missing");
    let of_alice = |line: &Value| line.to_string().contains("alice");
    let known = |line: &Value| sheet(line) && !of_alice(line);
    assert!(
        void(&|line| known(line) || by(line, "risk") || by(line, "policy") && of_alice(line)),
        "all of alice is missing"
    );
}

#[tokio::test]
async fn a_decision_is_found_by_the_id_that_the_person_was_told() {
    let world = day().await;
    let bob = world.session("bob", &["dev"], "tablet");
    world.engine.risk_clear(&about(&bob)).unwrap();
    let id = world.open(&bob, "db").unwrap_err().decision.clone().unwrap();
    world.log().await;
    let policies = compile(&world, RULES);
    let file = std::fs::read(&world.engine.config().audit.file).unwrap();
    let found = find(file.as_slice(), &id, &mut Log::default(), &policies).unwrap();
    let Some(Line::Decision(past)) = found else { panic!("{found:?}") };
    assert_eq!((past.app.as_str(), past.answer, past.by), ("db", Expect::Deny, By::Policy));
    assert_eq!(past.recalled.device, thumbprint("tablet"));
    assert!(find(file.as_slice(), "nope", &mut Log::default(), &policies).unwrap().is_none());
}

#[tokio::test]
async fn no_line_holds_a_token_and_a_decision_is_short() {
    let world = day().await;
    let text = std::fs::read_to_string(&world.engine.config().audit.file).unwrap();
    let longest = text.lines().filter(|line| line.contains("\"input\"")).map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["unmapped"]["input"].to_string().len()
    });
    let longest = longest.max().unwrap();
    assert!(longest < 200, "{longest} bytes");
    assert!(Path::new(&world.engine.config().audit.file).exists());
}

#[tokio::test]
async fn who_stood_behind_a_fact_is_decided_from_again() {
    let rules = r#"
permit (principal, action, resource);
@id("vouched") forbid (principal, action, resource in Tag::"prod")
unless { context.device.posture.disk_root.state == "pass" && context.device.posture.disk_root.assurance == "third_party" };
"#;
    let world = World::with(rules);
    let alice = world.session("alice", &["dev"], "laptop");
    world.engine.posture_reported(&alice.device, report(&world, &[("disk.root", State::Pass)]));
    assert!(world.open(&alice, "db").is_err(), "its own word is not enough");
    // what nobody else vouched for is written as it was before anybody could
    let said = |log: &[Value]| json!(log).to_string().contains("assurance");
    assert!(!said(&world.log().await));
    let now = world.engine.now();
    let told = Attested {
        state: State::Pass,
        source: "edr".to_owned(),
        at: now,
        expires_at: now.plus(Duration::from_secs(60)),
    };
    world.engine.attest(&alice.device, vec![("disk.root".to_owned(), told)]);
    assert!(world.open(&alice, "db").is_ok());
    let checks = world.engine.session_info(&alice).posture;
    let told =
        checks.iter().map(|check| (check.id.as_str(), check.source.as_str(), check.assurance)).collect::<Vec<_>>();
    assert_eq!(told, [("disk.root", "edr", Assurance::ThirdParty)], "the person is told whose word it is");
    world.hand.advance(Duration::from_secs(61));
    assert!(world.open(&alice, "db").is_err(), "it has run out");
    assert!(said(&world.log().await));
    let same = replay(&world, rules, Filter::default());
    assert_eq!((same.replayed, same.turned()), (3, 0));
    let own = replay(&world, &rules.replace("third_party", "self"), Filter::default());
    assert_eq!(own.turned(), 3);
}
