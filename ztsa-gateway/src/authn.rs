//! Knows who is asking: exchanges issuers' tokens for session tokens, and checks session tokens and proofs on every request.

mod error;
mod nonce;
mod replay;
mod jwks;
mod jwt;
mod authority;
mod signed;
mod issuer;
mod cache;
mod claim;
mod token;
mod form;
mod login;
mod workload;
mod exchange;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use ztsa_proto::dpop::{self, Expected, Proof};
use ztsa_proto::name::{DeviceId, SessionId, UserId};
use ztsa_proto::posture::Accepted;
use ztsa_proto::problem::Problem;
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use crate::config::{self, Config, SessionRules};
use crate::metadata;
use crate::pace::{Pace, Paces};
use crate::store::{Store, StoreError};
use cache::Cache;
use nonce::Nonces;
use replay::Replays;
use token::Minter;

pub use error::{AuthnError, IssuerError, OAuthFault, TokenFault};
pub use exchange::ExchangeFailure;
pub use form::{ExchangeForm, SubjectKind};
pub use signed::{PublicKeys, Signed};

/// Says who a person is, as far as their issuer's tokens tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Issuer and subject.
    pub user: UserId,
    /// The person's name.
    pub name: Option<String>,
    /// The person's address as the issuer has it, without those that it calls unverified: for people to read, and a bad thing to
    /// decide by.
    pub email: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// The authentication context class (OpenID Connect `acr`).
    pub acr: Option<String>,
    /// The authentication methods (RFC 8176 `amr`).
    pub amr: Vec<String>,
    /// When the person last proved who they are.
    pub auth_time: Option<UnixTime>,
    /// The issuer's name in the configuration.
    pub issuer: String,
}

/// Describes one person on one device, for the life of one session token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session; it stays the same when the token is renewed.
    pub id: SessionId,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The device that the token is bound to.
    pub device: DeviceId,
    /// When the session began.
    pub started_at: UnixTime,
    /// When this token was issued.
    pub issued_at: UnixTime,
    /// When this token runs out.
    pub expires_at: UnixTime,
}

/// Holds what authentication reads of a request.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, as it was sent, without query.
    pub url_path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Holds what an exchange came to. Nothing is granted yet: policy and risk have not been asked.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The session, to be minted.
    pub session: Arc<Session>,
    /// Whether a session that was there was renewed.
    pub renewed: bool,
    /// The posture report that came along, checked.
    pub posture: Option<Accepted>,
}

/// Checks who is asking.
#[derive(Debug)]
pub struct Authn {
    resource: String,
    trust: ArcSwap<Trust>,
    store: Store,
    minter: Minter,
    nonces: Nonces,
    replays: Replays,
    newcomers: Replays,
    reports: Replays,
    /// How often a device begins sessions, and reports.
    beginnings: Paces<DeviceId>,
    told: Paces<DeviceId>,
    tokens: Cache<Arc<Session>>,
}

/// What the configuration says of whom to trust and for how long: exchanged as a whole when it is read again.
#[derive(Debug)]
pub struct Trust {
    rules: SessionRules,
    issuers: Vec<Arc<issuer::Issuer>>,
    platforms: Vec<workload::Platform>,
}

/// Says why authentication cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AuthnSetupError {
    /// The gateway's keys cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key in the store does not read.
    #[error(
        "the gateway's signing key in the store does not read: {0}. Restore the store from a backup, or start with a new one."
    )]
    Key(String),
    /// A file that an issuer's table names cannot be used.
    #[error("issuer `{issuer}`: {path} {cause}", path = path.display())]
    File {
        /// The issuer.
        issuer: String,
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The TLS client cannot be built.
    #[error("issuer `{issuer}`: its HTTP client cannot be built: {cause}")]
    Client {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        cause: String,
    },
}

/// How long a nonce of ours may be used (RFC 9449 section 8).
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// How long a posture report without a nonce may be used: five minutes, and clocks that differ by one either way.
const REPORT_LIFE: Duration = Duration::from_secs(420);
/// How many new sessions one device begins: each of its programs goes on with the one that is there.
const BEGINNINGS: Pace = Pace { at_once: 1000, a_minute: 60 };
/// How many posture reports one device sends: each of its programs reports by itself every five minutes, and a change at once.
const REPORTS: Pace = Pace { at_once: 240, a_minute: 60 };
/// A nonce of ours proves the time; the device's own clock is not asked.
const ANY_TIME: Duration = Duration::from_secs(u32::MAX as u64);

