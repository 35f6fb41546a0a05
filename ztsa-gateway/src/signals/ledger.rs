//! What was seen, and when: so that nothing counts twice and nothing older undoes what is newer. It outlives a restart.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ztsa_proto::time::UnixTime;

use crate::store::{Document, Store};

/// Remembers times by key, the newest of them, for a while.
#[derive(Debug)]
pub(super) struct Ledger {
    kind: &'static str,
    store: Store,
    life: Duration,
    most: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    times: HashMap<String, UnixTime>,
    order: BTreeSet<(UnixTime, String)>,
}

impl Ledger {
    /// Restores what was remembered; at most `most` keys are, and the oldest give way.
    pub(super) fn restore(kind: &'static str, store: &Store, life: Duration, most: usize) -> Ledger {
        let mut entries = Entries::default();
        for Document { key, at, .. } in store.take_documents(kind) {
            entries.times.insert(key.clone(), at);
            entries.order.insert((at, key));
        }
        Ledger { kind, store: store.clone(), life, most, entries: Mutex::new(entries) }
    }

    /// The time that is remembered of a key.
    pub(super) fn of(&self, key: &str) -> Option<UnixTime> {
        self.entries().times.get(key).copied()
    }

    /// Remembers a time, unless a later one is remembered; says whether it was taken.
    pub(super) fn keep(&self, key: &str, at: UnixTime, now: UnixTime) -> bool {
        let mut entries = self.entries();
        if entries.times.get(key).is_some_and(|known| *known > at) {
            return false;
        }
        if let Some(before) = entries.times.insert(key.to_owned(), at) {
            entries.order.remove(&(before, key.to_owned()));
        }
        entries.order.insert((at, key.to_owned()));
        self.store.put_document(Document { kind: self.kind, key: key.to_owned(), value: String::new(), at });
        let oldest = now.minus(self.life);
        while let Some((at, first)) = entries.order.first().cloned() {
            if entries.order.len() <= self.most && at >= oldest {
                break;
            }
            entries.order.remove(&(at, first.clone()));
            entries.times.remove(&first);
            self.store.delete_document(self.kind, &first);
        }
        true
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreUrl;

    const LIFE: Duration = Duration::from_secs(100);

    #[test]
    fn the_newest_time_stays_and_the_oldest_keys_give_way() {
        let store = Store::open(&StoreUrl::Memory).unwrap();
        let ledger = Ledger::restore("test", &store, LIFE, 2);
        let now = UnixTime(1000);
        assert!(ledger.keep("a", UnixTime(990), now));
        assert!(!ledger.keep("a", UnixTime(980), now), "an older one changes nothing");
        assert!(ledger.keep("b", UnixTime(991), now) && ledger.keep("c", UnixTime(992), now));
        assert_eq!((ledger.of("a"), ledger.of("c")), (None, Some(UnixTime(992))), "two keys at most");
        assert!(ledger.keep("d", UnixTime(1200), UnixTime(1200)));
        assert_eq!((ledger.of("b"), ledger.of("d")), (None, Some(UnixTime(1200))), "what is too old is forgotten");
    }

    #[tokio::test]
    async fn it_outlives_a_restart() {
        let path = std::env::temp_dir().join(format!("ztsa-ledger-{}.db", std::process::id()));
        let url = StoreUrl::Sqlite(path.clone());
        let store = Store::open(&url).unwrap();
        let ledger = Ledger::restore("test", &store, LIFE, 10);
        assert!(ledger.keep("a", UnixTime(5), UnixTime(5)));
        store.flush().await.unwrap();
        drop((store, ledger));
        let store = Store::open(&url).unwrap();
        assert_eq!(Ledger::restore("test", &store, LIFE, 10).of("a"), Some(UnixTime(5)));
        assert_eq!(Ledger::restore("other", &store, LIFE, 10).of("a"), None);
        for end in ["", "-wal", "-shm", ".lock"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }
}
