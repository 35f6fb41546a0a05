//! The administrator's socket as its users have it: a real socket in a directory of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::call::{CallError, call};
use super::request::Request;
use super::*;
use crate::engine::tests::World;
use crate::lease::Access;
use crate::reload;

async fn ask(socket: PathBuf, request: Request) -> Result<Map<String, Value>, CallError> {
    tokio::task::spawn_blocking(move || call(&socket, &request)).await.unwrap()
}

fn set(user: &str, score: u8) -> Request {
    let (reason, lasts) = ("lost laptop".to_owned(), Some("1h".to_owned()));
    Request::RiskSet { user: Some(user.to_owned()), device: None, session: None, score, reason, lasts }
}

fn refused(answer: Result<Map<String, Value>, CallError>) -> (String, String) {
    match answer {
        Err(CallError::Refused { error, hint }) => (error, hint.unwrap_or_default()),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raising_the_risk_has_ended_the_tunnels_when_the_answer_comes() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let socket = world.dir().join("a.sock");
    let admin = Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)).unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = ask(socket.clone(), set("alice", 90)).await.unwrap();
    assert!(matches!(lease.tunnel().access(), Access::Ended(problem) if problem.code == "risk.user"));
    assert_eq!(answer.get("tunnels"), Some(&json!({ "ended": 1, "suspended": 0, "restored": 0 })));
    let shown = ask(socket.clone(), Request::RiskShow { user: None, device: None, session: None }).await.unwrap();
    let shown = Value::Object(shown).to_string();
    assert!(shown.contains("lost laptop") && shown.contains("\"score\":90"), "{shown}");
    let clear = Request::RiskClear { user: Some("https://idp.example|alice".to_owned()), device: None, session: None };
    assert_eq!(ask(socket.clone(), clear).await.unwrap().get("cleared"), Some(&json!(true)));
    assert!(world.open(&alice, "wiki").is_ok());
    assert!(admin.shutdown(Duration::from_secs(5)).await);
    assert!(!socket.exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_devices_and_policies_are_listed_and_ordered() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "db").unwrap();
    lease.count_down(7);
    let socket = world.dir().join("a.sock");
    let _admin = Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)).unwrap();
    let sessions = Value::Object(ask(socket.clone(), Request::SessionsList {}).await.unwrap()).to_string();
    assert!(["alice", "\"db\"", "\"down\":7"].iter().all(|part| sessions.contains(part)), "{sessions}");
    let device: String = alice.device.as_str().chars().take(8).collect();
    let answer = ask(socket.clone(), Request::DevicesApprove { device: device.clone() }).await.unwrap();
    assert_eq!(answer.get("state"), Some(&json!("approved")));
    let devices = Value::Object(ask(socket.clone(), Request::DevicesList {}).await.unwrap()).to_string();
    assert!(devices.contains("approved"), "{devices}");
    let explain = Request::PolicyExplain { user: "alice".to_owned(), app: "db".to_owned() };
    let explained = Value::Object(ask(socket.clone(), explain).await.unwrap()).to_string();
    assert!(explained.contains("allow"), "{explained}");
    world.policies("permit (principal, action, resource) when { nonsense };");
    let (error, _) = refused(ask(socket.clone(), Request::PolicyReload {}).await);
    assert!(error.contains("main.cedar:1:"), "{error}");
    let status = ask(socket.clone(), Request::Status {}).await.unwrap();
    assert_eq!((status.get("tunnels"), status.get("policies")), (Some(&json!(1)), Some(&json!(2))));
    let app = Some("db".to_owned());
    let revoke =
        Request::SessionsRevoke { user: None, session: None, device: None, app, all: false, reason: String::new() };
    assert_eq!(ask(socket.clone(), revoke).await.unwrap().get("tunnels"), Some(&json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cannot_be_carried_out_say_why_and_what_to_do() {
    let world = World::new();
    world.session("alice", &["dev"], "laptop");
    let socket = world.dir().join("a.sock");
    let _admin = Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)).unwrap();
    let (error, hint) = refused(ask(socket.clone(), set("alcie", 90)).await);
    assert!(error.contains("alcie") && hint.contains("sessions list"), "{error} / {hint}");
    let (error, _) = refused(ask(socket.clone(), set("alice", 101)).await);
    assert!(error.contains("101"), "{error}");
    let nobody = Request::RiskClear { user: None, device: None, session: None };
    assert!(refused(ask(socket.clone(), nobody).await).1.contains("exactly one"));
    let app = Some("bd".to_owned());
    let revoke =
        Request::SessionsRevoke { user: None, session: None, device: None, app, all: false, reason: String::new() };
    assert!(refused(ask(socket.clone(), revoke).await).0.contains("payroll"), "the apps are named");
    let device = "zzz".to_owned();
    assert!(refused(ask(socket.clone(), Request::DevicesBlock { device }).await).1.contains("devices list"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_or_endless_line_is_answered_and_harms_nobody() {
    let world = World::new();
    let socket = world.dir().join("a.sock");
    let _admin = Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)).unwrap();
    for line in [
        "nonsense",
        "{}",
        "{\"op\":\"launch\"}",
        "{\"op\":\"status\",\"x\":1}",
        "\u{0}",
        "[]",
        "{\"op\":\"risk.set\",\"score\":-1}",
    ] {
        let answer = raw(&socket, format!("{line}\n").into_bytes()).await;
        let answer: Map<String, Value> = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer.get("ok"), Some(&json!(false)), "{line}");
        assert!(answer.get("error").is_some_and(Value::is_string), "{line}");
    }
    let answer = raw(&socket, vec![b'x'; 100 * 1024]).await;
    assert!(answer.contains("64 KiB"), "{answer}");
    assert!(ask(socket, Request::Status {}).await.is_ok());
}