impl Authn {
    /// Reads the gateway's keys, making them the first time, and prepares a client for each issuer. No issuer is asked yet.
    ///
    /// Blocks on the disk: call it while starting.
    ///
    /// # Errors
    /// A key or a file named in the configuration cannot be used.
    pub fn new(config: &Config, store: &Store) -> Result<Authn, AuthnSetupError> {
        let resource = config.resource();
        Ok(Authn {
            minter: Minter::new(store, &resource)?,
            resource,
            trust: ArcSwap::from_pointee(Trust::new(config)?),
            store: store.clone(),
            nonces: Nonces::new(NONCE_LIFE),
            replays: Replays::new(NONCE_LIFE, 2_000_000),
            newcomers: Replays::new(NONCE_LIFE, 200_000),
            reports: Replays::new(REPORT_LIFE, 200_000),
            beginnings: Paces::new(BEGINNINGS),
            told: Paces::new(REPORTS),
            tokens: Cache::new(16_384),
        })
    }

    /// Trusts from now on whom another configuration of the same gateway says.
    pub fn adopt(&self, trust: Trust) {
        let before = self.trust.load();
        let known = || before.issuers.iter().map(|issuer| &issuer.authority);
        let known = || known().chain(before.platforms.iter().map(workload::Platform::authority));
        let now = trust.issuers.iter().map(|issuer| &issuer.authority);
        for authority in now.chain(trust.platforms.iter().map(workload::Platform::authority)) {
            known().for_each(|before| authority.inherit(before));
        }
        self.trust.store(Arc::new(trust));
    }

    /// Checks a request with a session token: `Authorization: DPoP` and one `DPoP` proof with `ath`.
    ///
    /// It asks nobody: the token is verified by the gateway's own key and remembered, so that a request costs one signature check.
    ///
    /// # Errors
    /// [`AuthnError`], for [`Authn::challenge`].
    pub fn check(&self, head: &Head<'_>, now: UnixTime) -> Result<Arc<Session>, AuthnError> {
        let token = token::authorization(head.headers)?;
        let session = self.session_of(token)?;
        if session.expires_at <= now {
            return Err(AuthnError::Expired);
        }
        self.proved(head, token, &session, now)?;
        Ok(session)
    }

    /// Checks a request to end one's own session: as [`Authn::check`], but the token may have run out as long as the session
    /// could be renewed.
    ///
    /// # Errors
    /// [`AuthnError`], for [`Authn::challenge`].
    pub fn check_leaving(&self, head: &Head<'_>, now: UnixTime) -> Result<Arc<Session>, AuthnError> {
        let token = token::authorization(head.headers)?;
        let session = self.session_of(token)?;
        let goes_on = || self.store.session(&session.id).is_some_and(|row| row.ends_at > now);
        if session.expires_at <= now && !goes_on() {
            return Err(AuthnError::Expired);
        }
        self.proved(head, token, &session, now)?;
        Ok(session)
    }

    /// Checks that the device's key made this request, now and once, and that nothing ended the session.
    fn proved(&self, head: &Head<'_>, token: &str, session: &Session, now: UnixTime) -> Result<(), AuthnError> {
        let proof = self.proof(head, Some((token, &session.device)), now)?;
        // first: whoever may not come in does not fill the memory of used proofs
        self.standing(session, now)?;
        let first = self.replays.first(&session.identity.user, &proof.device, &proof.jti, now);
        first.map_err(|error| error.of(&session.id))
    }

    /// Checks a signed posture report that a session sends by itself.
    ///
    /// # Errors
    /// [`AuthnError::Posture`] when it is not this device's, not for this gateway, old, replayed or malformed.
    pub fn posture(&self, jws: &str, session: &Session, now: UnixTime) -> Result<Accepted, AuthnError> {
        self.report(jws, &session.identity.user, &session.device, now)
    }

    /// Says whether a session that was checked earlier would still be accepted: not revoked, its device not blocked.
    ///
    /// For live tunnels, whose token is not presented again: its expiry is not looked at.
    ///
    /// # Errors
    /// [`AuthnError::Revoked`] or [`AuthnError::DeviceBlocked`].
    pub fn standing(&self, session: &Session, now: UnixTime) -> Result<(), AuthnError> {
        if self.store.is_blocked(&session.device) {
            return Err(AuthnError::DeviceBlocked { device: session.device.clone() });
        }
        let cutoff = self.store.cutoff_of(&session.identity.user, &session.device, &session.id);
        match cutoff.filter(|cutoff| session.issued_at <= *cutoff) {
            Some(cutoff) => {
                let reason = self.store.reason_of(&session.identity.user, &session.device, &session.id);
                Err(AuthnError::Revoked { since: now.since(cutoff), reason })
            }
            None => Ok(()),
        }
    }

