//! Where a person can sign in, what of that has changed, and whose turn it is to ask.

use std::sync::Arc;

use ztsa_proto::metadata::{IssuerInfo, ResourceMetadata};

use super::{TokenError, Tokens, lock::Lock};
use crate::{
    discovery::{self, Change, DiscoveryError, Pin},
    login::Issuer,
};

/// What the gateway offers to sign in with, as it says now.
#[derive(Clone, Debug)]
pub struct Offer {
    pub(super) metadata: Arc<ResourceMetadata>,
    pins: Vec<Pin>,
}

impl Offer {
    /// The issuers to choose from.
    pub fn issuers(&self) -> &[IssuerInfo] {
        &self.metadata.ztsa.issuers
    }
}

/// The issuer that a person is about to sign in at.
#[derive(Clone, Debug)]
pub struct Choice {
    pub(super) metadata: Arc<ResourceMetadata>,
    pub(super) issuer: Issuer,
    pub(super) pins: Vec<Pin>,
    changes: Vec<Change>,
}

impl Choice {
    /// The issuer, as the gateway wants it to be used and as it describes itself.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// What is not as it was when a person first met this issuer.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Says that a person has seen the changes and confirmed them.
    pub fn accept(&mut self) {
        self.changes.clear();
    }

    /// Refuses a sign-in that is not as it was, unless a person has confirmed it.
    ///
    /// # Errors
    /// [`DiscoveryError::IssuerChanged`].
    pub fn check(&self) -> Result<(), DiscoveryError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        Err(DiscoveryError::IssuerChanged { issuer: self.issuer.info.issuer.clone(), changes: self.changes.clone() })
    }
}

/// The right to ask the person to sign in; dropping it gives the next process its turn.
#[derive(Debug)]
pub struct Turn {
    _lock: Option<Lock>,
}

impl Tokens {
    /// Asks the gateway where a person can sign in.
    ///
    /// # Errors
    /// See [`DiscoveryError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn offer(&self) -> Result<Offer, DiscoveryError> {
        let metadata = discovery::gateway(&self.inner.http, &self.inner.config).await?;
        Ok(Offer { metadata: Arc::new(metadata), pins: self.inner.cache.pins() })
    }

    /// Asks an issuer about itself: the one named (by name or identifier), else the first.
    ///
    /// # Errors
    /// See [`DiscoveryError`]; a change is no error until somebody signs in.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn choose(&self, offer: &Offer, wanted: Option<&str>) -> Result<Choice, DiscoveryError> {
        let info = discovery::choose(&offer.metadata, wanted)?.clone();
        let metadata = discovery::issuer(&self.inner.http, &info.issuer).await?;
        let changes = discovery::changes(&offer.pins, &info, &metadata);
        Ok(Choice {
            metadata: Arc::clone(&offer.metadata),
            issuer: Issuer { info, metadata },
            pins: offer.pins.clone(),
            changes,
        })
    }

    /// Looks whether another process has got a session since, and adopts it; says whether it did.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn look_again(&self) -> bool {
        let Ok(Some(stored)) = self.load_session().await else { return false };
        let known = self.current().session.clone();
        let other = known.is_none_or(|known| known.token != stored.token) && self.now() < stored.renew_at;
        if !other || self.reload_key().await.is_err() {
            return false;
        }
        self.adopt(stored);
        true
    }

    /// Waits until no other process is asking the person to sign in to this profile; `waiting` is told who is, once, when
    /// there is one. Whoever waited should look whether there is a session now.
    ///
    /// # Errors
    /// The lock cannot be had ([`TokenError::Store`]).
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn turn(&self, waiting: impl FnOnce(&str)) -> Result<Turn, TokenError> {
        let Some(dir) = self.inner.store.dir() else { return Ok(Turn { _lock: None }) };
        let path = dir.join("login.lock");
        let lock = match Lock::acquire(&path, std::time::Duration::ZERO).await {
            Err(TokenError::Busy { holder, .. }) => {
                waiting(&holder);
                Lock::acquire(&path, std::time::Duration::MAX).await?
            }
            other => other?,
        };
        Ok(Turn { _lock: Some(lock) })
    }
}
