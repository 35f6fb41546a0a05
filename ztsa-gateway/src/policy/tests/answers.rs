use std::fmt::Write as _;

use super::*;
use crate::policy::case::{Expect, parse};

/// Tries cases, written as people write them, and names those that come out otherwise.
pub(super) fn check(policies: &str, cases: &str) {
    let policies = compile(policies);
    let cases = parse(cases).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let outcome = case.try_on(&ground(&policies, &apps())).unwrap();
        assert!(outcome.wrong.is_empty(), "{}: {:?} {:?}", case.name, outcome.wrong, outcome.explanation);
    }
}

const POLICIES: &str = r#"
@id("dev-wiki") @reason("developers read the wiki")
permit (principal in Group::"dev", action == Action::"connect", resource in Tag::"intranet");

@id("ops-prod")
permit (principal in Group::"ops", action == Action::"connect", resource in Tag::"prod");

@id("encrypted") @code("posture.disk_encryption")
@reason("production needs an encrypted disk") @remedy("turn on LUKS")
forbid (principal, action, resource in Tag::"prod")
unless { context.device.posture.disk_root.state == "pass" };

@id("fresh") @step_up("phr") @max_age("5m") @reason("payroll needs a fresh sign-in")
forbid (principal, action, resource == App::"payroll")
unless { context.auth.acr == "phr" && context.auth.age <= 300 };

@id("weekend") @mode("monitor")
forbid (principal, action, resource == App::"db-prod") when { context.time.weekday >= 6 };
"#;

#[test]
fn everything_is_denied_without_a_policy() {
    check("", "[[case]]\napp = \"wiki\"\ngroups = [\"dev\", \"ops\"]\nexpect = \"deny\"\ncode = \"app.unknown\"");
}

#[test]
fn scopes_conditions_and_annotations_make_the_answer() {
    check(
        POLICIES,
        r#"
[[case]]
name = "a developer reads the wiki"
groups = ["dev"]
app = "wiki"
expect = "allow"
policies = ["dev-wiki"]
[[case]]
name = "a developer does not know production"
groups = ["dev"]
app = "db-prod"
expect = "deny"
code = "app.unknown"
[[case]]
name = "a disk that is not known to be encrypted is not"
groups = ["ops"]
app = "db-prod"
expect = "deny"
code = "posture.disk_encryption"
policies = ["encrypted"]
[[case]]
name = "a disk that is not"
groups = ["ops"]
app = "db-prod"
expect = "deny"
code = "posture.disk_encryption"
posture = { "disk.root" = "fail" }
[[case]]
name = "a disk that is"
groups = ["ops"]
app = "db-prod"
expect = "allow"
posture = { "disk.root" = "pass" }
policies = ["ops-prod"]
[[case]]
name = "payroll needs more"
groups = ["ops"]
app = "payroll"
expect = "step_up"
code = "auth.step_up"
posture = { "disk.root" = "pass" }
policies = ["fresh"]
[[case]]
name = "more does not help without the disk"
groups = ["ops"]
app = "payroll"
expect = "deny"
code = "posture.disk_encryption"
[[case]]
name = "a strong but old sign-in"
groups = ["ops"]
app = "payroll"
auth = { acr = "phr", age = 301 }
expect = "step_up"
posture = { "disk.root" = "pass" }
[[case]]
name = "a strong and fresh sign-in"
groups = ["ops"]
app = "payroll"
auth = { acr = "phr", age = 300 }
expect = "allow"
posture = { "disk.root" = "pass" }
[[case]]
name = "an unknown age is not fresh"
groups = ["ops"]
app = "payroll"
auth = { acr = "phr" }
expect = "step_up"
posture = { "disk.root" = "pass" }
"#,
    );
}

