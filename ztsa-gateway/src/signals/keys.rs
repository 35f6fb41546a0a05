//! A transmitter's public keys: from a file, or fetched, bounded and remembered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;
use ztsa_proto::time::UnixTime;

use super::web::{Sent, Web, WebError};
use crate::authn::{PublicKeys, Signed};

/// How long keys are used before they are fetched again.
const FRESH: Duration = Duration::from_secs(600);
/// How long they are still used when fetching fails.
const STALE: Duration = Duration::from_secs(3600);
/// The pause between fetches: an unknown `kid` costs the transmitter at most one request in this time, and its token is asked
/// for again after it.
const PAUSE: Duration = Duration::from_secs(10);

/// What stands there while keys are fetched, and after a caller who went away meanwhile.
const GIVEN_UP: &str = "the transmitter's keys were not fetched to the end";

/// Holds one transmitter's keys.
#[derive(Debug)]
pub(super) struct Keys {
    known: Mutex<Known>,
    /// They were configured: nothing is fetched.
    fixed: bool,
    /// One fetch at a time: whoever comes meanwhile waits and finds the answer.
    turn: Semaphore,
}

#[derive(Clone, Debug, Default)]
struct Known {
    keys: Arc<PublicKeys>,
    fetched: Option<UnixTime>,
    tried: Option<UnixTime>,
    failure: Option<String>,
}

/// Says how a signature came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Good,
    /// No key of the transmitter made it.
    Bad(&'static str),
    /// The keys cannot be had now: try again later.
    Unknown(String),
}

impl Keys {
    pub(super) fn fixed(keys: PublicKeys) -> Keys {
        let known = Known { keys: Arc::new(keys), ..Known::default() };
        Keys { known: Mutex::new(known), fixed: true, turn: Semaphore::new(1) }
    }

    pub(super) fn fetched() -> Keys {
        Keys { known: Mutex::default(), fixed: false, turn: Semaphore::new(1) }
    }

    /// Verifies a signature, fetching keys that are unknown, old, or lack the token's; `url` finds where they are.
    ///
    /// # Cancel safety
    /// Cancel-safe: a fetch that is dropped counts as one that failed, so whoever hangs up does not cause another at once.
    pub(super) async fn verify<F>(&self, token: &Signed<'_>, web: &Web, now: UnixTime, url: F) -> Proof
    where
        F: AsyncFnOnce() -> Result<Url, String>,
    {
        let known = self.known();
        if self.fixed || known.fetched.is_some_and(|at| now.since(at) <= FRESH) {
            match token.verify(&known.keys) {
                Some(true) => return Proof::Good,
                Some(false) => return Proof::Bad("its signature does not match the transmitter's key"),
                None if self.fixed => return Proof::Bad("no key in keys_file signed it"),
                None => {}
            }
        }
        let (known, asked) = self.refreshed(web, now, url).await;
        let usable = known.fetched.is_some_and(|at| now.since(at) <= STALE);
        match token.verify(&known.keys).filter(|_| usable) {
            Some(true) => Proof::Good,
            Some(false) => Proof::Bad("its signature does not match the transmitter's key"),
            None => match known.failure {
                Some(failure) => Proof::Unknown(failure),
                // the key may be newer than the last fetch: what is refused now is lost
                None if !asked => {
                    Proof::Unknown("it names a key that was not there when keys were last fetched".to_owned())
                }
                None => Proof::Bad("it names a key that the transmitter does not have"),
            },
        }
    }

    /// Fetches keys unless that was tried within the pause; says whether it was done.
    async fn refreshed<F>(&self, web: &Web, now: UnixTime, url: F) -> (Known, bool)
    where
        F: AsyncFnOnce() -> Result<Url, String>,
    {
        let _turn = self.turn.acquire().await;
        let before = self.known();
        if before.tried.is_some_and(|tried| now.since(tried) < PAUSE) {
            return (before, false);
        }
        let given_up = Known { tried: Some(now), failure: Some(GIVEN_UP.to_owned()), ..before.clone() };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = given_up;
        let fetched = async {
            let url = url().await?;
            let set: Value =
                web.json(Method::GET, &url, Sent::default()).await.map_err(|error: WebError| error.to_string())?;
            let keys = PublicKeys::parse(&set);
            if keys.is_empty() { Err(format!("{url} holds no key that can be used")) } else { Ok(keys) }
        };
        let known = match fetched.await {
            Ok(keys) => Known { keys: Arc::new(keys), fetched: Some(now), tried: Some(now), failure: None },
            Err(failure) => {
                tracing::warn!(failure, "the keys of a transmitter of signals cannot be had");
                Known { tried: Some(now), failure: Some(failure), ..before }
            }
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known.clone();
        (known, true)
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
