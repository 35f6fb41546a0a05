//! The audit log as those who read it find it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use ztsa_proto::name::{SessionId, TunnelId, UserId};
use ztsa_proto::time::UnixTime;

use super::{About, Activity, Actor, Audit, Input, Outcome, Record, Traffic, VERSION};
use crate::config::AuditFile;

const NOW: UnixTime = UnixTime(1_795_000_000);

fn file() -> PathBuf {
    std::env::temp_dir().join(format!("ztsa-audit-{}.ndjson", ztsa_proto::jws::random_id()))
}

fn open(path: &Path) -> Audit {
    Audit::open(&AuditFile { file: path.to_owned() }).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn record(activity: Activity, outcome: Outcome) -> Record {
    Record {
        actor: Some(Actor {
            user: Some(UserId::new("https://idp.example.com", "alice").unwrap()),
            name: Some("Alice \"A\"\n".to_owned()),
            email: Some("alice@example.com".to_owned()),
            device: None,
            session: Some(SessionId::random()),
        }),
        peer: Some("192.0.2.7".parse().unwrap()),
        app: Some(("db-prod".parse().unwrap(), 5432)),
        ..Record::new(NOW, activity, outcome)
    }
}

#[tokio::test]
async fn a_refusal_and_an_ended_tunnel_are_one_line_each() {
    let path = file();
    let audit = open(&path);
    audit.record(Record {
        code: Some("policy.forbidden".to_owned()),
        message: Some("payroll is for ops".to_owned()),
        policies: vec!["payroll".to_owned(), "base".to_owned()],
        decision: Some("d1".to_owned()),
        ..record(Activity::Connect, Outcome::Failure)
    });
    audit.record(Record {
        tunnel: Some(TunnelId(7)),
        traffic: Some(Traffic { up: 10, down: 4000, duration: Duration::from_millis(1500) }),
        ..record(Activity::End, Outcome::Success)
    });
    audit.flush().await;
    let lines = lines(&path);
    let [refusal, end] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(refusal["time"], json!(1_795_000_000_000_u64));
    assert_eq!(
        (&refusal["class_uid"], &refusal["category_uid"], &refusal["type_uid"]),
        (&json!(3003), &json!(3), &json!(300_301))
    );
    assert_eq!((&refusal["status"], &refusal["status_code"]), (&json!("Failure"), &json!("policy.forbidden")));
    assert_eq!(refusal["actor"]["user"]["uid"], "https://idp.example.com|alice");
    assert_eq!(refusal["actor"]["user"]["name"], "Alice \"A\"\n");
    assert_eq!(
        (&refusal["src_endpoint"]["ip"], &refusal["dst_endpoint"]),
        (&json!("192.0.2.7"), &json!({"name": "db-prod", "port": 5432}))
    );
    assert_eq!((&refusal["policy"]["uid"], &refusal["unmapped"]["decision"]), (&json!("payroll base"), &json!("d1")));
    assert_eq!((&end["class_uid"], &end["activity_id"], &end["status"]), (&json!(4001), &json!(2), &json!("Success")));
    assert_eq!(end["traffic"], json!({"bytes_in": 4000, "bytes_out": 10, "bytes": 4010}));
    assert_eq!((&end["duration"], &end["connection_info"]["uid"]), (&json!(1500), &json!("7")));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn every_activity_has_its_class() {
    let path = file();
    let audit = open(&path);
    let table = [
        (Activity::SignIn, 3002, "Logon"),
        (Activity::SignOut, 3002, "Logoff"),
        (Activity::Renew, 3002, "Service Ticket Renew"),
        (Activity::Connect, 3003, "Connect"),
        (Activity::Grant, 3003, "Grant"),
        (Activity::Ticket, 3003, "Ticket"),
        (Activity::Suspend, 4001, "Suspend"),
        (Activity::Restore, 4001, "Restore"),
        (Activity::Revoke, 3004, "Revoke"),
        (Activity::Risk, 3004, "Risk"),
        (Activity::Device, 3004, "Device"),
        (Activity::Policy, 3004, "Policy"),
    ];
    for (activity, _, _) in table {
        audit.record(record(activity, Outcome::Success));
    }
    audit.flush().await;
    for (line, (activity, class, name)) in lines(&path).iter().zip(table) {
        assert_eq!((&line["class_uid"], &line["activity_name"]), (&json!(class), &json!(name)), "{activity:?}");
        let (category, id) = (line["category_uid"].as_u64().unwrap(), line["activity_id"].as_u64().unwrap());
        assert_eq!((category, &line["type_uid"]), (class / 1000, &json!(class * 100 + id)));
    }
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_restart_appends_and_a_line_that_was_cut_stays_alone() {
    let path = file();
    let audit = open(&path);
    audit.record(record(Activity::SignIn, Outcome::Success));
    drop(audit);
    assert_eq!(lines(&path).len(), 1, "what was recorded is written when the log closes");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"time\":17");
    std::fs::write(&path, text).unwrap();
    let audit = open(&path);
    audit.record(record(Activity::SignOut, Outcome::Success));
    audit.flush().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let whole: Vec<bool> = text.lines().map(|line| serde_json::from_str::<Value>(line).is_ok()).collect();
    assert_eq!(whole, [true, false, true]);
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_counted_and_stops_nobody() {
    // a device whose disk is always full
    let audit = open(Path::new("/dev/full"));
    let asked = std::time::Instant::now();
    for _ in 0..50 {
        audit.record(record(Activity::Connect, Outcome::Success));
    }
    assert!(asked.elapsed() < Duration::from_secs(1));
    audit.flush().await;
    assert_eq!(audit.lost(), 50);
}

#[test]
fn a_log_that_cannot_be_opened_says_where() {
    let error = Audit::open(&AuditFile { file: PathBuf::from("/nowhere/audit.ndjson") }).unwrap_err();
    assert!(error.to_string().starts_with("the audit log /nowhere/audit.ndjson cannot be opened: "), "{error}");
}

#[tokio::test]
async fn what_decisions_share_is_written_once_a_file_and_before_them() {
    let path = file();
    let audit = open(&path);
    let decided = |digits: &str| {
        let sheets = vec![audit.sheet(About::Person, "{\"groups\":[\"dev\"]}"), audit.sheet(About::Device, digits)];
        let input = Input { v: VERSION, person: sheets[0].digest.clone(), sheets, ..Input::default() };
        Record {
            decision: Some("d".to_owned()),
            input: Some(Box::new(input)),
            ..record(Activity::Connect, Outcome::Success)
        }
    };
    let classes =
        |path: &Path| -> Vec<u64> { lines(path).iter().map(|line| line["class_uid"].as_u64().unwrap()).collect() };
    for facts in ["{\"facts\":{}}", "{\"facts\":{}}", "{\"facts\":{\"fw.enabled\":{\"state\":\"pass\"}}}"] {
        audit.record(decided(facts));
    }
    audit.flush().await;
    assert_eq!(classes(&path), [5003, 5002, 3003, 3003, 5002, 3003]);
    let written = lines(&path);
    assert_eq!(written[0]["unmapped"]["person"]["groups"], json!(["dev"]));
    assert_eq!(written[0]["unmapped"]["digest"], written[2]["unmapped"]["input"]["person"]);
    let old = path.with_extension("1");
    std::fs::rename(&path, &old).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    audit.record(decided("{\"facts\":{}}"));
    audit.flush().await;
    assert_eq!(classes(&path), [5003, 5002, 3003], "the new file can be read by itself");
    for file in [path, old] {
        std::fs::remove_file(file).unwrap();
    }
}
