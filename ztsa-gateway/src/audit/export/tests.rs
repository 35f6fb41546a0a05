//! A collector as it behaves on good and on bad days.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use ztsa_net::task::Scope;

use super::super::tests::{Folder, lines, record, start};
use super::super::{Activity, Audit, Outcome, rotation};
use super::protobuf::{self, Field};
use super::*;
use crate::config::{Rotate, WhenFull};

/// What the collector does with the next request: a status, and headers and a body to go with it.
type Mood = (u16, &'static [(&'static str, &'static str)], &'static [u8]);

/// The head and the body of a request.
type Got = (HeaderMap, Vec<u8>);

#[derive(Clone, Default)]
struct Collector {
    moods: Arc<Mutex<VecDeque<Mood>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Collector {
    async fn listen(&self, scope: &Scope) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().route("/v1/logs", axum::routing::post(Self::take)).with_state(self.clone());
        scope.spawn(async move { axum::serve(listener, app).await.unwrap() });
        endpoint
    }

    #[expect(clippy::needless_pass_by_value, reason = "the shape of a handler")]
    fn take(
        State(collector): State<Self>,
        headers: HeaderMap,
        body: Bytes,
    ) -> std::future::Ready<axum::response::Response> {
        let mood = collector.moods.lock().unwrap().pop_front();
        collector.got.lock().unwrap().push((headers, body.to_vec()));
        let (status, headers, body) = mood.unwrap_or((200, &[], &[]));
        let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        std::future::ready(response)
    }

    /// The numbers of the events of each request.
    fn sequences(&self) -> Vec<Vec<u64>> {
        self.got.lock().unwrap().iter().map(|(_, body)| sequences(body)).collect()
    }
}

/// Reads `ztsa.sequence` of every record.
fn sequences(body: &[u8]) -> Vec<u64> {
    let inside = |bytes, wanted| {
        let of = move |(number, field)| match field {
            Field::Bytes(bytes) if number == wanted => Some(bytes),
            _ => None,
        };
        protobuf::fields(bytes).filter_map(of)
    };
    let scoped = inside(body, 1).flat_map(|logs| inside(logs, 2));
    let attributes = scoped.flat_map(|scoped| inside(scoped, 2)).flat_map(|record| inside(record, 6));
    let numbers = attributes.filter(|pair| inside(pair, 1).any(|key| key == b"ztsa.sequence"));
    let number = |value| {
        protobuf::fields(value).find_map(|(number, field)| match field {
            Field::Number(value) if number == 3 => Some(value),
            _ => None,
        })
    };
    numbers.flat_map(|pair| inside(pair, 2)).filter_map(number).collect()
}

fn config(folder: &Folder, endpoint: &str) -> config::Audit {
    let otlp = Otlp {
        endpoint: format!("{endpoint}/v1/logs").parse().unwrap(),
        headers_file: None,
        ca_file: None,
        batch: 512,
        every: Duration::from_millis(10),
        timeout: Duration::from_secs(30),
        outbox: 1_000_000,
    };
    config::Audit { otlp: Some(otlp), ..config::Audit::at(folder.file()) }
}

fn write(audit: &Audit, count: usize) {
    (0..count).for_each(|_| audit.record(record(Activity::Connect, Outcome::Success)));
}

