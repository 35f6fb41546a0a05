//! What is known of the gateway and of oneself.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use ztsa_proto::{metadata::ResourceMetadata, name::DeviceId, problem::Retry, time::UnixTime};

use super::{SessionToken, TokenError, Tokens, record::Credentials};
use crate::{config::WorkloadName, discovery, login::Flow, store::StoreKind};

/// How long a gateway's metadata is used without asking again.
const METADATA_TTL: Duration = Duration::from_secs(3600);

/// What is known without asking anybody.
#[derive(Clone, Debug)]
pub struct Status {
    /// Where the wrapping key of the credentials is.
    pub store: StoreKind,
    /// Why it is not in a better place, where somebody would wonder.
    pub store_reason: Option<String>,
    /// What holds the device key.
    pub device_key: KeyPlace,
    /// What a person should know about the state on disk.
    pub notes: Vec<String>,
    /// The device's identifier: the thumbprint of its key.
    pub device: DeviceId,
    /// The sign-in, when there is one.
    pub sign_in: Option<SignIn>,
    /// The last session token, which may have ended.
    pub session: Option<Arc<SessionToken>>,
    /// By how many seconds the gateway's clock is ahead of this machine's, when more than 30.
    pub clock_offset: i64,
}

/// What holds the device key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// Hardware, of this name; it cannot be copied.
    Hardware(String),
    /// The store, and why it is no hardware.
    Store(String),
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hardware(name) => write!(f, "in the {name}"),
            Self::Store(reason) => write!(f, "in software: {reason}"),
        }
    }
}

/// A sign-in at an issuer.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The issuer.
    pub issuer: String,
    /// When its access token ends, by its clock.
    pub expires_at: UnixTime,
    /// Whether it can be prolonged without a person.
    pub renewable: bool,
    /// Until when it can be, by the issuer's clock, where the issuer says so.
    pub renewable_until: Option<UnixTime>,
    /// How the person signed in.
    pub flow: Option<Flow>,
}

impl SignIn {
    pub(super) fn of(credentials: &Credentials) -> Self {
        Self {
            issuer: credentials.issuer.clone(),
            expires_at: credentials.expires_at,
            renewable: credentials.refresh_token.is_some(),
            renewable_until: credentials.refresh_ends,
            flow: credentials.flow,
        }
    }

    fn of_job(name: &WorkloadName, session: Option<&SessionToken>) -> Self {
        Self {
            issuer: format!("the job's token from {name}"),
            expires_at: session.map_or(UnixTime(0), |session| session.expires_at),
            renewable: true,
            renewable_until: None,
            flow: None,
        }
    }

    /// When a person has to sign in again, as far as that is known.
    pub fn ends(&self) -> Option<UnixTime> {
        if self.renewable { self.renewable_until } else { Some(self.expires_at) }
    }
}

impl Tokens {
    /// Gives the gateway's metadata: from memory or disk when younger than an hour, else from the gateway.
    ///
    /// # Errors
    /// The gateway cannot be asked and nothing is known.
    ///
    /// # Security
    /// Another issuer than at the first login is only warned of here; [`Tokens::login`] refuses it.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn metadata(&self) -> Result<Arc<ResourceMetadata>, TokenError> {
        let mut known = self.inner.metadata.lock().await;
        if let Some((metadata, since)) = &*known
            && since.elapsed() < METADATA_TTL
        {
            return Ok(Arc::clone(metadata));
        }
        let cached = self.inner.cache.metadata();
        let now = self.inner.config.clock.now();
        let metadata = match cached {
            Some((metadata, at)) if now.since(at) < METADATA_TTL && at <= now => metadata,
            cached => match (discovery::gateway(&self.inner.http, &self.inner.config).await, cached) {
                (Ok(metadata), _) => {
                    // Nobody signs in now, and credentials go to the issuer that gave them: the next login asks.
                    for issuer in discovery::strangers(&self.inner.cache.pins(), &metadata) {
                        tracing::warn!(issuer, "the gateway names an issuer that nobody has signed in at here");
                    }
                    self.inner.cache.store_metadata(&metadata, now);
                    metadata
                }
                (Err(error), Some((metadata, _))) if !matches!(error.retry(), Retry::Never) => metadata,
                (Err(error), _) => return Err(error.into()),
            },
        };
        let metadata = Arc::new(metadata);
        *known = Some((Arc::clone(&metadata), Instant::now()));
        Ok(metadata)
    }

    /// Makes the next one who wants the gateway's metadata ask for it: it has changed.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn forget_metadata(&self) {
        let mut known = self.inner.metadata.lock().await;
        *known = None;
        self.inner.cache.outdate_metadata();
    }

    /// Forgets the gateway's metadata as [`Tokens::forget_metadata`] does, unless it was asked for within `fresh`, by
    /// whichever process of the profile.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn doubt_metadata(&self, fresh: Duration) {
        let asked = self.inner.cache.metadata().map(|(_, at)| at);
        let now = self.inner.config.clock.now();
        if asked.is_none_or(|at| at > now || now.since(at) >= fresh) {
            self.forget_metadata().await;
        }
    }

    /// Says what is known without asking anybody on the network.
    ///
    /// # Errors
    /// The state cannot be read.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn status(&self) -> Result<Status, TokenError> {
        let credentials = self.load_credentials().await?;
        let known = self.current().session.clone();
        let session = if known.is_some() { known } else { self.load_session().await? };
        Ok(Status {
            store: self.inner.store.kind().await?,
            store_reason: self.inner.store.reason().await,
            device_key: self.key_place(),
            notes: self.inner.store.notes(),
            device: self.device(),
            sign_in: match &self.inner.config.workload {
                // A job needs no sign-in before: its token is fetched when it is needed.
                Some(workload) => Some(SignIn::of_job(&workload.name(), session.as_deref())),
                None => credentials.as_ref().map(SignIn::of),
            },
            session: session.filter(|_| credentials.is_some() || self.inner.config.workload.is_some()),
            clock_offset: self.inner.http.offset(self.inner.config.gateway.as_str()),
        })
    }

    fn key_place(&self) -> KeyPlace {
        if let Some(name) = self.key().hardware() {
            return KeyPlace::Hardware(name);
        }
        KeyPlace::Store(match &self.inner.hardware {
            None => "ZTSA_TPM is off".to_owned(),
            Some(_) if self.inner.store.dir().is_none() => "it ends with this process".to_owned(),
            Some(hardware) => match hardware.usable() {
                Err(error) if error.absent => error.reason,
                Err(error) => format!("{error}; {}", error.hint),
                Ok(()) => format!("the {} was not used when the key was made", hardware.name()),
            },
        })
    }
}
