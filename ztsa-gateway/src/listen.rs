//! The public door: TCP, TLS, and what a stranger may cost before the handshake is done.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use ztsa_net::accept::{Listener, share};
use ztsa_net::http2::TLS_BUFFER;
use ztsa_net::task::Spawner;
use ztsa_net::wide::Wide;

use crate::serve::{Peer, Server};

/// How long a TLS handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// The application protocols offered, in order of preference.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Counts handshakes under way, by address.
#[derive(Debug, Clone, Default)]
struct Handshakes(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// One place among an address's handshakes, given back when dropped.
struct Place {
    handshakes: Handshakes,
    address: IpAddr,
}

/// Accepts and serves connections until the scope of `spawner` begins to end.
///
/// # Cancel safety
/// Dropping the future stops accepting; connections that run belong to the scope.
pub async fn run(listener: Listener, tls: Arc<ServerConfig>, server: Server, limit: u32, spawner: Spawner) {
    let acceptor = TlsAcceptor::from(tls);
    let handshakes = Handshakes::default();
    let mut ending = std::pin::pin!(spawner.ending());
    loop {
        let (stream, from) = tokio::select! {
            biased;
            () = &mut ending => return,
            accepted = listener.accept() => accepted,
        };
        let Some(place) = handshakes.enter(line(from.ip()), limit) else {
            tracing::debug!(%from, "too many handshakes of this address at once");
            continue;
        };
        let (acceptor, server, scope) = (acceptor.clone(), server.clone(), spawner.clone());
        spawner.spawn(async move {
            if let Some((stream, peer)) = Box::pin(handshake(acceptor, stream, from)).await {
                drop(place);
                Box::pin(server.serve(stream, peer, scope)).await;
            }
        });
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
) -> Option<(tokio_rustls::server::TlsStream<Wide<TcpStream>>, Peer)> {
    share(&stream);
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(Wide::new(stream))).await {
        Ok(Ok(mut stream)) => {
            stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Some((stream, Peer { address: from.ip().to_canonical(), http2 }))
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

/// What one subscriber has: an IPv4 address, or the 64-bit prefix of an IPv6 address, behind which they choose freely.
fn line(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

impl Handshakes {
    fn enter(&self, address: IpAddr, limit: u32) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { handshakes: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.handshakes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_handshakes_at_once_and_gets_them_back() {
        let handshakes = Handshakes::default();
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let places: Vec<_> = (0..3).filter_map(|_| handshakes.enter(one, 2)).collect();
        assert_eq!(places.len(), 2);
        assert!(handshakes.enter(other, 2).is_some());
        drop(places);
        assert!(handshakes.enter(one, 2).is_some());
        assert!(handshakes.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_subscriber_is_one_however_many_addresses_they_have() {
        for (address, counted) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ] {
            assert_eq!(line(address.parse().unwrap()), counted.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}
