//! The public door: TCP, TLS, and what a stranger may cost before the handshake is done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use ztsa_net::accept::{Listener, share};
use ztsa_net::http2::TLS_BUFFER;
use ztsa_net::lane::Lanes;
use ztsa_net::task::Spawner;
use ztsa_net::wide::Wide;

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
        let (acceptor, server, scope) = (TlsAcceptor::from(certificate.current()), server.clone(), spawner.clone());
        let serve = async move |stream: TcpStream| {
            let over = stranger.clone();
            let served = async move {
                if let Some((stream, peer)) = Box::pin(handshake(acceptor, stream, from, stranger)).await {
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
    acceptor: TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
    stranger: Stranger,
) -> Option<(tokio_rustls::server::TlsStream<Wide<TcpStream>>, Peer)> {
    share(&stream);
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(Wide::new(stream))).await {
        Ok(Ok(mut stream)) => {
            stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
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
