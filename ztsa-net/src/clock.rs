//! The wall clock as a value: decisions take a [`UnixTime`], and the thin shell around them asks a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ztsa_proto::time::UnixTime;

/// Tells the wall-clock time: the system's, or one that a test moves by hand.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

/// Moves a manual [`Clock`].
#[derive(Debug, Clone)]
pub struct ClockHand(Arc<AtomicU64>);

impl Clock {
    /// Returns the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Returns a clock that stands at `start` until its hand moves it.
    #[must_use]
    pub fn manual(start: UnixTime) -> (Self, ClockHand) {
        let time = Arc::new(AtomicU64::new(start.0));
        (Self(Source::Manual(time.clone())), ClockHand(time))
    }

    /// Returns the time now, in whole seconds. A system clock before 1970 reads as 0.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        match &self.0 {
            Source::System => UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            Source::Manual(time) => UnixTime(time.load(Ordering::SeqCst)),
        }
    }
}

impl ClockHand {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn set(&self, to: UnixTime) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let (clock, hand) = Clock::manual(UnixTime(100));
        let copy = clock.clone();
        hand.advance(Duration::from_secs(5));
        assert_eq!(copy.now(), UnixTime(105));
        hand.set(UnixTime(1));
        assert_eq!(clock.now(), UnixTime(1));
    }

    #[test]
    fn the_system_clock_is_past_the_writing_of_this_test() {
        assert!(Clock::system().now() > UnixTime(1_795_000_000));
    }
}
