use std::fmt::Write as _;

use proptest::prelude::*;
use ztsa_proto::why::{Change, ConditionKind as Kind};

use super::*;
use crate::policy::case::parse;
use crate::policy::{Change as Found, View};

const RULES: &str = r#"
@id("dev") permit (principal in Group::"dev", action, resource in Tag::"intranet");
@id("ops") permit (principal in Group::"ops", action, resource in Tag::"prod");
@id("disk") @remedy("turn on LUKS")
forbid (principal, action, resource in Tag::"prod") unless { context.device.posture.disk_root.state == "pass" };
@id("fw") @mode("monitor")
forbid (principal, action, resource in Tag::"prod") unless { context.device.posture.fw_enabled.state == "pass" };
@id("fresh") @step_up("mfa") @max_age("8h")
forbid (principal, action, resource == App::"payroll") unless { ["mfa", "phr"].contains(context.auth.acr) && context.auth.age < 28800 };
@id("calm") forbid (principal, action, resource == App::"payroll") when { context.risk.user >= 30 };
@id("patched") forbid (principal, action, resource == App::"wiki")
unless { context.device.posture.os_patch_age.number <= 30 };
@id("hours") forbid (principal, action, resource == App::"wiki") unless { context.time.hour >= 6 && context.time.hour < 20 };
"#;

/// What would change the answer to a case, in words.
fn words(policies: &Policies, case: &str, groups: bool) -> Vec<String> {
    let case = parse(case).unwrap().pop().unwrap();
    let (scene, app) = case.scene(policies, &apps()).unwrap();
    let request = scene.request(&app);
    let changes = policies.changes(&request, View { groups, signals: false }, &|request| policies.decide(request));
    changes.into_iter().map(Found::told).map(|change: Change| change.to_string()).collect()
}

#[test]
fn one_thing_at_a_time_is_tried_and_only_what_turns_the_answer_is_told() {
    let policies = compile(RULES);
    let words = |case: &str| words(&policies, case, false);
    assert_eq!(
        words("[[case]]\napp = \"db-prod\"\ngroups = [\"ops\"]\nposture = { \"disk.root\" = \"fail\" }"),
        ["allowed when disk.root passes (now fail)"],
        "what is only monitored changes nothing"
    );
    let payroll = "[[case]]\napp = \"payroll\"\ngroups = [\"ops\"]\nposture = { \"disk.root\" = \"pass\" }\n";
    assert_eq!(
        words(&format!("{payroll}auth = {{ acr = \"pwd\", age = 9 }}")),
        [
            "allowed when the sign-in is fresh and as strong as mfa (now pwd)",
            "allowed when the sign-in is fresh and as strong as phr (now pwd)"
        ]
    );
    assert_eq!(
        words(&format!("{payroll}auth = {{ acr = \"phr\", age = 30000 }}")),
        ["allowed when the sign-in is fresh"]
    );
    assert_eq!(
        words(&format!("{payroll}auth = {{ acr = \"mfa\", age = 9 }}\nrisk = {{ user = 72 }}")),
        ["allowed when the user's risk falls to 29 (now 72)"],
        "the score that is just enough"
    );
    assert_eq!(
        words(
            "[[case]]\napp = \"wiki\"\ngroups = [\"dev\"]\nposture = { \"os.patch_age\" = { state = \"pass\", value = 45 } }"
        ),
        ["allowed when os.patch_age passes with a lower value (now 45)"]
    );
}

#[test]
fn where_no_single_thing_is_enough_the_fewest_together_are_told() {
    let policies = compile(RULES);
    let case = "[[case]]\napp = \"payroll\"\ngroups = [\"ops\"]\nposture = { \"disk.root\" = \"fail\" }\nrisk = { user = 40, device = 3 }\nauth = { age = 4 }";
    assert_eq!(
        words(&policies, case, false),
        [
            "allowed when disk.root passes (now fail), and the user's risk falls to 29 (now 40), and the sign-in is fresh and as strong as mfa"
        ],
        "nothing of the device's own risk and its approval, which are not needed"
    );
}

