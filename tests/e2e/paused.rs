//! Forty programs that do not read: the others on the same connection do not notice.

use tokio::io::AsyncWriteExt as _;
use ztsa_net::task::Scope;

use crate::house::House;
use crate::patience::soon;
use crate::server::{Server, echo, take};

const PAUSED: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_pauses_does_not_stop_the_other_tunnels() {
    let hose = Server::bind().await;
    let house = House::new(&[("hose", hose.port())]).await;
    let client = house.sign_in("alice").await;
    let apps = Scope::new();
    let mut paused = Vec::new();
    for _ in 0..PAUSED {
        let stream = soon("a stream", client.connect("hose")).await.unwrap();
        let mut app = hose.accept().await;
        apps.spawn(async move {
            let bytes = vec![b'x'; 65_536];
            // until the tunnel is gone
            while app.write_all(&bytes).await.is_ok() {}
        });
        paused.push(stream);
    }
    // each has filled what there is room for
    for stream in &mut paused {
        assert_eq!(take(stream, 1).await, "x");
    }
    let mut live = soon("the next stream", client.connect("echo")).await.unwrap();
    let questions = async {
        for number in 0..50 {
            echo(&mut live, &format!("question {number}\n")).await;
        }
    };
    soon("50 answers", questions).await;
    // a paused reader that goes on finds its bytes
    assert_eq!(take(&mut paused[7], 300_000).await.len(), 300_000);
    drop(paused);
    house.tunnels(1).await;
}
