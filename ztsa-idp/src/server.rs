//! The running issuer: routes, connections, faults.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{self, SecureRandom as _};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use ztsa_net::accept::Listener;
use ztsa_net::task::{Scope, Spawner};
use ztsa_proto::jws::SoftwareKey;
use ztsa_proto::secret::Secret;

use crate::config::Config;
use crate::endpoint::{
    Peer, authorize, device, discovery, interaction, introspection, logout, path, revocation, token, userinfo,
    verification, workload,
};
use crate::fault::{Endpoint, Fault, Faults};
use crate::issuer::Issuer;
use crate::workload::Workload;

/// A running issuer. Dropping it ends it at once.
#[derive(Debug)]
pub struct Idp {
    issuer: Arc<Issuer>,
    address: SocketAddr,
    scope: Scope,
    closed: watch::Receiver<bool>,
}

/// Why an issuer does not start.
#[derive(Debug, thiserror::Error)]
pub enum IdpError {
    /// The address to listen on is not loopback: this issuer has well-known passwords and speaks plain HTTP.
    #[error("{0} is not a loopback address; this issuer is for development and binds nothing else")]
    NotLoopback(SocketAddr),
    /// The user that every sign-in is to be approved as is not configured.
    #[error("there is no user '{0}' to approve sign-ins as")]
    UnknownUser(String),
    /// The address cannot be bound.
    #[error("{address} cannot be bound")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The signing key cannot be made.
    #[error("the signing key cannot be made")]
    Key,
}

/// Connections served at once; further ones wait.
const MAX_CONNECTIONS: usize = 512;
/// The largest request body.
const MAX_BODY: usize = 64 * 1024;
/// The largest request head, about.
const MAX_HEAD: usize = 16 * 1024;
/// The time in which a request's body must have come and its answer be made.
const REQUEST_TIME: Duration = Duration::from_secs(15);
/// The time in which a request's head must have come.
const HEAD_TIME: Duration = Duration::from_secs(15);

impl Idp {
    /// Starts an issuer; it is bound when this returns.
    ///
    /// # Errors
    /// When the address is not loopback or cannot be bound, or `approve` names nobody.
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped before it returns, nothing runs.
    #[expect(clippy::unused_async, reason = "what runs is started by an async function everywhere in this workspace")]
    pub async fn spawn(config: Config) -> Result<Self, IdpError> {
        if !config.listen.ip().is_loopback() {
            return Err(IdpError::NotLoopback(config.listen));
        }
        if let Some(name) = config.approve.as_deref().filter(|name| config.user(name).is_none()) {
            return Err(IdpError::UnknownUser(name.to_owned()));
        }
        let bind = |source| IdpError::Bind { address: config.listen, source };
        let listener = Listener::bind(config.listen).map_err(bind)?;
        let address = listener.local_addrs().first().copied().unwrap_or(config.listen);
        let mut mac_key = [0; 32];
        rand::SystemRandom::new().fill(&mut mac_key).map_err(|_| IdpError::Key)?;
        let issuer = Arc::new(Issuer::new(config, format!("http://{address}"), new_key()?, &mac_key));
        let scope = Scope::new();
        let (running, closed) = watch::channel(false);
        let (router, spawner) = (router(&issuer), scope.spawner());
        scope.spawn(async move {
            accept(listener, router, spawner).await;
            // dropped with the task too, which also counts as closed
            running.send_replace(true);
        });
        tracing::debug!(%address, "the issuer listens");
        Ok(Self { issuer, address, scope, closed })
    }

    /// Returns the bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the issuer identifier, `http://127.0.0.1:PORT`.
    pub fn issuer(&self) -> &str {
        &self.issuer.url
    }

    /// Returns the faults of this issuer, to be set while it runs.
    pub fn faults(&self) -> &Faults {
        &self.issuer.config.faults
    }

