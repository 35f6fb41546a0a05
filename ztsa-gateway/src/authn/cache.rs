//! Remembers verified tokens by their hash, so that the second request with a token costs no signature check.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Holds at most twice `most` values: when the young half is full, the old half is forgotten.
#[derive(Debug)]
pub(super) struct Cache<T> {
    most: usize,
    halves: Mutex<Halves<T>>,
}

#[derive(Debug)]
struct Halves<T> {
    young: HashMap<Key, T>,
    old: HashMap<Key, T>,
}

/// The SHA-256 of a token: no token is kept.
pub(super) type Key = [u8; 32];

/// Hashes a token.
pub(super) fn key(token: &str) -> Key {
    let mut key = [0; 32];
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    key.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    key
}

/// Writes a hash as text.
pub(super) fn text(key: &Key) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

impl<T: Clone> Cache<T> {
    pub(super) fn new(most: usize) -> Cache<T> {
        Cache { most, halves: Mutex::new(Halves { young: HashMap::new(), old: HashMap::new() }) }
    }

    pub(super) fn find(&self, key: &Key) -> Option<T> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = halves.young.get(key) {
            return Some(value.clone());
        }
        let value = halves.old.remove(key)?;
        halves.keep(self.most, *key, value.clone());
        Some(value)
    }

    pub(super) fn keep(&self, key: Key, value: T) {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner).keep(self.most, key, value);
    }
}

impl<T> Halves<T> {
    fn keep(&mut self, most: usize, key: Key, value: T) {
        if self.young.len() >= most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_whole_is_bounded() {
        let cache = Cache::new(10);
        let used = key("used");
        cache.keep(used, 0);
        for n in 0..100 {
            cache.keep(key(&n.to_string()), n);
            assert_eq!(cache.find(&used), Some(0), "after {n}");
        }
        let halves = cache.halves.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 20);
        drop(halves);
        assert_eq!(cache.find(&key("0")), None);
    }
}
