//! The private app, in a process of its own: a source, a sink, an echo and a trickle, over TCP and over bare TLS 1.3.
//!
//! Bulk runs on a blocking thread of its own, the lightest there is; connections that may be thousands are tasks.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::wire::{self, DOWN, Duplex, ECHO, TRICKLE, UP};
use crate::command::Failure;

/// The pause between two messages of a trickle.
pub(super) const TRICKLE_PAUSE: Duration = Duration::from_millis(100);
/// The bytes of one message of a trickle.
const TRICKLE_BYTES: usize = 64;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Where the app listens: the first line that it prints.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// Over TCP.
    pub(super) tcp: SocketAddr,
    /// The same app once more over TCP, for a second app of the gateway.
    pub(super) other: SocketAddr,
    /// Over TLS.
    pub(super) tls: SocketAddr,
    /// The certificate of the TLS address, as PEM.
    pub(super) certificate: String,
}

/// Serves until stdin ends, which it does when the load generator is gone.
pub(super) fn serve() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Wrong(format!("the private app cannot serve: {error}"));
    let (config, certificate) = wire::server()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let [tcp, other, tls] = [listen().map_err(failed)?, listen().map_err(failed)?, listen().map_err(failed)?];
        let ready = Ready {
            tcp: tcp.local_addr().map_err(failed)?,
            other: other.local_addr().map_err(failed)?,
            tls: tls.local_addr().map_err(failed)?,
            certificate,
        };
        println!("{}", serde_json::to_string(&ready).map_err(|error| failed(error.into()))?);
        let mut ended = tokio::io::stdin();
        let mut rest = Vec::new();
        tokio::select! {
            read = ended.read_to_end(&mut rest) => read.map(drop).map_err(failed),
            result = accept(tcp, None) => result.map_err(failed),
            result = accept(other, None) => result.map_err(failed),
            result = accept(tls, Some(config)) => result.map_err(failed),
        }
    })?;
    // transfers under way are not waited for
    runtime.shutdown_background();
    Ok(())
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match tls.clone() {
            Some(config) => {
                std::thread::spawn(move || secured(&config, stream));
            }
            None => {
                tasks.spawn(plain(stream));
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn plain(mut stream: TcpStream) -> io::Result<()> {
    let wanted = stream.read_u8().await?;
    match wanted {
        DOWN | UP => {
            let mut stream = blocking(stream)?;
            std::thread::spawn(move || bulk(wanted, &mut stream));
            Ok(())
        }
        ECHO => {
            stream.write_all(&[ECHO]).await?;
            let mut buffer = [0; 1024];
            loop {
                // an idle connection holds as little as can be: the buffer is read into only when there is something
                stream.readable().await?;
                match stream.try_read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => stream.write_all(buffer.get(..count).unwrap_or_default()).await?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        TRICKLE => loop {
            stream.write_all(&[TRICKLE; TRICKLE_BYTES]).await?;
            tokio::time::sleep(TRICKLE_PAUSE).await;
        },
        _ => Ok(()),
    }
}

/// Serves one bare TLS connection; whoever breaks it off ends it.
fn secured(config: &Arc<ServerConfig>, stream: TcpStream) -> io::Result<()> {
    let mut stream = wire::accept(config, blocking(stream)?)?;
    let mut wanted = [0; 1];
    stream.read_exact(&mut wanted)?;
    match wanted {
        [wanted @ (DOWN | UP)] => bulk(wanted, &mut *stream),
        [ECHO] => {
            stream.write_all(&[ECHO])?;
            let mut buffer = [0; 1024];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return stream.finish(),
                    count => stream.write_all(buffer.get(..count).unwrap_or_default())?,
                }
            }
        }
        _ => Ok(()),
    }
}

fn bulk(wanted: u8, stream: &mut dyn Duplex) -> io::Result<()> {
    if wanted == DOWN {
        let length = wire::number(stream)?;
        wire::send(stream, length)?;
    } else {
        let count = wire::receive(stream)?;
        stream.write_all(&count.to_be_bytes())?;
        stream.flush()?;
    }
    stream.finish()?;
    // the peer closes first, so that nothing it has yet to read is lost
    let mut rest = [0; 64];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}

fn blocking(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}
