//! Asks one issuer of people's sign-ins beyond its keys: userinfo and introspection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use super::authority::{Authority, Fetch, Source};
use super::cache::{self, Cache};
use super::error::{IssuerError, TokenFault};
use super::{AuthnError, AuthnSetupError, IssuerConfig, jwt};
use crate::config::{self, Tokens};

/// Knows one issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) config: Arc<IssuerConfig>,
    pub(super) authority: Authority,
    secret: Option<Secret<String>>,
    /// What it said of a token a moment ago, and until when that counts.
    answers: Cache<(UnixTime, Map<String, Value>)>,
}

/// How long an answer about a token counts: somebody who signs in asks a few times within a moment.
const ANSWER: Duration = Duration::from_secs(5);

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
        Ok(Issuer { config: Arc::clone(config), authority, secret, answers: Cache::new(4096) })
    }

    /// Asks userinfo about an access token.
    pub(super) async fn userinfo(&self, token: &str, now: UnixTime) -> Result<Map<String, Value>, AuthnError> {
        let document = self.authority.document(now).await?;
        let url = document
            .userinfo
            .as_ref()
            .ok_or_else(|| self.authority.failed(IssuerError::Endpoint("userinfo_endpoint")))?;
        let key = cache::key(&format!("userinfo {token}"));
        if let Some((_, claims)) = self.answers.find(&key).filter(|(until, _)| *until > now) {
            return Ok(claims);
        }
        match self.authority.fetch.with_bearer(url, token).await {
            Ok(claims) => {
                self.answers.keep(key, (now.plus(ANSWER), claims.clone()));
                Ok(claims)
            }
            Err(IssuerError::Status { status: 400 | 401 | 403, .. }) => {
                Err(self.refused("access token", TokenFault::Inactive))
            }
            Err(cause) => Err(self.authority.failed(cause)),
        }
    }

    /// Asks introspection about an access token (RFC 7662); an inactive token is refused here.
    pub(super) async fn introspect(&self, token: &str, now: UnixTime) -> Result<Map<String, Value>, AuthnError> {
        let document = self.authority.document(now).await?;
        let url = document
            .introspection
            .as_ref()
            .ok_or_else(|| self.authority.failed(IssuerError::Endpoint("introspection_endpoint")))?;
        let (Tokens::Introspection { client_id, .. }, Some(secret)) = (&self.config.tokens, &self.secret) else {
            return Err(self.authority.failed(IssuerError::Endpoint("introspection_endpoint")));
        };
        let key = cache::key(&format!("introspection {token}"));
        if let Some((_, claims)) = self.answers.find(&key).filter(|(until, _)| *until > now) {
            return Ok(claims);
        }
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
            Err(self.refused("access token", TokenFault::Inactive))
        }
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
