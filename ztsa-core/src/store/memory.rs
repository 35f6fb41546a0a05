//! Records that end with the process: all of them where nothing is written, else those that could not be written yet.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use zeroize::Zeroizing;
use ztsa_proto::jws::sha256_base64url;

use super::{Record, SecretBytes};

#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<Record, Kept>>);

struct Kept {
    plain: SecretBytes,
    /// What the disk held instead.
    instead: Option<String>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    pub(super) fn load(&self, record: Record) -> Option<SecretBytes> {
        self.records().get(&record).map(|kept| kept.plain.clone())
    }

    pub(super) fn save(&self, record: Record, plain: &[u8]) {
        self.keep_unsaved(record, plain, None);
    }

    /// Keeps what could not be written over what the disk holds.
    pub(super) fn keep_unsaved(&self, record: Record, plain: &[u8], disk: Option<&[u8]>) {
        let kept = Kept { plain: Zeroizing::new(plain.to_vec()), instead: disk.map(sha256_base64url) };
        self.records().insert(record, kept);
    }

    /// What could not be written, unless another process has written since.
    pub(super) fn unsaved(&self, record: Record, disk: Option<&[u8]>) -> Option<SecretBytes> {
        let mut records = self.records();
        let kept = records.get(&record)?;
        if kept.instead == disk.map(sha256_base64url) {
            return Some(kept.plain.clone());
        }
        records.remove(&record);
        None
    }

    pub(super) fn remove(&self, record: Record) {
        self.records().remove(&record);
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Record, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
