//! How many times a warm client has to wait for the far gateway before an app is open, and before it answers.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use ztsa_core::client::Client;
use ztsa_core::config::Config;
use ztsa_core::listener::event::Event;
use ztsa_core::tunnel::EARLY_MAX;

use crate::house::House;
use crate::line::{DELAY, Far};
use crate::patience::{SILENCE, soon};
use crate::server::{Server, echo, reset, take};

/// A client that is signed in at a far gateway and has a connection open.
async fn warm(house: &House, far: &Far) -> Client {
    let config = Config { roots: house.roots(), ..Config::new(&far.url).unwrap() };
    let client = Client::open(config).await.unwrap();
    house.login(&client, "alice").await;
    soon("the apps", client.apps()).await.unwrap();
    soon("a connection", client.warm()).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_client_opens_a_tunnel_in_one_round_trip() {
    let house = House::new(&[]).await;
    let far = Far::new(&house).await;
    let client = warm(&house, &far).await;
    far.alone().await;
    for _ in 0..3 {
        far.quiet().await;
        let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
        assert_eq!(far.flights(), 1);
        echo(&mut stream, "hello").await;
        assert_eq!(far.flights(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_brings_the_nonce_that_the_next_tunnel_needs() {
    let house = House::new(&[]).await;
    let far = Far::new(&house).await;
    let client = warm(&house, &far).await;
    far.alone().await;
    // a nonce lives for five minutes: only the last answer's is still good each time
    for _ in 0..4 {
        far.clock.advance(Duration::from_secs(200));
        far.quiet().await;
        let _stream = soon("a stream", client.connect("echo")).await.unwrap();
        assert_eq!(far.flights(), 1);
    }
    far.clock.advance(Duration::from_secs(400));
    far.quiet().await;
    let _stream = soon("a stream", client.connect("echo")).await.unwrap();
    assert_eq!(far.flights(), 2, "an old nonce costs one more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_of_an_app_takes_one_round_trip() {
    let house = House::new(&[]).await;
    let far = Far::new(&house).await;
    let client = warm(&house, &far).await;
    far.alone().await;
    let to = soon("the destination", client.destination("echo")).await.unwrap();

    far.quiet().await;
    let mut stream = soon("a stream", client.connect_with("echo", b"hello")).await.unwrap();
    assert_eq!(take(&mut stream, 5).await, "hello");
    assert_eq!(far.flights(), 1, "by the library");
    drop(stream);

    let forward = client.forward("echo", "127.0.0.1:0").await.unwrap();
    far.quiet().await;
    let mut stream = TcpStream::connect(forward.local_addr()).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(take(&mut stream, 5).await, "hello");
    assert_eq!(far.flights(), 1, "by a forwarded port");
    drop(stream);

    far.quiet().await;
    let (mut near_in, input) = tokio::io::duplex(1024);
    let (output, mut near_out) = tokio::io::duplex(1024);
    let ask = async {
        near_in.write_all(b"hello").await.unwrap();
        assert_eq!(take(&mut near_out, 5).await, "hello");
        assert_eq!(far.flights(), 1, "by standard input and output");
        near_in.shutdown().await.unwrap();
    };
    let (carried, ()) = soon("the end", async { tokio::join!(client.stdio(&to, input, output), ask) }).await;
    let carried = carried.unwrap();
    assert_eq!((carried.sent, carried.received), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_bytes_arrive_once_and_whole_even_when_the_opening_is_asked_for_again() {
    let house = House::new(&[]).await;
    let far = Far::new(&house).await;
    let client = warm(&house, &far).await;
    let mut events = client.events();
    let text: String = (0..20_000).map(|number| format!("{number:05} ")).collect();
    assert!(text.len() > EARLY_MAX, "some of it waits until the app is open");

    // the first request is turned away for its nonce, after its first bytes have left
    far.clock.advance(Duration::from_secs(400));
    far.quiet().await;
    let stream = soon("a stream", client.connect_with("echo", text.as_bytes())).await;
    let mut stream = stream.unwrap();
    stream.shutdown().await.unwrap();
    assert!(crate::server::rest(&mut stream).await == text, "what came back differs");
    drop(stream);
    let counted = soon("the end", async {
        loop {
            if let Event::Ended { sent, received, .. } = events.next().await.unwrap() {
                return (sent, received);
            }
        }
    });
    let length = text.len() as u64;
    assert_eq!(counted.await, (length, length));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_although_bytes_went_along() {
    let house = House::new(&[]).await;
    let far = Far::new(&house).await;
    let client = warm(&house, &far).await;
    let text = vec![b'x'; 3 * EARLY_MAX];
    let refused = soon("the refusal", client.connect_with("payroll", &text)).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, "policy.forbidden", "{refused}");

    let mut events = client.events();
    let forward = client.forward("payroll", "127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(forward.local_addr()).await.unwrap();
    stream.write_all(&text).await.unwrap();
    reset(&mut stream).await;
    let code = soon("the refusal", async {
        loop {
            if let Event::Refused { problem, .. } = events.next().await.unwrap() {
                return problem.code.clone();
            }
        }
    });
    assert_eq!(code.await, "policy.forbidden");
    // the connection carries on
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_may_have_arrived_are_not_sent_again() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let far = Far::new(&house).await;
    let client = warm(&house, &far).await;
    far.quiet().await;
    // the app has the bytes when the connection breaks, and the gateway's answer never comes
    far.hold();
    let app = async {
        let mut app = shop.accept().await;
        assert_eq!(take(&mut app, 4).await, "once");
        far.cut();
        app
    };
    let (opened, mut app) =
        soon("the failure", async { tokio::join!(client.connect_with("shop", b"once"), app) }).await;
    let refused = opened.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, "network.lost", "{refused}");
    reset(&mut app).await;
    // a new connection and a request on it are three ways
    let again = tokio::time::timeout(SILENCE + DELAY * 3, shop.accept()).await;
    assert!(again.is_err(), "the app was asked twice");
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "and on").await;
}
