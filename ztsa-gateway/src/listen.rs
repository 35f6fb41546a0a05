//! The public door: TCP, TLS, and what a stranger may cost before the handshake is done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use ztsa_net::accept::{Listener, share};
use ztsa_net::lane::Lanes;
use ztsa_net::secure::{self, Secure};
use ztsa_net::task::Spawner;

use crate::certificate::Certificate;
use crate::serve::{Peer, Server};
use crate::stranger::{Stranger, Strangers};

/// How long a TLS handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Accepts and serves connections until the scope of `spawner` begins to end.
///
/// # Cancel safety
/// Dropping the future stops accepting; connections that run belong to the scope.
pub async fn run(
    listener: Listener,
    lanes: Arc<Lanes>,
    certificate: Certificate,
    server: Server,
    strangers: Strangers,
    spawner: Spawner,
) {
    let mut ending = std::pin::pin!(spawner.ending());
    loop {
        let (stream, from) = tokio::select! {
            biased;
            () = &mut ending => return,
            accepted = listener.accept() => accepted,
        };
        let Some((stranger, place)) = strangers.enter(from.ip()) else {
            tracing::debug!(%from, "too many handshakes of this address at once");
            continue;
        };
        let (config, server, scope) = (certificate.current(), server.clone(), spawner.clone());
        let serve = async move |stream: TcpStream| {
            let over = stranger.clone();
            let served = async move {
                if let Some((stream, peer)) = Box::pin(handshake(config, stream, from, stranger)).await {
                    drop(place);
                    Box::pin(server.serve(stream, peer, scope)).await;
                }
            };
            tokio::select! {
                () = served => {}
                () = over.cut() => tracing::debug!(%from, "cut: nobody was recognised on it"),
            }
        };
        if let Err(error) = lanes.carry(stream, &spawner, serve) {
            tracing::warn!(%from, %error, "a connection was given up");
        }
    }
}

async fn handshake(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    from: SocketAddr,
    stranger: Stranger,
) -> Option<(Secure<TcpStream>, Peer)> {
    share(&stream);
    match tokio::time::timeout(HANDSHAKE, secure::accept(config, stream)).await {
        Ok(Ok(stream)) => {
            let http2 = stream.alpn() == Some(b"h2");
            Some((stream, Peer { address: from.ip().to_canonical(), http2, stranger }))
        }
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "no TLS");
            None
        }
        Err(_) => {
            tracing::debug!(%from, "no TLS handshake in time");
            None
        }
    }
}
