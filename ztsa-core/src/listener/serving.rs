//! The shape of everything that listens: bound when it starts, outlives what is behind it, ends when told or dropped.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ztsa_net::accept::Listener;
use ztsa_net::task::{Scope, Spawner};

use super::event::Reporter;
use super::guard::{self, Peer};

/// How many local connections may be asking for their app at the same time; the others wait to be accepted.
const ASKING: usize = 512;

/// A listener at work. Dropping it resets its connections at once.
#[derive(Debug)]
pub(crate) struct Serving {
    addresses: Vec<SocketAddr>,
    scope: Scope,
}

/// One connection that a program of this user has made.
pub(crate) struct Guest {
    /// The connection.
    pub(crate) stream: TcpStream,
    /// Held while the guest is asking; dropping it lets another one ask.
    pub(crate) turn: OwnedSemaphorePermit,
    /// Starts tasks that end with the listener.
    pub(crate) spawner: Spawner,
}

impl Serving {
    /// Accepts connections and gives each that the guard lets through to `serve`, in a task of its own.
    pub(crate) fn start<F, S>(listener: Listener, reporter: Reporter, serve: F) -> Self
    where
        F: Fn(Guest) -> S + Clone + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let scope = Scope::new();
        let addresses = listener.local_addrs().to_vec();
        scope.spawn(accept(listener, scope.spawner(), reporter, serve));
        Self { addresses, scope }
    }

    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the address to print: the first one bound.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) async fn closed(&self) {
        self.scope.idle().await;
    }

    pub(crate) async fn shutdown(self, grace: Duration) -> bool {
        self.scope.drain(grace).await
    }
}

async fn accept<F, S>(listener: Listener, spawner: Spawner, reporter: Reporter, serve: F)
where
    F: Fn(Guest) -> S + Clone + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(ASKING));
    let mut ending = std::pin::pin!(spawner.ending());
    loop {
        let accepted = async {
            // the semaphore is never closed
            let turn = Arc::clone(&turns).acquire_owned().await.ok()?;
            Some((listener.accept().await, turn))
        };
        let ((stream, peer), turn) = tokio::select! {
            biased;
            () = ending.as_mut() => return,
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
        };
        let (serve, reporter) = (serve.clone(), reporter.clone());
        let guest = Guest { stream, turn, spawner: spawner.clone() };
        spawner.spawn(async move {
            let welcome = guest.stream.local_addr().map(|local| guard::peer(peer, local));
            match welcome {
                Ok(whose) if whose.welcome() => serve(guest).await,
                Ok(Peer::Foreign(Some(uid))) => {
                    reporter.rejected(peer, &format!("it belongs to the user with id {uid}"));
                    ztsa_net::accept::reset_on_close(&guest.stream);
                }
                _ => {
                    reporter.rejected(peer, "its program is gone, or does not belong to this user");
                    ztsa_net::accept::reset_on_close(&guest.stream);
                }
            }
        });
    }
}
