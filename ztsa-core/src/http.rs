//! HTTP requests to the gateway and to issuers: bounded, never redirected, with DPoP (RFC 9449).
//!
//! Per origin, the last DPoP nonce and the offset between its clock and ours are remembered; a refusal that asks for a
//! nonce, or for a proof whose time was off, is repeated once with what was learned.

mod date;
mod error;
mod message;
mod seen;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName};
use url::Url;
use zeroize::Zeroizing;
use ztsa_net::clock::Clock;
use ztsa_proto::{
    dpop::{self, ProofInput},
    jws::{SignError, Signer},
    time::UnixTime,
};

use self::message::{asks_for_nonce, read, refuses_proof, text};
pub use self::{
    error::HttpError,
    message::{Body, Request, Response, Streaming},
    seen::{Seen, SeenKind},
};
use crate::{
    apart,
    config::{Config, Proxy, is_loopback},
};

/// The largest body that is read, in bytes.
pub const BODY_LIMIT: usize = 1 << 20;
/// How far a peer's clock may be off before proofs are dated by it, in seconds.
const CLOCK_TOLERANCE: i64 = 30;
/// An idle connection is not used after this, because common issuers close theirs after five seconds, and a request
/// that meets the closing may or may not have arrived.
const IDLE: Duration = Duration::from_secs(3);
/// The pauses before a connection that failed is tried again.
const RECONNECT: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Sends requests; cheap to clone, all clones share connections, nonces and clock offsets.
#[derive(Clone, Debug)]
pub struct Http {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    direct: reqwest::Client,
    outside: reqwest::Client,
    origins: Mutex<HashMap<String, Origin>>,
    clock: Clock,
    timeout: Duration,
}

#[derive(Clone, Debug, Default)]
struct Origin {
    nonce: Option<String>,
    offset: i64,
}

impl Http {
    /// Makes the client for a configuration.
    ///
    /// # Errors
    /// TLS or the proxy cannot be set up as configured.
    pub fn new(config: &Config) -> Result<Self, HttpError> {
        let build = |direct: bool| -> Result<reqwest::Client, HttpError> {
            let tls = ztsa_net::tls::client_config(&config.roots, &[b"h2", b"http/1.1"])
                .map_err(|error| HttpError::Setup { reason: error.to_string() })?;
            let setup = |error: reqwest::Error| HttpError::Setup { reason: error::chain(&error) };
            let mut builder = reqwest::Client::builder()
                .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(config.timeouts.connect)
                .pool_idle_timeout(IDLE)
                .user_agent(format!("{}/{}", config.name, env!("CARGO_PKG_VERSION")));
            match &config.proxy {
                Proxy::System if !direct => {}
                Proxy::Through { url, except } if !direct => {
                    let except = reqwest::NoProxy::from_string(except);
                    builder = builder.proxy(reqwest::Proxy::all(url.as_str()).map_err(setup)?.no_proxy(except));
                }
                _ => builder = builder.no_proxy(),
            }
            builder.build().map_err(setup)
        };
        Ok(Self {
            inner: Arc::new(Inner {
                direct: build(true)?,
                outside: build(false)?,
                origins: Mutex::new(HashMap::new()),
                clock: config.clock.clone(),
                timeout: config.timeouts.request,
            }),
        })
    }

    /// The clock of this machine.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The time at a URL's origin: our clock, corrected by what its `Date` headers said when that is more than 30 s off.
    pub fn now(&self, url: &str) -> UnixTime {
        let now = self.inner.clock.now();
        UnixTime(now.0.saturating_add_signed(self.offset(url)))
    }

    /// How many seconds the clock of a URL's origin is ahead of ours; 0 when within 30 s.
    pub fn offset(&self, url: &str) -> i64 {
        let offset = self.origins().get(&origin(url)).map_or(0, |known| known.offset);
        if offset.abs() > CLOCK_TOLERANCE { offset } else { 0 }
    }

    /// The last DPoP nonce that a URL's origin gave.
    pub fn nonce(&self, url: &str) -> Option<String> {
        self.origins().get(&origin(url)).and_then(|known| known.nonce.clone())
    }

    /// Remembers a DPoP nonce for a URL's origin; an empty or oversized one is ignored.
    pub fn store_nonce(&self, url: &str, nonce: &str) {
        if (1..=1024).contains(&nonce.len()) {
            self.origins().entry(origin(url)).or_default().nonce = Some(nonce.to_owned());
        }
    }

    /// Takes over a clock offset that an earlier process learned; the next answer corrects it.
    pub fn store_offset(&self, url: &str, seconds: i64) {
        self.origins().entry(origin(url)).or_default().offset = seconds;
    }

