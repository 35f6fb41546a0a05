//! Asks whoever signs tokens: its discovery document and its keys. Bounded in size, time and rate, and remembered.

mod address;
mod fetch;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::Url;
use ztsa_proto::time::UnixTime;

use super::AuthnError;
use super::error::{IssuerError, TokenFault};
use super::jwks::{Keys, Verdict};
use super::jwt::Jwt;
use crate::config;

pub(super) use fetch::Fetch;

/// How long discovery and keys are used before they are fetched again.
const FRESH: Duration = Duration::from_secs(600);
/// The pause between fetches, whatever tokens come: an unknown `kid` costs the issuer at most one request in this time.
const PAUSE: Duration = Duration::from_secs(10);

/// Knows one issuer of tokens and its keys.
#[derive(Debug)]
pub(super) struct Authority {
    /// Its name in the configuration.
    pub(super) name: String,
    /// Its identifier, as `iss` has it.
    pub(super) identifier: String,
    pub(super) fetch: Fetch,
    source: Source,
    /// How long keys are still used when fetching fails.
    grace: Duration,
    known: RwLock<Known>,
    /// One fetch at a time: whoever comes meanwhile waits and finds the answer.
    turn: Semaphore,
}

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Where the discovery document says; it may say nothing when the second is false.
    Discovery { keys_needed: bool },
    /// There.
    Url(Url),
    /// In a file.
    File(PathBuf),
}

#[derive(Clone, Debug, Default)]
struct Known {
    document: Option<Arc<Document>>,
    keys: Arc<Keys>,
    fetched: Option<UnixTime>,
    tried: Option<UnixTime>,
    failure: Option<IssuerError>,
    /// They were fetched under an earlier configuration: the issuer is asked before they are used.
    inherited: bool,
}

/// What is used of a discovery document.
#[derive(Debug, Default)]
pub(super) struct Document {
    jwks: Option<Url>,
    pub(super) userinfo: Option<Url>,
    pub(super) introspection: Option<Url>,
}

impl Authority {
    pub(super) fn new(name: &str, identifier: &str, source: Source, grace: Duration, fetch: Fetch) -> Authority {
        Authority {
            name: name.to_owned(),
            identifier: identifier.to_owned(),
            fetch,
            source,
            grace,
            known: RwLock::default(),
            turn: Semaphore::new(1),
        }
    }

    /// Takes over what was known of the same issuer before the configuration was read again: an outage that began before is
    /// bridged for as long as it would have been. A file of keys is read anew.
    pub(super) fn inherit(&self, before: &Authority) {
        let same = self.identifier == before.identifier && self.source == before.source;
        if same && !matches!(self.source, Source::File(_)) {
            let known = before.known.read().unwrap_or_else(PoisonError::into_inner).clone();
            self.keep(Known { tried: None, failure: None, inherited: true, ..known });
        }
    }

    /// Verifies a token's signature by the issuer's keys, fetching them when they are unknown, old, or lack the token's key.
    pub(super) async fn verify(&self, token: &Jwt<'_>, what: &'static str, now: UnixTime) -> Result<(), AuthnError> {
        let verdict = match self.known(now).filter(|known| !known.keys.is_empty()) {
            Some(known) if known.is_fresh(self.grace, now) => token.verify(&known.keys),
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

    pub(super) fn refused(&self, what: &'static str, fault: TokenFault) -> AuthnError {
        AuthnError::Refused { issuer: self.name.clone(), what, fault }
    }

    pub(super) fn failed(&self, cause: IssuerError) -> AuthnError {
        AuthnError::Issuer { issuer: self.name.clone(), cause }
    }

    /// Gives the discovery document.
    pub(super) async fn document(&self, now: UnixTime) -> Result<Arc<Document>, AuthnError> {
        let known = match self.known(now).filter(|known| known.is_fresh(self.grace, now)) {
            Some(known) => Ok(known),
            None => self.refreshed(now).await,
        };
        let document = known.map_err(|cause| self.failed(cause))?.document;
        document.ok_or_else(|| self.failed(IssuerError::Endpoint("issuer")))
    }

    /// What is known and may still be used.
    fn known(&self, now: UnixTime) -> Option<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let usable = known.fetched.is_some_and(|fetched| now.since(fetched) <= self.grace);
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
                        inherited: false,
                    };
                    self.keep(known);
                    None
                }
                Err(cause) => {
                    tracing::warn!(issuer = self.name, %cause, "the issuer cannot be asked");
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
        let (document, url) = match &self.source {
            Source::File(path) => {
                let keys = Keys::parse(&Value::Object(fetch::file(path).await?));
                return usable(Document::default(), keys, &path.display().to_string());
            }
            Source::Url(url) => (Document::default(), url.clone()),
            Source::Discovery { keys_needed } => {
                let document = Document::read(&self.discover().await?, &self.identifier);
                match (document.jwks.clone(), keys_needed) {
                    (Some(url), _) => (document, url),
                    (None, false) => return Ok((document, Keys::default())),
                    (None, true) => return Err(IssuerError::Endpoint("jwks_uri")),
                }
            }
        };
        let keys = Keys::parse(&Value::Object(self.fetch.plain(&url).await?));
        usable(document, keys, url.as_str())
    }

    /// Fetches the discovery document: where OpenID Connect has it, else where RFC 8414 has it.
    async fn discover(&self) -> Result<Map<String, Value>, IssuerError> {
        let issuer = &self.identifier;
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
    fn is_fresh(&self, grace: Duration, now: UnixTime) -> bool {
        !self.inherited && self.fetched.is_some_and(|fetched| now.since(fetched) <= FRESH.min(grace))
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

fn usable(document: Document, keys: Keys, place: &str) -> Result<(Document, Keys), IssuerError> {
    if keys.is_empty() { Err(IssuerError::NoKeys { url: place.to_owned() }) } else { Ok((document, keys)) }
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
