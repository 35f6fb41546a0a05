//! One session for all processes of a person on a device.
//!
//! The session token is kept sealed on disk and shared; one process at a time renews it, at 60 % of its life, and the
//! others adopt what it got. A network that fails signs nobody out: only a well-formed refusal does.

mod cache;
mod error;
mod exchange;
mod expiry;
mod job;
mod known;
mod lock;
mod offer;
mod record;
mod refresh;
mod report;
mod sign_in;

use std::{
    sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex, OwnedMutexGuard, oneshot},
    time::Instant,
};
use ztsa_net::task::Scope;
use ztsa_proto::{
    jws::{SignError, Signer},
    metadata::ResourceMetadata,
    name::DeviceId,
    secret::Secret,
    session::SessionInfo,
    time::UnixTime,
};

use self::{
    cache::Cache,
    exchange::{ExchangeError, Subject},
    lock::Lock,
    record::Credentials,
};
pub use self::{
    error::{LoginReason, TokenError},
    expiry::{Ending, Expiry, NOTICE, expiries},
    known::{KeyPlace, SignIn, Status},
    offer::{Choice, Offer, Turn},
    sign_in::{LoginOptions, Logout, SignInError},
};
use crate::{
    config::Config,
    device::{DeviceKey, Hardware},
    http::Http,
    posture::Ledger,
    store::{Record, Store},
    tpm::Tpm,
};

/// A token this close to its end is not used for anything new.
const LAST_MOMENT: Duration = Duration::from_secs(5);
/// After a renewal failed for a passing reason, a token that is still good is used this long before the next attempt.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// A session at the gateway, ready for use.
#[derive(Clone, Debug)]
pub struct SessionToken {
    /// The token; it is bound to the device key and useless without it.
    pub token: Secret<String>,
    /// Who and what it stands for.
    pub info: SessionInfo,
    /// When it ends, by the gateway's clock.
    pub expires_at: UnixTime,
    /// When it is renewed, by the gateway's clock.
    pub renew_at: UnixTime,
}

/// Gives out the session token; cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    http: Http,
    store: Store,
    cache: Cache,
    key: StdMutex<Arc<DeviceKey>>,
    hardware: Option<Arc<dyn Hardware>>,
    current: StdMutex<Current>,
    renewing: Arc<Mutex<()>>,
    metadata: Mutex<Option<(Arc<ResourceMetadata>, Instant)>>,
    ledger: StdMutex<Ledger>,
    scope: Scope,
}

