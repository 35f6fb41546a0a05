//! HTTP requests to the gateway and to issuers: bounded, never redirected, with DPoP (RFC 9449).
//!
//! Per origin, the last DPoP nonce and the offset between its clock and ours are remembered; a refusal that asks for a
//! nonce, or for a proof whose time was off, is repeated once with what was learned.

mod date;
mod error;
mod seen;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, WWW_AUTHENTICATE},
};
use serde::de::DeserializeOwned;
use url::Url;
use ztsa_net::clock::Clock;
use ztsa_proto::{
    dpop::{self, ProofInput},
    jws::{SignError, Signer},
    secret::Secret,
    time::UnixTime,
};

pub use self::{
    error::HttpError,
    seen::{Seen, SeenKind},
};
use crate::config::{Config, Proxy, is_loopback};

/// The largest body that is read, in bytes.
pub const BODY_LIMIT: usize = 1 << 20;
/// How far a peer's clock may be off before proofs are dated by it, in seconds.
const CLOCK_TOLERANCE: i64 = 30;
/// An idle connection is not used after this, because common issuers close theirs after five seconds, and a request
/// that meets the closing may or may not have arrived.
const IDLE: Duration = Duration::from_secs(3);

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

/// What is put into a request's body.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// No body.
    None,
    /// `application/x-www-form-urlencoded`.
    Form(&'a [(&'a str, &'a str)]),
    /// `application/json`, already written.
    Json(String),
    /// Any other type: media type and content.
    Other(&'static str, String),
}

/// One request.
#[derive(Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The absolute URL; without query and fragment it is what the proof is bound to, byte for byte.
    pub url: &'a str,
    /// The body.
    pub body: Body<'a>,
    /// The key that signs a DPoP proof, if one is wanted.
    pub signer: Option<&'a dyn Signer>,
    /// An access token: sent with the scheme `DPoP` when there is a signer, else `Bearer`.
    pub token: Option<&'a Secret<String>>,
    /// A bound token in the body, which the proof names too (`ath`).
    pub proved_token: Option<&'a Secret<String>>,
    /// What is accepted as an answer.
    pub accept: &'static str,
}

impl<'a> Request<'a> {
    /// Makes a GET that wants JSON.
    pub fn get(url: &'a str) -> Self {
        Self {
            method: Method::GET,
            url,
            body: Body::None,
            signer: None,
            token: None,
            proved_token: None,
            accept: "application/json",
        }
    }

    /// Makes a POST that wants JSON.
    pub fn post(url: &'a str, body: Body<'a>) -> Self {
        Self { method: Method::POST, body, ..Self::get(url) }
    }

    /// Signs the request with a DPoP proof.
    #[must_use]
    pub fn signed(mut self, signer: &'a dyn Signer) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Authorizes the request with an access token.
    #[must_use]
    pub fn with_token(mut self, token: &'a Secret<String>) -> Self {
        self.token = Some(token);
        self
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The host that answered, for messages.
    pub host: String,
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, at most [`BODY_LIMIT`].
    pub body: Bytes,
}

impl Response {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// Names what was seen instead: a web page, nothing, a redirect, or JSON of another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let mut seen = self.seen();
            if matches!(seen.kind, SeenKind::Json) {
                seen.kind = SeenKind::OtherJson { reason: error.to_string() };
            }
            HttpError::Unexpected(seen)
        })
    }

    /// Says what kind of answer this is.
    pub fn seen(&self) -> Seen {
        seen::classify(&self.host, self.status, &self.headers, &self.body)
    }

    /// A header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

/// An answer whose body arrives bit by bit.
#[derive(Debug)]
pub struct Streaming {
    host: String,
    response: reqwest::Response,
}

impl Streaming {
    /// The host that answers, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Waits for the next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection broke.
    ///
    /// # Cancel safety
    /// Cancel-safe: bytes that were not returned are returned by the next call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.response.chunk().await.map_err(|error| HttpError::from_reqwest(&self.host, &error))
    }
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
    pub fn proof(
        &self,
        signer: &dyn Signer,
        method: &str,
        url: &str,
        token: Option<&str>,
    ) -> Result<String, SignError> {
        let target = url.split(['?', '#']).next().unwrap_or(url);
        let nonce = self.nonce(url);
        let at = self.now(url);
        dpop::proof(signer, &ProofInput { method, url: target, access_token: token, nonce: nonce.as_deref(), at })
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
            if request.signer.is_none() {
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

    async fn head(&self, request: &Request<'_>) -> Result<reqwest::Response, HttpError> {
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
            let proof = self.proof(signer, request.method.as_str(), request.url, token)?;
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

async fn read(host: String, mut response: reqwest::Response) -> Result<Response, HttpError> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| HttpError::from_reqwest(&host, &error))? {
        if body.len().saturating_add(chunk.len()) > BODY_LIMIT {
            return Err(HttpError::TooLarge { host });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { host, status, headers, body: body.into() })
}

/// A token endpoint asks with 400 and a JSON error, a resource with 401 and a challenge.
fn asks_for_nonce(response: &Response) -> bool {
    response.headers.contains_key("dpop-nonce") && oauth_error(response).as_deref() == Some("use_dpop_nonce")
}

fn refuses_proof(response: &Response) -> bool {
    oauth_error(response).as_deref() == Some("invalid_dpop_proof")
}

/// The `error` of a 400 or 401, from its challenge or its JSON body.
fn oauth_error(response: &Response) -> Option<String> {
    if !matches!(response.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
        return None;
    }
    let challenged = response.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    for challenge in challenged {
        if let Some((_, rest)) = challenge.split_once("error=\"") {
            return rest.split('"').next().map(str::to_owned);
        }
    }
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    serde_json::from_slice::<Refusal>(&response.body).ok().map(|refusal| refusal.error)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn origin(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests;