#[test]
fn what_is_allowed_says_what_would_end_it() {
    let policies = compile(RULES);
    // noon, in office hours until 20 h
    let wiki = "[[case]]\napp = \"wiki\"\ngroups = [\"dev\"]\nposture = { \"os.patch_age\" = { state = \"pass\", value = 12 } }";
    assert_eq!(words(&policies, wiki, false), ["denied from 2026-01-05T20:00:00Z on by itself"]);
    let payroll = "[[case]]\napp = \"payroll\"\ngroups = [\"ops\"]\nposture = { \"disk.root\" = \"pass\" }\nauth = { acr = \"mfa\", age = 3600 }";
    assert_eq!(
        words(&policies, payroll, false),
        [
            "open after a stronger sign-in from 2026-01-05T19:00:00Z on by itself",
            "denied when disk.root fails",
            "denied when the user's risk rises to 30 (now 0)",
        ]
    );
    let night = "[[case]]\napp = \"wiki\"\ngroups = [\"dev\"]\nat = 1767650000\nposture = { \"os.patch_age\" = { state = \"pass\", value = 12 } }";
    let opens = words(&policies, night, false);
    assert_eq!(opens.len(), 1);
    assert!(opens[0].starts_with("allowed from 2026-01-06T06:0"), "{opens:?}");
}

#[test]
fn groups_are_named_to_administrators_only_and_a_hidden_app_says_nothing_to_anybody() {
    let policies = compile(
        "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"ops-only\") forbid (principal, action, resource == App::\"payroll\") unless { principal in Group::\"ops\" };",
    );
    let case = "[[case]]\napp = \"payroll\"\ngroups = [\"dev\"]";
    assert!(words(&policies, case, false).is_empty());
    assert_eq!(words(&policies, case, true), ["allowed when the person is in the group ops"]);
    let hidden = compile(RULES);
    let db = "[[case]]\napp = \"db-prod\"\ngroups = [\"dev\"]\nposture = { \"disk.root\" = \"pass\" }";
    assert!(words(&hidden, db, false).is_empty());
    assert_eq!(words(&hidden, db, true), ["allowed when the person is in the group ops"]);
    let payroll = "[[case]]\napp = \"payroll\"\ngroups = [\"dev\"]";
    assert!(words(&hidden, payroll, false).is_empty());
    assert_eq!(
        words(&hidden, payroll, true),
        [
            "allowed when disk.root passes (now unknown), and the sign-in is fresh and as strong as mfa, and the person is in the group ops"
        ],
        "what more they need than the group"
    );
}

#[test]
fn a_group_that_keeps_people_out_is_not_among_those_that_would_let_them_in() {
    let policies = compile(
        "@id(\"ops\") permit (principal in Group::\"ops\", action, resource == App::\"payroll\");\n\
         @id(\"not\") forbid (principal in Group::\"contractors\", action, resource);\n\
         @id(\"disk\") forbid (principal, action, resource) unless { context.device.posture.disk_root.state == \"pass\" };",
    );
    assert_eq!(
        words(&policies, "[[case]]\napp = \"payroll\"", true),
        ["allowed when disk.root passes (now unknown), and the person is in the group ops"]
    );
}

#[test]
fn what_monitored_policies_would_do_is_found_by_enforcing_them() {
    let policies = compile(RULES);
    let case = "[[case]]\napp = \"db-prod\"\ngroups = [\"ops\"]\nposture = { \"disk.root\" = \"pass\" }";
    let (scene, app) = parse(case).unwrap().pop().unwrap().scene(&policies, &apps()).unwrap();
    let monitored = policies.monitored(&scene.request(&app));
    let one = monitored.first().unwrap();
    assert_eq!((monitored.len(), one.rule.id.as_str(), one.would), (1, "fw", case::Expect::Deny));
    assert_eq!(one.code.as_deref(), Some("posture.firewall"));
}

