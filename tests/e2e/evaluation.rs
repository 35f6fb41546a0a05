//! Whatever takes access away and gives it back: the bytes stop and go on, the listener stays, the person is told, and
//! nobody signs in again. The gateway measures how long it took.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztsa_core::listener::event::{Event, Events};

use crate::house::{House, write_policy};
use crate::patience::{SILENCE, soon};
use crate::server::{Server, pass, reset, take};

const CLOSED: &str = "@id(\"closed\")\n@reason(\"stocktaking\")\n@remedy(\"wait\")\n@on_change(\"suspend\")\n\
    forbid (principal, action, resource == App::\"shop\");\n";

/// Waits for an event of a connection.
async fn event<T>(events: &mut Events, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = wanted(&events.next().await.unwrap()) {
                return found;
            }
        }
    })
    .await
}

/// A house with metrics, and where they are.
async fn measured(shop: &Server) -> (House, SocketAddr) {
    let house = House::with(&[("shop", shop.port())], "[metrics]\nlisten = \"127.0.0.1:0\"\n").await;
    let metrics = house.dev.gateway().metrics_addr().unwrap();
    (house, metrics)
}

async fn scrape(metrics: SocketAddr) -> String {
    let mut stream = TcpStream::connect(metrics).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    soon("a scrape", stream.read_to_string(&mut text)).await.unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_pauses_and_goes_leaves_listener_login_and_every_byte() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let session = client.session().await.unwrap().info.session.clone();
    let forward = client.forward("shop", "127.0.0.1:0").await.unwrap();
    let mut events = client.events();
    let mut near = TcpStream::connect(forward.local_addr()).await.unwrap();
    let mut far = shop.accept().await;
    pass(&mut near, &mut far, "before").await;
    write_policy(&house.policies(), "closed.cedar", CLOSED);
    house.admin(json!({"op": "policy.reload"})).await;
    let problem = event(&mut events, "the suspension", |event| match event {
        Event::Suspended { problem, .. } => Some(problem.clone()),
        _ => None,
    })
    .await;
    assert_eq!((problem.detail.as_str(), problem.remedy.as_deref()), ("stocktaking", Some("wait")));
    assert_eq!(problem.waits, Some(60), "the person is told how long it waits");
    near.write_all(b"a question").await.unwrap();
    let read = tokio::time::timeout(SILENCE, far.read_u8()).await;
    assert!(read.is_err(), "a byte passed: {read:?}");
    std::fs::remove_file(house.policies().join("closed.cedar")).unwrap();
    house.admin(json!({"op": "policy.reload"})).await;
    event(&mut events, "the restoration", |event| matches!(event, Event::Restored(_)).then_some(())).await;
    assert_eq!(take(&mut far, 10).await, "a question");
    let mut next = TcpStream::connect(forward.local_addr()).await.unwrap();
    pass(&mut next, &mut shop.accept().await, "the same listener").await;
    assert_eq!(client.session().await.unwrap().info.session, session, "and no new login");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_blocked_and_approved_again_finds_its_listener_and_its_session() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let session = client.session().await.unwrap();
    let device = session.info.device.id.to_string();
    let forward = client.forward("shop", "127.0.0.1:0").await.unwrap();
    let mut events = client.events();
    let mut near = TcpStream::connect(forward.local_addr()).await.unwrap();
    let mut far = shop.accept().await;
    pass(&mut near, &mut far, "before").await;
    house.admin(json!({"op": "devices.block", "device": device})).await;
    reset(&mut near).await;
    reset(&mut far).await;
    let code = event(&mut events, "the ending", |event| match event {
        Event::Ended { problem: Some(problem), .. } => Some(problem.code.clone()),
        _ => None,
    })
    .await;
    assert_eq!(code, "device.blocked");
    house.admin(json!({"op": "devices.approve", "device": device})).await;
    let mut next = TcpStream::connect(forward.local_addr()).await.unwrap();
    pass(&mut next, &mut shop.accept().await, "the same listener").await;
    assert_eq!(client.session().await.unwrap().info.session, session.info.session, "and no new login");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_from_the_cause_to_the_last_byte_is_measured_and_exported() {
    let shop = Server::bind().await;
    let (house, metrics) = measured(&shop).await;
    let client = house.sign_in("alice").await;
    let mut near = soon("a stream", client.connect("shop")).await.unwrap();
    let mut far = shop.accept().await;
    pass(&mut near, &mut far, "twelve bytes").await;
    let count = |text: &str, series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("no {series} in {text}"))
    };
    let last_byte = |of: &str, outcome: &str| {
        format!("ztsa_signal_to_last_byte_seconds_{of}{{cause=\"administrator\",outcome=\"{outcome}\"}}")
    };
    for (score, outcome) in [(70, "suspended"), (90, "ended")] {
        house.admin(json!({"op": "risk.set", "user": "alice", "score": score, "reason": "a test"})).await;
        soon("the measurement", async {
            while count(&scrape(metrics).await, &last_byte("count", outcome)) < 1.0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    reset(&mut near).await;
    house.tunnels(0).await;
    let text = scrape(metrics).await;
    for outcome in ["suspended", "ended"] {
        let sum = count(&text, &last_byte("sum", outcome));
        assert!(sum > 0.0 && sum < 60.0, "{outcome}: {sum} s");
        assert!((count(&text, &last_byte("count", outcome)) - 1.0).abs() < 0.1, "{text}");
    }
    for (series, value) in [
        ("ztsa_tunnels_opened_total", 1.0),
        ("ztsa_tunnels_ended_total{how=\"gateway\"}", 1.0),
        ("ztsa_tunnel_suspensions_total", 1.0),
        ("ztsa_tunnel_bytes_total{direction=\"up\"}", 12.0),
        ("ztsa_risk_changes_total{cause=\"administrator\"}", 2.0),
        ("ztsa_exchanges_total{result=\"begun\"}", 1.0),
        ("ztsa_evaluated_tunnels_total", 2.0),
    ] {
        assert!(count(&text, series) >= value, "{series} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_on_metrics_names_exactly_what_is_scraped() {
    let (house, metrics) = measured(&Server::bind().await).await;
    let text = scrape(metrics).await;
    let mut scraped = std::collections::BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            scraped.insert(name.to_owned(), (kind.to_owned(), std::collections::BTreeSet::new()));
            continue;
        }
        let Some((name, labels)) = line.split_once('{').and_then(|(name, rest)| Some((name, rest.split_once('}')?.0)))
        else {
            continue;
        };
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let family = scraped.get_mut(family).unwrap_or_else(|| panic!("{family} has no type"));
        for label in labels.split(',') {
            let (label, value) = label.split_once("=\"").unwrap();
            if label != "le" {
                family.1.insert(format!("{label}={}", value.trim_end_matches('"')));
            }
        }
    }
    assert!(scraped.len() > 20, "{scraped:?}");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `ztsa_")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let labels = cells[2].split(';').flat_map(|label| {
            let (label, values) = label.split_once(": ").unwrap_or_default();
            let label = label.trim().trim_matches('`').to_owned();
            values.split(", ").map(|value| format!("{label}={}", value.trim_matches('`'))).collect::<Vec<_>>()
        });
        let labels = labels.filter(|label| label != "=").collect();
        (cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), labels))
    });
    let documented: std::collections::BTreeMap<_, _> = rows.collect();
    assert_eq!(documented, scraped);
    drop(house);
}