#[derive(Default)]
struct Current {
    session: Option<Arc<SessionToken>>,
    /// No renewal before this, after one that failed.
    pause: Option<Instant>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("gateway", &self.inner.config.resource()).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Opens the tokens of a profile; asks nobody on the network.
    ///
    /// # Errors
    /// The state cannot be read ([`TokenError::Store`]).
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn open(config: Config, http: Http, store: Store) -> Result<Self, TokenError> {
        let hardware = config.tpm.place().map(|place| Arc::new(Tpm::new(place)) as Arc<dyn Hardware>);
        // A key in hardware is made when somebody signs in.
        let key = match store.load(Record::Device).await? {
            Some(record) => DeviceKey::read(&record, hardware.as_ref()),
            None => DeviceKey::software(),
        };
        let cache = Cache::open(store.dir(), &config.resource());
        cache.apply(&http);
        let inner = Inner {
            key: StdMutex::new(Arc::new(key?)),
            hardware,
            config,
            http,
            store,
            cache,
            current: StdMutex::default(),
            renewing: Arc::default(),
            metadata: Mutex::default(),
            ledger: StdMutex::default(),
            scope: Scope::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The HTTP client, with its nonces and clock offsets.
    pub fn http(&self) -> &Http {
        &self.inner.http
    }

    /// The device key.
    pub fn key(&self) -> Arc<DeviceKey> {
        Arc::clone(&self.inner.key.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The device's identifier.
    pub fn device(&self) -> DeviceId {
        self.key().public_key().thumbprint()
    }

    /// The time by the gateway's clock.
    pub fn now(&self) -> UnixTime {
        self.inner.http.now(self.inner.config.gateway.as_str())
    }

    /// Makes a DPoP proof for a request to the gateway, with its last nonce and by its clock.
    ///
    /// # Errors
    /// The device key cannot sign.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn proof(&self, method: &str, url: &str, token: Option<&Secret<String>>) -> Result<String, SignError> {
        self.inner.http.proof(&*self.key(), method, url, token.map(|token| token.expose().as_str())).await
    }

    /// Remembers a DPoP nonce for a URL's origin, for this process and those to come.
    pub fn store_nonce(&self, url: &str, nonce: &str) {
        self.inner.http.store_nonce(url, nonce);
        self.inner.cache.remember(&self.inner.http);
    }

    /// Gives a session token that is good for at least five more seconds.
    ///
    /// Any number of callers in any number of processes cause one renewal. A token that is still good is given while
    /// another caller renews it, and when renewing fails for a passing reason.
    ///
    /// # Errors
    /// See [`TokenError`]; [`TokenError::LoginRequired`] means that a person has to sign in.
    ///
    /// # Cancel safety
    /// Cancel-safe: a renewal that has begun goes on without its caller, because an answer that is lost may hold the only
    /// refresh token that is still good.
    pub async fn session(&self) -> Result<Arc<SessionToken>, TokenError> {
        let now = self.now();
        let (good, due) = self.look(now);
        let guard = match good {
            Some(session) if !due => return Ok(session),
            Some(session) => match Arc::clone(&self.inner.renewing).try_lock_owned() {
                Ok(guard) => guard,
                Err(_) => return Ok(session),
            },
            None => Arc::clone(&self.inner.renewing).lock_owned().await,
        };
        let (good, due) = self.look(self.now());
        if let (Some(session), false) = (&good, due) {
            return Ok(Arc::clone(session));
        }
        match (self.renew_apart(guard).await, good) {
            (Err(error), Some(session)) if error.is_temporary() => {
                tracing::debug!(%error, "the session could not be renewed yet");
                self.current().pause = Some(Instant::now() + RENEWAL_PAUSE);
                Ok(session)
            }
            (renewed, _) => renewed,
        }
    }

    /// Says that the gateway did not accept a session token; the next [`Tokens::session`] gets another.
    pub fn reject(&self, session: &SessionToken) {
        let mut current = self.current();
        if current.session.as_ref().is_some_and(|known| known.token == session.token) {
            let mut ended = session.clone();
            ended.expires_at = UnixTime(0);
            ended.renew_at = UnixTime(0);
            current.session = Some(Arc::new(ended));
            current.pause = None;
        }
    }

    /// The known token if it is good, and whether it is time to renew it.
    fn look(&self, now: UnixTime) -> (Option<Arc<SessionToken>>, bool) {
        let current = self.current();
        let good = current.session.clone().filter(|session| now.plus(LAST_MOMENT) < session.expires_at);
        let paused = current.pause.is_some_and(|until| Instant::now() < until);
        let due = good.as_ref().is_none_or(|session| now >= session.renew_at) && !paused;
        (good, due)
    }

    /// Renews in a task of its own, which holds the guard until it is done.
    async fn renew_apart(&self, guard: OwnedMutexGuard<()>) -> Result<Arc<SessionToken>, TokenError> {
        let (sender, receiver) = oneshot::channel();
        let tokens = self.clone();
        self.inner.scope.spawn(async move {
            let renewed = tokens.renew().await;
            drop(guard);
            // The caller may have gone; the token is kept all the same.
            let _ = sender.send(renewed);
        });
        receiver.await.unwrap_or(Err(TokenError::Interrupted))
    }

    /// Gets a new token, or adopts one that another process got meanwhile.
    async fn renew(&self) -> Result<Arc<SessionToken>, TokenError> {
        let _lock = self.lock().await?;
        self.reload_key().await?;
        let known = self.current().session.clone();
        if let Some(stored) = self.load_session().await? {
            let other = known.is_none_or(|known| known.token != stored.token);
            if other && self.now() < stored.renew_at {
                return Ok(self.adopt(stored));
            }
        }
        let previous = self.load_session().await?;
        if let Some(workload) = &self.inner.config.workload {
            return job::begin(self, workload, previous.as_deref()).await;
        }
        let credentials = self.load_credentials().await?.ok_or(LoginReason::Never)?;
        self.establish(credentials, previous.as_deref()).await
    }

    /// Exchanges kept credentials for a session, refreshing them before when they are about to end. The caller holds
    /// the lock.
    async fn establish(
        &self,
        credentials: Credentials,
        previous: Option<&SessionToken>,
    ) -> Result<Arc<SessionToken>, TokenError> {
        let (credentials, fresh) = refresh::when_due(self, credentials).await?;
        self.begin(credentials, fresh, previous).await
    }

    /// Exchanges credentials for a session; refreshes them once when the gateway finds that they have ended, unless
    /// they are `fresh`. The caller holds the lock.
    async fn begin(
        &self,
        mut credentials: Credentials,
        mut fresh: bool,
        previous: Option<&SessionToken>,
    ) -> Result<Arc<SessionToken>, TokenError> {
        let metadata = self.metadata().await?;
        loop {
            match exchange::exchange(self, &metadata, &Subject::from(&credentials), previous).await {
                Ok(session) => return Ok(self.begun(session).await),
                Err(ExchangeError::Stale(_)) if !fresh && credentials.refresh_token.is_some() => {
                    credentials = refresh::now(self, credentials).await?;
                    fresh = true;
                }
                Err(ExchangeError::Stale(problem) | ExchangeError::Login(problem)) => {
                    return Err(LoginReason::Gateway(problem).into());
                }
                Err(ExchangeError::Denied(problem)) => return Err(TokenError::Denied(problem)),
                Err(ExchangeError::Http(error)) => return Err(TokenError::Gateway(error)),
                Err(ExchangeError::Sign(error)) => return Err(error.into()),
            }
        }
    }

    async fn begun(&self, session: SessionToken) -> Arc<SessionToken> {
        self.save_session(&session).await;
        self.inner.cache.remember(&self.inner.http);
        self.adopt(Arc::new(session))
    }

    fn adopt(&self, session: Arc<SessionToken>) -> Arc<SessionToken> {
        *self.current() = Current { session: Some(Arc::clone(&session)), pause: None };
        session
    }

    async fn lock(&self) -> Result<Option<Lock>, TokenError> {
        match self.inner.store.dir() {
            Some(dir) => Lock::acquire(&dir.join("lock"), self.inner.config.timeouts.lock).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes over the device key on disk: another process may have made it since this one opened the profile, and what
    /// it got is bound to that one.
    async fn reload_key(&self) -> Result<(), TokenError> {
        if let Some(record) = self.inner.store.load(Record::Device).await? {
            let key = DeviceKey::read(&record, self.inner.hardware.as_ref())?;
            let mut known = self.inner.key.lock().unwrap_or_else(PoisonError::into_inner);
            if known.public_key() != key.public_key() {
                *known = Arc::new(key);
            }
        }
        Ok(())
    }

    async fn load_credentials(&self) -> Result<Option<Credentials>, TokenError> {
        Ok(self.inner.store.load(Record::Credentials).await?.and_then(|bytes| Credentials::read(&bytes)))
    }

    async fn load_session(&self) -> Result<Option<Arc<SessionToken>>, TokenError> {
        Ok(self.inner.store.load(Record::Session).await?.and_then(|bytes| record::read_session(&bytes)).map(Arc::new))
    }

    /// A session that cannot be saved is still good for this process.
    async fn save_session(&self, session: &SessionToken) {
        if let Err(error) = self.inner.store.save(Record::Session, &record::write_session(session)).await {
            tracing::warn!(%error, "the session is not shared with other processes");
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.inner.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
