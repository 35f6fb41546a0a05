//! One local port for every app: SOCKS5, SOCKS4a, HTTP CONNECT and plain HTTP; the first byte tells which.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use ztsa_net::accept::Listener;
use ztsa_proto::secret::Secret;

use super::desk::Desk;
use super::dial::{self, Dial, Opened as _, PATIENCE};
use super::event::{Reporter, Way};
use super::guard::{self, Warning};
use super::http::{self, HANDSHAKE};
use super::intake::Intake;
use super::local::{self, Local};
use super::serving::{Guest, Serving};
use super::socks5::SocksError;
use super::{socks4, socks5};
use crate::tunnel::Early;

/// A local port through which every app is reached by its name.
///
/// It outlives everything behind it; a refusal ends one local connection, with the reason in the protocol's own words
/// and as an [`Event`](super::event::Event). Dropping it resets its connections.
#[derive(Debug)]
pub struct Proxy {
    serving: Serving,
    password: bool,
}

impl Proxy {
    /// Starts serving on sockets that are bound already.
    pub(crate) fn spawn<D: Dial>(
        listener: Listener,
        password: Option<Secret<String>>,
        dial: D,
        reporter: Reporter,
    ) -> Self {
        let address = listener.local_addrs().first().copied().unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let with_password = password.is_some();
        let desk = Arc::new(Desk { dial, reporter: reporter.clone(), password, address });
        let serving = Serving::start(listener, reporter, move |guest| Arc::clone(&desk).serve(guest));
        Self { serving, password: with_password }
    }

    /// Returns the address to give to local programs.
    pub fn local_addr(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    /// Returns every address it listens on: 127.0.0.1 and, where there is IPv6, ::1 on the same port.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.serving.local_addrs()
    }

    /// Returns the URL of the proxy auto-configuration script for browsers.
    pub fn pac_url(&self) -> String {
        format!("http://{}/proxy.pac", self.local_addr())
    }

    /// Returns what a person should know about these addresses.
    pub fn warning(&self) -> Option<Warning> {
        guard::warning(self.local_addrs(), self.password)
    }

    /// Waits until the proxy has ended; may be awaited any number of times.
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

impl<D: Dial> Desk<D> {
    async fn serve(self: Arc<Self>, guest: Guest) {
        let Guest { stream, turn, spawner } = guest;
        let mut first = [0];
        // slow or cut: there is nobody to answer
        let Ok(Ok(1)) = timeout(HANDSHAKE, stream.peek(&mut first)).await else { return };
        match first {
            [socks5::FIRST_BYTE] => self.socks5(stream, turn).await,
            [socks4::FIRST_BYTE] => self.socks4(stream, turn).await,
            [byte] if byte.is_ascii_alphabetic() => http::serve(self, stream, turn, spawner).await,
            [byte] => {
                if let Ok(peer) = stream.peer_addr() {
                    self.reporter.rejected(peer, unknown(byte));
                }
            }
        }
    }

    async fn socks5(&self, stream: TcpStream, turn: OwnedSemaphorePermit) {
        let peer = stream.peer_addr().ok();
        let mut local = Local::new(stream);
        let asked = timeout(HANDSHAKE, socks5::ask(Intake::new(&mut local.stream), self.password.as_ref())).await;
        let Some(asked) = asked.ok().and_then(|asked| self.understood(peer, asked)) else {
            return local.dismiss().await;
        };
        let to = asked.to.clone();
        let opened = dial::open(&self.dial, &to, Way::Socks5, PATIENCE, &mut Early::none()).await;
        drop(turn);
        match opened {
            Ok(tunnel) => {
                let open = self.reporter.opened(to, Way::Socks5, tunnel.id());
                let Ok(intake) = asked.granted().await else { return };
                let (_, early) = intake.into_parts();
                local::carry(&mut local, early, None, tunnel, open).await;
            }
            Err(problem) => {
                let answered = asked.refused(&problem).await;
                self.reporter.refused(&to, Way::Socks5, problem);
                if answered.is_ok() {
                    local.dismiss().await;
                }
            }
        }
    }

    async fn socks4(&self, stream: TcpStream, turn: OwnedSemaphorePermit) {
        let peer = stream.peer_addr().ok();
        let mut local = Local::new(stream);
        let asked = timeout(HANDSHAKE, socks4::ask(Intake::new(&mut local.stream), self.password.is_some())).await;
        let Some(asked) = asked.ok().and_then(|asked| self.understood(peer, asked)) else {
            return local.dismiss().await;
        };
        let to = asked.to.clone();
        let opened = dial::open(&self.dial, &to, Way::Socks4, PATIENCE, &mut Early::none()).await;
        drop(turn);
        match opened {
            Ok(tunnel) => {
                let open = self.reporter.opened(to, Way::Socks4, tunnel.id());
                let Ok(intake) = asked.granted().await else { return };
                let (_, early) = intake.into_parts();
                local::carry(&mut local, early, None, tunnel, open).await;
            }
            Err(problem) => {
                let answered = asked.refused().await;
                self.reporter.refused(&to, Way::Socks4, problem);
                if answered.is_ok() {
                    local.dismiss().await;
                }
            }
        }
    }

    /// Tells why a conversation led nowhere.
    fn understood<T>(&self, peer: Option<SocketAddr>, asked: Result<T, SocksError>) -> Option<T> {
        match (asked, peer) {
            (Ok(asked), _) => Some(asked),
            // nothing was asked for: browsers open connections ahead and drop them
            (Err(SocksError::Broken(_)), _) | (Err(_), None) => None,
            (Err(error), Some(peer)) => {
                self.reporter.rejected(peer, &error.to_string());
                None
            }
        }
    }
}

fn unknown(first: u8) -> &'static str {
    match first {
        0x16 => "it speaks TLS; set the proxy as http:// or socks5h://, not https://",
        _ => "it speaks neither SOCKS nor HTTP",
    }
}

#[cfg(test)]
mod tests;
