//! Afterwards nothing is left: no task, no socket, no lease.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::house::House;
use crate::local::ways;
use crate::patience::{soon, until};
use crate::server::{Server, pass};

/// Counts this process's sockets, by what the system says of its descriptors.
fn sockets() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    links.filter_map(|link| std::fs::read_link(link.path()).ok()).filter(|to| to.starts_with("socket:")).count()
}

/// Runs alone in its process under nextest; under `cargo test` other tests' sockets are in the count.
fn alone() -> bool {
    std::env::var_os("NEXTEST").is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_socket_or_lease_is_left() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let (tasks_before, sockets_before) = (tasks(), sockets());
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let mut addresses = vec![house.address()];
    let ways = ways(&client, "shop").await;
    for way in &ways {
        if let crate::local::Way::Forward(forward) = way {
            addresses.extend(forward.local_addrs());
        }
        // one in order, one cut by the program, one cut by the app, one cut by the gateway at its end
        let (mut ordered, mut far) = (way.open("shop").await, shop.accept().await);
        pass(&mut ordered, &mut far, "hello").await;
        ordered.shutdown().await.unwrap();
        far.shutdown().await.unwrap();
        let (by_program, _far) = (way.open("shop").await, shop.accept().await);
        drop(by_program);
        let (_near, by_app) = (way.open("shop").await, shop.accept().await);
        drop(by_app);
    }
    house.tunnels(0).await;
    let (_near, _far) = (ways[1].open("shop").await, shop.accept().await);
    house.tunnels(1).await;
    soon("the shutdown", house.dev.shutdown(Duration::ZERO)).await;
    drop(ways);
    soon("the client's end", client.close()).await;
    drop((_near, _far, shop));
    until("every task to end", || (tasks() <= tasks_before).then_some(())).await;
    for address in addresses {
        assert!(TcpStream::connect(address).await.is_err(), "something still listens on {address}");
    }
    if alone() {
        until("every socket to be closed", || (sockets() <= sockets_before).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_dropped_leaves_nothing_at_the_gateway() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let stream = soon("a stream", client.connect("shop")).await.unwrap();
    let mut far = shop.accept().await;
    house.tunnels(1).await;
    drop(client);
    drop(stream);
    crate::server::reset(&mut far).await;
    house.tunnels(0).await;
}
