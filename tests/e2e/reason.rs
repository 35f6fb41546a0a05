//! The reason of a pause and of an ending reaches the person even where no word can follow the bytes: behind bulk that
//! nobody reads, and after the app has ended its side.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztsa_core::client::Client;
use ztsa_core::listener::event::{Connection, Event, Events};
use ztsa_net::task::Scope;

use crate::house::House;
use crate::local::{all_ways, ask, head};
use crate::patience::{SILENCE, soon};
use crate::server::{Server, pass, rest, take};

/// More than waits between an app and a program that does not read.
const BULK: usize = 16 << 20;

async fn risk(house: &House, score: u32) {
    let order = match score {
        0 => json!({"op": "risk.clear", "user": "alice"}),
        score => json!({"op": "risk.set", "user": "alice", "score": score, "reason": "odd hours"}),
    };
    house.admin(order).await;
}

/// Waits until a client hears what its gateway says of sessions; gives its events from then on.
async fn heard(house: &House, client: &Client) -> Events {
    let mut events = client.events();
    let stream = soon("a stream", client.connect("echo")).await.unwrap();
    let mut scores = [70, 0].into_iter().cycle();
    soon("word of the gateway", async {
        loop {
            risk(house, scores.next().unwrap()).await;
            let word = async { while !matches!(events.next().await.unwrap(), Event::Gateway(_)) {} };
            if tokio::time::timeout(SILENCE, word).await.is_ok() {
                return;
            }
        }
    })
    .await;
    risk(house, 0).await;
    drop(stream);
    house.tunnels(0).await;
    client.events()
}

/// Waits for what happens to a connection that came by this way.
async fn of(events: &mut Events, way: &str) -> Event {
    let is = |connection: &Connection| connection.way.as_str() == way;
    soon("word of the connection", async {
        loop {
            let event = events.next().await.unwrap();
            let (Event::Suspended { connection, .. } | Event::Restored(connection) | Event::Ended { connection, .. }) =
                &event
            else {
                continue;
            };
            if is(connection) {
                return event;
            }
        }
    })
    .await
}