#[test]
fn nobody_is_told_the_remedy_of_a_policy_that_did_not_decide() {
    let policies = compile(
        "@id(\"falcon\") @remedy(\"ask Robin to enrol the laptop in project Falcon\")\n\
         forbid (principal in Group::\"falcon\", action, resource) unless { context.device.posture.disk_root.state == \"pass\" };\n\
         @id(\"ops\") permit (principal in Group::\"ops\", action, resource);\n\
         @id(\"disk\") forbid (principal, action, resource) unless { context.device.posture.disk_root.state == \"pass\" };\n\
         @id(\"lock\") @remedy(\"lock it\") forbid (principal, action, resource == App::\"wiki\")\n\
         unless { context.device.posture.lock_enabled.state == \"pass\" };",
    );
    let remedies = |case: &str| -> Vec<Option<String>> {
        let (scene, app) = parse(case).unwrap().pop().unwrap().scene(&policies, &apps()).unwrap();
        let view = View { groups: false, signals: false };
        let changes = policies.changes(&scene.request(&app), view, &|request| policies.decide(request));
        changes.into_iter().flat_map(|change| change.when).map(|condition| condition.remedy).collect()
    };
    let known = ztsa_proto::posture::describe("disk.root").unwrap().remedy.to_owned();
    assert_eq!(remedies("[[case]]\napp = \"payroll\"\ngroups = [\"ops\"]"), [Some(known.clone())]);
    assert_eq!(
        remedies("[[case]]\napp = \"payroll\"\ngroups = [\"ops\", \"falcon\"]"),
        [Some("ask Robin to enrol the laptop in project Falcon".to_owned())]
    );
    assert_eq!(
        remedies("[[case]]\napp = \"wiki\"\ngroups = [\"ops\"]"),
        [Some(known), Some("lock it".to_owned())],
        "both decided, and each says its own"
    );
}

#[test]
fn however_much_policies_name_the_answers_asked_for_are_bounded() {
    let mut text = "@id(\"ops\") permit (principal in Group::\"ops\", action, resource);\n".to_owned();
    let classes: Vec<String> = (0..1_000).map(|number| format!("\"class{number}\"")).collect();
    write!(
        text,
        "@id(\"acr\") forbid (principal, action, resource) unless {{ [{}].contains(context.auth.acr) }};",
        classes.join(", ")
    )
    .unwrap();
    for number in 0..300 {
        writeln!(text, "permit (principal in Group::\"group{number}\", action, resource);").unwrap();
    }
    text.push_str("@id(\"never\") forbid (principal, action, resource) unless { context.risk.user > 50 };\n");
    text.push_str("@id(\"late\") forbid (principal, action, resource) when { context.auth.age < 0 };");
    let policies = compile(&text);
    for (groups, view) in [("[\"ops\"]", false), ("[]", true)] {
        let (scene, app) = parse(&format!("[[case]]\napp = \"wiki\"\ngroups = {groups}\nauth = {{ acr = \"pwd\" }}"))
            .unwrap()
            .pop()
            .unwrap()
            .scene(&policies, &apps())
            .unwrap();
        let asked = std::cell::Cell::new(0);
        let decide = |request: &Request<'_>| {
            asked.set(asked.get() + 1);
            policies.decide(request)
        };
        policies.changes(&scene.request(&app), View { groups: view, signals: true }, &decide);
        assert!((100..600).contains(&asked.get()), "{} answers", asked.get());
    }
}

