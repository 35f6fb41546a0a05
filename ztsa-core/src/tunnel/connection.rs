//! One HTTP/2 connection to the gateway.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};
use ztsa_net::accept::{prepare, share};
use ztsa_net::http2;
use ztsa_net::secure::{self, HandshakeError, Secure};
use ztsa_net::task::Spawner;
use ztsa_net::wide::Wide;

use super::{OpenError, upstream};
use crate::config::Config;

/// The pause before a handshake that was turned away is tried again.
const AGAIN: Duration = Duration::from_millis(150);

/// A live connection; clones of its sender open streams.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) held: Arc<AtomicUsize>,
    closed: tokio_util::sync::CancellationToken,
}

impl Connection {
    /// Tells whether the connection can take one more tunnel.
    pub(super) fn has_room(&self) -> bool {
        !self.is_closed() && self.held.load(Ordering::Relaxed) < self.sender.current_max_send_streams()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Takes the connection out of use: it is dropped once its tunnels have ended.
    pub(super) fn retire(&self) {
        self.closed.cancel();
    }
}

/// Opens a connection and starts the task that drives it.
pub(super) async fn open(config: &Config, tls: &Arc<ClientConfig>, spawner: &Spawner) -> Result<Connection, OpenError> {
    let limit = config.timeouts.connect;
    let name = authority(&config.gateway);
    match timeout(limit, establish(config, &name, tls, spawner)).await {
        Ok(result) => result,
        Err(_) => Err(OpenError::Unreachable { gateway: name, cause: format!("no answer within {limit:?}") }),
    }
}

async fn establish(
    config: &Config,
    name: &str,
    tls: &Arc<ClientConfig>,
    spawner: &Spawner,
) -> Result<Connection, OpenError> {
    let unreachable = |cause: String| OpenError::Unreachable { gateway: name.to_owned(), cause };
    let line = match secure(config, tls).await {
        // a gateway under a burst of handshakes turns some away
        Err(error) if is_turned_away(&error) => {
            tokio::time::sleep(AGAIN).await;
            secure(config, tls).await
        }
        first => first,
    };
    match line.map_err(|error| unreachable(error.to_string()))? {
        Line::Secure(stream) if stream.alpn() == Some(b"h2") => converse(stream, name, spawner).await,
        Line::Older(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            converse(stream, name, spawner).await
        }
        _ => Err(not_a_tunnel(name, "it does not speak HTTP/2")),
    }
}

fn not_a_tunnel(gateway: &str, seen: &str) -> OpenError {
    OpenError::NotATunnel { gateway: gateway.to_owned(), seen: seen.to_owned() }
}

/// Begins HTTP/2 and starts the task that drives it.
async fn converse<S>(stream: S, name: &str, spawner: &Spawner) -> Result<Connection, OpenError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unreachable = |cause: String| OpenError::Unreachable { gateway: name.to_owned(), cause };
    let (sender, mut connection) =
        http2::client().handshake(stream).await.map_err(|error| unreachable(format!("HTTP/2: {error}")))?;
    // RFC 8441: no extended CONNECT before the gateway's settings have said that it is taken
    poll_fn(|context| {
        if sender.is_extended_connect_protocol_enabled() {
            return Poll::Ready(Ok(()));
        }
        match pin!(&mut connection).poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(unreachable("it closed the connection".into()))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(unreachable(format!("HTTP/2: {error}")))),
            Poll::Pending if sender.is_extended_connect_protocol_enabled() => Poll::Ready(Ok(())),
            Poll::Pending if sender.current_max_send_streams() < 1 => {
                Poll::Ready(Err(not_a_tunnel(name, "it allows no streams")))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    let closed = tokio_util::sync::CancellationToken::new();
    let guard = closed.clone().drop_guard();
    let pings = connection.ping_pong();
    spawner.spawn(async move {
        let _guard = guard;
        let alive = async {
            match pings {
                Some(pings) => http2::keep_alive(pings).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = connection => if let Err(error) = ended { tracing::debug!(%error, "a connection to the gateway ended") },
            error = alive => tracing::debug!(%error, "a connection to the gateway went silent"),
        }
    });
    Ok(Connection { sender, held: Arc::default(), closed })
}

/// What carries HTTP/2 to the gateway.
enum Line {
    /// TLS 1.3.
    Secure(Box<Secure<TcpStream>>),
    /// TLS 1.2, which only something between here and the gateway can have chosen: the gateway speaks none.
    Older(Box<TlsStream<Wide<TcpStream>>>),
}

/// Opens TCP and TLS to the gateway.
async fn secure(config: &Config, tls: &Arc<ClientConfig>) -> io::Result<Line> {
    let host = config.gateway.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let server = ServerName::try_from(host).map_err(io::Error::other)?;
    let wrong = |error: io::Error| io::Error::new(error.kind(), format!("TLS: {error}"));
    match secure::connect(Arc::clone(tls), server.clone(), reach(config).await?).await {
        Ok(stream) => Ok(Line::Secure(Box::new(stream))),
        Err(HandshakeError::Io(error)) => Err(wrong(error)),
        Err(HandshakeError::Older) => {
            let connecting = TlsConnector::from(Arc::clone(tls)).connect(server, Wide::new(reach(config).await?));
            let mut stream = connecting.await.map_err(wrong)?;
            stream.get_mut().1.set_buffer_limit(Some(http2::TLS_BUFFER));
            Ok(Line::Older(Box::new(stream)))
        }
    }
}

/// Opens TCP to the gateway, by the proxy where there is one.
async fn reach(config: &Config) -> io::Result<TcpStream> {
    let gateway = &config.gateway;
    let tcp = match upstream::choose(&config.proxy, gateway) {
        None => connect(gateway).await?,
        Some(proxy) => upstream::connect(&proxy, &target(gateway)).await?,
    };
    prepare(&tcp);
    share(&tcp);
    Ok(tcp)
}

fn is_turned_away(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}

/// Connects to the gateway's addresses in the resolver's order; the gateway's own name is the only one that is ever
/// resolved here.
async fn connect(gateway: &Url) -> io::Result<TcpStream> {
    let port = gateway.port_or_known_default().unwrap_or(443);
    let addresses: Vec<SocketAddr> = match gateway.host() {
        Some(Host::Ipv4(ip)) => vec![SocketAddr::new(ip.into(), port)],
        Some(Host::Ipv6(ip)) => vec![SocketAddr::new(ip.into(), port)],
        Some(Host::Domain(name)) => tokio::net::lookup_host((name, port)).await?.collect(),
        None => Vec::new(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name does not resolve");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// Returns host and port of a URL, as a proxy is asked for them.
fn target(gateway: &Url) -> String {
    format!("{}:{}", gateway.host_str().unwrap_or_default(), gateway.port_or_known_default().unwrap_or(443))
}

/// Returns host and port of a URL, for people.
pub(super) fn authority(gateway: &Url) -> String {
    let host = gateway.host_str().unwrap_or_default();
    gateway.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
