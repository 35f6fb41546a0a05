//! Remembers which proofs were used, for as long as their nonce could be used again (RFC 9449 section 11.1).

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use ztsa_proto::name::{DeviceId, UserId};
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
    /// How many of `now` are whose.
    shares: HashMap<UserId, usize>,
    before: HashSet<u128>,
    /// What was accepted while the clock was far ahead, until nothing of that time can be used again.
    ahead: HashSet<u128>,
    ahead_until: UnixTime,
}

/// What part of a generation is one person's, when it is half full.
const SHARES: usize = 64;

impl Replays {
    /// Remembers at most `2 * most` proofs; one more is refused, because forgetting one would let it be replayed. A clock that
    /// was ahead by more than `life` and is set right makes it as many again.
    ///
    /// Nobody fills it up for all: what is more than half full takes of each person no more than a 64th of a generation.
    pub(super) fn new(life: Duration, most: usize) -> Replays {
        Replays { life, most, generations: Mutex::default() }
    }

    /// Accepts a proof the first time it is seen; `user` is whom it counts for.
    ///
    /// # Errors
    /// [`AuthnError::Replay`], or [`AuthnError::Crowded`] when nothing more of this person can be remembered.
    pub(super) fn first(&self, user: &UserId, device: &DeviceId, jti: &str, now: UnixTime) -> Result<(), AuthnError> {
        let key = fingerprint(device, jti);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.set_back(now, self.life, self.most);
        generations.turn(now, self.life);
        if generations.holds(&key) {
            return Err(AuthnError::Replay { device: device.clone(), session: None, proof: jti.to_owned() });
        }
        generations.take(user, self.most)?;
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
            self.shares = HashMap::new();
            self.since = now;
        }
    }

    /// Takes room for one more of a person.
    fn take(&mut self, user: &UserId, most: usize) -> Result<(), AuthnError> {
        let held = self.now.len();
        let share = self.shares.get(user).copied().unwrap_or_default();
        if held >= most || (held >= most / 2 && share >= (most / SHARES).max(1)) {
            return Err(AuthnError::Crowded);
        }
        // no more entries than proofs
        match self.shares.get_mut(user) {
            Some(share) => *share += 1,
            None => drop(self.shares.insert(user.clone(), 1)),
        }
        Ok(())
    }

    fn holds(&self, key: &u128) -> bool {
        self.now.contains(key) || self.before.contains(key) || self.ahead.contains(key)
    }

    fn turn(&mut self, now: UnixTime, life: Duration) {
        let age = now.since(self.since);
        if age > life {
            self.before = if age > life * 2 { HashSet::new() } else { std::mem::take(&mut self.now) };
            self.now = HashSet::new();
            self.shares = HashMap::new();
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

    fn user(name: &str) -> UserId {
        UserId::new("https://idp.example", name).unwrap()
    }

    /// Each proof as if it were of a person of its own, whose share is never the question.
    fn first(replays: &Replays, device: &DeviceId, jti: &str, now: UnixTime) -> Result<(), AuthnError> {
        replays.first(&user(jti), device, jti, now)
    }

    fn device() -> DeviceId {
        SoftwareKey::generate().unwrap().public_key().thumbprint()
    }

    #[test]
    fn a_proof_counts_once_for_as_long_as_its_nonce_lives() {
        let (replays, device) = (Replays::new(LIFE, 100), device());
        assert!(first(&replays, &device, "a", NOW).is_ok());
        for later in [0, 1, 150, 299, 300] {
            let again = first(&replays, &device, "a", NOW.plus(Duration::from_secs(later)));
            assert!(matches!(again, Err(AuthnError::Replay { .. })), "after {later} s");
        }
        assert!(first(&replays, &device, "a", NOW.plus(LIFE * 3)).is_ok(), "long after its nonce died");
    }

    #[test]
    fn a_proof_late_in_a_generation_is_remembered_into_the_next() {
        let (replays, device) = (Replays::new(LIFE, 100), device());
        assert!(first(&replays, &device, "early", NOW).is_ok());
        assert!(first(&replays, &device, "late", NOW.plus(Duration::from_secs(299))).is_ok());
        let later = NOW.plus(Duration::from_secs(301));
        assert!(first(&replays, &device, "turn", later).is_ok());
        let again = first(&replays, &device, "late", NOW.plus(Duration::from_secs(598)));
        assert!(matches!(again, Err(AuthnError::Replay { .. })));
    }

    #[test]
    fn a_clock_that_was_ahead_fills_nothing_up_and_lets_nothing_in_twice() {
        let (replays, device) = (Replays::new(LIFE, 2), device());
        let ahead = NOW.plus(Duration::from_secs(86_400));
        assert!(first(&replays, &device, "tomorrow", ahead).is_ok());
        // set right: as good as new, for longer than the memory would last
        for number in 0..20_u64 {
            let now = NOW.plus(Duration::from_secs(number * 151));
            assert!(first(&replays, &device, &number.to_string(), now).is_ok(), "{number}");
            for seen in ["tomorrow", &number.to_string()] {
                assert!(
                    matches!(first(&replays, &device, seen, now), Err(AuthnError::Replay { .. })),
                    "{seen} {number}"
                );
            }
        }
        // a nonce of that time is good again when that time comes
        for later in [0, 150, 300, 360] {
            let again = first(&replays, &device, "tomorrow", ahead.plus(Duration::from_secs(later)).minus(LIFE / 5));
            assert!(matches!(again, Err(AuthnError::Replay { .. })), "after {later} s");
        }
        assert!(first(&replays, &device, "tomorrow", ahead.plus(LIFE * 3)).is_ok(), "long after its nonce died");
    }

    #[test]
    fn a_clock_that_jumps_again_and_again_has_nothing_forgotten() {
        let (replays, device) = (Replays::new(LIFE, 2), device());
        let at = |number: u64| NOW.plus(Duration::from_secs((number % 2) * 3600 + number));
        let accepted: Vec<u64> =
            (0..40).filter(|number| first(&replays, &device, &number.to_string(), at(*number)).is_ok()).collect();
        assert_eq!(accepted, (0..=10).collect::<Vec<_>>(), "then there is no room for more");
        // what was accepted while it was ahead
        for number in accepted.iter().filter(|number| *number % 2 == 1) {
            for now in [at(50), at(51)] {
                let again = first(&replays, &device, &number.to_string(), now);
                assert!(matches!(again, Err(AuthnError::Replay { .. })), "{number}");
            }
        }
    }

    #[test]
    fn one_person_leaves_room_for_the_others() {
        let (replays, one, other) = (Replays::new(LIFE, 6400), device(), device());
        let of = |name: &str, device: &DeviceId, from: usize| {
            let taken = |jti: &usize| replays.first(&user(name), device, &jti.to_string(), NOW).is_ok();
            (from..from + 10_000).filter(taken).count()
        };
        assert_eq!(of("mallory", &one, 0), 3200, "half, as long as nobody else needs it");
        assert_eq!(of("mallory", &other, 0), 0, "on all devices together");
        for number in 0..31 {
            assert_eq!(of(&format!("friend {number}"), &one, (number + 1) * 10_000), 100);
        }
        assert!(replays.first(&user("alice"), &other, "alice's", NOW).is_ok());
        // and the next generation is everybody's again
        assert!(replays.first(&user("mallory"), &one, "later", NOW.plus(Duration::from_secs(301))).is_ok());
    }

    #[test]
    fn devices_do_not_share_identifiers() {
        let replays = Replays::new(LIFE, 100);
        assert!(first(&replays, &device(), "a", NOW).is_ok());
        assert!(first(&replays, &device(), "a", NOW).is_ok());
    }

    #[test]
    fn a_full_memory_refuses_instead_of_forgetting() {
        let (replays, device) = (Replays::new(LIFE, 2), device());
        assert!(first(&replays, &device, "a", NOW).is_ok());
        assert!(first(&replays, &device, "b", NOW).is_ok());
        assert!(matches!(first(&replays, &device, "c", NOW), Err(AuthnError::Crowded)));
        assert!(matches!(first(&replays, &device, "a", NOW), Err(AuthnError::Replay { .. })));
        assert!(first(&replays, &device, "c", NOW.plus(Duration::from_secs(301))).is_ok());
    }
}