async fn sent(audit: &Audit) {
    let asked = Instant::now();
    audit.flush().await;
    while audit.state().export.unwrap().waiting > 0 {
        assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", audit.state());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !is() {
        assert!(asked.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_line_reaches_the_collector_once_and_in_order_with_its_credential() {
    let (folder, scope, collector) = (Folder::new(), Scope::new(), Collector::default());
    let endpoint = collector.listen(&scope).await;
    let mut config = config(&folder, &endpoint);
    let secret = folder.file().with_extension("headers");
    std::fs::write(&secret, "authorization: Bearer s3cret\n").unwrap();
    if let Some(otlp) = &mut config.otlp {
        (otlp.headers_file, otlp.batch) = (Some(secret), 40);
    }
    let audit = start(&config);
    audit.start(&scope.spawner());
    write(&audit, 100);
    sent(&audit).await;
    let got = collector.sequences();
    assert!(got.len() >= 3 && got.iter().all(|batch| batch.len() <= 40), "{got:?}");
    assert_eq!(got.concat(), (1..=100).collect::<Vec<_>>());
    let headers = collector.got.lock().unwrap()[0].0.clone();
    assert_eq!(headers["authorization"], "Bearer s3cret");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert!(!format!("{audit:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_restart_goes_on_where_the_collector_was_left() {
    let (folder, scope, collector) = (Folder::new(), Scope::new(), Collector::default());
    let endpoint = collector.listen(&scope).await;
    let config = config(&folder, &endpoint);
    let first = Scope::new();
    let audit = start(&config);
    audit.start(&first.spawner());
    write(&audit, 5);
    sent(&audit).await;
    first.drain(Duration::from_secs(5)).await;
    // while nobody sends: more lines, and the log is moved away by its own rotation
    write(&audit, 3);
    audit.flush().await;
    drop(audit);
    let rotated = folder.file().with_file_name("audit-20261122T193015Z-000000000009.ndjson");
    std::fs::rename(folder.file(), rotated).unwrap();
    let audit = start(&config);
    write(&audit, 2);
    audit.flush().await;
    audit.start(&scope.spawner());
    sent(&audit).await;
    let last = lines(&folder.file()).last().unwrap()["metadata"]["sequence"].as_u64().unwrap();
    assert_eq!(collector.sequences().concat(), (1..=last).collect::<Vec<_>>());
    assert_eq!(audit.state().export.unwrap().not_sent, 0);
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again_when_it_says_and_loses_nothing() {
    let (folder, scope, collector) = (Folder::new(), Scope::new(), Collector::default());
    let endpoint = collector.listen(&scope).await;
    collector.moods.lock().unwrap().extend([
        (429, &[("retry-after", "1")] as &[_], b"" as &[u8]),
        (503, &[("retry-after", "0")], b""),
        (401, &[("retry-after", "0")], b""),
        (200, &[("content-type", "text/html; charset=utf-8")], b"<html>Please sign in</html>"),
    ]);
    let audit = start(&config(&folder, &format!("{endpoint}/v1/logs?key=hush#")));
    // all of them wait before any is sent: they go together
    write(&audit, 3);
    audit.flush().await;
    let asked = Instant::now();
    audit.start(&scope.spawner());
    until("the first refusal", || audit.state().export.unwrap().outage.is_some()).await;
    let outage = audit.state().export.unwrap().outage.unwrap();
    assert!(outage.contains("answered with status 429") && !outage.contains("hush"), "{outage}");
    sent(&audit).await;
    assert!(asked.elapsed() >= Duration::from_secs(3), "as long as it was told to, and never without a pause");
    assert_eq!(collector.sequences(), vec![vec![1, 2, 3]; 5], "who answers with a page has taken nothing");
    let state = audit.state().export.unwrap();
    assert_eq!((state.failures, state.rejected, state.outage), (4, 0, None));
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted_and_never_sent_again() {
    let (folder, scope, collector) = (Folder::new(), Scope::new(), Collector::default());
    let endpoint = collector.listen(&scope).await;
    // too large; the first half is taken but for one record, the second is bad
    let partial: &[u8] = &[0x0a, 6, 0x08, 1, 0x12, 2, b'n', b'o'];
    collector.moods.lock().unwrap().extend([(413, &[] as &[_], b"" as &[u8]), (200, &[], partial), (400, &[], b"")]);
    let audit = start(&config(&folder, &endpoint));
    write(&audit, 4);
    audit.flush().await;
    audit.start(&scope.spawner());
    sent(&audit).await;
    assert_eq!(collector.sequences(), [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4]]);
    assert_eq!(audit.state().export.unwrap().rejected, 3);
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_nobody_unless_it_must() {
    let (folder, scope) = (Folder::new(), Scope::new());
    // takes connections, and says nothing on them
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut config = config(&folder, &endpoint);
    config.when_full = WhenFull::Refuse;
    if let Some(otlp) = &mut config.otlp {
        (otlp.outbox, otlp.timeout) = (100, Duration::from_secs(1));
    }
    let audit = start(&config);
    audit.start(&scope.spawner());
    write(&audit, 99);
    audit.flush().await;
    assert!(!audit.refuses());
    write(&audit, 1);
    audit.flush().await;
    assert!(audit.refuses(), "what is configured to be told is told before anything new");
    (0..1000).for_each(|_| audit.record(record(Activity::Connect, Outcome::Failure)));
    audit.flush().await;
    until("the timeout", || audit.state().export.unwrap().outage.is_some()).await;
    assert!(audit.state().export.unwrap().outage.unwrap().contains("did not answer in time"));
    assert_eq!((lines(&folder.file()).len(), audit.lost()), (100, 0));
    // it is replaced by one that answers
    let address = listener.local_addr().unwrap();
    drop(listener);
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let app = axum::Router::new().route("/v1/logs", axum::routing::post(Collector::take)).with_state(collector.clone());
    scope.spawn(async move { axum::serve(listener, app).await.unwrap() });
    until("the line about who was refused", || lines(&folder.file()).len() > 100).await;
    sent(&audit).await;
    assert!(!audit.refuses());
    let lines = lines(&folder.file());
    let refused = lines.last().unwrap();
    assert_eq!((&refused["metadata"]["event_code"], &refused["count"]), (&"refused".into(), &1000.into()));
    assert_eq!(collector.sequences().concat(), (1..=101).collect::<Vec<_>>(), "they did not feed what made them");
}

#[tokio::test]
async fn who_was_refused_is_counted_also_when_the_gateway_ends_before_the_collector_comes_back() {
    let folder = Folder::new();
    let mut config = config(&folder, "http://127.0.0.1:9");
    config.when_full = WhenFull::Refuse;
    if let Some(otlp) = &mut config.otlp {
        otlp.outbox = 10;
    }
    let audit = start(&config);
    write(&audit, 10);
    audit.flush().await;
    (0..1000).for_each(|_| audit.record(record(Activity::Connect, Outcome::Failure)));
    write(&audit, 1);
    drop(audit);
    let lines = lines(&folder.file());
    let counted = lines.iter().filter(|line| line["metadata"]["event_code"] == "refused");
    assert_eq!(counted.map(|line| line["count"].clone()).collect::<Vec<_>>(), [1000]);
    assert_eq!(lines.len(), 13, "and one line each for those who are connected");
}

#[tokio::test]
async fn events_whose_file_is_gone_before_they_are_sent_are_counted_in_the_log() {
    let (folder, scope, collector) = (Folder::new(), Scope::new(), Collector::default());
    let endpoint = collector.listen(&scope).await;
    let mut config = config(&folder, &endpoint);
    config.rotate = Some(Rotate { size: 65_536, age: None, keep: Some(1) });
    let audit = start(&config);
    write(&audit, 1000);
    audit.flush().await;
    // a file that the last of them filled is moved away by the next that happens
    audit.flush().await;
    let kept = lines(&rotation::rotated(&folder.file())[0])[0]["metadata"]["sequence"].as_u64().unwrap();
    audit.start(&scope.spawner());
    sent(&audit).await;
    until("the line about it", || {
        lines(&folder.file()).iter().any(|line| line["metadata"]["event_code"] == "not-sent")
    })
    .await;
    sent(&audit).await;
    assert_eq!(audit.state().export.unwrap().not_sent, kept - 1);
    assert_eq!(collector.sequences().concat()[0], kept);
}

#[tokio::test]
async fn lines_that_are_gone_from_the_middle_of_what_is_sent_at_once_are_counted_too() {
    let (folder, scope, collector) = (Folder::new(), Scope::new(), Collector::default());
    let endpoint = collector.listen(&scope).await;
    let config = config(&folder, &endpoint);
    let audit = start(&config);
    write(&audit, 10);
    drop(audit);
    let text = std::fs::read_to_string(folder.file()).unwrap();
    let kept = text.split_inclusive('\n').enumerate().filter(|(at, _)| ![3, 4, 7].contains(at));
    std::fs::write(folder.file(), kept.map(|(_, line)| line).collect::<String>()).unwrap();
    let audit = start(&config);
    audit.start(&scope.spawner());
    until("the count", || audit.state().export.unwrap().not_sent > 0).await;
    sent(&audit).await;
    assert_eq!(audit.state().export.unwrap().not_sent, 3);
    until("the line about it", || {
        lines(&folder.file()).iter().any(|line| line["metadata"]["event_code"] == "not-sent" && line["count"] == 3)
    })
    .await;
    assert_eq!(collector.sequences().concat()[..8], [1, 2, 3, 6, 7, 9, 10, 11]);
}

#[tokio::test]
async fn what_can_never_be_sent_keeps_nobody_out_for_ever() {
    let (folder, scope, collector) = (Folder::new(), Scope::new(), Collector::default());
    let endpoint = collector.listen(&scope).await;
    let mut config = config(&folder, &endpoint);
    config.when_full = WhenFull::Refuse;
    if let Some(otlp) = &mut config.otlp {
        otlp.outbox = 10;
    }
    let audit = start(&config);
    write(&audit, 10);
    audit.flush().await;
    assert!(audit.refuses());
    std::fs::remove_file(folder.file()).unwrap();
    audit.start(&scope.spawner());
    until("the way in", || !audit.refuses()).await;
    assert!(audit.state().export.unwrap().not_sent >= 10);
    // that the file is gone is noticed within a second; what comes then is written and sent
    until("a new file", || {
        write(&audit, 1);
        folder.file().exists()
    })
    .await;
    sent(&audit).await;
    let first = lines(&folder.file())[0]["metadata"]["sequence"].as_u64();
    assert_eq!(collector.sequences().concat().first().copied(), first);
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let folder = Folder::new();
    let mut config = config(&folder, "http://127.0.0.1:1");
    if let Some(otlp) = &mut config.otlp {
        otlp.headers_file = Some("/nowhere/headers".into());
    }
    let error = crate::audit::check(&config).unwrap_err().to_string();
    assert!(error.starts_with("[audit.otlp]: /nowhere/headers cannot be read: "), "{error}");
}

#[test]
fn what_was_written_just_before_the_file_was_moved_away_is_read_too() {
    let folder = Folder::new();
    let (mut head, old) = (Head::new(), folder.file().with_extension("old"));
    let mut append = |path: &Path, count: usize| {
        let mut lines = Vec::new();
        let event = serde_json::json!({"metadata": {}});
        (0..count).for_each(|_| head.seal(event.as_object().unwrap().clone(), 1, &mut lines));
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, &lines).unwrap();
    };
    append(&folder.file(), 2);
    let mut tail = Tail::new(&folder.file(), 0);
    assert_eq!(tail.read(10).unwrap().len(), 2);
    // between the end of the file and the look at its name
    append(&folder.file(), 1);
    std::fs::rename(folder.file(), &old).unwrap();
    append(&folder.file(), 1);
    assert!(tail.turn().unwrap());
    let numbers: Vec<u64> = tail.read(10).unwrap().iter().map(|line| line.sequence).collect();
    assert_eq!(numbers, [3, 4]);
}

#[test]
fn a_log_that_cannot_be_read_again_is_not_sent_from() {
    let folder = Folder::new();
    std::os::unix::fs::symlink("/dev/null", folder.file()).unwrap();
    let config = config(&folder, "http://127.0.0.1:9");
    let error = Audit::with_key(&config, ztsa_proto::jws::SoftwareKey::generate().unwrap()).unwrap_err();
    assert!(error.to_string().contains("is no file, and what it took cannot be read again"), "{error}");
    assert!(crate::audit::check(&config).is_err());
}
