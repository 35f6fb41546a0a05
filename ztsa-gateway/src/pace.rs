//! How often something may happen: so many times at once, and so many a minute from then on.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ztsa_proto::time::UnixTime;

/// Says how often something may happen.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How many times at once.
    pub at_once: u32,
    /// How many times a minute from then on; 0 counts as 1.
    pub a_minute: u32,
}

/// Counts what happened, less what time has made good.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// In parts of which one time is [`PARTS`]: a second makes good as many as a minute makes good times.
    filled: u64,
    at: UnixTime,
    passed_over: u64,
}

/// Counts for each of many.
#[derive(Debug)]
pub struct Paces<K> {
    pace: Pace,
    counted: Mutex<Counted<K>>,
}

#[derive(Debug)]
struct Counted<K> {
    buckets: HashMap<K, Bucket>,
    /// With this many they are looked through again.
    most: usize,
}

const PARTS: u64 = 60;
/// Buckets beyond this many, and twice what was left the last time, are looked through for those that are empty again.
const KEPT: usize = 1_024;

impl Bucket {
    /// Lets it happen once more; gives how many times were refused since the last one.
    ///
    /// # Errors
    /// It happened too often: how long to wait.
    pub fn admit(&mut self, pace: Pace, now: UnixTime) -> Result<u64, Duration> {
        self.filled = self.filled(pace, now);
        self.at = now;
        let excess = (self.filled + PARTS).saturating_sub(u64::from(pace.at_once) * PARTS);
        if excess > 0 {
            self.passed_over += 1;
            return Err(Duration::from_secs(excess.div_ceil(u64::from(pace.a_minute.max(1)))));
        }
        self.filled += PARTS;
        Ok(std::mem::take(&mut self.passed_over))
    }

    fn filled(&self, pace: Pace, now: UnixTime) -> u64 {
        let good = now.since(self.at).as_secs().saturating_mul(u64::from(pace.a_minute.max(1)));
        self.filled.saturating_sub(good)
    }
}

impl<K: Eq + Hash> Paces<K> {
    /// Counts for nobody yet.
    pub fn new(pace: Pace) -> Self {
        Self { pace, counted: Mutex::new(Counted { buckets: HashMap::new(), most: KEPT }) }
    }

    /// Lets it happen once more for one; gives how many times were refused it since the last one.
    ///
    /// # Errors
    /// It happened too often: how long to wait.
    pub fn admit(&self, key: K, now: UnixTime) -> Result<u64, Duration> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { buckets, most } = &mut *counted;
        if buckets.len() >= *most {
            buckets.retain(|_, bucket| bucket.filled(self.pace, now) > 0 || bucket.passed_over > 0);
            *most = KEPT.max(buckets.len().saturating_mul(2));
        }
        buckets.entry(key).or_default().admit(self.pace, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);
    const PACE: Pace = Pace { at_once: 3, a_minute: 6 };

    fn later(seconds: u64) -> UnixTime {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn it_happens_so_often_at_once_and_so_often_a_minute() {
        let mut bucket = Bucket::default();
        (0..3).for_each(|_| assert_eq!(bucket.admit(PACE, NOW), Ok(0)));
        assert_eq!(bucket.admit(PACE, NOW), Err(Duration::from_secs(10)));
        assert_eq!(bucket.admit(PACE, later(4)), Err(Duration::from_secs(6)));
        assert_eq!(bucket.admit(PACE, later(10)), Ok(2), "it stands for those that were refused");
        assert_eq!(bucket.admit(PACE, later(10)), Err(Duration::from_secs(10)));
        assert_eq!((0..99).filter(|_| bucket.admit(PACE, later(3600)).is_ok()).count(), 3);
        // a clock that is set back neither gives nor takes
        assert!(bucket.admit(PACE, NOW).is_err());
        assert_eq!(bucket.admit(PACE, later(10)), Ok(97));
    }

    #[test]
    fn one_does_not_wait_for_another_and_what_is_empty_is_forgotten() {
        let paces = Paces::new(PACE);
        (0..10).for_each(|time| assert_eq!(paces.admit(u64::MAX, NOW).is_ok(), time < 3));
        for key in 0..20 * KEPT as u64 {
            assert_eq!(paces.admit(key, later(key)), Ok(0));
        }
        assert!(paces.counted.lock().unwrap().buckets.len() <= KEPT);
        assert_eq!(paces.admit(u64::MAX, later(10)), Ok(7), "what was refused is told, however late");
    }
}
