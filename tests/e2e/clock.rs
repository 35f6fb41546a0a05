//! A machine whose clock is wrong: the gateway's nonces and its date make up for it.

use std::time::Duration;

use ztsa_core::client::Client;
use ztsa_net::clock::Clock;
use ztsa_proto::time::UnixTime;

use crate::house::House;
use crate::patience::soon;
use crate::server::echo;

async fn works_at(now: UnixTime) {
    let house = House::new(&[]).await;
    let mut config = house.config();
    config.clock = Clock::manual(now).0;
    let client = Client::open(config).await.unwrap();
    house.login(&client, "alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "in time").await;
    assert!(soon("the apps", client.apps()).await.unwrap().apps.len() > 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_minutes_ahead_works() {
    works_at(Clock::system().now().plus(Duration::from_secs(600))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_minutes_behind_works() {
    works_at(Clock::system().now().minus(Duration::from_secs(600))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_a_clock_works() {
    works_at(UnixTime(0)).await;
}
