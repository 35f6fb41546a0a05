//! The audit log as those who read it find it.

mod forged;
mod trouble;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};
use ztsa_proto::jws::SoftwareKey;
use ztsa_proto::name::{DeviceId, SessionId, TunnelId, UserId};
use ztsa_proto::time::UnixTime;

use super::verify::{Against, Report, verify};
use super::{About, Activity, Actor, Audit, Entity, Input, Outcome, Record, Traffic, VERSION, rotation};
use crate::config::{self, Rotate};

const NOW: UnixTime = UnixTime(1_795_000_000);

/// A directory of its own, removed when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ztsa-audit-{}", ztsa_proto::jws::random_id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("audit.ndjson")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(super) fn open(path: &Path) -> Audit {
    start(&config::Audit::at(path.to_owned()))
}

/// The one key of all logs here: a gateway has it from its store.
pub(super) fn key() -> SoftwareKey {
    static KEY: LazyLock<SoftwareKey> = LazyLock::new(|| SoftwareKey::generate().unwrap());
    SoftwareKey::from_pkcs8(KEY.to_pkcs8().expose()).unwrap()
}

pub(super) fn start(config: &config::Audit) -> Audit {
    Audit::with_key(config, key()).unwrap()
}

pub(super) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(super) fn check(files: &[PathBuf]) -> Report {
    verify(files, &Against { complete: true, ..Against::default() }).unwrap()
}