#[test]
fn a_refusal_carries_reason_remedy_and_what_to_ask_the_issuer_for() {
    let policies = compile(POLICIES);
    let ask = |text: &str| {
        let case = parse(text).unwrap().pop().unwrap();
        case.try_on(&ground(&policies, &apps())).unwrap().explanation
    };
    let denied = ask("[[case]]\napp = \"db-prod\"\ngroups = [\"ops\"]");
    let problem = denied.decision.problem().unwrap();
    assert_eq!(problem.detail, "production needs an encrypted disk");
    assert_eq!(problem.remedy.as_deref(), Some("turn on LUKS"));
    assert_eq!(problem.policy, ["encrypted"]);
    assert_eq!(denied.missing.first().map(|missing| missing.fact.as_str()), Some("disk.root"));
    let stepped = ask("[[case]]\napp = \"payroll\"\ngroups = [\"ops\"]\nposture = { \"disk.root\" = \"pass\" }");
    let problem = stepped.decision.problem().unwrap();
    assert_eq!((problem.acr_values.as_deref(), problem.max_age), (Some("phr"), Some(300)));
    assert_eq!(stepped.decision.on_change, Some(OnChange::Suspend), "a person can mend it while the tunnel waits");
    assert!(problem.detail.starts_with("payroll needs a fresh sign-in; issuer "), "{problem}");
    assert!(problem.detail.contains("does not tell how you signed in (`acr`) and when you signed in (`auth_time`)"));
    let told = ask(
        "[[case]]\napp = \"payroll\"\ngroups = [\"ops\"]\nauth = { acr = \"pwd\", age = 400 }\nposture = { \"disk.root\" = \"pass\" }",
    );
    assert_eq!(
        told.decision.problem().unwrap().detail,
        "payroll needs a fresh sign-in",
        "the issuer told what it knows"
    );
}

#[test]
fn a_refusal_without_words_says_which_check_decides() {
    let policies = compile(
        "permit (principal, action, resource);\n\
         forbid (principal, action, resource) unless { context.device.posture.disk_root.state == \"pass\" };",
    );
    let case = parse("[[case]]\napp = \"wiki\"").unwrap().pop().unwrap();
    let explanation = case.try_on(&ground(&policies, &apps())).unwrap().explanation;
    let problem = explanation.decision.problem().unwrap();
    assert_eq!((problem.code.as_str(), problem.exit()), ("posture.disk_encryption", 5));
    assert!(problem.detail.contains("disk.root (unknown)"), "{problem}");
    assert_eq!(problem.policy, ["main#2"]);
}