#[test]
fn a_monitored_permit_is_told_of_those_whom_it_would_let_in_and_not_to_them() {
    let policies = compile(
        "@id(\"ops\") permit (principal in Group::\"ops\", action, resource == App::\"payroll\");\n\
         @id(\"try\") @mode(\"monitor\") permit (principal in Group::\"dev\", action, resource == App::\"payroll\");\n\
         @id(\"stop\") @mode(\"monitor\") forbid (principal, action, resource);",
    );
    let (scene, app) = parse("[[case]]\napp = \"payroll\"\ngroups = [\"dev\"]")
        .unwrap()
        .pop()
        .unwrap()
        .scene(&policies, &apps())
        .unwrap();
    let request = scene.request(&app);
    let monitored = policies.monitored(&request);
    let told: Vec<_> = monitored.iter().map(|one| (one.rule.id.as_str(), one.would)).collect();
    assert_eq!(told, [("try", case::Expect::Allow)], "and no forbid, which would change nothing");
    let explained = policies.explain(&request);
    assert_eq!(explained.decision.problem().unwrap().code, "app.unknown");
    assert!(explained.rules.is_empty() && explained.missing.is_empty() && explained.decision.shadow.is_empty());
    let (scene, app) = parse("[[case]]\napp = \"payroll\"\ngroups = [\"sales\"]")
        .unwrap()
        .pop()
        .unwrap()
        .scene(&policies, &apps())
        .unwrap();
    assert_eq!(policies.monitored(&scene.request(&app)), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is told holds: deciding again with it gives the answer that was promised.
    #[test]
    fn every_change_that_is_told_does_what_it_says(
        app in prop::sample::select(vec!["wiki", "db-prod", "payroll"]),
        groups in prop::sample::subsequence(vec!["dev", "ops"], 1..=2),
        disk in prop::sample::select(vec!["pass", "fail", "unknown"]),
        acr in prop::sample::select(vec!["pwd", "mfa"]),
        age in 0_u64..60_000, risk in 0_u8..100, approved in any::<bool>(), hour in 0_u64..24,
    ) {
        let policies = compile(RULES);
        let device = if approved { "approved" } else { "unmanaged" };
        let text = format!(
            "[[case]]\napp = \"{app}\"\ngroups = {groups:?}\ndevice = \"{device}\"\nauth = {{ acr = \"{acr}\", age = {age} }}\n\
             risk = {{ user = {risk} }}\nposture = {{ \"disk.root\" = \"{disk}\" }}\nat = {}", 1_767_571_200 + hour * 3_600
        );
        let (scene, app) = parse(&text).unwrap().pop().unwrap().scene(&policies, &apps()).unwrap();
        let request = scene.request(&app);
        let asked = std::cell::Cell::new(0);
        let decide = |request: &Request<'_>| { asked.set(asked.get() + 1); policies.decide(request) };
        let changes = policies.changes(&request, View { groups: true, signals: false }, &decide);
        prop_assert!(asked.get() < 600, "{} answers", asked.get());
        let before = case::Expect::of(&policies.decide(&request).verdict);
        for change in changes {
            prop_assert_ne!(change.answer, before);
            let mut scene = scene.clone();
            for condition in &change.when {
                match condition.kind {
                    Kind::Posture => {
                        let mut fact = scene.facts.fact(&condition.about).clone();
                        fact.state = if condition.then.as_deref() == Some("pass") { ztsa_proto::posture::State::Pass } else { ztsa_proto::posture::State::Fail };
                        scene.facts = scene.facts.with(&condition.about, fact);
                    }
                    Kind::SignIn => {
                        let identity = Arc::make_mut(&mut scene.identity);
                        identity.auth_time = Some(scene.now);
                        if condition.then.is_some() { identity.acr.clone_from(&condition.then); }
                    }
                    Kind::Risk => scene.scores.user = condition.then.as_deref().unwrap().parse().unwrap(),
                    Kind::Device => scene.device_state = condition.then.clone().unwrap(),
                    Kind::Group => Arc::make_mut(&mut scene.identity).groups.push(condition.then.clone().unwrap()),
                    Kind::Time => scene.now = change.at.unwrap(),
                    Kind::PostureValue => {
                        let mut fact = scene.facts.fact(&condition.about).clone();
                        fact.state = ztsa_proto::posture::State::Pass;
                        fact.value = Some("0".to_owned());
                        scene.facts = scene.facts.with(&condition.about, fact);
                    }
                    Kind::Signals | Kind::Other => prop_assert!(false, "{condition:?}"),
                }
            }
            if change.when.iter().all(|condition| !matches!(condition.kind, Kind::Risk) || condition.about == "user") {
                let after = case::Expect::of(&policies.decide(&scene.request(&app)).verdict);
                prop_assert_eq!(after, change.answer, "{:?}", change);
            }
        }
    }
}
