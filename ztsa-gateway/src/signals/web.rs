//! One bounded request to another system, never to an address that nobody meant.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use serde::de::DeserializeOwned;
use url::{Host, Url};
use ztsa_net::tls::{self, Roots};
use ztsa_proto::secret::Secret;

use super::SignalsError;
use crate::config;
use crate::place::{Place, place};

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How much of an answer is read: a poll brings up to 100 tokens.
const MOST: usize = 8 * 1024 * 1024;

/// Sends requests to one system.
#[derive(Clone, Debug)]
pub(super) struct Web {
    client: Client,
    private: bool,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// Whether more came than was read.
    pub(super) cut: bool,
}

/// Says why there is no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WebError {
    #[error("{0} is not at a public address, and this table does not say private = true")]
    Private(String),
    #[error("{0} is not an https URL")]
    Insecure(String),
    #[error("{url} cannot be reached: {cause}")]
    Unreachable { url: String, cause: String },
    #[error("{0} did not answer in time")]
    Timeout(String),
    #[error("the answer of {0} is larger than 8 MiB")]
    TooLarge(String),
    #[error("{url} answered with status {status}")]
    Status { url: String, status: u16 },
    #[error("the answer of {0} is not the JSON that the standard asks for")]
    NotJson(String),
}

/// What goes along with a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent<'a> {
    /// The value of `Authorization`.
    pub(super) authorization: Option<&'a Secret<String>>,
    /// The content type and the body.
    pub(super) body: Option<(&'static str, &'a [u8])>,
    /// How long the answer may take, when that is longer than usual.
    pub(super) patience: Option<Duration>,
}

impl Web {
    /// Prepares a client: roots of its own where there are some, no redirects, public addresses only unless `private`.
    pub(super) fn new(name: &str, ca_file: Option<&Path>, private: bool) -> Result<Web, SignalsError> {
        let mut roots = Roots::mozilla();
        if let Some(path) = ca_file {
            let file = |cause: String| SignalsError::File { name: name.to_owned(), path: path.to_owned(), cause };
            let pem = std::fs::read(path).map_err(|cause| file(format!("cannot be read: {cause}")))?;
            roots = roots.with_pem(&pem).map_err(|cause| file(cause.to_string()))?;
        }
        let client = |cause: String| SignalsError::Client { name: name.to_owned(), cause };
        let tls = tls::client_config(&roots, &[b"h2", b"http/1.1"]).map_err(|cause| client(cause.to_string()))?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(redirect::Policy::none())
            .connect_timeout(PATIENCE)
            // a proxy would resolve names by itself, and its own address need not be public
            .no_proxy()
            .user_agent(concat!("ztsa-gateway/", env!("CARGO_PKG_VERSION")));
        if !private {
            builder = builder.dns_resolver(Public);
        }
        builder.build().map(|client| Web { client, private }).map_err(|cause| client(cause.to_string()))
    }

    /// Sends a request and reads the answer, at most 8 MiB of it.
    ///
    /// # Cancel safety
    /// Dropping the future closes the request.
    pub(super) async fn send(&self, method: Method, url: &Url, sent: Sent<'_>) -> Result<Reply, WebError> {
        let reply = self.beginning(method, url, sent).await?;
        if reply.cut { Err(WebError::TooLarge(url.to_string())) } else { Ok(reply) }
    }

    /// As [`Web::send`], and gives the beginning of an answer that is larger.
    ///
    /// # Cancel safety
    /// Dropping the future closes the request.
    pub(super) async fn beginning(&self, method: Method, url: &Url, sent: Sent<'_>) -> Result<Reply, WebError> {
        self.allowed(url)?;
        let patience = sent.patience.unwrap_or(PATIENCE);
        let mut request =
            self.client.request(method, url.clone()).timeout(patience).header("accept", "application/json");
        if let Some(authorization) = sent.authorization {
            let mut value = http::HeaderValue::from_str(authorization.expose()).map_err(|_| WebError::Unreachable {
                url: url.to_string(),
                cause: "the credential is no header".into(),
            })?;
            value.set_sensitive(true);
            request = request.headers(HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]));
        }
        if let Some((kind, body)) = sent.body {
            request = request.header("content-type", kind).body(body.to_vec());
        }
        let failed = |error: reqwest::Error| failure(url, &error);
        let mut response = request.send().await.map_err(failed)?;
        let (mut body, mut cut) = (Vec::new(), false);
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            cut = body.len() + chunk.len() > MOST;
            if cut {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status: response.status().as_u16(), body: body.into(), cut })
    }

    /// As [`Web::send`], for an answer of status 200 or 201 in JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        sent: Sent<'_>,
    ) -> Result<T, WebError> {
        let reply = self.send(method, url, sent).await?;
        if !matches!(reply.status, 200 | 201) {
            return Err(WebError::Status { url: url.to_string(), status: reply.status });
        }
        serde_json::from_slice(&reply.body).map_err(|_| WebError::NotJson(url.to_string()))
    }

    /// Says whether a URL may be asked: https, and not at an address that is not public. Names are looked at as they resolve.
    pub(super) fn allowed(&self, url: &Url) -> Result<(), WebError> {
        let private = || Err(WebError::Private(url.to_string()));
        match url.host() {
            Some(Host::Ipv4(address)) if !self.private && !is_public(address.into()) => return private(),
            Some(Host::Ipv6(address)) if !self.private && !is_public(address.into()) => return private(),
            Some(Host::Domain(_)) if !self.private && config::is_loopback(url) => return private(),
            Some(_) => {}
            None => return Err(WebError::Insecure(url.to_string())),
        }
        let plain = self.private && url.scheme() == "http" && config::is_loopback(url);
        if url.scheme() == "https" || plain { Ok(()) } else { Err(WebError::Insecure(url.to_string())) }
    }
}

/// Resolves names to public addresses only, at each connection: a name that changes its mind gains nothing.
#[derive(Debug)]
struct Public;

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                let error =
                    format!("{} has no public address, and this table does not say private = true", name.as_str());
                return Err(error.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn failure(url: &Url, error: &reqwest::Error) -> WebError {
    if error.is_timeout() {
        return WebError::Timeout(url.to_string());
    }
    // the innermost cause is the one that says something
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    WebError::Unreachable { url: url.to_string(), cause: cause.to_string() }
}

/// Makes the value of `Authorization` from a bearer credential.
pub(super) fn bearer(token: &Secret<String>) -> Arc<Secret<String>> {
    Arc::new(Secret::new(format!("Bearer {}", token.expose())))
}

fn is_public(address: IpAddr) -> bool {
    place(address) == Place::Public
}
