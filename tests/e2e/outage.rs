//! A store that stops answering: another program holds its file and is itself stopped in the middle.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use ztsa_core::client::Client;

use crate::house::{House, approval};
use crate::patience::{soon, until};
use crate::server::{echo, reset};

/// A program that has begun to write to the store and does not go on.
struct Holder {
    process: Child,
}

const HOLD: &str = "import sqlite3, sys\n\
    store = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
    store.execute('BEGIN EXCLUSIVE')\n\
    print('held', flush=True)\n\
    sys.stdin.read()\n";

impl Holder {
    /// Takes the store and stops (`SIGSTOP`).
    fn stopped(store: &Path) -> Self {
        let mut process = Command::new("/usr/bin/python3")
            .args(["-c", HOLD])
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is one of the programs that `cargo xtask test` installs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        let holder = Self { process };
        holder.signal(Signal::STOP);
        holder
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.process.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Lets it go on (`SIGCONT`), and end without having written anything.
    fn goes_on(mut self) {
        self.signal(Signal::CONT);
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // only when a test failed before it went on
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stops_answering_keeps_what_is_open_refuses_what_is_new_and_loses_nothing() {
    let house = House::new(&[]).await;
    let (alice, bob, mallory) =
        (house.sign_in("alice").await, house.sign_in("bob").await, house.sign_in("mallory").await);
    let mut hers = soon("a stream", alice.connect("echo")).await.unwrap();
    let mut his = soon("a stream", bob.connect("echo")).await.unwrap();
    let device = alice.session().await.unwrap().info.device.id.to_string();
    let holder = Holder::stopped(&house.folder.join("dev/ztsa.db"));
    // decided now, and written when the store answers again
    house.admin(json!({"op": "devices.approve", "device": device})).await;
    until("the outage", || house.engine().store().outage()).await;

    echo(&mut hers, "what is open goes on").await;
    let refused = soon("the refusal", alice.connect("echo")).await.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!(problem.code, "gateway.unavailable");
    assert!(problem.to_string().contains("cannot write to its store"), "{problem}");
    let newcomer = Client::open(house.config()).await.unwrap();
    let (flow, approved) = approval("mallory");
    let (login, _) = soon("the sign-in", async { tokio::join!(newcomer.login(flow), approved) }).await;
    assert!(login.is_err(), "nobody signs in whose session would not be remembered");
    let health = house.web().get(format!("{}/healthz", house.dev.url())).send().await.unwrap();
    assert_eq!(health.status(), 503);

    // a revocation acts at once, and so does risk
    house.admin(json!({"op": "sessions.revoke", "user": "bob", "reason": "during the outage"})).await;
    reset(&mut his).await;
    house.admin(json!({"op": "risk.set", "user": "mallory", "score": 77, "reason": "during the outage"})).await;
    echo(&mut hers, "still").await;
    let status = house.admin(json!({"op": "status"})).await;
    assert!(status["store"]["outage"].as_str().unwrap().contains("locked"), "{status:?}");

    holder.goes_on();
    until("the store's answer", || house.engine().store().healthy().then_some(())).await;
    let mut again = soon("a stream", alice.connect("echo")).await.unwrap();
    echo(&mut again, "new ones open again").await;
    echo(&mut hers, "and the old one never noticed").await;

    let house = house.restart().await;
    let revoked = soon("the refusal", bob.connect("echo:1")).await.unwrap_err();
    assert_eq!(revoked.retry(), ztsa_proto::problem::Retry::AfterLogin, "{revoked}");
    let devices = house.admin(json!({"op": "devices.list"})).await;
    let known = devices["devices"].as_array().unwrap();
    assert_eq!(known.iter().find(|known| known["device"] == device.as_str()).unwrap()["state"], "approved");
    assert_eq!(soon("the session", mallory.refresh()).await.unwrap().risk.user, 77);
}
