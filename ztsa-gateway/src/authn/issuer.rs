//! Asks one issuer of people's sign-ins beyond its keys: userinfo and introspection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use ztsa_proto::name::DeviceId;
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use super::authority::{Authority, Fetch, Source};
use super::cache::{self, Cache};
use super::error::{IssuerError, TokenFault};
use super::{AuthnError, AuthnSetupError, IssuerConfig, jwt};
use crate::config::{self, Tokens};
use crate::pace::{Bucket, Pace, Paces};

/// Knows one issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) config: Arc<IssuerConfig>,
    pub(super) authority: Authority,
    secret: Option<Secret<String>>,
    /// What it said of a token a moment ago, and until when that counts.
    answers: Cache<(UnixTime, Map<String, Value>)>,
    /// Tokens that it called inactive, and until when that counts.
    inactive: Cache<UnixTime>,
    /// How many questions of devices that are known are under way, and of others.
    known: Semaphore,
    strangers: Semaphore,
    /// How often each device that is known made it ask, and how often others did.
    asked_for: Paces<DeviceId>,
    asked: Mutex<Bucket>,
}

/// How long an answer about a token counts: somebody who signs in asks a few times within a moment.
const ANSWER: Duration = Duration::from_secs(5);

/// How many questions about tokens of devices that have signed in before are with the issuer at once, and how many of others.
const KNOWN: usize = 32;
const STRANGERS: usize = 8;
/// How long the next one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often other devices make this gateway ask: anybody can make up a token and a key.
const PACE: Pace = Pace { at_once: 100, a_minute: 600 };
/// How often one device that is known does: far more often than it renews a session, and not so often that others wait long.
const EACH: Pace = Pace { at_once: 600, a_minute: 120 };

/// Says for whom an issuer is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) device: &'a DeviceId,
    /// Whether the device has signed in before.
    pub(super) known: bool,
    /// Whether this person and device already hold the session that is renewed.
    pub(super) renewing: bool,
}

impl Issuer {
    pub(super) fn new(config: &Arc<config::Issuer>) -> Result<Issuer, AuthnSetupError> {
        let secret = match &config.tokens {
            Tokens::Introspection { client_secret_file, .. } => {
                let text = String::from_utf8(read(&config.name, client_secret_file)?).map_err(|_| {
                    let cause = "is not text".to_owned();
                    AuthnSetupError::File { issuer: config.name.clone(), path: client_secret_file.clone(), cause }
                })?;
                Some(Secret::new(text.trim().to_owned()))
            }
            Tokens::Jwt | Tokens::Userinfo => None,
        };
        // opaque tokens need no keys, but the ID token beside them does; only an issuer without OpenID Connect has none
        let source = Source::Discovery { keys_needed: !matches!(config.tokens, Tokens::Introspection { .. }) };
        let fetch = client(&config.name, &config.issuer, config.allow_private, config.ca_file.as_ref())?;
        let authority = Authority::new(&config.name, &config.issuer, source, config.outage_grace, fetch);
        Ok(Issuer {
            config: Arc::clone(config),
            authority,
            secret,
            answers: Cache::new(4096),
            inactive: Cache::new(4096),
            known: Semaphore::new(KNOWN),
            strangers: Semaphore::new(STRANGERS),
            asked_for: Paces::new(EACH),
            asked: Mutex::default(),
        })
    }

    /// Asks userinfo about an access token.
    pub(super) async fn userinfo(
        &self,
        token: &str,
        asker: Asker<'_>,
        now: UnixTime,
    ) -> Result<Map<String, Value>, AuthnError> {
        let document = self.authority.document(now).await?;
        let url = document
            .userinfo
            .as_ref()
            .ok_or_else(|| self.authority.failed(IssuerError::Endpoint("userinfo_endpoint")))?;
        let key = cache::key(&format!("userinfo {token}"));
        if let Some(claims) = self.answered(&key, now)? {
            return Ok(claims);
        }
        let _turn = self.turn(asker, now).await?;
        match self.authority.fetch.with_bearer(url, token).await {
            Ok(claims) => {
                self.answers.keep(key, (now.plus(ANSWER), claims.clone()));
                Ok(claims)
            }
            Err(IssuerError::Status { status: 400 | 401 | 403, .. }) => Err(self.is_inactive(key, now)),
            Err(cause) => Err(self.authority.failed(cause)),
        }
    }

