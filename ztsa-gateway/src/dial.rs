//! The only place that opens sockets to apps.
//!
//! Targets come from configuration alone. A name is resolved at each dial and every address is checked against the
//! deny list *as it is dialled*, so that a name server cannot point an app at the gateway's own machine or at a
//! cloud's metadata service. A target written as an address is what the administrator said, and is dialled as it is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use ztsa_proto::problem::{self, Problem};

use crate::config::App;
use crate::place::{Place, place};

/// How long one address may take to answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the name may take to resolve.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// Why an app could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The target's name did not resolve.
    #[error("{host} does not resolve: {cause}")]
    Resolve {
        /// The configured host.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// Every address of the name is on the deny list.
    #[error(
        "{host} resolves only to addresses that no app may be at ({address}); write the address as the target if it is meant"
    )]
    Forbidden {
        /// The configured host.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// The app's machine answered that nothing listens there.
    #[error("{0} refused the connection")]
    Refused(SocketAddr),
    /// No answer in time.
    #[error("{0} did not answer within {CONNECT_TIMEOUT:?}")]
    Timeout(SocketAddr),
    /// Anything else that the operating system says.
    #[error("{address}: {source}")]
    Io {
        /// The dialled address.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
}

impl DialError {
    /// Returns what the person is told: never the app's address, which is not theirs to know.
    #[must_use]
    pub fn problem(&self, app: &App) -> Problem {
        let (code, detail) = match self {
            Self::Resolve { .. } => ("app.unreachable", "the gateway cannot find its machine"),
            Self::Forbidden { .. } => ("app.unreachable", "its address is one that the gateway does not dial"),
            Self::Refused(_) => ("app.refused", "nothing listens there at the moment"),
            Self::Timeout(_) => ("app.timeout", "its machine did not answer in time"),
            Self::Io { .. } => ("app.unreachable", "the gateway cannot reach its machine"),
        };
        let mut problem = problem::new(code);
        problem.detail = format!("{}: {detail}", app.name);
        problem
    }
}

/// Opens a connection to an app, trying its addresses in the resolver's order.
///
/// # Errors
/// [`DialError`] of the last address tried.
///
/// # Cancel safety
/// Cancel-safe: a half-open connection is closed.
pub async fn open(app: &App) -> Result<TcpStream, DialError> {
    let mut last = None;
    for address in resolve(app).await? {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                prepare(&stream);
                return Ok(stream);
            }
            Ok(Err(source)) if source.kind() == io::ErrorKind::ConnectionRefused => {
                last = Some(DialError::Refused(address));
            }
            Ok(Err(source)) => last = Some(DialError::Io { address, source }),
            Err(_) => last = Some(DialError::Timeout(address)),
        }
    }
    Err(last.unwrap_or_else(|| DialError::Resolve {
        host: app.target.host.to_string(),
        cause: "the resolver gave no address".into(),
    }))
}

async fn resolve(app: &App) -> Result<Vec<SocketAddr>, DialError> {
    let port = app.target.port;
    if let Some(ip) = app.target.host.ip() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let host = app.target.host.to_string();
    let failed = |cause: String| DialError::Resolve { host: host.clone(), cause };
    let found = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host.as_str(), port)))
        .await
        .map_err(|_| failed(format!("no answer within {RESOLVE_TIMEOUT:?}")))?
        .map_err(|error| failed(error.to_string()))?
        .take(ADDRESSES_MAX)
        .collect::<Vec<_>>();
    if host == "localhost" {
        return Ok(found);
    }
    let allowed = found.iter().copied().filter(|address| !is_forbidden(address.ip())).collect::<Vec<_>>();
    match (allowed.is_empty(), found.first()) {
        (true, Some(address)) => Err(DialError::Forbidden { host, address: address.ip() }),
        _ => Ok(allowed),
    }
}

/// Tells whether a *resolved* address is one that no app is ever meant to be at: this machine, link-local addresses, clouds'
/// metadata services, and others where nothing is to be spoken to.
#[must_use]
pub fn is_forbidden(ip: IpAddr) -> bool {
    matches!(place(ip), Place::Loopback | Place::Nowhere)
}

fn prepare(stream: &TcpStream) {
    ztsa_net::accept::prepare(stream);
    // it only improves the connection; a socket that refuses it still carries bytes
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_gateways_own_machine_and_metadata_services_are_forbidden() {
        for text in [
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "64:ff9b::169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(is_forbidden(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.5", "192.168.1.1", "172.16.0.1", "8.8.8.8", "fd00::1", "2001:db8::1"] {
            assert!(!is_forbidden(text.parse().unwrap()), "{text}");
        }
    }
}