async fn raw(socket: &Path, bytes: Vec<u8>) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    // the far end may answer and close before it has read all
    let _ = stream.write_all(&bytes).await;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_socket_that_cannot_be_had_is_a_clear_error() {
    let world = World::new();
    let long = world.dir().join("x".repeat(120));
    let error = Admin::spawn(&long, world.engine.clone(), reload::tests::of(&world)).unwrap_err().to_string();
    assert!(error.contains("bytes long") && error.contains("shorter"), "{error}");
    let file = world.dir().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(
        Admin::spawn(&file, world.engine.clone(), reload::tests::of(&world)),
        Err(AdminError::NotASocket(_))
    ));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let socket = world.dir().join("a.sock");
    let first = Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)).unwrap();
    assert!(matches!(
        Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)),
        Err(AdminError::Taken(_))
    ));
    drop(first);
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(
        Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)).is_ok(),
        "a stale socket is replaced"
    );
    assert!(matches!(
        Admin::spawn(&world.dir().join("no/a.sock"), world.engine.clone(), reload::tests::of(&world)),
        Err(AdminError::Io { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_has_not_signed_in_yet_is_named_by_issuer_and_subject() {
    let world = World::new();
    let socket = world.dir().join("a.sock");
    let _admin = Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)).unwrap();
    let answer = ask(socket.clone(), set("https://idp.example|carol", 90)).await.unwrap();
    assert_eq!((&answer["known"], &answer["user"]), (&json!(false), &json!("https://idp.example|carol")));
    let (error, hint) = refused(ask(socket.clone(), set("https://ipd.example|carol", 90)).await);
    assert!(error.contains("https://ipd.example") && hint.contains("https://idp.example"), "{error} / {hint}");
    let (error, hint) = refused(ask(socket.clone(), set("carol@example.com", 90)).await);
    assert!(error.contains("carol@example.com") && hint.contains("ISSUER|SUBJECT"), "{error} / {hint}");
    let carol = world.session("carol", &["dev"], "laptop");
    assert_eq!(world.open(&carol, "wiki").unwrap_err().code, "risk.user");
    let answer = ask(socket, set("carol", 0)).await.unwrap();
    assert_eq!(answer["known"], json!(true));
    assert!(world.open(&carol, "wiki").is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_habits_are_forgotten_on_request() {
    let world = World::new();
    let socket = world.dir().join("a.sock");
    let _admin = Admin::spawn(&socket, world.engine.clone(), reload::tests::of(&world)).unwrap();
    let alice = world.session("alice", &["dev"], "laptop");
    drop(world.open(&alice, "wiki").unwrap());
    assert!(world.engine.habits(&alice.identity.user).is_some());
    for forgotten in [true, false] {
        let answer = ask(socket.clone(), Request::RiskForget { user: "alice".to_owned() }).await.unwrap();
        assert_eq!(answer["forgotten"], json!(forgotten));
    }
    assert!(world.engine.habits(&alice.identity.user).is_none());
}

/// Any request line: an operation, known or not, with members of the right and of the wrong sort, and now and then noise.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let operations = vec![
        ("sessions.list", vec![]),
        ("sessions.revoke", vec!["user", "session", "device", "app", "all", "reason"]),
        ("risk.set", vec!["score", "user", "device", "session", "reason", "for"]),
        ("risk.show", vec!["user", "device", "session"]),
        ("risk.clear", vec!["user", "device", "session"]),
        ("risk.forget", vec!["user"]),
        ("devices.list", vec![]),
        ("devices.approve", vec!["device"]),
        ("devices.block", vec!["device"]),
        ("devices.remove", vec!["device"]),
        ("policy.reload", vec![]),
        ("policy.explain", vec!["user", "app"]),
        ("status", vec![]),
        ("audit.key", vec!["other"]),
        ("nothing", vec!["user"]),
    ];
    let wrong = prop_oneof![any::<i64>().prop_map(Value::from), Just(Value::Null), Just(json!(["x"]))];
    let value = prop_oneof![6 => ".{0,20}".prop_map(Value::from), 6 => Just(json!("alice")), 1 => wrong];
    let values = proptest::collection::vec((proptest::bool::weighted(0.7), value), 6);
    let object =
        (proptest::sample::select(operations), values, any::<u8>()).prop_map(|((operation, names), values, n)| {
            let mut line = Map::from_iter([("op".to_owned(), json!(operation))]);
            for (name, (_, value)) in names.into_iter().zip(values).filter(|(_, (is_said, _))| *is_said) {
                let value = match name {
                    "score" => json!(n),
                    "all" => json!(n % 2 == 0),
                    "for" => json!(format!("{n}m")),
                    _ => value,
                };
                line.insert(name.to_owned(), value);
            }
            Value::Object(line).to_string().into_bytes()
        });
    prop_oneof![4 => object, 1 => proptest::collection::vec(any::<u8>(), 0..60)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_line_is_answered_in_one_line_and_what_reads_writes_back_the_same() {
    let world = World::new();
    let _alice = world.session("alice", &["dev"], "laptop");
    let reload = reload::tests::of(&world);
    let understood = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) });
    let checked = runner.run(&lines(), |line| {
        let request = serde_json::from_slice::<Request>(&line).ok();
        if let Some(request) = &request {
            understood.set(understood.get() + 1);
            let again = serde_json::to_vec(request).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Request>(&again).unwrap(), request);
        }
        let answer = answer::answer(&world.engine, &reload, &line, Instant::now());
        let answer = String::from_utf8(answer).unwrap();
        prop_assert!(!answer.contains('\n'), "{}", answer);
        let answer: Map<String, Value> = serde_json::from_str(&answer).unwrap();
        let error = answer.get("error").and_then(Value::as_str);
        match answer.get("ok").and_then(Value::as_bool) {
            Some(true) => prop_assert!(request.is_some() && error.is_none(), "{:?}", answer),
            ok => prop_assert!(ok == Some(false) && error.is_some_and(|error| !error.is_empty()), "{:?}", answer),
        }
        Ok(())
    });
    assert_eq!(checked, Ok(()));
    assert!(understood.get() > 100, "only {} requests were understood", understood.get());
}
