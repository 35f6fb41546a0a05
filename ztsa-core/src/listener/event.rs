//! What happens on the local side, told to whoever listens: opened, refused, suspended, ended, each with its reason.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::broadcast;
use ztsa_proto::name::{Destination, TunnelId};
use ztsa_proto::problem::Problem;

use self::open::Tunnels;
use crate::token::Expiry;

mod open;

pub(crate) use self::open::{Following, Open};

/// Events that a slow reader may fall behind before it misses some.
const BACKLOG: usize = 512;

/// By which way a local program came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Way {
    /// SOCKS5 on the proxy's port.
    Socks5,
    /// SOCKS4 or SOCKS4a on the proxy's port.
    Socks4,
    /// HTTP CONNECT on the proxy's port.
    HttpConnect,
    /// A plain HTTP request on the proxy's port.
    Http,
    /// The port of a forward.
    Forward,
    /// Standard input and output.
    Stdio,
    /// A stream opened by the program that embeds the library.
    Library,
}

impl Way {
    /// Returns the word for logs and machine-readable output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Socks5 => "socks5",
            Self::Socks4 => "socks4",
            Self::HttpConnect => "http-connect",
            Self::Http => "http",
            Self::Forward => "forward",
            Self::Stdio => "stdio",
            Self::Library => "library",
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One local connection that reached its app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Counts the connections of this client from 1.
    pub id: u64,
    /// Where it goes.
    pub to: Destination,
    /// By which way it came.
    pub way: Way,
}

/// Something that happened to this client; [`Events::next`] yields them in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A local connection reached its app.
    Opened(Connection),
    /// A local connection was refused.
    Refused {
        /// Where it wanted to go.
        to: Destination,
        /// By which way it came.
        way: Way,
        /// Why it was refused, and what helps.
        problem: Arc<Problem>,
    },
    /// The gateway stopped the bytes of a live connection; both ends stay open.
    Suspended {
        /// The connection.
        connection: Connection,
        /// Why.
        problem: Arc<Problem>,
    },
    /// The bytes of a suspended connection move again.
    Restored(Connection),
    /// A connection ended.
    Ended {
        /// The connection.
        connection: Connection,
        /// Why it was cut; `None` when it ended by its own programs' wish.
        problem: Option<Arc<Problem>>,
        /// Bytes from the local program to the app.
        sent: u64,
        /// Bytes from the app to the local program.
        received: u64,
        /// How long it lasted.
        lasted: Duration,
    },
    /// A listener turned a connection away before it could ask for anything.
    Rejected {
        /// Where it came from.
        peer: SocketAddr,
        /// Why.
        reason: Arc<str>,
    },
    /// The gateway said something about the session, whichever process it concerns. The endings and suspensions of
    /// this client's own tunnels also come as [`Event::Suspended`], [`Event::Restored`] and [`Event::Ended`].
    Gateway(Arc<ztsa_proto::event::Event>),
    /// The session cannot be renewed without the person: sign in again.
    LoginNeeded(Arc<Problem>),
    /// Something ends within half an hour unless the person signs in again; told once for each end.
    Expiring(Expiry),
    /// The gateway cannot be reached; the client keeps trying.
    Offline(Arc<Problem>),
    /// The gateway is reached again after [`Event::Offline`].
    Online,
    /// This receiver was too slow and missed this many events.
    Missed(u64),
}

/// Receives a client's events from the moment it was made.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// Waits for the next event; `None` when the client is gone.
    ///
    /// # Cancel safety
    /// Cancel-safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Tells events to every [`Events`].
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    sender: broadcast::Sender<Event>,
    connections: Arc<AtomicU64>,
    tunnels: Arc<Tunnels>,
}

impl Reporter {
    /// Makes a reporter that nobody listens to yet.
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), connections: Arc::default(), tunnels: Arc::default() }
    }

    /// Makes a receiver of what is reported from now on.
    pub(crate) fn events(&self) -> Events {
        Events(self.sender.subscribe())
    }

    /// Tells an event.
    pub(crate) fn report(&self, event: Event) {
        // nobody listens: nothing to tell
        let _ = self.sender.send(event);
    }

    /// Notes that the gateway's events are followed from now on, until the guard is dropped.
    pub(crate) fn following(&self) -> Following {
        Following::new(&self.tunnels)
    }

    /// Tells what the gateway says on its stream of events, and what that means for a connection of this client.
    pub(crate) fn gateway(&self, told: ztsa_proto::event::Event) {
        let told = Arc::new(told);
        self.report(Event::Gateway(Arc::clone(&told)));
        self.tunnels.hear(&told, self);
    }

    /// Tells that a connection is open, by this tunnel of the gateway's, and makes the guard that tells its end exactly
    /// once.
    pub(crate) fn opened(&self, to: Destination, way: Way, tunnel: Option<TunnelId>) -> Open {
        let id = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Connection { id, to, way };
        self.report(Event::Opened(connection.clone()));
        Open::new(connection, tunnel, self)
    }

    /// Tells that a connection was refused.
    pub(crate) fn refused(&self, to: &Destination, way: Way, problem: Arc<Problem>) {
        tracing::debug!(%to, %way, code = problem.code, "refused");
        self.report(Event::Refused { to: to.clone(), way, problem });
    }

    /// Tells that a connection was turned away.
    pub(crate) fn rejected(&self, peer: SocketAddr, reason: &str) {
        tracing::debug!(%peer, reason, "turned away");
        self.report(Event::Rejected { peer, reason: reason.into() });
    }
}
