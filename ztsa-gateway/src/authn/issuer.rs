//! Asks an issuer: its discovery document, its keys, userinfo, introspection. Bounded in size and time, and remembered.

mod fetch;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use super::error::{IssuerError, TokenFault};
use super::jwks::{Keys, Verdict};
use super::jwt::Jwt;
use super::{AuthnError, AuthnSetupError, IssuerConfig};
use crate::config::{self, Tokens};
use fetch::Fetch;

/// How long discovery and keys are used before they are fetched again.
const FRESH: Duration = Duration::from_secs(600);
/// How long they are still used when fetching fails.
const STALE: Duration = Duration::from_secs(3600);
/// The pause between fetches, whatever tokens come: an unknown `kid` costs the issuer at most one request in this time.
const PAUSE: Duration = Duration::from_secs(10);

/// Knows one issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) config: Arc<IssuerConfig>,
    fetch: Fetch,
    secret: Option<Secret<String>>,
    known: RwLock<Known>,
    /// One fetch at a time: whoever comes meanwhile waits and finds the answer.
    turn: Semaphore,
}

#[derive(Clone, Debug, Default)]
struct Known {
    document: Option<Arc<Document>>,
    keys: Arc<Keys>,
    fetched: Option<UnixTime>,
    tried: Option<UnixTime>,
    failure: Option<IssuerError>,
}

#[derive(Debug)]
struct Document {
    jwks: Option<Url>,
    userinfo: Option<Url>,
    introspection: Option<Url>,
}

impl Issuer {
    pub(super) fn new(config: &Arc<config::Issuer>) -> Result<Issuer, AuthnSetupError> {
        let file = |path: &std::path::Path, cause: String| AuthnSetupError::File {
            issuer: config.name.clone(),
            path: path.to_owned(),
            cause,
        };
        let read = |path: &std::path::PathBuf| {
            std::fs::read(path).map_err(|cause| file(path, format!("cannot be read: {cause}")))
        };
        let secret = match &config.tokens {
            Tokens::Introspection { client_secret_file, .. } => {
                let text = String::from_utf8(read(client_secret_file)?)
                    .map_err(|_| file(client_secret_file, "is not text".to_owned()))?;
                Some(Secret::new(text.trim().to_owned()))
            }
            Tokens::Jwt | Tokens::Userinfo => None,
        };
        let extra = match &config.ca_file {
            Some(path) => Some((path.clone(), read(path)?)),
            None => None,
        };
        let fetch =
            Fetch::new(config, extra.as_ref().map(|(_, pem)| pem.as_slice())).map_err(|cause| match &extra {
                Some((path, _)) => file(path, cause.clone()),
                None => AuthnSetupError::Client { issuer: config.name.clone(), cause },
            })?;
        Ok(Issuer { config: Arc::clone(config), fetch, secret, known: RwLock::default(), turn: Semaphore::new(1) })
    }

    /// Verifies a token's signature by the issuer's keys, fetching them when they are unknown, old, or lack the token's key.
    pub(super) async fn verify(&self, token: &Jwt<'_>, what: &'static str, now: UnixTime) -> Result<(), AuthnError> {
        let verdict = match self.known(now).filter(|known| !known.keys.is_empty()) {
            Some(known) if known.is_fresh(now) => token.verify(&known.keys),
            _ => Verdict::Unknown,
        };
        let verdict = match verdict {
            Verdict::Unknown => token.verify(&self.refreshed(now).await.map_err(|cause| self.failed(cause))?.keys),
            verdict => verdict,
        };
        match verdict {
            Verdict::Good => Ok(()),
            Verdict::Bad => Err(self.refused(what, TokenFault::Signature)),
            Verdict::Unknown => Err(self.refused(what, TokenFault::UnknownKey)),
        }
    }

    /// Asks userinfo about an access token.
    pub(super) async fn userinfo(&self, token: &str, now: UnixTime) -> Result<Map<String, Value>, AuthnError> {
        let document = self.document(now).await?;
        let url = document.userinfo.as_ref().ok_or_else(|| self.failed(IssuerError::Endpoint("userinfo_endpoint")))?;
        match self.fetch.with_bearer(url, token).await {
            Ok(claims) => Ok(claims),
            Err(IssuerError::Status { status: 400 | 401 | 403, .. }) => {
                Err(self.refused("access token", TokenFault::Inactive))
            }
            Err(cause) => Err(self.failed(cause)),
        }
    }

    /// Asks introspection about an access token (RFC 7662); an inactive token is refused here.
    pub(super) async fn introspect(&self, token: &str, now: UnixTime) -> Result<Map<String, Value>, AuthnError> {
        let document = self.document(now).await?;
        let url = document
            .introspection
            .as_ref()
            .ok_or_else(|| self.failed(IssuerError::Endpoint("introspection_endpoint")))?;
        let (Tokens::Introspection { client_id, .. }, Some(secret)) = (&self.config.tokens, &self.secret) else {
            return Err(self.failed(IssuerError::Endpoint("introspection_endpoint")));
        };
        let claims = self.fetch.introspect(url, client_id, secret, token).await.map_err(|cause| self.failed(cause))?;
        if claims.get("active") == Some(&Value::Bool(true)) {
            Ok(claims)
        } else {
            Err(self.refused("access token", TokenFault::Inactive))
        }
    }

    pub(super) fn refused(&self, what: &'static str, fault: TokenFault) -> AuthnError {
        AuthnError::Refused { issuer: self.config.name.clone(), what, fault }
    }