    /// Signs with a new key from now on; the old ones stay published and good.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rotate_key(&self) -> Result<(), IdpError> {
        self.issuer.add_key(new_key()?);
        Ok(())
    }

    /// Signs the token of a job for this audience.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn workload_token(&self, workload: &Workload, audience: &str) -> Result<Secret<String>, IdpError> {
        self.issuer.workload_token(workload, audience).map(Secret::new).map_err(|_| IdpError::Key)
    }

    /// Returns where jobs get their tokens as on GitHub Actions: the values of `ACTIONS_ID_TOKEN_REQUEST_URL` and
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`. Answered only with [`Config::workload`].
    pub fn request_token(&self) -> (String, Secret<String>) {
        let url = format!("{}?api-version=2.0", self.issuer.endpoint(path::GITHUB));
        (url, Secret::new(self.issuer.request_token()))
    }

    /// Waits until the issuer no longer accepts connections.
    ///
    /// # Cancel safety
    /// Cancel-safe; may be awaited many times.
    pub async fn closed(&self) {
        let mut closed = self.closed.clone();
        // an error means that the accept loop is gone, which is what is waited for
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Stops accepting, lets requests in flight finish within `grace`, and aborts the rest.
    ///
    /// # Cancel safety
    /// Dropping the future aborts everything at once.
    pub async fn shutdown(self, grace: Duration) {
        self.scope.drain(grace).await;
    }
}

fn new_key() -> Result<SoftwareKey, IdpError> {
    SoftwareKey::generate().map_err(|_| IdpError::Key)
}

fn router(issuer: &Arc<Issuer>) -> Router {
    let workloads =
        Router::new().route(path::GITHUB, get(workload::github)).route(path::KUBERNETES, get(workload::kubernetes));
    Router::new()
        .merge(if issuer.config.workload { workloads } else { Router::new() })
        .route(path::OPENID_CONFIGURATION, get(discovery::metadata))
        .route(path::OAUTH_METADATA, get(discovery::metadata))
        .route(path::JWKS, get(discovery::jwks))
        .route(path::AUTHORIZE, get(authorize::authorize).post(authorize::authorize))
        .route(path::TOKEN, post(token::exchange))
        .route(path::DEVICE_AUTHORIZATION, post(device::authorize))
        .route(path::VERIFICATION, get(verification::ask).post(verification::enter))
        .route("/", get(async || Redirect::to(path::VERIFICATION)))
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
        .route("/device/approved", get(verification::approved))
        .route("/device/denied", get(verification::denied))
        .route("/interaction/{id}", get(interaction::show))
        .route("/interaction/{id}/sign-in", post(interaction::sign_in))
        .route("/interaction/{id}/decision", post(interaction::decide))
        .route(path::USERINFO, get(userinfo::userinfo).post(userinfo::userinfo))
        .route(path::INTROSPECTION, post(introspection::introspect))
        .route(path::REVOCATION, post(revocation::revoke))
        .route(path::END_SESSION, get(logout::ask).post(logout::confirm))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(issuer.clone(), guard))
        .with_state(issuer.clone())
}

/// Refuses foreign host names (a web page may point one at this machine), plays faults, and bounds the time.
async fn guard(State(issuer): State<Arc<Issuer>>, request: Request, next: Next) -> Response {
    if !is_for_loopback(request.headers()) {
        let text = "This issuer answers only to loopback addresses and localhost.\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    let fault = endpoint_of(request.uri().path()).and_then(|endpoint| issuer.config.faults.next(endpoint));
    let handled = tokio::time::timeout(REQUEST_TIME, next.run(request));
    match fault {
        None => handled.await.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response()),
        Some(Fault::Lost) => {
            drop(handled.await);
            std::future::pending().await
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Unavailable) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::Empty) => StatusCode::OK.into_response(),
        Some(Fault::Garbage) => ([(CONTENT_TYPE, "application/json")], "{\"access_token\":\"eyJ").into_response(),
        Some(Fault::Portal) => {
            Html("<!doctype html><title>Welcome</title><h1>Accept the terms to use this network</h1>").into_response()
        }
        Some(Fault::TooManyRequests { retry_after }) => {
            let mut response = StatusCode::TOO_MANY_REQUESTS.into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            response
        }
    }
}

fn endpoint_of(path: &str) -> Option<Endpoint> {
    match path {
        path::OPENID_CONFIGURATION | path::OAUTH_METADATA => Some(Endpoint::Discovery),
        path::JWKS => Some(Endpoint::Jwks),
        path::DEVICE_AUTHORIZATION => Some(Endpoint::Device),
        path::TOKEN => Some(Endpoint::Token),
        path::USERINFO => Some(Endpoint::Userinfo),
        _ => None,
    }
}

fn is_for_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn accept(listener: Listener, router: Router, spawner: Spawner) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let ending = spawner.ending();
    let connections = async {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let (stream, peer) = listener.accept().await;
            let (router, ending) = (router.clone(), spawner.ending());
            spawner.spawn(async move {
                serve(stream, peer.ip(), router, ending).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = ending => {}
        () = connections => {}
    }
}

async fn serve(stream: TcpStream, peer: IpAddr, router: Router, ending: impl Future<Output = ()>) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ending => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::trace!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_host_names_are_answered() {
        let table = [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1:8080", false),
            ("localhost.evil.example", false),
            ("", false),
        ];
        for (host, answered) in table {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(is_for_loopback(&headers), answered, "{host}");
        }
        assert!(!is_for_loopback(&HeaderMap::new()));
    }
}
