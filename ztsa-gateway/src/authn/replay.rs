//! Remembers which proofs were used, for as long as their nonce could be used again (RFC 9449 section 11.1).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use ztsa_proto::name::DeviceId;
use ztsa_proto::time::UnixTime;

use super::AuthnError;

/// Holds two generations of used proofs, each as long as a nonce's life, so that every one is remembered for at least that.
#[derive(Debug)]
pub(super) struct Replays {
    life: Duration,
    most: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    since: UnixTime,
    now: HashSet<u128>,
    before: HashSet<u128>,
    /// What was accepted while the clock was far ahead, until nothing of that time can be used again.
    ahead: HashSet<u128>,
    ahead_until: UnixTime,
}

impl Replays {
    /// Remembers at most `2 * most` proofs; one more is refused, because forgetting one would let it be replayed. A clock that
    /// was ahead by more than `life` and is set right makes it as many again.
    pub(super) fn new(life: Duration, most: usize) -> Replays {
        Replays { life, most, generations: Mutex::default() }
    }

    /// Accepts a proof the first time it is seen.
    ///
    /// # Errors
    /// [`AuthnError::Replay`], or [`AuthnError::Crowded`] when nothing more can be remembered.
    pub(super) fn first(&self, device: &DeviceId, jti: &str, now: UnixTime) -> Result<(), AuthnError> {
        let key = fingerprint(device, jti);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.set_back(now, self.life, self.most);
        generations.turn(now, self.life);
        if generations.holds(&key) {
            return Err(AuthnError::Replay { device: device.clone(), session: None, proof: jti.to_owned() });
        }
        if generations.now.len() >= self.most {
            return Err(AuthnError::Crowded);
        }
        generations.now.insert(key);
        Ok(())
    }
}

impl Generations {
    /// Begins anew when the clock was far ahead and has been set right: waiting for it to be there again would only fill up.
    ///
    /// What was accepted meanwhile stays refused until the clock has passed that time for good: its nonces are good again then.
    /// Should it be set back so often that this grows, it waits after all: nothing is forgotten.
    fn set_back(&mut self, now: UnixTime, life: Duration, most: usize) {
        if now > self.ahead_until {
            self.ahead = HashSet::new();
        }
        let room = self.ahead.len() + self.now.len() + self.before.len() <= most.saturating_mul(2);
        if self.since > now.plus(life) && room {
            self.ahead_until = self.ahead_until.max(self.since.plus(life * 2));
            self.ahead.extend(self.now.drain().chain(self.before.drain()));
            self.since = now;
        }
    }

    fn holds(&self, key: &u128) -> bool {
        self.now.contains(key) || self.before.contains(key) || self.ahead.contains(key)
    }

    fn turn(&mut self, now: UnixTime, life: Duration) {
        let age = now.since(self.since);
        if age > life {
            self.before = if age > life * 2 { HashSet::new() } else { std::mem::take(&mut self.now) };
            self.now = HashSet::new();
            self.since = now;
        }
    }
}

/// 128 bits of SHA-256 over device and `jti`: the device's identifier has one length, so no two pairs read the same.
fn fingerprint(device: &DeviceId, jti: &str) -> u128 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(device.as_str().as_bytes());
    context.update(jti.as_bytes());
    let hash = context.finish();
    hash.as_ref().first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ztsa_proto::jws::{Signer as _, SoftwareKey};

    const NOW: UnixTime = UnixTime(1_795_000_000);
    const LIFE: Duration = Duration::from_secs(300);

    fn device() -> DeviceId {
        SoftwareKey::generate().unwrap().public_key().thumbprint()
    }

    #[test]
    fn a_proof_counts_once_for_as_long_as_its_nonce_lives() {
        let (replays, device) = (Replays::new(LIFE, 100), device());
        assert!(replays.first(&device, "a", NOW).is_ok());
        for later in [0, 1, 150, 299, 300] {
            let again = replays.first(&device, "a", NOW.plus(Duration::from_secs(later)));
            assert!(matches!(again, Err(AuthnError::Replay { .. })), "after {later} s");
        }
        assert!(replays.first(&device, "a", NOW.plus(LIFE * 3)).is_ok(), "long after its nonce died");
    }

    #[test]
    fn a_proof_late_in_a_generation_is_remembered_into_the_next() {
        let (replays, device) = (Replays::new(LIFE, 100), device());
        assert!(replays.first(&device, "early", NOW).is_ok());
        assert!(replays.first(&device, "late", NOW.plus(Duration::from_secs(299))).is_ok());
        let later = NOW.plus(Duration::from_secs(301));
        assert!(replays.first(&device, "turn", later).is_ok());
        let again = replays.first(&device, "late", NOW.plus(Duration::from_secs(598)));
        assert!(matches!(again, Err(AuthnError::Replay { .. })));
    }

    #[test]
    fn a_clock_that_was_ahead_fills_nothing_up_and_lets_nothing_in_twice() {
        let (replays, device) = (Replays::new(LIFE, 2), device());
        let ahead = NOW.plus(Duration::from_secs(86_400));
        assert!(replays.first(&device, "tomorrow", ahead).is_ok());
        // set right: as good as new, for longer than the memory would last
        for number in 0..20_u64 {
            let now = NOW.plus(Duration::from_secs(number * 151));
            assert!(replays.first(&device, &number.to_string(), now).is_ok(), "{number}");
            for seen in ["tomorrow", &number.to_string()] {
                assert!(matches!(replays.first(&device, seen, now), Err(AuthnError::Replay { .. })), "{seen} {number}");
            }
        }
        // a nonce of that time is good again when that time comes
        for later in [0, 150, 300, 360] {
            let again = replays.first(&device, "tomorrow", ahead.plus(Duration::from_secs(later)).minus(LIFE / 5));
            assert!(matches!(again, Err(AuthnError::Replay { .. })), "after {later} s");
        }
        assert!(replays.first(&device, "tomorrow", ahead.plus(LIFE * 3)).is_ok(), "long after its nonce died");
    }

    #[test]
    fn a_clock_that_jumps_again_and_again_has_nothing_forgotten() {
        let (replays, device) = (Replays::new(LIFE, 2), device());
        let at = |number: u64| NOW.plus(Duration::from_secs((number % 2) * 3600 + number));
        let accepted: Vec<u64> =
            (0..40).filter(|number| replays.first(&device, &number.to_string(), at(*number)).is_ok()).collect();
        assert_eq!(accepted, (0..=10).collect::<Vec<_>>(), "then there is no room for more");
        // what was accepted while it was ahead
        for number in accepted.iter().filter(|number| *number % 2 == 1) {
            for now in [at(50), at(51)] {
                let again = replays.first(&device, &number.to_string(), now);
                assert!(matches!(again, Err(AuthnError::Replay { .. })), "{number}");
            }
        }
    }

    #[test]
    fn devices_do_not_share_identifiers() {
        let replays = Replays::new(LIFE, 100);
        assert!(replays.first(&device(), "a", NOW).is_ok());
        assert!(replays.first(&device(), "a", NOW).is_ok());
    }

    #[test]
    fn a_full_memory_refuses_instead_of_forgetting() {
        let (replays, device) = (Replays::new(LIFE, 2), device());
        assert!(replays.first(&device, "a", NOW).is_ok());
        assert!(replays.first(&device, "b", NOW).is_ok());
        assert!(matches!(replays.first(&device, "c", NOW), Err(AuthnError::Crowded)));
        assert!(matches!(replays.first(&device, "a", NOW), Err(AuthnError::Replay { .. })));
        assert!(replays.first(&device, "c", NOW.plus(Duration::from_secs(301))).is_ok());
    }
}
