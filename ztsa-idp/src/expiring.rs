//! A map that is bounded in size and forgets what has expired.

use std::collections::HashMap;

use ztsa_proto::time::UnixTime;

/// Holds values by name until they expire; when full, what expires first makes room.
#[derive(Debug)]
pub(crate) struct Expiring<V> {
    entries: HashMap<String, Entry<V>>,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<V> {
    expires_at: UnixTime,
    value: V,
}

impl<V> Expiring<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), capacity }
    }

    /// Inserts a value and tells whether the name was free.
    pub(crate) fn insert(&mut self, name: String, value: V, expires_at: UnixTime, now: UnixTime) -> bool {
        if self.entries.len() >= self.capacity {
            self.entries.retain(|_, entry| entry.expires_at > now);
        }
        if self.entries.len() >= self.capacity {
            let first = self.entries.iter().min_by_key(|(_, entry)| entry.expires_at).map(|(name, _)| name.clone());
            if let Some(first) = first {
                self.entries.remove(&first);
            }
        }
        self.entries.insert(name, Entry { expires_at, value }).is_none_or(|old| old.expires_at <= now)
    }

    pub(crate) fn get(&self, name: &str, now: UnixTime) -> Option<&V> {
        self.entries.get(name).filter(|entry| entry.expires_at > now).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, name: &str, now: UnixTime) -> Option<&mut V> {
        self.entries.get_mut(name).filter(|entry| entry.expires_at > now).map(|entry| &mut entry.value)
    }

    pub(crate) fn remove(&mut self, name: &str, now: UnixTime) -> Option<V> {
        self.entries.remove(name).filter(|entry| entry.expires_at > now).map(|entry| entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_is_gone_and_its_name_is_free() {
        let mut map = Expiring::new(8);
        assert!(map.insert("a".into(), 1, UnixTime(10), UnixTime(0)));
        assert!(!map.insert("a".into(), 2, UnixTime(10), UnixTime(9)));
        assert_eq!(map.get("a", UnixTime(9)), Some(&2));
        assert_eq!(map.get("a", UnixTime(10)), None);
        assert!(map.insert("a".into(), 3, UnixTime(20), UnixTime(10)));
        assert_eq!(map.remove("a", UnixTime(20)), None);
    }

    #[test]
    fn a_full_map_gives_up_what_expires_first() {
        let mut map = Expiring::new(2);
        map.insert("late".into(), 1, UnixTime(100), UnixTime(0));
        map.insert("soon".into(), 2, UnixTime(50), UnixTime(0));
        map.insert("new".into(), 3, UnixTime(70), UnixTime(0));
        assert_eq!(map.get("soon", UnixTime(1)), None);
        assert_eq!((map.get("late", UnixTime(1)), map.get("new", UnixTime(1))), (Some(&1), Some(&3)));
    }
}
