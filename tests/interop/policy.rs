//! Policies as their authors work with them: the cases of what we ship, replay, and the explanation of what was decided.

use std::path::Path;

use serde_json::{Value, json};

use crate::binary::{command, ours};
use crate::folder::Folder;
use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{Outcome, finish};
use crate::program::http_server::{HttpServer, PAGE};

fn policy(arguments: &[&str]) -> Outcome {
    finish(command(ours("ztsa-gateway")).arg("policy").args(arguments))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_policies_that_we_ship_answer_as_their_cases_want() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = root.join("examples/policies/gateway.toml");
    let examples = policy(&["test", "--config", text(&config), "--json"]).ok();
    let examples: Value = serde_json::from_str(&examples).unwrap();
    assert_eq!(examples["wrong"], json!([]), "{examples}");
    assert!(examples["right"].as_u64() >= Some(20), "{examples}");
    let dev = root.join("ztsa-gateway/policies");
    let dev = policy(&["test", "--config", text(&config), "--dir", text(&dev)]).ok();
    assert_eq!(dev, "5 right, 0 wrong\n");
    // a case that does not hold fails the command, as a job in continuous integration needs it
    let folder = Folder::new("cases");
    let wrong = folder.write("wrong.toml", "[[case]]\nname = \"no\"\napp = \"wiki\"\nexpect = \"allow\"\n");
    let failed = policy(&["test", "--config", text(&config), text(&wrong)]).exits(1);
    assert!(failed.stdout.contains("WRONG") && failed.stdout.contains("expected allow, got deny"), "{failed}");
}

#[test]
fn real_decisions_are_replayed_and_one_of_them_is_explained() {
    let server = HttpServer::start();
    let gateway = Gateway::dev(&[App("handbook", "http", server.port, &[])]);
    let home = Home::signed_in(&gateway);
    let mut curl = home.ztsa(&["connect", "handbook", "--", "curl", "--silent", "--show-error", "http://{addr}/"]);
    assert_eq!(finish(&mut curl).ok(), PAGE);
    // to explain is to succeed, also when the answer is no
    let why = finish(&mut home.ztsa(&["why", "payroll"])).ok();
    assert!(
        why.starts_with("payroll: denied — payroll is for the operations team\n  why:  policy.forbidden, "),
        "{why}"
    );
    assert!(!why.contains("the person is in the group"), "groups are for administrators: {why}");
    let hidden = finish(&mut home.ztsa(&["why", "no-such-app"])).exits(4);
    assert_eq!(hidden.stdout, "");
    let refused = |app: &str| {
        let refused = finish(&mut home.ztsa(&["--json", "connect", app, "--", "true"])).exits(4);
        let refused: Value = serde_json::from_str(refused.stderr.lines().last().unwrap()).unwrap();
        let why = refused["error"]["why"].as_str().unwrap_or_else(|| panic!("{refused}"));
        why.split_once(", decision ").unwrap_or_else(|| panic!("{refused}")).1.to_owned()
    };
    let (decision, mistyped) = (&refused("payroll"), &refused("pay-roll"));

    let admin = gateway.admin(&["policy", "explain", "--user", "alice", "--app", "payroll"]).ok();
    assert!(admin.contains("would be allowed when the person is in the group ops"), "{admin}");
    let (config, audit) = (gateway.file("gateway.toml"), gateway.file("audit.ndjson"));
    let (config, audit, policies) = (text(&config), text(&audit), gateway.file("policies"));
    let same = policy(&["replay", "--against", audit, "--with", text(&policies), "--config", config]).ok();
    assert!(same.starts_with("0 of ") && same.contains("not decisions"), "{same}");
    assert!(same.contains("asked for a name that is no app"), "{same}");

    // the next version of the policies, in a directory of its own
    let next = Folder::new("next");
    for entry in std::fs::read_dir(&policies).unwrap().flatten() {
        let changed = std::fs::read_to_string(entry.path())
            .unwrap()
            .replace("resource == App::\"payroll\"", "resource == App::\"none\"");
        next.write(entry.file_name().to_str().unwrap(), &changed);
    }
    let arguments = ["replay", "--against", audit, "--with", text(next.path()), "--config", config, "--json"];
    let turned = policy(&arguments).exits(10);
    let report: Value = serde_json::from_str(&turned.stdout).unwrap();
    let [group] = report["groups"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&group["turn"], &group["from"], &group["to"]), (&json!("loosen"), &json!("deny"), &json!("allow")));
    assert_eq!(group["policies_before"], json!(["payroll-is-for-ops"]));
    assert_eq!(group["people"].as_array().unwrap().len(), 1);
    policy(&[&arguments[..], &["--fail-on", "tighten"]].concat()).ok();
    policy(&[&arguments[..], &["--fail-on", "loosen"]].concat()).exits(10);
    policy(&[&arguments[..], &["--app", "payroll", "--user", "alice", "--since", "1h"]].concat()).exits(10);
    let none = policy(&[&arguments[..], &["--user", "bob"]].concat()).exits(1);
    assert!(none.stderr.contains("no decision to replay"), "a job that looked at nothing has not passed: {none}");
    let missing = policy(&["replay", "--against", "nowhere.ndjson", "--with", text(next.path()), "--config", config]);
    assert!(missing.exits(1).stderr.contains("nowhere.ndjson"));

    let explain = ["explain", "--decision", decision, "--against", audit, "--config", config];
    let explained = policy(&explain).ok();
    assert!(explained.contains("was deny policy.forbidden by payroll-is-for-ops"), "{explained}");
    assert!(explained.contains("by these policies it is deny"), "{explained}");
    let explained = policy(&[&explain[..], &["--with", text(next.path())]].concat()).ok();
    assert!(explained.contains("by these policies it is allow"), "{explained}");
    let both = policy(&[&explain[..], &["--group", "ops"]].concat()).exits(2);
    assert!(both.stderr.contains("cannot be used with"), "what would be ignored is refused: {both}");

    // what stands in a file reaches no terminal as it is
    let odd = std::fs::read_to_string(audit).unwrap().replace("\"policy.forbidden\"", "\"policy.forbidden\\u001b[2J\"");
    let odd = next.write("odd.ndjson", &odd);
    let explained = policy(&["explain", "--decision", decision, "--against", text(&odd), "--config", config]).ok();
    let replayed =
        policy(&["replay", "--against", text(&odd), "--with", text(&policies), "--config", config]).exits(10).stdout;
    assert!(explained.contains("was deny policy.forbidden by") && !explained.contains('\u{1b}'), "{explained:?}");
    assert!(replayed.contains("deny policy.forbidden by") && !replayed.contains('\u{1b}'), "{replayed:?}");

    let named = policy(&["explain", "--decision", mistyped, "--against", audit, "--config", config]).exits(1);
    assert!(named.stderr.contains("is no app of the gateway, so there was nothing to decide"), "{named}");
    let unknown = policy(&["explain", "--decision", "nope", "--against", audit, "--config", config]).exits(1);
    assert!(unknown.stderr.contains("no decision nope"), "{unknown}");
}