/// Writes bulk from an app until nothing takes any more of it.
fn pour(scope: &Scope, mut app: TcpStream) {
    scope.spawn(async move {
        let _cut = app.write_all(&vec![b'x'; BULK]).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ending_behind_bulk_that_a_program_does_not_read_has_its_reason() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let mut events = heard(&house, &client).await;
    let forward = client.forward("shop", "127.0.0.1:0").await.unwrap();
    let apps = Scope::new();
    let _near = TcpStream::connect(forward.local_addr()).await.unwrap();
    pour(&apps, shop.accept().await);
    // everything between the two is full
    tokio::time::sleep(2 * SILENCE).await;
    risk(&house, 90).await;
    let Event::Ended { problem, .. } = of(&mut events, "forward").await else { panic!("it was not ended") };
    let problem = problem.unwrap();
    assert_eq!((problem.code.as_str(), problem.exit_when_open()), ("risk.user", 7), "{problem}");
    assert!(problem.to_string().contains("odd hours"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_that_nobody_reads_ends_with_the_gateways_reason() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let _events = heard(&house, &client).await;
    let apps = Scope::new();
    let (_stdin, input) = tokio::io::duplex(1024);
    let (output, _stdout) = tokio::io::duplex(1024);
    let to = client.destination("shop").await.unwrap();
    let carried = client.stdio(&to, input, output);
    let story = async {
        pour(&apps, shop.accept().await);
        tokio::time::sleep(2 * SILENCE).await;
        risk(&house, 90).await;
    };
    let (carried, ()) = soon("the end", async { tokio::join!(carried, story) }).await;
    let error = carried.unwrap_err();
    assert_eq!((error.problem().unwrap().code.as_str(), error.exit()), ("risk.user", 7), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_left_unread_says_why_it_ended() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let mut events = heard(&house, &client).await;
    let apps = Scope::new();
    let mut near = soon("a stream", client.connect("shop")).await.unwrap();
    pour(&apps, shop.accept().await);
    assert_eq!(take(&mut near, 1).await, "x");
    risk(&house, 70).await;
    // nobody reads, and the pause is told all the same
    assert!(
        matches!(of(&mut events, "library").await, Event::Suspended { problem, .. } if problem.code == "risk.user")
    );
    risk(&house, 90).await;
    house.tunnels(0).await;
    let mut all = Vec::new();
    soon("the reset", near.read_to_end(&mut all)).await.unwrap_err();
    assert_eq!(near.ended().unwrap().code, "risk.user");
    drop(near);
    assert!(
        matches!(of(&mut events, "library").await, Event::Ended { problem: Some(problem), .. } if problem.code == "risk.user")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_has_ended_its_side_hides_neither_a_pause_nor_the_reason_of_an_ending() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let mut events = heard(&house, &client).await;
    let forward = client.forward("shop", "127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(forward.local_addr()).await.unwrap();
    let mut far = shop.accept().await;
    far.shutdown().await.unwrap();
    assert_eq!(rest(&mut near).await, "");
    risk(&house, 70).await;
    let Event::Suspended { problem, .. } = of(&mut events, "forward").await else { panic!("no pause was told") };
    assert_eq!((problem.code.as_str(), problem.waits), ("risk.user", Some(60)));
    near.write_all(b"an upload").await.unwrap();
    let read = tokio::time::timeout(SILENCE, far.read_u8()).await;
    assert!(read.is_err(), "a byte passed: {read:?}");
    risk(&house, 0).await;
    assert!(matches!(of(&mut events, "forward").await, Event::Restored(_)));
    assert_eq!(take(&mut far, 9).await, "an upload");
    risk(&house, 90).await;
    let Event::Ended { problem, .. } = of(&mut events, "forward").await else { panic!("it was not ended") };
    assert_eq!(problem.unwrap().code, "risk.user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_told_whatever_way_the_connection_came() {
    let shop = Server::bind().await;
    let house = House::site("shop", shop.port()).await;
    let client = house.sign_in("alice").await;
    for way in all_ways(&client, "shop").await {
        let name = way.name();
        let mut events = client.events();
        let (mut near, mut far) = way.meet("shop", &shop).await;
        risk(&house, 70).await;
        let mut byte = [0];
        let (paused, read) = tokio::join!(of(&mut events, name), tokio::time::timeout(SILENCE, near.read(&mut byte)));
        assert!(read.is_err(), "{name}: {read:?}");
        assert!(
            matches!(&paused, Event::Suspended { problem, .. } if problem.code == "risk.user"),
            "{name}: {paused:?}"
        );
        risk(&house, 0).await;
        let (restored, ()) = tokio::join!(of(&mut events, name), pass(&mut far, &mut near, "and on"));
        assert!(matches!(restored, Event::Restored(_)), "{name}: {restored:?}");
        drop((near, far));
        house.tunnels(0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_access_ends_before_its_answer_is_answered_with_the_reason() {
    let shop = Server::bind().await;
    let house = House::site("shop", shop.port()).await;
    let client = house.sign_in("alice").await;
    let mut events = client.events();
    let proxy = client.proxy("127.0.0.1:0").await.unwrap();
    let mut near = ask(proxy.local_addr(), "shop").await;
    let mut far = shop.accept().await;
    head(&mut far).await;
    risk(&house, 90).await;
    let answer = head(&mut near).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let length: usize =
        answer.to_ascii_lowercase().split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let problem: serde_json::Value = serde_json::from_str(&take(&mut near, length).await).unwrap();
    assert_eq!(problem["code"], "risk.user", "{problem}");
    let Event::Ended { problem, .. } = of(&mut events, "http").await else { panic!("no end was told") };
    assert_eq!(problem.unwrap().code, "risk.user");
}