pub(super) fn record(activity: Activity, outcome: Outcome) -> Record {
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
    let folder = Folder::new();
    let audit = open(&folder.file());
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
    let lines = lines(&folder.file());
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
    let by = |id: &str| json!({"decision": "Denied", "policy": {"uid": id, "is_applied": true}});
    assert_eq!(refusal["actor"]["authorizations"], json!([by("payroll"), by("base")]));
    assert_eq!(
        (&refusal["privileges"], &refusal["unmapped"]["decision"]),
        (&json!(["connect db-prod:5432"]), &json!("d1"))
    );
    assert_eq!((&end["class_uid"], &end["activity_id"], &end["status"]), (&json!(4001), &json!(2), &json!("Success")));
    assert_eq!(end["traffic"], json!({"bytes_in": 4000, "bytes_out": 10, "bytes": 4010}));
    assert_eq!((&end["duration"], &end["connection_info"]["uid"]), (&json!(1500), &json!("7")));
    assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn every_activity_has_its_class() {
    let folder = Folder::new();
    let audit = open(&folder.file());
    let (ok, no) = (Outcome::Success, Outcome::Failure);
    let table = [
        (Activity::SignIn, ok, 3002, 1),
        (Activity::SignOut, ok, 3002, 2),
        (Activity::Renew, ok, 3002, 5),
        (Activity::Connect, no, 3003, 1),
        (Activity::Grant, ok, 3003, 1),
        (Activity::Ticket, ok, 3003, 1),
        (Activity::Explain, ok, 3003, 99),
        (Activity::Open, ok, 4001, 1),
        (Activity::End, ok, 4001, 2),
        (Activity::End, no, 4001, 3),
        (Activity::Fail, no, 4001, 4),
        (Activity::Suspend, ok, 4001, 99),
        (Activity::Restore, ok, 4001, 99),
        (Activity::Approve, ok, 3004, 8),
        (Activity::Block, ok, 3004, 9),
        (Activity::Release, ok, 3004, 3),
        (Activity::Remove, ok, 3004, 4),
        (Activity::Revoke, ok, 3004, 11),
        (Activity::Risk, ok, 3004, 3),
        (Activity::Policy, no, 3004, 3),
        (Activity::Signal, ok, 3004, 3),
        (Activity::Configuration, ok, 3004, 3),
    ];
    for (activity, outcome, _, _) in table {
        audit.record(record(activity, outcome));
    }
    audit.flush().await;
    let lines = lines(&folder.file());
    assert_eq!(lines.len(), table.len());
    for (line, (activity, _, class, id)) in lines.iter().zip(table) {
        assert_eq!((&line["class_uid"], &line["activity_id"]), (&json!(class), &json!(id)), "{activity:?}");
        assert_eq!((&line["category_uid"], &line["type_uid"]), (&json!(class / 1000), &json!(class * 100 + id)));
        assert_eq!(line["metadata"]["event_code"], activity.code());
    }
}

#[tokio::test]
async fn what_an_administrator_changed_is_named() {
    let folder = Folder::new();
    let audit = open(&folder.file());
    let device: DeviceId = "A".repeat(43).parse().unwrap();
    let entity = Some(Entity::Device(device.clone()));
    audit.record(Record { entity, ..Record::new(NOW, Activity::Block, Outcome::Success) });
    audit.flush().await;
    let line = lines(&folder.file()).remove(0);
    assert_eq!(
        (&line["entity"]["type"], &line["entity"]["device"]["uid"]),
        (&json!("Device"), &json!(device.as_str()))
    );
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart_and_ends_with_a_checkpoint() {
    let folder = Folder::new();
    let file = folder.file();
    for _ in 0..3 {
        let audit = open(&file);
        audit.record(record(Activity::SignIn, Outcome::Success));
        audit.flush().await;
    }
    let codes: Vec<_> = lines(&file).iter().map(|line| line["metadata"]["event_code"].clone()).collect();
    assert_eq!(codes, ["sign-in", "checkpoint", "sign-in", "checkpoint", "sign-in", "checkpoint"]);
    let report = check(&[file]);
    assert_eq!((report.is_whole(), report.last, report.signed_to), (true, Some(6), Some(5)), "{report:?}");
}

#[tokio::test]
async fn a_line_that_was_cut_by_a_crash_is_kept_inside_one_that_is_whole() {
    let folder = Folder::new();
    let file = folder.file();
    drop(open(&file));
    let audit = open(&file);
    audit.record(record(Activity::SignIn, Outcome::Success));
    drop(audit);
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("{\"time\":17");
    std::fs::write(&file, text).unwrap();
    let audit = open(&file);
    audit.record(record(Activity::SignOut, Outcome::Success));
    audit.flush().await;
    let lines = lines(&file);
    let cut = lines.iter().find(|line| line["metadata"]["event_code"] == "cut").unwrap();
    assert_eq!((&cut["raw_data"], &cut["class_uid"]), (&json!("{\"time\":17"), &json!(0)));
    let report = check(&[file]);
    assert_eq!((report.is_whole(), report.losses), (true, 1), "{report:?}");
}

#[tokio::test]
async fn lines_taken_from_the_end_while_the_gateway_is_down_are_missed_by_both() {
    let folder = Folder::new();
    let file = folder.file();
    let audit = open(&file);
    (0..10).for_each(|_| audit.record(record(Activity::SignIn, Outcome::Success)));
    drop(audit);
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = text.lines().take(7).collect();
    std::fs::write(&file, kept.join("\n") + "\n").unwrap();
    let report = check(std::slice::from_ref(&file));
    assert_eq!(report.findings[0].fault.to_string(), "lines 8 to 11 are missing here");
    let audit = open(&file);
    audit.record(record(Activity::SignOut, Outcome::Success));
    audit.flush().await;
    let missing = lines(&file).into_iter().find(|line| line["metadata"]["event_code"] == "missing").unwrap();
    assert_eq!(missing["count"], 4);
    let report = check(&[file]);
    assert_eq!((report.faults, report.losses), (1, 1), "{report:?}");
    assert_eq!(report.findings[0].line, 8);
}

#[tokio::test]
async fn the_gateway_s_own_rotation_loses_nothing_and_keeps_as_many_files_as_it_should() {
    let folder = Folder::new();
    let file = folder.file();
    let mut config = config::Audit::at(file.clone());
    config.rotate = Some(Rotate { size: 65_536, age: None, keep: Some(4) });
    let audit = start(&config);
    for _ in 0..2000 {
        audit.record(record(Activity::End, Outcome::Success));
    }
    drop(audit);
    let rotated = rotation::rotated(&file);
    assert_eq!(rotated.len(), 4, "{rotated:?}");
    let mut by_name = rotated.clone();
    by_name.sort();
    assert_eq!(by_name, rotated, "the names sort by time");
    let all: Vec<PathBuf> = rotated.iter().cloned().chain([file.clone()]).collect();
    let report = verify(&all, &Against::default()).unwrap();
    assert!(report.is_whole() && report.files == 5 && report.first > Some(1), "{report:?}");
    for old in &rotated {
        assert_eq!(lines(old).last().unwrap()["metadata"]["event_code"], "checkpoint", "{}", old.display());
        assert_eq!(std::fs::metadata(old).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // one that is not there is missed, whichever order they are given in
    let some: Vec<PathBuf> = all.iter().rev().filter(|name| **name != rotated[1]).cloned().collect();
    let report = verify(&some, &Against::default()).unwrap();
    assert_eq!(report.faults, 1);
    assert!(report.findings[0].fault.to_string().ends_with("are missing here"), "{report:?}");
}

#[tokio::test]
async fn a_file_that_is_old_enough_is_followed_by_another() {
    let folder = Folder::new();
    let file = folder.file();
    let mut config = config::Audit::at(file.clone());
    config.rotate = Some(Rotate { size: 1 << 30, age: Some(Duration::from_millis(50)), keep: None });
    let audit = start(&config);
    audit.record(record(Activity::SignIn, Outcome::Success));
    audit.flush().await;
    // nothing more happens: the time alone turns it
    let turned = std::time::Instant::now();
    while rotation::rotated(&file).is_empty() && turned.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(rotation::rotated(&file).len(), 1);
    drop(audit);
    let all: Vec<PathBuf> = rotation::rotated(&file).into_iter().chain([file]).collect();
    assert!(check(&all).is_whole());
}

#[tokio::test]
async fn what_another_program_moves_away_is_one_chain_with_what_follows() {
    let folder = Folder::new();
    let (file, old) = (folder.file(), folder.0.join("audit.ndjson.1"));
    let audit = open(&file);
    audit.record(record(Activity::SignIn, Outcome::Success));
    audit.flush().await;
    std::fs::rename(&file, &old).unwrap();
    let moved = std::time::Instant::now();
    while !file.exists() && moved.elapsed() < Duration::from_secs(20) {
        audit.record(record(Activity::Renew, Outcome::Success));
        audit.flush().await;
    }
    // and while the gateway is down
    drop(audit);
    let second = folder.0.join("audit.ndjson.2");
    std::fs::rename(&file, &second).unwrap();
    let audit = open(&file);
    audit.record(record(Activity::SignOut, Outcome::Success));
    drop(audit);
    let report = check(&[file, second, old]);
    assert!(report.is_whole() && report.files == 3, "{report:?}");
}

#[test]
fn a_log_that_cannot_be_opened_says_where() {
    let config = config::Audit::at(PathBuf::from("/nowhere/audit.ndjson"));
    let error = Audit::with_key(&config, SoftwareKey::generate().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("the audit log /nowhere/audit.ndjson cannot be opened: "), "{error}");
}

#[tokio::test]
async fn what_decisions_share_is_written_once_a_file_and_before_them() {
    let folder = Folder::new();
    let path = folder.file();
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
    assert!(check(&[old, path]).is_whole());
}

#[tokio::test]
async fn two_gateways_never_write_to_one_log() {
    let folder = Folder::new();
    let audit = open(&folder.file());
    audit.record(record(Activity::SignIn, Outcome::Success));
    let config = config::Audit::at(folder.file());
    let error = Audit::with_key(&config, SoftwareKey::generate().unwrap()).unwrap_err();
    assert!(error.to_string().contains("another gateway writes to it"), "{error}");
    drop(audit);
    drop(open(&folder.file()));
    assert!(check(&[folder.file()]).is_whole());
}