    fn failed(&self, cause: IssuerError) -> AuthnError {
        AuthnError::Issuer { issuer: self.config.name.clone(), cause }
    }

    async fn document(&self, now: UnixTime) -> Result<Arc<Document>, AuthnError> {
        let known = match self.known(now).filter(|known| known.is_fresh(now)) {
            Some(known) => Ok(known),
            None => self.refreshed(now).await,
        };
        let document = known.map_err(|cause| self.failed(cause))?.document;
        document.ok_or_else(|| self.failed(IssuerError::Endpoint("issuer")))
    }

    /// What is known and may still be used.
    fn known(&self, now: UnixTime) -> Option<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let usable = known.fetched.is_some_and(|fetched| now.since(fetched) <= STALE);
        usable.then_some(known)
    }

    /// Fetches document and keys, unless that was just done; falls back to what is known and not too old.
    async fn refreshed(&self, now: UnixTime) -> Result<Known, IssuerError> {
        let _turn = self.turn.acquire().await;
        let before = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let failure = if before.tried.is_some_and(|tried| now.since(tried) < PAUSE) {
            before.failure
        } else {
            match self.fetch_all().await {
                Ok((document, keys)) => {
                    let known = Known {
                        document: Some(Arc::new(document)),
                        keys: Arc::new(keys),
                        fetched: Some(now),
                        tried: Some(now),
                        failure: None,
                    };
                    self.keep(known);
                    None
                }
                Err(cause) => {
                    tracing::warn!(issuer = self.config.name, %cause, "the issuer cannot be asked");
                    self.keep(Known { tried: Some(now), failure: Some(cause.clone()), ..before });
                    Some(cause)
                }
            }
        };
        match (self.known(now), failure) {
            (Some(known), _) => Ok(known),
            (None, Some(cause)) => Err(cause),
            (None, None) => Err(IssuerError::Endpoint("issuer")),
        }
    }

    fn keep(&self, known: Known) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    async fn fetch_all(&self) -> Result<(Document, Keys), IssuerError> {
        let document = Document::read(&self.discover().await?, &self.config.issuer);
        // opaque tokens need no keys, but the ID token beside them does; only an issuer without OpenID Connect has none
        let Some(url) = &document.jwks else {
            return match self.config.tokens {
                Tokens::Introspection { .. } => Ok((document, Keys::default())),
                Tokens::Jwt | Tokens::Userinfo => Err(IssuerError::Endpoint("jwks_uri")),
            };
        };
        let keys = Keys::parse(&Value::Object(self.fetch.plain(url).await?));
        if keys.is_empty() {
            return Err(IssuerError::NoKeys { url: url.to_string() });
        }
        Ok((document, keys))
    }

    /// Fetches the discovery document: where OpenID Connect has it, else where RFC 8414 has it.
    async fn discover(&self) -> Result<Map<String, Value>, IssuerError> {
        let issuer = &self.config.issuer;
        let [openid, oauth] = discovery_urls(issuer).ok_or(IssuerError::Endpoint("issuer"))?;
        let (url, found) = match self.fetch.plain(&openid).await {
            Err(IssuerError::Status { status: 404, .. }) => (oauth.clone(), self.fetch.plain(&oauth).await?),
            other => (openid, other?),
        };
        match found.get("issuer").and_then(Value::as_str) {
            Some(own) if own == issuer => Ok(found),
            own => Err(IssuerError::Mismatch {
                url: url.to_string(),
                found: ztsa_proto::text::printable(own.unwrap_or("nobody"), 256),
            }),
        }
    }
}

impl Known {
    fn is_fresh(&self, now: UnixTime) -> bool {
        self.fetched.is_some_and(|fetched| now.since(fetched) <= FRESH)
    }
}

impl Document {
    fn read(document: &Map<String, Value>, issuer: &str) -> Document {
        let plain = issuer.starts_with("http:");
        // an issuer on https never sends us to an endpoint without it
        let url = |name: &str| {
            let url = Url::parse(document.get(name)?.as_str()?).ok()?;
            (url.scheme() == "https" || (plain && url.scheme() == "http" && config::is_loopback(&url))).then_some(url)
        };
        Document {
            jwks: url("jwks_uri"),
            userinfo: url("userinfo_endpoint"),
            introspection: url("introspection_endpoint"),
        }
    }
}

/// The two places of a discovery document: OpenID Connect appends to the issuer's path, RFC 8414 inserts before it.
fn discovery_urls(issuer: &str) -> Option<[Url; 2]> {
    let url = Url::parse(issuer).ok()?;
    let openid = Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).ok()?;
    let mut oauth = url.clone();
    oauth.set_path(&format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/')));
    Some([openid, oauth])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_looked_for_where_each_standard_puts_it() {
        for (issuer, openid, oauth) in [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example/realms/x/",
                "https://a.example/realms/x/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/realms/x",
            ),
        ] {
            let [first, second] = discovery_urls(issuer).unwrap();
            assert_eq!((first.as_str(), second.as_str()), (openid, oauth));
        }
    }

    #[test]
    fn an_https_issuer_sends_nobody_to_http() {
        let document =
            serde_json::json!({"jwks_uri": "http://127.0.0.1/k", "userinfo_endpoint": "https://a.example//u"});
        let document = document.as_object().unwrap();
        let safe = Document::read(document, "https://a.example");
        assert!(safe.jwks.is_none());
        assert_eq!(safe.userinfo.unwrap().as_str(), "https://a.example//u");
        assert!(Document::read(document, "http://127.0.0.1:8080").jwks.is_some());
    }
}
