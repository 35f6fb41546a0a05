//! One bounded request to an issuer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, RequestBuilder, Response, redirect};
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt as _;
use url::{Url, form_urlencoded};
use ztsa_net::tls::{self, Roots};
use ztsa_proto::secret::Secret;

use super::super::error::IssuerError;
use super::address::{Reach, Resolver};
use crate::config;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of one answer is read.
const MOST: usize = 256 * 1024;

/// Sends requests to one issuer.
#[derive(Clone, Debug)]
pub(in super::super) struct Fetch {
    client: Client,
    reach: Reach,
}

impl Fetch {
    /// Prepares a client: the issuer's own CA where there is one, no redirects, no address nearer than allowed, the system's proxy except on loopback.
    pub(in super::super) fn new(identifier: &str, allow_private: bool, ca: Option<&[u8]>) -> Result<Fetch, String> {
        let mut roots = Roots::mozilla();
        if let Some(pem) = ca {
            roots = roots.with_pem(pem).map_err(|cause| cause.to_string())?;
        }
        let tls = tls::client_config(&roots, &[b"h2", b"http/1.1"]).map_err(|cause| cause.to_string())?;
        let reach = Reach::of(identifier, allow_private);
        let mut builder = Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Resolver::new(reach, identifier)))
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .user_agent(concat!("ztsa-gateway/", env!("CARGO_PKG_VERSION")));
        if Url::parse(identifier).is_ok_and(|url| config::is_loopback(&url)) {
            builder = builder.no_proxy();
        }
        builder.build().map(|client| Fetch { client, reach }).map_err(|cause| cause.to_string())
    }

    pub(super) async fn plain(&self, url: &Url) -> Result<Map<String, Value>, IssuerError> {
        self.json(url, self.client.get(url.clone())).await
    }

    pub(in super::super) async fn with_bearer(
        &self,
        url: &Url,
        token: &str,
    ) -> Result<Map<String, Value>, IssuerError> {
        self.json(url, self.client.get(url.clone()).bearer_auth(token)).await
    }

    pub(in super::super) async fn introspect(
        &self,
        url: &Url,
        id: &str,
        secret: &Secret<String>,
        token: &str,
    ) -> Result<Map<String, Value>, IssuerError> {
        // RFC 6749 section 2.3.1: both are form-encoded before they are joined
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let credentials = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret.expose())));
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let request = self
            .client
            .post(url.clone())
            .header(http::header::AUTHORIZATION, format!("Basic {credentials}"))
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        self.json(url, request).await
    }

    async fn json(&self, url: &Url, request: RequestBuilder) -> Result<Map<String, Value>, IssuerError> {
        let failed = |cause: reqwest::Error| failure(url, &cause);
        self.reach.judge_url(url).map_err(|cause| IssuerError::Unreachable { url: url.to_string(), cause })?;
        let mut response = request.header(http::header::ACCEPT, "application/json").send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let kind = found(&response);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MOST {
                return Err(IssuerError::TooLarge { url: url.to_string(), most: MOST });
            }
            body.extend_from_slice(&chunk);
        }
        let parsed = serde_json::from_slice::<Map<String, Value>>(&body);
        if status != 200 {
            // an OAuth error says more than a status
            let error = parsed
                .ok()
                .and_then(|members| members.get("error")?.as_str().map(|error| ztsa_proto::text::printable(error, 64)));
            return Err(match error {
                Some(error) if error == "unsupported_token_type" => IssuerError::CannotTell { url: url.to_string() },
                Some(error) if status == 400 => IssuerError::Refused { url: url.to_string(), error },
                _ => IssuerError::Status { url: url.to_string(), status },
            });
        }
        parsed.map_err(|_| IssuerError::NotJson {
            url: url.to_string(),
            found: if body.is_empty() { "nothing" } else { kind },
        })
    }
}

/// Reads a key set from a file.
pub(super) async fn file(path: &Path) -> Result<Map<String, Value>, IssuerError> {
    let place = path.display().to_string();
    let unreadable = |cause: std::io::Error| IssuerError::Unreachable { url: place.clone(), cause: cause.to_string() };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut text = Vec::new();
    let most = u64::try_from(MOST).unwrap_or(u64::MAX);
    file.take(most + 1).read_to_end(&mut text).await.map_err(unreadable)?;
    if text.len() > MOST {
        return Err(IssuerError::TooLarge { url: place, most: MOST });
    }
    serde_json::from_slice(&text).map_err(|_| IssuerError::NotJson { url: place, found: "something else" })
}

fn found(response: &Response) -> &'static str {
    let kind =
        response.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "text/html" | "application/xhtml+xml" => "a web page",
        "text/plain" => "plain text",
        "application/jwt" => "a JWT",
        _ => "something else",
    }
}

fn failure(url: &Url, error: &reqwest::Error) -> IssuerError {
    if error.is_timeout() {
        return IssuerError::Timeout { url: url.to_string(), after: PATIENCE };
    }
    // the innermost cause is the one that says something
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    IssuerError::Unreachable { url: url.to_string(), cause: cause.to_string() }
}
