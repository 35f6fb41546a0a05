//! Records that end with the process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use zeroize::Zeroizing;

use super::{Record, SecretBytes};

#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<Record, SecretBytes>>);

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    pub(super) fn load(&self, record: Record) -> Option<SecretBytes> {
        self.records().get(&record).cloned()
    }

    pub(super) fn save(&self, record: Record, plain: &[u8]) {
        self.records().insert(record, Zeroizing::new(plain.to_vec()));
    }

    pub(super) fn remove(&self, record: Record) {
        self.records().remove(&record);
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Record, SecretBytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
