//! Signing in and out.

use std::sync::Arc;

use reqwest::Method;
use tokio::time::Instant;
use ztsa_proto::{
    jws::{Signer, SoftwareKey},
    metadata::ResourceMetadata,
    problem::Retry,
};

use super::{Current, SessionToken, TokenError, Tokens, record::Credentials};
use crate::{
    discovery::{self, DiscoveryError},
    http::{Body, HttpError, Request},
    login::{self, Issuer, Login, LoginError},
    store::{Record, StoreError},
};

/// How to sign in.
#[derive(Clone, Debug, Default)]
pub struct LoginOptions {
    /// Which of the gateway's issuers, by name or identifier; the first when not given.
    pub issuer: Option<String>,
    /// A person has confirmed that the gateway may send people to another issuer than before.
    pub accept_issuer_change: bool,
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
        let login = login.into();
        let metadata = discovery::gateway(&self.inner.http, &self.inner.config).await?;
        discovery::check_issuers(&self.inner.cache.pins(), &metadata, options.accept_issuer_change)?;
        let issuer = self.issuer(&metadata, options.issuer.as_deref()).await?;
        let key = self.keep_key().await?;
        let tokens = login::run(login, &self.inner.http, &issuer, &*key).await?;
        let credentials = Credentials::new(&issuer, tokens);
        let _lock = self.lock().await?;
        self.inner.store.save(Record::Credentials, &credentials.write()).await.map_err(TokenError::Store)?;
        self.inner.store.remove(Record::Session).await.map_err(TokenError::Store)?;
        self.inner.cache.pin(&metadata.authorization_servers).map_err(TokenError::Store)?;
        self.inner.cache.store_metadata(&metadata, self.inner.config.clock.now());
        *self.inner.metadata.lock().await = Some((Arc::new(metadata), Instant::now()));
        *self.current() = Current::default();
        // as they came, however short they last: the ID token vouches for the access token that came with it, and few
        // issuers send another one with a refresh
        Ok(self.begin(credentials, false, None).await?)
    }

    /// Signs out: revokes at the issuer (RFC 7009), ends the session at the gateway, and removes the credentials. The
    /// device key stays, so that an approved device stays approved.
    ///
    /// # Errors
    /// The credentials could not be removed. What the network did not allow is in [`Logout`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave the credentials in place.
    pub async fn logout(&self) -> Result<Logout, TokenError> {
        let _lock = self.lock().await?;
        let credentials = self.load_credentials().await.ok().flatten();
        let stored = self.load_session().await.ok().flatten();
        let session = stored.filter(|session| self.now() < session.expires_at);
        let was_signed_in = credentials.is_some();
        let gateway = async {
            match &session {
                Some(session) => self.end_session(session).await,
                None => Ok(()),
            }
        };
        let issuer = async {
            match &credentials {
                Some(credentials) => self.revoke(credentials).await,
                None => Ok(false),
            }
        };
        let (gateway, issuer) = tokio::join!(gateway, issuer);
        *self.current() = Current::default();
        self.inner.store.remove(Record::Session).await?;
        self.inner.store.remove(Record::Credentials).await?;
        Ok(Logout { was_signed_in, gateway, issuer })
    }

    async fn issuer(&self, metadata: &ResourceMetadata, wanted: Option<&str>) -> Result<Issuer, DiscoveryError> {
        let info = discovery::choose(metadata, wanted)?.clone();
        let metadata = discovery::issuer(&self.inner.http, &info.issuer).await?;
        Ok(Issuer { info, metadata })
    }

    /// Makes sure that the device key is on disk, once, for all processes.
    async fn keep_key(&self) -> Result<Arc<SoftwareKey>, TokenError> {
        let _lock = self.lock().await?;
        let stored = self.inner.store.load(Record::Device).await?;
        let key = if let Some(pkcs8) = stored {
            Arc::new(SoftwareKey::from_pkcs8(&pkcs8)?)
        } else {
            let key = self.key();
            self.inner.store.save(Record::Device, key.to_pkcs8().expose()).await?;
            key
        };
        *self.inner.key.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::clone(&key);
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
