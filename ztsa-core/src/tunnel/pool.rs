//! The warm connections of a client.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Response, StatusCode};
use rustls::ClientConfig;
use ztsa_net::task::Scope;
use ztsa_net::tls::{self, TlsError};
use ztsa_net::tunnel::{Framing, TunnelRecv, TunnelSend};
use ztsa_proto::name::Destination;

use super::connection::{self, Connection};
use super::{Early, Held, OpenError, OpenOptions, Tunnel, request};
use crate::config::Config;
use crate::token::{SessionToken, Tokens};

/// Opens tunnels, keeping few connections to the gateway warm. A clone is another handle to the same pool; the
/// connections end with the last one.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    tokens: Tokens,
    tls: Arc<ClientConfig>,
    connections: Mutex<Vec<Arc<Connection>>>,
    opening: tokio::sync::Mutex<()>,
    scope: Scope,
}

/// What to do about an answer that is not a tunnel.
enum Next {
    /// The request was not processed: another connection may carry it.
    OtherConnection,
    /// The answer brought what was missing (a nonce, a newer session).
    SameAgain,
}

impl Pool {
    /// Makes a pool without connections.
    ///
    /// # Errors
    /// [`TlsError`] when TLS cannot be set up.
    pub fn new(config: &Config, tokens: Tokens) -> Result<Self, TlsError> {
        let tls = tls::client_config(&config.roots, &[b"h2"])?;
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            tokens,
            tls,
            connections: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            scope: Scope::new(),
        })))
    }

    /// Opens a tunnel. On a warm connection with a session at hand this is one round trip.
    ///
    /// # Errors
    /// [`OpenError`]; a refusal carries the gateway's problem document.
    ///
    /// # Cancel safety
    /// Cancel-safe: a tunnel that was being opened is reset.
    pub async fn open(&self, to: &Destination, options: &OpenOptions) -> Result<Tunnel, OpenError> {
        self.open_early(to, options, &mut Early::none()).await
    }

    /// Opens a tunnel as [`Pool::open`] does and sends the first bytes along: the app has them when it is open.
    ///
    /// # Errors
    /// [`OpenError`]; a refusal carries the gateway's problem document, and the app has got nothing.
    /// [`OpenError::Lost`] with [`Early::at_risk`]: whether the app has got the bytes is not known.
    ///
    /// # Cancel safety
    /// Cancel-safe: a tunnel that was being opened is reset.
    pub async fn open_early(
        &self,
        to: &Destination,
        options: &OpenOptions,
        early: &mut Early<'_>,
    ) -> Result<Tunnel, OpenError> {
        let mut last = None;
        // one lost connection, one nonce, one renewed session: each may happen once on the way
        for _ in 0..4 {
            let connection = self.connection().await?;
            match self.attempt(&connection, to, options, early).await {
                Ok(tunnel) => return Ok(tunnel),
                Err((Some(Next::OtherConnection), error)) => {
                    connection.retire();
                    last = Some(error);
                }
                Err((Some(Next::SameAgain), error)) => last = Some(error),
                Err((None, error)) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| OpenError::Lost("every attempt was turned away".into())))
    }

    /// Makes sure that a connection is open, so that the next tunnel takes one round trip.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] or [`OpenError::NotATunnel`].
    pub async fn warm(&self) -> Result<(), OpenError> {
        self.connection().await.map(drop)
    }

    /// Counts the open connections and the tunnels on them.
    #[must_use]
    pub fn usage(&self) -> (usize, usize) {
        let connections = self.connections();
        let tunnels = connections.iter().map(|connection| connection.held.load(Ordering::Relaxed)).sum();
        (connections.len(), tunnels)
    }

    async fn attempt(
        &self,
        connection: &Connection,
        to: &Destination,
        options: &OpenOptions,
        early: &mut Early<'_>,
    ) -> Result<Tunnel, (Option<Next>, OpenError)> {
        let session = self.0.tokens.session().await.map_err(|error| (None, error.into()))?;
        let url = request::url(&self.0.config.gateway, to);
        let proof = self
            .0
            .tokens
            .proof("CONNECT", &url, Some(&session.token))
            .await
            .map_err(|error| (None, OpenError::Sign(error.to_string())))?;
        let ask = request::build(&url, &session.token, &proof, options).map_err(|error| (None, error))?;
        let held = Held::new(&connection.held);
        let (response, send) =
            exchange(connection.sender.clone(), ask, early).await.map_err(|error| lost(&error, early))?;
        if let Some(nonce) = response.headers().get("dpop-nonce").and_then(|nonce| nonce.to_str().ok()) {
            self.0.tokens.store_nonce(&url, nonce);
        }
        if request::is_tunnel(&response) {
            let (head, body) = response.into_parts();
            return Ok(Tunnel {
                send,
                recv: TunnelRecv::new(body, Framing::Capsules),
                id: request::tunnel_id(&head.headers),
                to: to.clone(),
                held,
            });
        }
        let refusal = self.refusal(response, &session).await;
        // dropped only now: that resets what was sent early
        drop(send);
        Err(refusal)
    }

    /// Reads why there is no tunnel, and whether asking again can help.
    async fn refusal(&self, response: Response<RecvStream>, session: &SessionToken) -> (Option<Next>, OpenError) {
        let status = response.status();
        let wants_nonce = challenge(&response).contains("use_dpop_nonce");
        let Some(problem) = request::problem(response).await else {
            let seen = format!("it answered {status} without the capsule protocol");
            return (None, OpenError::NotATunnel { gateway: connection::authority(&self.0.config.gateway), seen });
        };
        let stale = status == StatusCode::UNAUTHORIZED && matches!(problem.code.as_str(), "auth.expired");
        if stale {
            self.0.tokens.reject(session);
        }
        let next = (wants_nonce || stale).then_some(Next::SameAgain);
        (next, OpenError::Refused(problem))
    }

    /// Returns a connection with room; one caller opens a new one, the others wait for it.
    async fn connection(&self) -> Result<Arc<Connection>, OpenError> {
        if let Some(connection) = self.ready() {
            return Ok(connection);
        }
        let _one = self.0.opening.lock().await;
        if let Some(connection) = self.ready() {
            return Ok(connection);
        }
        let opened = connection::open(&self.0.config, &self.0.tls, &self.0.scope.spawner()).await?;
        let opened = Arc::new(opened);
        self.connections().push(Arc::clone(&opened));
        Ok(opened)
    }

    fn ready(&self) -> Option<Arc<Connection>> {
        let mut connections = self.connections();
        connections.retain(|connection| !connection.is_closed());
        connections.iter().find(|connection| connection.has_room()).cloned()
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Connection>>> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks, and sends the first bytes until the answer is there.
async fn exchange(
    sender: SendRequest<Bytes>,
    ask: http::Request<()>,
    early: &mut Early<'_>,
) -> Result<(Response<RecvStream>, TunnelSend), h2::Error> {
    early.rewind();
    let mut sender = sender.ready().await?;
    let (mut response, send) = sender.send_request(ask, false)?;
    let mut send = TunnelSend::new(send, Framing::Capsules);
    let answer = poll_fn(|context| {
        let answer = Pin::new(&mut response).poll(context);
        if answer.is_pending() {
            early.poll_send(&mut send, context);
        }
        answer
    });
    Ok((answer.await?, send))
}

fn challenge(response: &Response<RecvStream>) -> String {
    let values = response.headers().get_all(http::header::WWW_AUTHENTICATE);
    values.iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(", ")
}

/// Sorts a failure: a request that the gateway has not processed may go to another connection (RFC 9113 8.7); a
/// connection that died under it likewise, unless first bytes went along: they may have reached the app.
fn lost(error: &h2::Error, early: &mut Early<'_>) -> (Option<Next>, OpenError) {
    let drained = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    let unprocessed = drained || error.reason() == Some(Reason::REFUSED_STREAM);
    if !unprocessed {
        early.lost();
    }
    let again = unprocessed || ((error.is_io() || error.is_go_away()) && !early.at_risk());
    (again.then_some(Next::OtherConnection), OpenError::Lost(error.to_string()))
}
