//! The wall clock as a value: decisions take a [`UnixTime`], and the thin shell around them asks a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ztsa_proto::time::UnixTime;

/// Tells the wall-clock time: the system's, or one that a test moves by hand.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { wall: UnixTime, since: Instant },
    Manual(Arc<Hands>),
}

/// What a manual clock shows.
#[derive(Debug)]
struct Hands {
    wall: AtomicU64,
    steady: AtomicU64,
}

/// Moves a manual [`Clock`].
#[derive(Debug, Clone)]
pub struct ClockHand(Arc<Hands>);

impl Clock {
    /// Returns the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System { wall: wall(), since: Instant::now() })
    }

    /// Returns a clock that stands at `start` until its hand moves it.
    #[must_use]
    pub fn manual(start: UnixTime) -> (Self, ClockHand) {
        let hands = Arc::new(Hands { wall: AtomicU64::new(start.0), steady: AtomicU64::new(start.0) });
        (Self(Source::Manual(hands.clone())), ClockHand(hands))
    }

    /// Returns the time now, in whole seconds. A system clock before 1970 reads as 0.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        match &self.0 {
            Source::System { .. } => wall(),
            Source::Manual(hands) => UnixTime(hands.wall.load(Ordering::SeqCst)),
        }
    }

    /// Returns the time that this clock would show had nobody set it since it was made: it goes on evenly, whatever becomes
    /// of the wall clock. For deadlines that last some minutes and are told as a number of seconds.
    #[must_use]
    pub fn steady(&self) -> UnixTime {
        match &self.0 {
            Source::System { wall, since } => wall.plus(since.elapsed()),
            Source::Manual(hands) => UnixTime(hands.steady.load(Ordering::SeqCst)),
        }
    }
}

fn wall() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

impl ClockHand {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.wall.fetch_add(by.as_secs(), Ordering::SeqCst);
        self.0.steady.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// Sets the clock, as somebody does who corrects it: no time passes.
    pub fn set(&self, to: UnixTime) {
        self.0.wall.store(to.0, Ordering::SeqCst);
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
        assert_eq!((copy.now(), copy.steady()), (UnixTime(105), UnixTime(105)));
        hand.set(UnixTime(1));
        assert_eq!((clock.now(), clock.steady()), (UnixTime(1), UnixTime(105)), "time passes only by itself");
    }

    #[test]
    fn the_system_clock_is_past_the_writing_of_this_test() {
        assert!(Clock::system().now() > UnixTime(1_795_000_000));
    }
}
