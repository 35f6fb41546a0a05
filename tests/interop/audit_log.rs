//! The audit log as others read it: OCSF's own schema, OpenTelemetry's own messages, and sha256sum with jq.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use ztsa_gateway::audit::{About, Activity, Actor, Audit, Entity, Input, Outcome, Record, Traffic, VERSION};
use ztsa_gateway::config::{self, StoreUrl};
use ztsa_gateway::store::Store;
use ztsa_proto::name::{SessionId, TunnelId, UserId};
use ztsa_proto::time::UnixTime;

use crate::binary::{command, target};
use crate::folder::Folder;
use crate::gateway::Gateway;
use crate::home::Home;
use crate::process::{PATIENCE, Process, finish, free_port, until};

/// Returns a command that runs this script with what `audit_oracle/requirements.txt` names.
fn python(folder: &Folder, name: &str, script: &str) -> Command {
    let installed = target().join("audit_oracle");
    assert!(installed.is_dir(), "OCSF's schema is missing: run `cargo xtask test --only install`");
    let mut python = command("/usr/bin/python3");
    python.arg(folder.write(name, script)).env("PYTHONPATH", installed);
    python
}

fn ocsf(folder: &Folder, log: &Path) -> Value {
    let stdout = finish(python(folder, "ocsf.py", include_str!("audit_oracle/ocsf.py")).arg(log)).ok();
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

/// The activity after this one; one that is new has no place yet, and so does not compile.
fn after(activity: Activity) -> Option<Activity> {
    Some(match activity {
        Activity::SignIn => Activity::Renew,
        Activity::Renew => Activity::SignOut,
        Activity::SignOut => Activity::Connect,
        Activity::Connect => Activity::Grant,
        Activity::Grant => Activity::Ticket,
        Activity::Ticket => Activity::Explain,
        Activity::Explain => Activity::Open,
        Activity::Open => Activity::Suspend,
        Activity::Suspend => Activity::Restore,
        Activity::Restore => Activity::End,
        Activity::End => Activity::Fail,
        Activity::Fail => Activity::Revoke,
        Activity::Revoke => Activity::Risk,
        Activity::Risk => Activity::Approve,
        Activity::Approve => Activity::Block,
        Activity::Block => Activity::Release,
        Activity::Release => Activity::Remove,
        Activity::Remove => Activity::Policy,
        Activity::Policy => Activity::Signal,
        Activity::Signal => Activity::Configuration,
        Activity::Configuration => return None,
    })
}

fn full(audit: &Audit, activity: Activity, outcome: Outcome, email: &str) -> Record {
    let user = UserId::new("https://idp.example.com", "alice").unwrap();
    let device = "A".repeat(43).parse().unwrap();
    let sheets =
        vec![audit.sheet(About::Person, "{\"groups\":[\"dev\"]}"), audit.sheet(About::Device, "{\"facts\":{}}")];
    let input = Input { v: VERSION, person: sheets[0].digest.clone(), sheets, ..Input::default() };
    let tunnelled =
        matches!(activity, Activity::Open | Activity::Suspend | Activity::Restore | Activity::End | Activity::Fail);
    Record {
        actor: Some(Actor {
            user: Some(user.clone()),
            name: Some("Alice \"A\"\n".to_owned()),
            email: Some(email.to_owned()),
            device: Some(device),
            session: Some(SessionId::random()),
        }),
        peer: Some("2001:db8::7".parse().unwrap()),
        app: Some(("db-prod".parse().unwrap(), 5432)),
        dialled: Some("10.0.0.5".parse().unwrap()),
        entity: Some(Entity::User(user)),
        tunnel: tunnelled.then_some(TunnelId(7)),
        code: Some("policy.forbidden".to_owned()),
        message: Some("ü".repeat(50_000)),
        policies: vec!["base".to_owned()],
        shadow: vec!["later".to_owned()],
        decision: Some("d1".to_owned()),
        input: Some(Box::new(input)),
        traffic: tunnelled.then(|| Traffic { up: 1, down: u64::from(u32::MAX) + 1, ..Traffic::default() }),
        ..Record::new(UnixTime(1_795_000_000), activity, outcome)
    }
}

#[test]
fn every_event_is_as_the_published_schema_of_ocsf_wants_it() {
    let folder = Folder::new("audit");
    let file = folder.join("audit.ndjson");
    // a disk that is full at first, so that the events about losses are among them
    symlink("/dev/full", &file).unwrap();
    let store = Store::open(&StoreUrl::Memory).unwrap();
    let config = config::Audit { queue: 64, ..config::Audit::at(file.clone()) };
    let audit = Audit::open(&config, &store).unwrap();
    (0..1_000).for_each(|_| audit.record(Record::new(UnixTime(1), Activity::Connect, Outcome::Failure)));
    std::fs::remove_file(&file).unwrap();
    until("room in the queue", PATIENCE, || {
        (audit.state().outage.is_none() && audit.state().waiting == 0).then_some(())
    });
    for activity in std::iter::successors(Some(Activity::SignIn), |activity| after(*activity)) {
        for outcome in [Outcome::Success, Outcome::Failure] {
            until("room in the queue", PATIENCE, || (audit.state().waiting < 32).then_some(()));
            audit.record(full(&audit, activity, outcome, "alice@example.com"));
            // an address that OCSF would not take for one
            audit.record(full(&audit, activity, outcome, "alice@localhost"));
            audit.record(Record::new(UnixTime(1), activity, outcome));
        }
    }
    drop(audit);
    // a line that was cut, and one that is gone
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = text.lines().collect();
    std::fs::write(&file, kept[..kept.len() - 1].join("\n") + "\n{\"time\":").unwrap();
    let audit = Audit::open(&config, &store).unwrap();
    audit.record(Record::new(UnixTime(1), Activity::SignIn, Outcome::Failure));
    drop(audit);
    let codes: Vec<String> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["metadata"]["event_code"].as_str().unwrap().to_owned())
        .collect();
    for code in ["lost", "cut", "missing", "checkpoint", "person", "device", "configuration"] {
        assert!(codes.iter().any(|known| known == code), "no {code} in {codes:?}");
    }
    let report = ocsf(&folder, &file);
    assert_eq!(report["checked"], codes.len());
    let types: Vec<&str> = report["types"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect();
    for kind in ["0/99", "3002/1", "3003/1", "3003/99", "3004/8", "4001/1", "4001/3", "5002/2", "5003/2"] {
        assert!(types.contains(&kind), "no {kind} in {types:?}");
    }
}

#[test]
fn a_collector_is_sent_every_event_of_a_running_gateway_as_opentelemetry_has_it() {
    let folder = Folder::new("collector");
    let port = free_port();
    let script = include_str!("audit_oracle/collector.py");
    let mut collector =
        Process::start("collector", &folder, python(&folder, "collector.py", script).arg(port.to_string()));
    collector.listens(port);
    let more = format!("[audit.otlp]\nendpoint = \"http://127.0.0.1:{port}\"\nevery = \"100ms\"\n");
    let gateway = Gateway::dev_with(&[], &more);
    let home = Home::signed_in(&gateway);
    let (_forward, address) = home.forward("echo");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    drop(stream);
    let line = collector.line("ztsa.audit.end");
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["resource"]["service.name"], "ztsa-gateway");
    assert_eq!((&record["scope"], &record["attributes"]["ztsa.app"]), (&"ztsa.audit".into(), &"echo".into()));
    assert_eq!(record["severity"], serde_json::json!([9, "Informational"]));
    assert_eq!(record["body"]["traffic"]["bytes_out"], 5);
    let text = gateway.audit();
    let written = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let own = written.into_iter().find(|line| line["metadata"]["uid"] == record["attributes"]["log.record.uid"]);
    let own = own.expect("the event stands in the file, too");
    assert_eq!(strip(own.clone()), record["body"], "the body is the event");
    assert_eq!(record["time"], own["time"].as_u64().unwrap() * 1_000_000);
    // all of them, once, in order
    let log = collector.log();
    let numbers: Vec<u64> = log
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["attributes"]["ztsa.sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    until("the collector to have everything", PATIENCE, || {
        gateway.admin(&["status"]).ok().contains("collector 0 events waiting").then_some(())
    });
    // and what a gateway really writes is OCSF
    let log = folder.write("audit.ndjson", &gateway.audit());
    assert!(ocsf(&folder, &log)["checked"].as_u64().unwrap() > 4);
}

