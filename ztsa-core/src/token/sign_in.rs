//! Signing in and out.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use tokio::time::Instant;
use ztsa_proto::{jws::Signer, problem::Retry};

use super::{Choice, Current, LoginReason, SessionToken, TokenError, Tokens, record::Credentials};
use crate::{
    device::DeviceKey,
    discovery::{self, DiscoveryError},
    http::{Body, HttpError, Request},
    login::{self, Login, LoginError},
    store::{Record, StoreError},
};

/// How to sign in.
#[derive(Clone, Debug, Default)]
pub struct LoginOptions {
    /// Which of the gateway's issuers, by name or identifier; the first when not given.
    pub issuer: Option<String>,
    /// The issuer (its identifier) that a person has confirmed, where it is not as it was at the first login.
    pub accept_issuer: Option<String>,
}

/// What a logout did; the credentials are gone from this machine in any case.
#[derive(Debug)]
pub struct Logout {
    /// Whether anybody was signed in.
    pub was_signed_in: bool,
    /// Whether the gateway ended the session.
    pub gateway: Result<(), TokenError>,
    /// Whether the issuer revoked the sign-in; `Ok(false)` when it has no way to.
    pub issuer: Result<bool, HttpError>,
    /// The issuer that the person was signed in at.
    pub issuer_url: Option<String>,
}

/// How long a sign-out waits for each who has to be told.
const TELL: Duration = Duration::from_secs(8);

fn silent(host: &str) -> HttpError {
    HttpError::Timeout { host: host.to_owned(), connected: true }
}

impl Tokens {
    /// Signs in: finds the issuer, runs the flow, saves what it gave, and begins a session at the gateway.
    ///
    /// # Errors
    /// See [`SignInError`]. When only the gateway refuses ([`SignInError::Token`]), the sign-in itself is saved.
    ///
    /// # Cancel safety
    /// Dropping the future gives the sign-in up; an earlier one stays as it was.
    pub async fn login(
        &self,
        login: impl Into<Login<'_>>,
        options: LoginOptions,
    ) -> Result<Arc<SessionToken>, SignInError> {
        let offer = self.offer().await?;
        let mut choice = self.choose(&offer, options.issuer.as_deref()).await?;
        if options.accept_issuer.as_ref() == Some(&choice.issuer.info.issuer) {
            choice.accept();
        }
        self.login_at(login, &choice).await
    }

    /// Signs in at an issuer that was chosen before. Who is signed in already keeps the session and what is open under
    /// it, when it is the same person.
    ///
    /// # Errors
    /// See [`SignInError`]; among them [`DiscoveryError::IssuerChanged`], when nobody accepted a change.
    ///
    /// # Cancel safety
    /// Dropping the future gives the sign-in up; an earlier one stays as it was.
    pub async fn login_at(
        &self,
        login: impl Into<Login<'_>>,
        choice: &Choice,
    ) -> Result<Arc<SessionToken>, SignInError> {
        choice.check()?;
        let (login, issuer) = (login.into(), &choice.issuer);
        let flow = login.flow();
        let key = self.keep_key().await?;
        let tokens = login::run(login, &self.inner.http, issuer, &*key).await?;
        let credentials = Credentials::new(issuer, flow, tokens);
        self.inner.cache.remember_issuer(&self.inner.http, &credentials.token_endpoint);
        let _lock = self.lock().await?;
        let previous = self.load_session().await.ok().flatten();
        self.inner.store.save(Record::Credentials, &credentials.write()).await.map_err(TokenError::Store)?;
        self.inner.store.remove(Record::Session).await.map_err(TokenError::Store)?;
        let pins = discovery::pinned(choice.pins.clone(), &choice.metadata, &issuer.info, &issuer.metadata);
        self.inner.cache.pin(&pins).map_err(TokenError::Store)?;
        self.inner.cache.store_metadata(&choice.metadata, self.inner.config.clock.now());
        *self.inner.metadata.lock().await = Some((Arc::clone(&choice.metadata), Instant::now()));
        *self.current() = Current::default();
        if let Some(previous) = previous {
            // a session that goes on keeps its tunnels; one that cannot is no reason against a new one
            match self.begin(credentials.clone(), true, Some(&previous)).await {
                Err(TokenError::LoginRequired(LoginReason::Gateway(problem))) => {
                    tracing::debug!(%problem, "the earlier session does not go on");
                }
                begun => return Ok(begun?),
            }
        }
        // as they came, however short they last: the ID token vouches for the access token that came with it, and few
        // issuers send another one with a refresh
        Ok(self.begin(credentials, false, None).await?)
    }

