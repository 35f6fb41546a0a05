//! What may be lost and is no secret, in plain files: the pinned issuers, and what saves a round trip (the gateway's
//! metadata, its last DPoP nonce and the issuer's, the offsets of their clocks).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use ztsa_proto::{metadata::ResourceMetadata, time::UnixTime};

use crate::{
    discovery::Pin,
    http::Http,
    store::{self, StoreError},
};

/// The plain files of a profile, for one gateway; those of another gateway are not read.
#[derive(Debug)]
pub(super) struct Cache {
    dir: Option<PathBuf>,
    gateway: String,
    known: Mutex<Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    pins: Vec<Pin>,
    hints: Hints,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pins {
    gateway: String,
    issuers: Vec<Pin>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Hints {
    gateway: String,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    clock_offset: i64,
    /// The same of the issuers, by origin.
    #[serde(default)]
    issuers: BTreeMap<String, Origin>,
    #[serde(default)]
    fetched_at: UnixTime,
    #[serde(default)]
    metadata: Option<ResourceMetadata>,
}

/// What is known of an origin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Origin {
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    clock_offset: i64,
}

/// How many issuers' nonces are kept.
const ISSUERS: usize = 8;
const PINS: &str = "issuers.json";
const HINTS: &str = "gateway.json";

impl Cache {
    pub(super) fn open(dir: Option<&Path>, gateway: &str) -> Self {
        let pins = read::<Pins>(dir, PINS).filter(|pins| pins.gateway == gateway).map(|pins| pins.issuers);
        let hints = read::<Hints>(dir, HINTS).filter(|hints| hints.gateway == gateway);
        let known = Known {
            pins: pins.unwrap_or_default(),
            hints: hints.unwrap_or_else(|| Hints { gateway: gateway.to_owned(), ..Hints::default() }),
        };
        Self { dir: dir.map(Path::to_owned), gateway: gateway.to_owned(), known: Mutex::new(known) }
    }

    /// Tells the HTTP client what is known of the gateway's nonce and clock.
    pub(super) fn apply(&self, http: &Http) {
        let known = self.known();
        if let Some(nonce) = &known.hints.nonce {
            http.store_nonce(&self.gateway, nonce);
        }
        http.store_offset(&self.gateway, known.hints.clock_offset);
        for (url, origin) in &known.hints.issuers {
            if let Some(nonce) = &origin.nonce {
                http.store_nonce(url, nonce);
            }
            http.store_offset(url, origin.clock_offset);
        }
    }

    /// Keeps the gateway's nonce and clock offset for processes to come.
    pub(super) fn remember(&self, http: &Http) {
        self.change(|hints| {
            hints.nonce = http.nonce(&self.gateway);
            hints.clock_offset = http.offset(&self.gateway);
        });
    }

    /// Keeps an issuer's nonce and clock offset for processes to come.
    pub(super) fn remember_issuer(&self, http: &Http, url: &str) {
        let origin = Origin { nonce: http.nonce(url), clock_offset: http.offset(url) };
        self.change(|hints| {
            if hints.issuers.len() < ISSUERS || hints.issuers.contains_key(url) {
                hints.issuers.insert(url.to_owned(), origin);
            }
        });
    }

    pub(super) fn metadata(&self) -> Option<(ResourceMetadata, UnixTime)> {
        let known = self.known();
        known.hints.metadata.clone().map(|metadata| (metadata, known.hints.fetched_at))
    }

    pub(super) fn store_metadata(&self, metadata: &ResourceMetadata, at: UnixTime) {
        self.change(|hints| {
            hints.metadata = Some(metadata.clone());
            hints.fetched_at = at;
        });
    }

    /// The metadata is out of date; it is kept for when the gateway does not answer.
    pub(super) fn outdate_metadata(&self) {
        self.change(|hints| hints.fetched_at = UnixTime(0));
    }

    pub(super) fn pins(&self) -> Vec<Pin> {
        self.known().pins.clone()
    }

    /// Pins the issuers that a person has signed in with.
    pub(super) fn pin(&self, issuers: &[Pin]) -> Result<(), StoreError> {
        self.known().pins = issuers.to_vec();
        let Some(dir) = &self.dir else { return Ok(()) };
        let pins = Pins { gateway: self.gateway.clone(), issuers: issuers.to_vec() };
        let text = serde_json::to_vec_pretty(&pins).unwrap_or_default();
        let path = dir.join(PINS);
        store::write_plain(&path, &text, true).map_err(|source| StoreError::Io { path, source })
    }

    /// Writes the hints if they changed; failing to is no matter.
    fn change(&self, change: impl FnOnce(&mut Hints)) {
        let mut known = self.known();
        let before = known.hints.clone();
        change(&mut known.hints);
        if let (Some(dir), false) = (&self.dir, before == known.hints) {
            let text = serde_json::to_vec(&known.hints).unwrap_or_default();
            if let Err(error) = store::write_plain(&dir.join(HINTS), &text, false) {
                tracing::debug!(%error, "hints for the next process were not kept");
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What cannot be read is absent.
fn read<T: for<'de> Deserialize<'de>>(dir: Option<&Path>, name: &str) -> Option<T> {
    let content = store::read_plain(&dir?.join(name)).ok().flatten()?;
    serde_json::from_slice(&content).ok()
}