#[test]
fn what_is_asked_of_a_configuration_is_answered_as_the_gateway_would_and_slips_are_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = root.join("examples/policies/gateway.toml");
    let ask = ["explain", "--config", text(&config), "--user", "a", "--group", "dev", "--app"];
    let explain = |more: &[&str]| policy(&[&ask[..], more].concat());
    assert!(explain(&["wiki"]).ok().starts_with("allow\n"));
    let blocked = explain(&["wiki", "--device", "blocked"]).ok();
    assert!(blocked.starts_with("deny\n  device.blocked: "), "{blocked}");
    assert!(blocked.contains("would be allowed when"), "{blocked}");
    for (arguments, told) in [
        (&["wikki"][..], "no app is named \"wikki\"; the apps are "),
        (&["wiki", "--posture", "disk.root=yes"], "--posture disk.root=yes: \"yes\" is no state"),
        (
            &["wiki", "--posture", "disk.rot=pass"],
            "--posture: no check is named \"disk.rot\"; did you mean \"disk.root\"?",
        ),
    ] {
        let refused = explain(arguments).exits(1);
        assert!(refused.stderr.contains(told), "{refused}");
    }
    // the vocabulary is that of the configuration
    let schema = policy(&["schema"]).ok();
    assert!(schema.contains("action connect") && schema.contains("disk_root: Fact,"), "{schema}");
    assert!(!schema.contains("\"agent\": Fact"), "{schema}");
    let folder = Folder::new("schema");
    let more = "\n[[posture.file]]\nname = \"agent\"\nlinux = \"/etc/agent.conf\"\n";
    let config = folder.write("gateway.toml", &(std::fs::read_to_string(&config).unwrap() + more));
    let schema = policy(&["schema", "--config", text(&config)]).ok();
    assert!(schema.contains("file: { \"agent\": Fact }"), "{schema}");
}

#[test]
fn a_directory_without_policies_and_files_that_are_no_text_are_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = root.join("examples/policies/gateway.toml");
    let folder = Folder::new("empty");
    let case = folder.write("all.toml", "[[case]]\napp = \"wiki\"\nexpect = \"deny\"\n");
    let place = ["--config", text(&config), "--dir", text(folder.path())];
    for arguments in [vec!["check"], vec!["test", text(&case)]] {
        let empty = policy(&[&arguments[..], &place].concat());
        assert!(empty.stderr.contains("every app is denied to everybody"), "{arguments:?}: {empty}");
        empty.ok();
    }
    std::fs::write(folder.join("a.cedar"), b"// fine\n// caf\xe9\npermit (principal, action, resource);\n").unwrap();
    let refused = policy(&[&["check"][..], &place].concat()).exits(1);
    assert!(refused.stderr.contains("a.cedar:2:7:") && refused.stderr.contains("UTF-8"), "{refused}");
}