#[test]
fn monitored_policies_are_named_and_do_nothing() {
    let policies = compile(POLICIES);
    // Saturday
    let text =
        "[[case]]\napp = \"db-prod\"\ngroups = [\"ops\"]\nposture = { \"disk.root\" = \"pass\" }\nat = 1768046400";
    let outcome = parse(text).unwrap().pop().unwrap().try_on(&ground(&policies, &apps())).unwrap();
    assert_eq!(Expect::of(&outcome.explanation.decision.verdict), Expect::Allow);
    assert_eq!(outcome.explanation.decision.shadow, ["weekend"]);
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies() {
    check(
        "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"broken\") forbid (principal, action, resource) when { context.time.unix * 9223372036854775807 > 0 };",
        "[[case]]\napp = \"wiki\"\nexpect = \"deny\"\ncode = \"policy.error\"\npolicies = [\"broken\"]",
    );
}

#[test]
fn what_a_context_holds_can_be_asked_for() {
    check(
        r#"
permit (principal, action, resource) when {
    context.network.country == "NO" && context.network.ip.isInRange(ip("192.0.2.0/24")) && context.time.hour == 12 && context.time.weekday == 1
    && context.time.now > datetime("2026-01-01") && context.auth.amr.contains("otp") && context.auth.issuer == "corp"
    && principal.email like "*@example.com" && principal.subject == "alice" && principal.groups.contains("dev")
    && resource.kind == "http" && resource.port == 80 && resource.tags.contains("intranet")
    && context.device.state == "approved" && context.device.managed && context.risk.user < 50
    && context.device.posture.os_patch_age.number <= 30 && context.device.age == 0
};"#,
        r#"
[[case]]
user = "alice"
issuer = "corp"
email = "alice@example.com"
groups = ["dev"]
app = "wiki"
device = "approved"
auth = { amr = ["pwd", "otp"] }
posture = { "os.patch_age" = { state = "pass", value = 12 } }
risk = { user = 49 }
country = "NO"
expect = "allow"
[[case]]
user = "alice"
issuer = "corp"
email = "alice@example.com"
groups = ["dev"]
app = "wiki"
device = "approved"
auth = { amr = ["pwd", "otp"] }
expect = "deny"
code = "policy.no_match"
"#,
    );
}

#[test]
fn a_value_counts_for_as_long_as_it_is_known() {
    check(
        r#"
permit (principal, action, resource);
@id("patched") forbid (principal, action, resource == App::"wiki")
unless { context.device.posture.os_patch_age.number <= 30 };
@id("version") forbid (principal, action, resource == App::"payroll")
unless { context.device.posture.os_version.value like "debian-13*" };
"#,
        r#"
[[case]]
name = "a number that is known counts, whether the check passes or fails"
app = "wiki"
posture = { "os.patch_age" = { state = "fail", value = 12, age = 86400 } }
expect = "allow"
[[case]]
name = "what is not known any more has no number"
app = "wiki"
posture = { "os.patch_age" = { state = "unknown", value = 12 } }
expect = "deny"
policies = ["patched"]
[[case]]
name = "nor has what could not be looked at"
app = "wiki"
posture = { "os.patch_age" = { state = "error", value = 12 } }
expect = "deny"
[[case]]
name = "a device that fell silent a day ago"
app = "wiki"
posture = { "os.patch_age" = { state = "pass", value = 12, age = 86401 } }
expect = "deny"
code = "posture.patch_age"
policies = ["patched"]
[[case]]
name = "a text that is known counts"
app = "payroll"
posture = { "os.version" = { state = "pass", value = "debian-13.1" } }
expect = "allow"
[[case]]
name = "and one that is not known does not"
app = "payroll"
posture = { "os.version" = { state = "unknown", value = "debian-13.1" } }
expect = "deny"
"#,
    );
}

#[test]
fn the_age_of_a_fact_is_what_the_case_says() {
    check(
        r"permit (principal, action, resource) when {
    context.device.age == 60 && context.device.posture.disk_root.age == 60 && context.device.posture.disk_home.age == 400
};",
        r#"
[[case]]
app = "wiki"
posture = { "disk.root" = { state = "pass", age = 60 }, "disk.home" = { state = "pass", age = 400 } }
expect = "allow"
"#,
    );
}

#[test]
fn on_change_is_taken_from_the_policies_that_decide() {
    let table = [
        ("", None),
        ("@on_change(\"suspend\")", Some(OnChange::Suspend)),
        ("@on_change(\"terminate\")", Some(OnChange::Terminate)),
    ];
    for (annotation, expected) in table {
        let policies = compile(&format!(
            "permit (principal, action, resource); @id(\"no\") {annotation} forbid (principal, action, resource);"
        ));
        let case = parse("[[case]]\napp = \"wiki\"").unwrap().pop().unwrap();
        assert_eq!(case.try_on(&ground(&policies, &apps())).unwrap().explanation.decision.on_change, expected);
    }
}

#[test]
fn an_app_is_decided_by_what_concerns_it_alone() {
    let mut text = String::from(POLICIES);
    for number in 0..500 {
        writeln!(text, "permit (principal, action, resource == App::\"other-{number}\");").unwrap();
        writeln!(text, "permit (principal, action == Action::\"administer\", resource) when {{ {number} > 1000 }};\n")
            .unwrap();
    }
    let policies = compile(&text);
    assert_eq!(policies.len(), 1_005);
    let slices: Vec<usize> = apps().iter().map(|app| policies.slice_len(&app.name)).collect();
    assert_eq!(slices, [1, 3, 3]);
}