    /// Asks introspection about an access token (RFC 7662); an inactive token is refused here.
    pub(super) async fn introspect(
        &self,
        token: &str,
        asker: Asker<'_>,
        now: UnixTime,
    ) -> Result<Map<String, Value>, AuthnError> {
        let document = self.authority.document(now).await?;
        let url = document
            .introspection
            .as_ref()
            .ok_or_else(|| self.authority.failed(IssuerError::Endpoint("introspection_endpoint")))?;
        let (Tokens::Introspection { client_id, .. }, Some(secret)) = (&self.config.tokens, &self.secret) else {
            return Err(self.authority.failed(IssuerError::Endpoint("introspection_endpoint")));
        };
        let key = cache::key(&format!("introspection {token}"));
        if let Some(claims) = self.answered(&key, now)? {
            return Ok(claims);
        }
        let _turn = self.turn(asker, now).await?;
        let claims = self
            .authority
            .fetch
            .introspect(url, client_id, secret, token)
            .await
            .map_err(|cause| self.authority.failed(cause))?;
        if claims.get("active") == Some(&Value::Bool(true)) {
            let ends = jwt::time(&claims, "exp").ok().flatten();
            let until = now.plus(ANSWER).min(ends.unwrap_or(UnixTime(u64::MAX)));
            self.answers.keep(key, (until, claims.clone()));
            Ok(claims)
        } else {
            Err(self.is_inactive(key, now))
        }
    }

    /// Gives what it said of a token a moment ago.
    fn answered(&self, key: &cache::Key, now: UnixTime) -> Result<Option<Map<String, Value>>, AuthnError> {
        if self.inactive.find(key).is_some_and(|until| until > now) {
            return Err(self.refused("access token", TokenFault::Inactive));
        }
        Ok(self.answers.find(key).filter(|(until, _)| *until > now).map(|(_, claims)| claims))
    }

    fn is_inactive(&self, key: cache::Key, now: UnixTime) -> AuthnError {
        self.inactive.keep(key, now.plus(ANSWER));
        self.refused("access token", TokenFault::Inactive)
    }

    /// Waits for a turn to ask. What strangers make it ask is bounded by itself, and never keeps those who are known waiting.
    async fn turn(&self, asker: Asker<'_>, now: UnixTime) -> Result<SemaphorePermit<'_>, AuthnError> {
        let crowded = || self.authority.failed(IssuerError::Crowded);
        let turns = if asker.known { &self.known } else { &self.strangers };
        if asker.known {
            self.asked_for.admit(asker.device.clone(), now).map_err(|_| crowded())?;
        } else {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.admit(PACE, now).map_err(|_| crowded())?;
        }
        let turn = tokio::time::timeout(PATIENCE, turns.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or_else(crowded)
    }

    pub(super) fn refused(&self, what: &'static str, fault: TokenFault) -> AuthnError {
        self.authority.refused(what, fault)
    }
}

/// Prepares a client that trusts an issuer's own CA where there is one.
pub(super) fn client(
    name: &str,
    identifier: &str,
    allow_private: bool,
    ca_file: Option<&PathBuf>,
) -> Result<Fetch, AuthnSetupError> {
    let extra = ca_file.map(|path| read(name, path)).transpose()?;
    Fetch::new(identifier, allow_private, extra.as_deref()).map_err(|cause| match ca_file {
        Some(path) => AuthnSetupError::File { issuer: name.to_owned(), path: path.clone(), cause },
        None => AuthnSetupError::Client { issuer: name.to_owned(), cause },
    })
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, AuthnSetupError> {
    std::fs::read(path).map_err(|cause| AuthnSetupError::File {
        issuer: name.to_owned(),
        path: path.to_owned(),
        cause: format!("cannot be read: {cause}"),
    })
}
