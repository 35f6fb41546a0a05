//! Listening sockets that do not give up.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// How long accepting pauses when the process or the machine is out of descriptors or memory.
pub const EXHAUSTION_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that may wait unsent in the kernel on a connection that carries many tunnels.
const UNSENT: u32 = 512 * 1024;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Prepares a connection: Nagle's algorithm off, and Reno's congestion control when its peer is on this machine.
///
/// Nothing is ever congested there. BBR, which many machines have for the network's sake, paces each write by a timer: that
/// is a third of the time that a bulk transfer over loopback costs (docs/reference/performance.md).
pub fn prepare(stream: &TcpStream) {
    // both only save time, and a peer that is gone already is found out by the first read
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    if stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()) {
        let _ = socket2::SockRef::from(stream).set_tcp_congestion(b"reno");
    }
}

/// Prepares a connection that carries many tunnels: what cannot be sent yet waits where the next small frame can pass it,
/// not in the kernel, beyond two of the largest frames.
pub fn share(stream: &TcpStream) {
    // a machine that refuses it only makes small frames wait longer beside bulk
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// One or more listening TCP sockets that are accepted from as one.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Listener {
    /// Binds one address.
    ///
    /// # Errors
    /// The operating system's error, `AddrInUse` above all.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_all(&[address])
    }

    /// Binds every address, or none.
    ///
    /// # Errors
    /// The operating system's first error; its text names the address.
    pub fn bind_all(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut sockets = Vec::with_capacity(addresses.len());
        for address in addresses {
            let socket =
                listen(*address).map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
            sockets.push(socket);
        }
        let addresses = sockets.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { sockets, addresses })
    }

    /// Binds the same port on 127.0.0.1 and on ::1; port 0 picks one that is free on both. A machine without IPv6 gets
    /// 127.0.0.1 alone.
    ///
    /// # Errors
    /// The operating system's error when the port is taken on either address.
    pub fn bind_loopback(port: u16) -> io::Result<Self> {
        for _ in 0..16 {
            let four = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            let chosen = four.local_addr()?;
            match listen(SocketAddr::from((Ipv6Addr::LOCALHOST, chosen.port()))) {
                Ok(six) => {
                    let addresses = vec![chosen, six.local_addr()?];
                    return Ok(Self { sockets: vec![four, six], addresses });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(_) => return Ok(Self { sockets: vec![four], addresses: vec![chosen] }),
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free on both 127.0.0.1 and ::1"))
    }

    /// Returns the bound addresses, in the order they were asked for.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Accepts the next connection, [`prepare`]d.
    ///
    /// An error of one connection is skipped; exhaustion (descriptors, memory) is logged and waited out for
    /// [`EXHAUSTION_PAUSE`]: the listener never fails.
    ///
    /// # Cancel safety
    /// Cancel-safe: no accepted connection is lost.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.accept_any().await {
                Ok((stream, peer)) => {
                    prepare(&stream);
                    return (stream, peer);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting connections pauses for 100 ms");
                    tokio::time::sleep(EXHAUSTION_PAUSE).await;
                }
            }
        }
    }

    async fn accept_any(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|context| {
            for socket in &self.sockets {
                if let std::task::Poll::Ready(result) = socket.poll_accept(context) {
                    return std::task::Poll::Ready(result);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Makes the close of `stream` a reset (RST) instead of an orderly end (FIN), so that the peer's program sees an error
/// and never takes a cut connection for a complete one.
pub fn reset_on_close(stream: &TcpStream) {
    // fails only on a socket that is closed already
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn a_free_port_is_the_same_on_both_loopback_addresses() {
        let listener = Listener::bind_loopback(0).unwrap();
        let addresses = listener.local_addrs().to_vec();
        assert!(addresses[0].ip().is_loopback());
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
        for address in addresses {
            let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            assert_eq!(client.unwrap().local_addr().unwrap(), accepted.1);
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_the_address() {
        let first = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let error = Listener::bind_all(first.local_addrs()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&first.local_addrs()[0].to_string()));
    }

    #[tokio::test]
    async fn a_reset_close_is_an_error_for_the_peer() {
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let (client, (accepted, _)) = tokio::join!(TcpStream::connect(listener.local_addrs()[0]), listener.accept());
        reset_on_close(&accepted);
        drop(accepted);
        let error = client.unwrap().read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
