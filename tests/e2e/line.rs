//! A long way between client and gateway: every byte takes a while, and the flights are counted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use ztsa_gateway::config::Config;
use ztsa_gateway::gateway::Gateway;
use ztsa_net::accept::Listener;
use ztsa_net::clock::{Clock, ClockHand};
use ztsa_net::task::{Scope, Spawner};

use crate::house::House;
use crate::patience::until;

/// How long a byte is on its way.
pub const DELAY: Duration = Duration::from_millis(150);
/// After how long without a byte nothing is on its way any more.
const QUIET: Duration = Duration::from_millis(600);

/// A gateway at the far end of a long line; its issuer is the house's.
pub struct Far {
    pub url: String,
    pub clock: ClockHand,
    _gateway: Gateway,
    seen: Arc<Mutex<Seen>>,
    cut: watch::Sender<()>,
    _scope: Scope,
}

/// What has been on the line.
struct Seen {
    /// For each byte's way: the connection, and whether it went towards the gateway.
    flights: Vec<(usize, bool)>,
    last: Instant,
    /// How many connections there have been.
    connections: usize,
    /// How many of them are open.
    open: usize,
    /// The connections below this number bring no answer.
    held: usize,
}

impl Seen {
    fn new() -> Self {
        Self { flights: Vec::new(), last: Instant::now(), connections: 0, open: 0, held: 0 }
    }
}

impl Far {
    /// Starts a gateway like the house's behind a line of its own.
    pub async fn new(house: &House) -> Self {
        let front = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let behind = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let (url, to) = (format!("https://{}", front.local_addr().unwrap()), behind.local_addrs()[0]);
        let text = std::fs::read_to_string(house.folder.join("dev/gateway.toml")).unwrap();
        let mut text = text
            .replacen(&format!("public_url = \"{}\"", house.dev.url()), &format!("public_url = \"{url}\""), 1)
            .replacen(&format!("listen = [\"{}\"]", house.address()), &format!("listen = [\"{to}\"]"), 1);
        for (name, other) in [("ztsa.db", "far.db"), ("audit.ndjson", "far.ndjson"), ("admin.sock", "far.sock")] {
            text = text.replacen(name, other, 1);
        }
        text.push_str(&std::fs::read_to_string(house.folder.join("added.toml")).unwrap());
        // the nonces of this test grow old, its session does not
        text.push_str("\n[session]\ntoken_lifetime = \"1h\"\n");
        let config = Config::parse(&text, &house.folder.join("dev")).unwrap();
        let (clock, hand) = Clock::manual(Clock::system().now());
        let gateway = Gateway::spawn_on(behind, config, clock).await.unwrap();
        let scope = Scope::new();
        let seen = Arc::new(Mutex::new(Seen::new()));
        let (cut, cuts) = watch::channel(());
        scope.spawn(accept(front, to, Arc::clone(&seen), cuts, scope.spawner()));
        Self { url, clock: hand, _gateway: gateway, seen, cut, _scope: scope }
    }

    /// Waits until the tunnels' connection alone is open: the goodbye of one that was idle for seconds is a flight, too.
    pub async fn alone(&self) {
        until("one open connection", || (self.seen.lock().unwrap().open == 1).then_some(())).await;
    }

    /// Waits until nothing is on its way, and begins to count.
    pub async fn quiet(&self) {
        until("silence on the line", || {
            let mut seen = self.seen.lock().unwrap();
            (seen.last.elapsed() > QUIET).then(|| seen.flights.clear())
        })
        .await;
    }

    /// Lets no answer arrive any more on the connections that there are.
    pub fn hold(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.held = seen.connections;
    }

    /// Cuts every connection, and what is on its way is lost.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Counts the flights towards the gateway since [`Far::quiet`]: what leaves before an answer comes is one flight.
    pub fn flights(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        let connections = seen.flights.iter().map(|(connection, _)| connection).max().map_or(0, |last| last + 1);
        let of = |connection| seen.flights.iter().filter(move |(number, _)| *number == connection).map(|(_, up)| *up);
        let count = |connection| {
            let before = std::iter::once(false).chain(of(connection));
            before.zip(of(connection)).filter(|(before, now)| !before && *now).count()
        };
        (0..connections).map(count).sum()
    }
}

async fn accept(
    front: TcpListener,
    to: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    cut: watch::Receiver<()>,
    spawner: Spawner,
) {
    for number in 0.. {
        let (near, _) = front.accept().await.unwrap();
        {
            let mut seen = seen.lock().unwrap();
            (seen.connections, seen.open) = (number + 1, seen.open + 1);
        }
        let far = TcpStream::connect(to).await.unwrap();
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        for (from, to, up) in [(near_read, far_write, true), (far_read, near_write, false)] {
            let (mut cut, carried) = (cut.clone(), carry(from, to, (number, up), Arc::clone(&seen)));
            let seen = Arc::clone(&seen);
            cut.mark_unchanged();
            spawner.spawn(async move {
                tokio::select! {
                    _ = cut.changed() => {}
                    () = carried => {}
                }
                seen.lock().unwrap().open -= usize::from(up);
            });
        }
    }
}

/// Carries one direction, each byte [`DELAY`] late.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, which: (usize, bool), seen: Arc<Mutex<Seen>>) {
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let arrived = Arc::clone(&seen);
    let depart = async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            {
                let mut seen = seen.lock().unwrap();
                seen.flights.push(which);
                seen.last = Instant::now();
            }
            sender.send((Instant::now() + DELAY, bytes[..length].to_vec())).unwrap();
        }
    };
    let arrive = async move {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            let (connection, up) = which;
            if !up && connection < arrived.lock().unwrap().held {
                std::future::pending::<()>().await;
            }
            // an end that is gone takes nothing more
            let _ = to.write_all(&bytes).await;
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(depart, arrive);
}