    /// Signs out: removes the credentials, revokes them at the issuer (RFC 7009), and ends the session at the gateway,
    /// each within eight seconds. The device key stays, so that an approved device stays approved.
    ///
    /// # Errors
    /// The credentials could not be removed. What the network did not allow is in [`Logout`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave issuer or gateway untold.
    pub async fn logout(&self) -> Result<Logout, TokenError> {
        let _lock = self.lock().await?;
        let credentials = self.load_credentials().await.ok().flatten();
        let stored = self.load_session().await.ok().flatten();
        // first here: whoever cannot wait for the network is signed out all the same
        *self.current() = Current::default();
        self.inner.store.remove(Record::Session).await?;
        self.inner.store.remove(Record::Credentials).await?;
        let gateway = async {
            // one whose token has run out goes on at the gateway until somebody ends it
            let Some(session) = &stored else { return Ok(()) };
            tokio::time::timeout(TELL, self.end_session(session))
                .await
                .unwrap_or_else(|_| Err(TokenError::Gateway(silent(&self.inner.config.resource()))))
        };
        let issuer = async {
            let Some(credentials) = &credentials else { return Ok(false) };
            tokio::time::timeout(TELL, self.revoke(credentials))
                .await
                .unwrap_or_else(|_| Err(silent(&credentials.issuer)))
        };
        let (gateway, issuer) = tokio::join!(gateway, issuer);
        let issuer_url = credentials.as_ref().map(|credentials| credentials.issuer.clone());
        Ok(Logout { was_signed_in: credentials.is_some(), gateway, issuer, issuer_url })
    }

    /// Makes sure that the device key is on disk, once, for all processes; one that the hardware lost is made anew.
    async fn keep_key(&self) -> Result<Arc<DeviceKey>, TokenError> {
        let _lock = self.lock().await?;
        self.settle_key().await
    }

    /// As [`Tokens::keep_key`], for a caller that holds the lock.
    pub(super) async fn settle_key(&self) -> Result<Arc<DeviceKey>, TokenError> {
        let stored = match self.inner.store.load(Record::Device).await? {
            Some(record) => Some(DeviceKey::read(&record, self.inner.hardware.as_ref())?),
            None => None,
        };
        let key = match stored {
            Some(key) if !key.is_gone().await => Arc::new(key),
            Some(_) => self.make_key(true).await?,
            None => self.make_key(false).await?,
        };
        *self.inner.key.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::clone(&key);
        Ok(key)
    }

    /// Makes a key in hardware where that works, else in the store; what is only in memory needs no hardware.
    async fn make_key(&self, anew: bool) -> Result<Arc<DeviceKey>, TokenError> {
        let hardware = self.inner.hardware.clone().filter(|_| self.inner.store.dir().is_some());
        let made = match hardware {
            Some(hardware) => DeviceKey::make(hardware)
                .await
                .inspect_err(|error| tracing::debug!(%error, "the device key is kept in the store"))
                .ok(),
            None => None,
        };
        let key = match made {
            Some(key) => Arc::new(key),
            None if anew => Arc::new(DeviceKey::software()?),
            None => self.key(),
        };
        self.inner.store.save(Record::Device, &key.record()).await?;
        Ok(key)
    }

    async fn end_session(&self, session: &SessionToken) -> Result<(), TokenError> {
        let metadata = self.metadata().await?;
        let key = self.key();
        let mut request = Request::get(&metadata.ztsa.session_endpoint).signed(&*key).with_token(&session.token);
        request.method = Method::DELETE;
        let response = self.inner.http.send(&request).await.map_err(TokenError::Gateway)?;
        // 401: the session has ended already.
        if response.status.is_success() || matches!(response.status.as_u16(), 401 | 404) {
            return Ok(());
        }
        Err(TokenError::Gateway(HttpError::Unexpected(response.seen())))
    }

    async fn revoke(&self, credentials: &Credentials) -> Result<bool, HttpError> {
        let Some(endpoint) = &credentials.revocation_endpoint else { return Ok(false) };
        let (token, hint) = match &credentials.refresh_token {
            Some(token) => (token, "refresh_token"),
            None => (&credentials.access_token, "access_token"),
        };
        let fields = [
            ("token", token.expose().as_str()),
            ("token_type_hint", hint),
            ("client_id", credentials.client_id.as_str()),
        ];
        let key = self.key();
        let mut request = Request::post(endpoint, Body::Form(&fields));
        request.signer = credentials.dpop.then_some(&*key as &dyn Signer);
        let response = self.inner.http.send(&request).await?;
        if response.status.is_success() { Ok(true) } else { Err(HttpError::Unexpected(response.seen())) }
    }
}

/// Why a sign-in did not come to a session.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The gateway or its issuer could not be found.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The sign-in at the issuer did not work.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The person is signed in at the issuer, but there is no session at the gateway.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl From<StoreError> for SignInError {
    fn from(error: StoreError) -> Self {
        Self::Token(error.into())
    }
}

impl SignInError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Discovery(error) => error.retry(),
            Self::Login(error) => error.retry(),
            Self::Token(error) => error.retry(),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Discovery(error) => error.hint(),
            Self::Login(error) => error.hint(),
            Self::Token(error) => error.hint(),
        }
    }
}
