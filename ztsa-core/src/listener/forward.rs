//! One app on one local port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use ztsa_net::accept::Listener;
use ztsa_net::relay::Meter as _;
use ztsa_proto::name::Destination;

use super::dial::{self, Dial, Opened as _, PATIENCE};
use super::event::{Reporter, Way};
use super::gate::{Doors, Gate};
use super::guard::{self, Warning};
use super::http::reply::Reply;
use super::local::{self, Local};
use super::serving::{Guest, Serving};
use crate::tunnel::{Early, Settled};

/// A local port whose connections all go to one app.
///
/// It outlives everything behind it: an expired session, a lost gateway, a denied opening end one local connection with
/// a reset and an [`Event`](super::event::Event), never the listener. Dropping it resets its connections.
///
/// # Security
/// A web page gets no further than the port: where a connection begins with an HTTP/1 request, its `Host` must be this
/// machine's loopback (or the address that the port is bound to) or a name of the app, and it must not come from a page of
/// another origin, as `Origin` and `Sec-Fetch-Site` tell; a person who follows a link may come. The first request of a
/// connection is looked at and nothing is changed; everything else passes as it is.
#[derive(Debug)]
pub struct Forward {
    serving: Serving,
    to: Destination,
}

impl Forward {
    /// Starts serving on sockets that are bound already.
    pub(crate) fn spawn<D: Dial>(
        listener: Listener,
        to: Destination,
        doors: Doors,
        dial: D,
        reporter: Reporter,
    ) -> Self {
        let behind = Arc::new(Behind { to: to.clone(), doors: Arc::new(doors), dial, reporter: reporter.clone() });
        let serving = Serving::start(listener, reporter, move |guest| Arc::clone(&behind).serve(guest));
        Self { serving, to }
    }

    /// Returns the app's destination.
    pub fn destination(&self) -> &Destination {
        &self.to
    }

    /// Returns the address to give to local programs.
    pub fn local_addr(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    /// Returns every address it listens on: 127.0.0.1 and, where there is IPv6, ::1 on the same port.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.serving.local_addrs()
    }

    /// Returns what a person should know about these addresses.
    pub fn warning(&self) -> Option<Warning> {
        guard::warning(self.local_addrs(), false)
    }

    /// Waits until the forward has ended; may be awaited any number of times.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn closed(&self) {
        self.serving.closed().await;
    }

    /// Stops listening, lets the connections end for up to `grace`, then resets them. Returns whether all ended by
    /// themselves.
    ///
    /// # Cancel safety
    /// Dropping the future resets the connections at once.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.serving.shutdown(grace).await
    }
}

struct Behind<D> {
    to: Destination,
    doors: Arc<Doors>,
    dial: D,
    reporter: Reporter,
}

impl<D: Dial> Behind<D> {
    async fn serve(self: Arc<Self>, guest: Guest) {
        let mut local = Local::new(guest.stream);
        let by = local.stream.local_addr().ok().map(|address| address.ip());
        let mut gate = Gate::new(Arc::clone(&self.doors), by);
        let mut program = gate.over(&mut local.stream);
        let mut early = Early::read(&mut program);
        let opened = dial::open(&self.dial, &self.to, Way::Forward, PATIENCE, &mut early).await;
        let Settled { sent, rest, failed } = early.settle();
        drop(guest.turn);
        match opened {
            // the local program broke off meanwhile, or is none that may come in: both ends are reset
            Ok(_) if failed.is_some() => self.refuse(local, &gate).await,
            Ok(tunnel) => {
                let open = self.reporter.opened(self.to.clone(), Way::Forward, tunnel.id());
                let traffic = Arc::clone(&open.traffic);
                traffic.sent(sent as u64);
                let watched = (!gate.is_open()).then_some(&mut gate);
                local::carry(&mut local, rest, watched, tunnel, open).await;
                // behind what the app has said already, an answer of ours would look like the app's
                if traffic.read().1 == 0 {
                    self.refuse(local, &gate).await;
                }
            }
            // the local program gets a reset: there is no other word for it on a bare socket
            Err(problem) => self.reporter.refused(&self.to, Way::Forward, problem),
        }
    }

    /// Answers a request that the gate has refused; a program that broke off by itself hears nothing.
    async fn refuse(&self, mut local: Local, gate: &Gate) {
        let Some(stranger) = gate.stranger() else { return };
        if let Ok(peer) = local.stream.peer_addr() {
            self.reporter.rejected(peer, &stranger.to_string());
        }
        let (problem, accept) = stranger.problem();
        if local.stream.write_all(&Reply::problem(&problem, accept).to_bytes()).await.is_ok() {
            local.dismiss().await;
        }
    }
}

#[cfg(test)]
mod tests;