    /// Makes a DPoP proof with the origin's clock and last nonce.
    ///
    /// # Errors
    /// The key cannot sign.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn proof(
        &self,
        signer: &dyn Signer,
        method: &str,
        url: &str,
        token: Option<&str>,
    ) -> Result<String, SignError> {
        let target = url.split(['?', '#']).next().unwrap_or(url).to_owned();
        let (method, nonce, at) = (method.to_owned(), self.nonce(url), self.now(url));
        let token = token.map(|token| Zeroizing::new(token.to_owned()));
        let work = move |signer: &dyn Signer| {
            let access_token = token.as_ref().map(|token| token.as_str());
            let nonce = nonce.as_deref();
            dpop::proof(signer, &ProofInput { method: &method, url: &target, access_token, nonce, at })
        };
        apart::sign(signer, work).await
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// There was no answer; any answer at all is `Ok`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a request that has been acted upon.
    pub async fn send(&self, request: &Request<'_>) -> Result<Response, HttpError> {
        let (mut nonce_retried, mut clock_retried) = (false, false);
        loop {
            let offset = self.offset(request.url);
            let response = tokio::time::timeout(self.inner.timeout, self.whole(request))
                .await
                .unwrap_or_else(|_| Err(HttpError::Timeout { host: host(request.url), connected: true }))?;
            if request.signer.is_none() || request.once {
                return Ok(response);
            }
            let learned = (self.offset(request.url) - offset).abs() > CLOCK_TOLERANCE;
            if !nonce_retried && asks_for_nonce(&response) {
                nonce_retried = true;
            } else if !clock_retried && learned && refuses_proof(&response) {
                clock_retried = true;
            } else {
                return Ok(response);
            }
        }
    }

    /// Sends a request and returns as soon as the answer's head is there, for answers that go on for long.
    ///
    /// # Errors
    /// There was no answer. A refusal is returned as a whole [`Response`] in `Ok(Err(..))`.
    pub async fn stream(&self, request: &Request<'_>) -> Result<Result<Streaming, Response>, HttpError> {
        let mut retried = false;
        loop {
            let head = tokio::time::timeout(self.inner.timeout, self.head(request));
            let response =
                head.await.unwrap_or_else(|_| Err(HttpError::Timeout { host: host(request.url), connected: true }))?;
            let host = host(request.url);
            if response.status().is_success() {
                return Ok(Ok(Streaming { host, response }));
            }
            let response = read(host, response).await?;
            if retried || request.signer.is_none() || !asks_for_nonce(&response) {
                return Ok(Err(response));
            }
            retried = true;
        }
    }

    async fn whole(&self, request: &Request<'_>) -> Result<Response, HttpError> {
        read(host(request.url), self.head(request).await?).await
    }

    /// Sends the request and waits for the answer's head. What did not even connect was not sent, and is tried again: a
    /// server that many processes call at once may turn some away.
    async fn head(&self, request: &Request<'_>) -> Result<reqwest::Response, HttpError> {
        for pause in RECONNECT {
            match self.attempt(request).await {
                Err(HttpError::Unreachable { .. }) => tokio::time::sleep(pause).await,
                other => return other,
            }
        }
        self.attempt(request).await
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<reqwest::Response, HttpError> {
        let wrong = |reason: String| HttpError::Address { url: request.url.to_owned(), reason };
        let url = Url::parse(request.url).map_err(|error| wrong(error.to_string()))?;
        let loopback = is_loopback(&url);
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(wrong("only https is used outside loopback".to_owned()));
        }
        let client = if loopback { &self.inner.direct } else { &self.inner.outside };
        let mut builder = client.request(request.method.clone(), url).header(ACCEPT, request.accept);
        if let Some(token) = request.token {
            let scheme = if request.signer.is_some() { "DPoP" } else { "Bearer" };
            builder = builder.header(AUTHORIZATION, format!("{scheme} {}", token.expose()));
        }
        if let Some(signer) = request.signer {
            let token = request.token.or(request.proved_token).map(|token| token.expose().as_str());
            let proof = self.proof(signer, request.method.as_str(), request.url, token).await?;
            builder = builder.header(HeaderName::from_static("dpop"), proof);
        }
        builder = match &request.body {
            Body::None => builder,
            Body::Form(fields) => builder.form(fields),
            Body::Json(text) => builder.header(CONTENT_TYPE, "application/json").body(text.clone()),
            Body::Other(media, text) => builder.header(CONTENT_TYPE, *media).body(text.clone()),
        };
        let sent = builder.send().await;
        let response = sent.map_err(|error| HttpError::from_reqwest(&host(request.url), &error))?;
        self.learn(request.url, response.headers());
        Ok(response)
    }

    fn learn(&self, url: &str, headers: &HeaderMap) {
        if let Some(nonce) = text(headers, "dpop-nonce") {
            self.store_nonce(url, nonce);
        }
        if let Some(there) = text(headers, DATE.as_str()).and_then(date::parse) {
            let here = self.inner.clock.now();
            let offset = i64::try_from(there.0).unwrap_or(0) - i64::try_from(here.0).unwrap_or(0);
            let mut origins = self.origins();
            let known = origins.entry(origin(url)).or_default();
            if offset.abs() > CLOCK_TOLERANCE && known.offset.abs() <= CLOCK_TOLERANCE {
                tracing::warn!(
                    seconds = offset,
                    "this machine's clock differs from the server's; proofs are dated by the server's"
                );
            }
            known.offset = offset;
        }
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<String, Origin>> {
        self.inner.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn origin(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

fn host(url: &str) -> String {
    let named = Url::parse(url).ok().and_then(|url| {
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    });
    named.unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
pub(crate) mod script;
#[cfg(test)]
mod tests;
