//! The ways from the load generator to the private app.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::wire::{self, Duplex};

/// How long a route may be silent before the bench gives up on it.
pub(super) const SILENCE: Duration = Duration::from_secs(20);

/// A way to the private app.
#[derive(Clone)]
pub(super) enum Route {
    /// Plain TCP, or a local port that `ztsa connect` forwards.
    Tcp(SocketAddr),
    /// Bare TLS 1.3, one hop.
    Tls(SocketAddr, Arc<ClientConfig>),
    /// Through `ztsa proxy` by SOCKS5.
    Socks { proxy: SocketAddr, app: String, port: u16 },
}

impl Route {
    /// Opens a connection to the app.
    pub(super) fn open(&self) -> io::Result<Box<dyn Duplex>> {
        match self {
            Self::Tls(address, config) => wire::connect(config, socket(*address)?),
            Self::Tcp(_) | Self::Socks { .. } => Ok(Box::new(self.socket()?)),
        }
    }

    /// Opens a connection whose bytes are the app's own.
    pub(super) fn socket(&self) -> io::Result<TcpStream> {
        match self {
            Self::Tcp(address) | Self::Tls(address, _) => socket(*address),
            Self::Socks { proxy, app, port } => socks(*proxy, app, *port),
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// Speaks SOCKS5 (RFC 1928) as most programs do: the method first, the request once it is agreed on.
fn socks(proxy: SocketAddr, app: &str, port: u16) -> io::Result<TcpStream> {
    let mut stream = socket(proxy)?;
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    if method != [5, 0] {
        return Err(io::Error::other(format!("the SOCKS proxy chose method {method:?}")));
    }
    let length = u8::try_from(app.len()).map_err(io::Error::other)?;
    let mut request = vec![5, 1, 0, 3, length];
    request.extend_from_slice(app.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request)?;
    // an IPv4 address follows, as ztsa answers
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    match reply {
        [5, 0, _, 1, ..] => Ok(stream),
        [_, code, ..] => Err(io::Error::other(format!("the SOCKS proxy refused {app} with code {code}"))),
    }
}
