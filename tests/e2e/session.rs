//! One session behind everything: renewed while tunnels live, shared by processes, taken by many at once.

use std::time::Duration;

use ztsa_core::client::Client;
use ztsa_core::config::StoreChoice;
use ztsa_core::listener::event::Event;
use ztsa_core::token::Ending;
use ztsa_net::clock::Clock;
use ztsa_net::task::Scope;

use crate::house::House;
use crate::patience::soon;
use crate::server::echo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_keeps_the_session_and_what_is_open() {
    let house = House::new(&[]).await;
    let mut config = house.config();
    let (clock, hand) = Clock::manual(Clock::system().now());
    config.clock = clock;
    let client = Client::open(config).await.unwrap();
    house.login(&client, "alice").await;
    let first = client.session().await.unwrap();
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    hand.advance(Duration::from_secs(200));
    let renewed = soon("the renewal", client.session()).await.unwrap();
    assert!(first.token != renewed.token, "the token was not renewed at 60 % of its life");
    assert_eq!(first.info.session, renewed.info.session);
    echo(&mut stream, "still open").await;
    let mut new = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut new, "with the new token").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_within_half_an_hour_is_told() {
    let house = House::with(&[], "[session]\nlifetime = \"20m\"\n").await;
    let client = house.sign_in("alice").await;
    let mut events = client.events();
    let _stream = soon("a stream", client.connect("echo")).await.unwrap();
    let told = soon("the warning", async {
        loop {
            if let Some(Event::Expiring(expiry)) = events.next().await {
                break expiry;
            }
        }
    });
    let told = told.await;
    assert_eq!((told.what, Some(told.at)), (Ending::Session, client.refresh().await.unwrap().renew_before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_open_at_once() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let forward = client.forward("echo", "127.0.0.1:0").await.unwrap();
    let address = forward.local_addr();
    let scope = Scope::new();
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..200 {
        let sender = sender.clone();
        scope.spawn(async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            for line in 0..5 {
                echo(&mut stream, &format!("{number} {line}\n")).await;
            }
            sender.send(()).unwrap();
        });
    }
    for _ in 0..200 {
        soon("everybody's answer", done.recv()).await.unwrap();
    }
    drop(scope);
    house.tunnels(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_a_directory_share_one_sign_in() {
    let house = House::new(&[]).await;
    let mut config = house.config();
    config.store = StoreChoice::File;
    config.state = Some(house.folder.join("state"));
    let first = Client::open(config.clone()).await.unwrap();
    house.login(&first, "alice").await;
    let second = Client::open(config.clone()).await.unwrap();
    let mut stream = soon("a stream", second.connect("echo")).await.unwrap();
    echo(&mut stream, "without a login of its own").await;
    assert_eq!(first.session().await.unwrap().info.session, second.session().await.unwrap().info.session);
    assert_eq!(first.status().await.unwrap().device, second.status().await.unwrap().device);
    soon("the sign-out", first.logout()).await.unwrap();
    crate::server::reset(&mut stream).await;
    let third = Client::open(config).await.unwrap();
    assert!(third.session().await.unwrap_err().to_string().contains("nobody is signed in"));
    let refused = soon("the refusal", second.connect("echo:1")).await.unwrap_err();
    assert_eq!(refused.retry(), ztsa_proto::problem::Retry::AfterLogin, "{refused}");
}