    /// Signs the token of a session.
    ///
    /// # Errors
    /// The signing key cannot be used.
    pub fn mint(&self, session: &Session) -> Result<Secret<String>, AuthnError> {
        self.minter.mint(session)
    }

    /// Makes a DPoP nonce, for the `DPoP-Nonce` header of any response.
    pub fn nonce(&self, now: UnixTime) -> String {
        self.nonces.make(now)
    }

    /// Makes the headers of a refusal at a resource endpoint: `WWW-Authenticate` for a 401, and a fresh `DPoP-Nonce`.
    ///
    /// At the token endpoint only the nonce goes out: send [`Authn::nonce`] there.
    pub fn challenge(&self, error: &AuthnError, now: UnixTime) -> Vec<(HeaderName, HeaderValue)> {
        let problem = error.problem();
        self.headers(problem.status, error.challenge(), &problem, now)
    }

    /// Makes the headers of a decision that wants more proof of who it is (RFC 9470).
    pub fn step_up(&self, problem: &Problem, now: UnixTime) -> Vec<(HeaderName, HeaderValue)> {
        self.headers(problem.status, "insufficient_user_authentication", problem, now)
    }

    fn headers(&self, status: u16, error: &str, problem: &Problem, now: UnixTime) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        if status == 401 {
            let mut text = "DPoP".to_owned();
            let mut parameter = |name: &str, value: &str| {
                let separator = if text == "DPoP" { " " } else { ", " };
                text.extend([separator, name, "=\"", &error::quotable(value), "\""]);
            };
            if !error.is_empty() {
                parameter("error", error);
                parameter("error_description", &problem.to_string());
            }
            if let Some(values) = &problem.acr_values {
                parameter("acr_values", values);
            }
            if let Some(age) = problem.max_age {
                parameter("max_age", &age.to_string());
            }
            parameter("algs", "ES256");
            parameter("resource_metadata", &metadata::url(&self.resource));
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.push((http::header::WWW_AUTHENTICATE, value));
            }
        }
        if let Ok(value) = HeaderValue::from_str(&self.nonce(now)) {
            headers.push((HeaderName::from_static("dpop-nonce"), value));
        }
        headers
    }

    /// Reads the session of a token that the gateway signed, whether or not it has run out.
    fn session_of(&self, token: &str) -> Result<Arc<Session>, AuthnError> {
        let key = cache::key(token);
        if let Some(session) = self.tokens.find(&key) {
            return Ok(session);
        }
        let session = Arc::new(self.minter.read(token)?);
        self.tokens.keep(key, Arc::clone(&session));
        Ok(session)
    }

    fn proof(&self, head: &Head<'_>, token: Option<(&str, &DeviceId)>, now: UnixTime) -> Result<Proof, AuthnError> {
        let url = format!("{}{}", self.resource, head.url_path);
        let expected = Expected {
            method: head.method,
            url: &url,
            access_token: token.map(|(token, _)| token),
            device: token.map(|(_, device)| device),
            now,
            past: ANY_TIME,
            future: ANY_TIME,
        };
        let headers = head.headers.get_all("dpop");
        let proof = dpop::check(headers.iter().map(HeaderValue::as_bytes), &expected)?;
        if proof.nonce.as_deref().is_some_and(|nonce| self.nonces.is_ours(nonce, now)) {
            Ok(proof)
        } else {
            Err(AuthnError::UseNonce)
        }
    }

    fn rules(&self) -> SessionRules {
        self.trust.load().rules
    }
}

impl Trust {
    /// Reads what the configuration names and prepares a client for each issuer. No issuer is asked yet.
    ///
    /// # Errors
    /// A file named in the configuration cannot be used.
    pub fn new(config: &Config) -> Result<Trust, AuthnSetupError> {
        let issuers = config.issuers.iter().map(|issuer| issuer::Issuer::new(issuer).map(Arc::new));
        Ok(Trust {
            rules: config.session,
            issuers: issuers.collect::<Result<_, _>>()?,
            platforms: workload::platforms(&config.workloads)?,
        })
    }
}

/// The configuration of an issuer, as authentication sees it.
type IssuerConfig = config::Issuer;

#[cfg(test)]
mod tests;
