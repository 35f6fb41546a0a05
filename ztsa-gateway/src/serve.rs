//! The policy enforcement point: answers requests and carries tunnels.
//!
//! One request reads as one line of thought: authenticate, decide, lease, dial, relay. Whatever refuses on the way is a
//! problem document (RFC 9457) with Proxy-Status (RFC 9209).

mod answer;
mod api;
mod classic;
mod extended;
mod http1;
mod http2;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use ztsa_net::clock::Clock;
use ztsa_net::relay::{End, Meter};
use ztsa_net::task::Spawner;

use crate::authn::{Authn, AuthnError};
use crate::engine::Engine;
use crate::lease::{self, Lease};
use crate::signals::Signals;
use crate::stranger::Stranger;

/// Largest request body that is read, in bytes; the JSON endpoints need far less.
pub const BODY_MAX: usize = 256 * 1024;

/// Answers requests; a clone is another handle to the same server.
#[derive(Debug, Clone)]
pub struct Server {
    parts: Arc<Parts>,
    router: Router,
}

#[derive(Debug)]
struct Parts {
    engine: Engine,
    authn: Arc<Authn>,
    clock: Clock,
    /// The gateway's name in Proxy-Status: its host.
    name: String,
}

/// A connection that has passed the TLS handshake.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it comes from.
    pub address: IpAddr,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// What it may cost until somebody is recognised on it.
    pub stranger: Stranger,
}

impl Peer {
    /// Notes that a request was not authenticated: one of many in vain, or the last of somebody who may not come in any more.
    fn unauthenticated(&self, error: &AuthnError) {
        match error {
            // whoever is asked for a nonce has shown a token and its key
            AuthnError::UseNonce => {}
            AuthnError::Revoked { .. } | AuthnError::DeviceBlocked { .. } if self.stranger.is_known() => {
                self.stranger.dismiss();
            }
            _ => self.stranger.turn_away(),
        }
    }
}

impl Server {
    /// Puts together what answers requests.
    #[must_use]
    pub fn new(engine: Engine, authn: Arc<Authn>, signals: &Signals, clock: Clock) -> Self {
        let name = engine.config().public_url.host_str().unwrap_or("ztsa").to_owned();
        let parts = Arc::new(Parts { engine, authn, clock, name });
        let router = signals.router().merge(api::router(Arc::clone(&parts)));
        Self { parts, router }
    }

    /// Serves one connection until it ends. Streams run in the scope of `spawner`; when that begins to end, the peer is
    /// told (GOAWAY) and the connection finishes what is open.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection and its tunnels.
    pub async fn serve<S>(&self, stream: S, peer: Peer, spawner: Spawner)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if peer.http2 {
            http2::serve(self, stream, peer, &spawner).await;
        } else {
            http1::serve(self, stream, peer, &spawner).await;
        }
    }
}

/// Counts a tunnel's bytes on its lease: what the app sends goes down to the client.
struct Metered<'a>(&'a Lease);

impl Meter for Metered<'_> {
    fn sent(&self, bytes: u64) {
        self.0.count_down(bytes);
    }

    fn received(&self, bytes: u64) {
        self.0.count_up(bytes);
    }

    fn total(&self) -> u64 {
        self.0.tunnel().up() + self.0.tunnel().down()
    }

    fn stopped(&self) {
        self.0.stopped();
    }
}

/// Names a relay's end as the registry does.
fn ending(end: &End) -> Option<lease::End> {
    match end {
        End::Finished => Some(lease::End::Completed),
        End::Local(_) => Some(lease::End::App),
        End::Tunnel(_) => Some(lease::End::Client),
        End::Idle => Some(lease::End::Idle),
        // the registry knows: it said so
        End::Access(_) => None,
    }
}
