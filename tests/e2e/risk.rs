//! Risk rises and falls: bytes stop and go on, or tunnels end; access returns without a new login.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztsa_core::listener::event::{Event, Events};

use crate::house::House;
use crate::patience::{SILENCE, soon};
use crate::server::{Server, echo, pass, reset, take};

/// Waits for an event.
async fn event<T>(events: &mut Events, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    soon(what, async {
        loop {
            let event = events.next().await.unwrap();
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_risk_beyond_tolerance_pauses_the_bytes_and_loses_none() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let forward = client.forward("shop", "127.0.0.1:0").await.unwrap();
    let mut events = client.events();
    let mut near = TcpStream::connect(forward.local_addr()).await.unwrap();
    let mut far = shop.accept().await;
    pass(&mut near, &mut far, "before").await;
    let answer = house.admin(json!({"op": "risk.set", "user": "alice", "score": 70, "reason": "odd hours"})).await;
    assert_eq!(answer["tunnels"]["suspended"], 1, "{answer:?}");
    let problem = event(&mut events, "the suspension", |event| match event {
        Event::Suspended { problem, .. } => Some(problem.clone()),
        _ => None,
    })
    .await;
    assert_eq!(problem.code, "risk.user");
    assert!(problem.to_string().contains("odd hours"), "{problem}");
    // both sockets take bytes and pass none on
    near.write_all(b"a question").await.unwrap();
    far.write_all(b"an answer").await.unwrap();
    let mut byte = [0];
    for (end, stream) in [("app", &mut far), ("program", &mut near)] {
        let read = tokio::time::timeout(SILENCE, stream.read(&mut byte)).await;
        assert!(read.is_err(), "the {end} read {read:?} while access was suspended");
    }
    // nothing new opens meanwhile
    let refused = soon("the refusal", client.connect("shop:1")).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, "risk.user");
    let answer = house.admin(json!({"op": "risk.clear", "user": "alice"})).await;
    assert_eq!(answer["tunnels"]["restored"], 1, "{answer:?}");
    event(&mut events, "the restoration", |event| matches!(event, Event::Restored(_)).then_some(())).await;
    assert_eq!(take(&mut far, 10).await, "a question");
    assert_eq!(take(&mut near, 9).await, "an answer");
    pass(&mut far, &mut near, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_stream_that_is_paused_in_the_middle_arrives_whole() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let mut near = soon("a stream", client.connect("shop")).await.unwrap();
    let mut far = shop.accept().await;
    // more than is on its way between the two: the tunnel's window and what the kernel keeps
    let text: String = (0..4_000_000).map(|number| format!("{number:07}\n")).collect();
    let send = async {
        far.write_all(text.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
    };
    let receive = async {
        let mut received = take(&mut near, 100_000).await;
        house.admin(json!({"op": "risk.set", "user": "alice", "score": 60, "reason": "a look"})).await;
        // what was on its way comes, and then nothing
        let mut bytes = vec![0; 65_536];
        while let Ok(read) = tokio::time::timeout(SILENCE, near.read(&mut bytes)).await {
            let read = read.unwrap();
            assert_ne!(read, 0, "the stream was not paused");
            received.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        house.admin(json!({"op": "risk.clear", "user": "alice"})).await;
        near.read_to_string(&mut received).await.unwrap();
        received
    };
    let ((), received) = soon("the whole stream", async { tokio::join!(send, receive) }).await;
    assert!(received == text, "{} of {} bytes, or others", received.len(), text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_high_risk_ends_what_is_open_and_access_returns_when_it_falls() {
    let house = House::new(&[]).await;
    let (alice, bob) = (house.sign_in("alice").await, house.sign_in("bob").await);
    let mut hers = soon("a stream", alice.connect("echo")).await.unwrap();
    let mut his = soon("a stream", bob.connect("echo")).await.unwrap();
    let session = alice.session().await.unwrap().info.session.clone();
    let answer = house.admin(json!({"op": "risk.set", "user": "alice", "score": 85, "reason": "stolen laptop"})).await;
    assert_eq!(answer["tunnels"]["ended"], 1, "{answer:?}");
    reset(&mut hers).await;
    assert!(hers.ended().unwrap().to_string().contains("stolen laptop"));
    echo(&mut his, "not his risk").await;
    let refused = soon("the refusal", alice.connect("echo:1")).await.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!((problem.code.as_str(), problem.exit()), ("risk.user", 4));
    assert!(problem.to_string().contains("stolen laptop") && problem.remedy.is_some(), "{problem:?}");
    let info = soon("the session", alice.refresh()).await.unwrap();
    assert_eq!(info.risk.user, 85);
    assert!(info.risk.signals.iter().any(|signal| signal.reason.contains("stolen laptop")), "{info:?}");
    house.admin(json!({"op": "risk.clear", "user": "alice"})).await;
    let mut again = soon("a stream", alice.connect("echo")).await.unwrap();
    echo(&mut again, "without a new login").await;
    assert_eq!(alice.session().await.unwrap().info.session, session);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_risk_for_a_time_ends_by_itself() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let order = json!({"op": "risk.set", "user": "alice", "score": 90, "reason": "for a moment", "for": "10s"});
    house.admin(order).await;
    let mut refusals = 0;
    let mut stream = soon("access to return", async {
        loop {
            match client.connect("echo").await {
                Ok(stream) => return stream,
                Err(error) => {
                    assert_eq!(error.problem().unwrap().code, "risk.user", "{error}");
                    refusals += 1;
                    tokio::time::sleep(SILENCE).await;
                }
            }
        }
    })
    .await;
    assert!(refusals > 0, "it was never refused");
    echo(&mut stream, "over").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_lasts_too_long_ends_the_tunnel_for_its_reason() {
    let house = House::with(&[], "[risk]\nsuspend_grace = \"1s\"\n").await;
    let client = house.sign_in("alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    house.admin(json!({"op": "risk.set", "user": "alice", "score": 70, "reason": "odd hours"})).await;
    reset(&mut stream).await;
    assert_eq!(stream.ended().unwrap().code, "risk.user");
    house.tunnels(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_tunnel_is_gone_when_its_program_goes_away_and_stays_for_one_that_only_ended_its_side() {
    let shop = Server::bind().await;
    let house = House::with(&[("shop", shop.port())], "[risk]\nsuspend_grace = \"1h\"\n").await;
    let client = house.sign_in("alice").await;
    let forward = client.forward("shop", "127.0.0.1:0").await.unwrap();
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let near = TcpStream::connect(forward.local_addr()).await.unwrap();
        pairs.push((near, shop.accept().await));
    }
    let mut events = client.events();
    house.admin(json!({"op": "risk.set", "user": "alice", "score": 70, "reason": "odd hours"})).await;
    for _ in 0..3 {
        event(&mut events, "a suspension", |event| matches!(event, Event::Suspended { .. }).then_some(())).await;
    }
    let (mut half, mut far) = pairs.pop().unwrap();
    half.shutdown().await.unwrap();
    // one is killed with bytes of the program unread, the other closes in order
    let (crashed, mut behind_crashed) = pairs.pop().unwrap();
    ztsa_net::accept::reset_on_close(&crashed);
    drop(crashed);
    let (closed, mut behind_closed) = pairs.pop().unwrap();
    drop(closed);
    reset(&mut behind_crashed).await;
    reset(&mut behind_closed).await;
    house.tunnels(1).await;
    house.admin(json!({"op": "risk.clear", "user": "alice"})).await;
    far.write_all(b"the answer").await.unwrap();
    assert_eq!(take(&mut half, 10).await, "the answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_tunnel_ends_when_the_risk_goes_on_rising() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let mut near = soon("a stream", client.connect("shop")).await.unwrap();
    let mut far = shop.accept().await;
    for (score, changed) in [(70, "suspended"), (90, "ended")] {
        let answer = house.admin(json!({"op": "risk.set", "user": "alice", "score": score, "reason": "more"})).await;
        assert_eq!(answer["tunnels"][changed], 1, "{answer:?}");
        far.write_all(b"unread").await.unwrap_or_default();
    }
    reset(&mut near).await;
    reset(&mut far).await;
}