#[test]
fn a_case_is_answered_as_the_gateway_would_whatever_policy_says() {
    let policies = compile("permit (principal in Group::\"dev\", action, resource);");
    let (apps, thresholds) = (apps(), Thresholds { suspend: 40, terminate: 90 });
    let ground = case::Ground { policies: &policies, apps: &apps, thresholds: &thresholds };
    for (groups, line, answer) in [
        ("dev", "risk = { session = 39 }", "expect = \"allow\"\npolicies = [\"main#1\"]"),
        ("dev", "risk = { session = 40 }", "code = \"risk.session\"\npolicies = []"),
        ("dev", "risk = { user = 95 }", "code = \"risk.user\""),
        ("dev", "device = \"blocked\"\nrisk = { user = 95 }", "code = \"device.blocked\""),
        // what a person may not know of is answered alike whatever their risk
        ("ops", "device = \"blocked\"", "code = \"app.unknown\""),
    ] {
        let text = format!("[[case]]\napp = \"wiki\"\ngroups = [\"{groups}\"]\n{line}\n{answer}");
        assert_eq!(parse(&text).unwrap().pop().unwrap().try_on(&ground).unwrap().wrong, [""; 0], "{text}");
    }
}

#[test]
fn cases_that_cannot_be_tried_are_refused() {
    let policies = compile(POLICIES);
    let tried =
        |text: &str| parse(text).unwrap().pop().unwrap().try_on(&ground(&policies, &apps())).unwrap_err().to_string();
    let nope = tried("[[case]]\nname = \"x\"\napp = \"nope\"");
    assert!(nope.contains("\"nope\"") && nope.contains("db-prod"), "{nope}");
    let rot = tried("[[case]]\napp = \"wiki\"\nposture = { \"disk.rot\" = \"pass\" }");
    assert!(rot.ends_with("did you mean \"disk.root\"?"), "{rot}");
    let odd = tried("[[case]]\napp = \"wiki\"\nposture = { \"colour.of.it\" = \"pass\" }");
    assert!(odd.contains("the checks are") && odd.contains("disk.root"), "{odd}");
    assert!(parse("[[case]]\napp = \"wiki\"\nexpects = \"allow\"").unwrap_err().to_string().contains("expects"));
    assert!(parse("[[case]]\napp = \"wiki\"\nexpect = \"maybe\"").is_err());
    let slip =
        |line: &str| parse(&format!("[[case]]\napp = \"wiki\"\nexpect = \"deny\"\n{line}")).unwrap_err().to_string();
    for (line, told) in [
        ("posture = { \"disk.root\" = { state = \"pass\", vlaue = 12 } }", "state, value, age and assurance"),
        ("posture = { \"disk.root\" = \"passed\" }", "not_applicable"),
        ("device = \"aproved\"", "approved"),
        ("device = \"\"", "approved"),
        ("risk = { user = 101 }", "0 to 100"),
        ("risk = { session = 300 }", "300"),
        ("auth = { arc = \"mfa\" }", "arc"),
    ] {
        let error = slip(line);
        assert!(error.contains(told) && error.contains("line 4"), "{line}: {error}");
    }
    let idle = parse("[[case]]\nname = \"nothing\"\napp = \"wiki\"").unwrap().pop().unwrap();
    let idle = idle.try_on(&ground(&policies, &apps())).unwrap().wrong;
    assert!(idle.len() == 1 && idle[0].contains("add expect, code or policies"), "{idle:?}");
    for wanted in ["expect = \"deny\"", "code = \"app.unknown\"", "policies = []"] {
        let case = parse(&format!("[[case]]\napp = \"wiki\"\n{wanted}")).unwrap().pop().unwrap();
        assert_eq!(case.try_on(&ground(&policies, &apps())).unwrap().wrong, Vec::<String>::new(), "{wanted}");
    }
    let wrong = parse("[[case]]\napp = \"wiki\"\nexpect = \"allow\"").unwrap().pop().unwrap();
    assert_eq!(wrong.try_on(&ground(&policies, &apps())).unwrap().wrong.len(), 1, "a case that does not hold is told");
}
