//! The gateway goes down and comes up again: what was decided holds, and what was written is there.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::house::House;
use crate::patience::{PATIENCE, soon, until};
use crate::server::{echo, reset, rest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_revocations_risk_and_the_audit_log_outlive_a_restart() {
    let house = House::new(&[]).await;
    let (alice, bob, mallory) =
        (house.sign_in("alice").await, house.sign_in("bob").await, house.sign_in("mallory").await);
    let device = alice.session().await.unwrap().info.device.id.to_string();
    house.admin(json!({"op": "devices.approve", "device": device})).await;
    house.admin(json!({"op": "sessions.revoke", "user": "bob", "reason": "before the restart"})).await;
    house.admin(json!({"op": "risk.set", "user": "mallory", "score": 77, "reason": "known before"})).await;
    let mut open = soon("a stream", alice.connect("echo")).await.unwrap();
    echo(&mut open, "before").await;

    let house = house.restart().await;
    reset(&mut open).await;
    // the session token is still good, and so is the answer to a revoked one
    let mut stream = soon("access", async {
        loop {
            if let Ok(stream) = alice.connect("echo").await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    echo(&mut stream, "after, without a new login").await;
    let revoked = soon("the refusal", bob.connect("echo:1")).await.unwrap_err();
    assert_eq!(revoked.retry(), ztsa_proto::problem::Retry::AfterLogin, "{revoked}");
    let info = soon("the session", mallory.refresh()).await.unwrap();
    assert_eq!(info.risk.user, 77);
    let devices = house.admin(json!({"op": "devices.list"})).await;
    let devices = devices["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 3);
    let hers = devices.iter().find(|known| known["device"] == device.as_str()).unwrap();
    assert_eq!(hers["state"], "approved");
    house.audit("the revocation before", |line| line.to_string().contains("before the restart")).await;
    let ends = || {
        let text = std::fs::read_to_string(house.folder.join("dev/audit.ndjson")).unwrap();
        text.lines().filter(|line| line.contains("\"traffic\"")).count()
    };
    let before = ends();
    assert!(before >= 1, "the end of the tunnel before the restart is not in the log");
    drop(stream);
    until("the end of the tunnel after it", || (ends() > before).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_outlives_the_gateway_behind_it() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let forward = client.forward("echo", "127.0.0.1:0").await.unwrap();
    let address = forward.local_addr();
    let mut before = tokio::net::TcpStream::connect(address).await.unwrap();
    echo(&mut before, "before").await;
    let house = house.restart().await;
    reset(&mut before).await;
    let mut after = tokio::net::TcpStream::connect(address).await.unwrap();
    echo(&mut after, "after, on the same port").await;
    drop(after);
    house.tunnels(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_goes_down_lets_what_is_open_finish_and_takes_nothing_new() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let mut open = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut open, "before").await;
    let address = house.address();
    let finish = async {
        soon("the gateway to accept no more", async {
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        echo(&mut open, "meanwhile").await;
        open.shutdown().await.unwrap();
        assert_eq!(rest(&mut open).await, "");
    };
    let begun = std::time::Instant::now();
    tokio::join!(house.dev.shutdown(PATIENCE), finish);
    assert!(begun.elapsed() < PATIENCE, "the gateway waited though nothing was open any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_does_not_finish_in_time_is_told_why() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let mut open = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut open, "before").await;
    soon("the shutdown", house.dev.shutdown(std::time::Duration::from_millis(50))).await;
    reset(&mut open).await;
    assert_eq!(open.ended().unwrap().code, "gateway.draining");
}