/// What has no value is not there.
fn strip(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, strip(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(strip).collect(),
        value => value,
    }
}

/// As docs/reference/audit.md says it.
const RECIPE: &str = r#"previous=$(printf '%064d' 0)
while IFS= read -r line; do
  hash=$(printf %s "${line%,\"hash\":*}" | sha256sum | cut -d' ' -f1)
  stated=$(printf '%s\n' "$line" | jq -r '"\(.unmapped.chain.previous) \(.unmapped.chain.hash)"')
  [ "$stated" = "$previous $hash" ] || { printf '%s\n' "$line" | jq -r '"wrong: \(.metadata.sequence)"'; exit 1; }
  previous=$hash
done"#;

#[test]
fn a_shell_checks_the_chain_and_the_command_says_what_is_wrong() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/audit.md")).unwrap();
    assert!(docs.contains(RECIPE), "the recipe of the documentation is another one");
    let gateway = Gateway::dev_with(&[], "[audit]\ncheckpoint = { events = 1 }\n");
    let home = Home::signed_in(&gateway);
    finish(&mut home.ztsa(&["apps"])).ok();
    gateway.admin(&["risk", "set", "alice", "10", "--reason", "a \\ \"quote\" and a % sign"]).ok();
    let folder = Folder::new("chain");
    let log = folder.write("audit.ndjson", &gateway.audit());
    let shell = |text: &str| {
        let file = folder.write("some.ndjson", text);
        finish(command("/bin/sh").args(["-c", &format!("{RECIPE} <\"$0\"")]).arg(file))
    };
    let text = gateway.audit();
    shell(&text).exits(0);
    let changed = text.replacen("alice", "alicf", 1);
    assert!(shell(&changed).exits(1).stdout.starts_with("wrong: "));

    let key = folder.write("key.json", &gateway.admin(&["audit", "key"]).ok());
    let verify = |file: &Path| {
        let arguments = ["audit", "verify", "--complete", "--json", "--key"];
        finish(command(crate::binary::ours("ztsa-gateway")).args(arguments).arg(&key).arg(file))
    };
    let report: Value = serde_json::from_str(&verify(&log).exits(0).stdout).unwrap();
    assert_eq!((&report["whole"], &report["first"]), (&true.into(), &1.into()));
    assert_eq!(report["signed_to"].as_u64().unwrap() + 1, report["last"].as_u64().unwrap());
    let report: Value =
        serde_json::from_str(&verify(&folder.write("changed.ndjson", &changed)).exits(1).stdout).unwrap();
    assert_eq!(report["findings"][0]["code"], "changed");
}
