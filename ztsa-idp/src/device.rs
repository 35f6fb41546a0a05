//! Device authorizations (RFC 8628): asked for by a device, decided by a person at a browser, polled for meanwhile.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;
use ztsa_proto::name::DeviceId;
use ztsa_proto::time::UnixTime;

use crate::expiring::Expiring;
use crate::grant::{Ask, Grant};
use crate::sign_in::{Authentication, Demand};

/// A user code: eight consonants, so that it neither spells words nor mixes up letters (RFC 8628 section 6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserCode(String);

/// What a device asked for, and what a person should know about it.
#[derive(Debug, Clone)]
pub(crate) struct DeviceAsk {
    pub(crate) ask: Ask,
    pub(crate) demand: Demand,
    pub(crate) address: IpAddr,
    pub(crate) agent: String,
    pub(crate) at: UnixTime,
}

/// The device authorizations that are known.
#[derive(Debug)]
pub(crate) struct Devices {
    by_device_code: Expiring<Pending>,
    device_codes: Expiring<String>,
}

#[derive(Debug)]
struct Pending {
    ask: DeviceAsk,
    state: State,
    expires_at: UnixTime,
    interval: Duration,
    polled: Option<Moment>,
}

#[derive(Debug, Clone)]
enum State {
    Waiting,
    Approved(Authentication),
    Denied,
    Redeemed { grant: String },
}

/// A time on both clocks. A poll is too early only when both say so: the steady clock stands still while the machine
/// sleeps, and the wall clock, which counts whole seconds, has surely passed the interval when it shows more than that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: UnixTime,
    pub(crate) steady: Instant,
}

/// Why a poll brings no tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PollError {
    #[error("the person has not decided yet")]
    Waiting,
    #[error("polls come too fast; the interval is now {0} seconds")]
    SlowDown(u64),
    #[error("the person refused")]
    Denied,
    #[error("the code has expired; ask for a new one")]
    Expired,
    #[error("the device code is unknown")]
    Unknown,
    #[error("the DPoP key differs from the one that asked for the code")]
    Key,
    #[error("the device code was used before; every token made from it is revoked")]
    Reused(String),
}

/// What each `slow_down` adds to the interval, for good (RFC 8628 section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// How much earlier than the interval a poll may arrive.
const TOLERANCE: Duration = Duration::from_millis(200);

impl UserCode {
    const LETTERS: &'static [u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
    const LENGTH: usize = 8;

    /// Makes a code out of random bytes, leaving out those that would make some letters likelier than others.
    pub(crate) fn from_random(bytes: impl Iterator<Item = u8>) -> Option<Self> {
        let letters = bytes.filter(|byte| *byte < 240).filter_map(|byte| Self::LETTERS.get(usize::from(byte % 20)));
        let code: String = letters.take(Self::LENGTH).map(|letter| char::from(*letter)).collect();
        (code.len() == Self::LENGTH).then_some(Self(code))
    }

    /// Reads what a person typed: case, blanks and dashes do not matter.
    pub(crate) fn read(typed: &str) -> Option<Self> {
        let code: String = typed
            .chars()
            .filter(|letter| !letter.is_whitespace() && !matches!(letter, '-' | '\u{2010}'..='\u{2015}'))
            .map(|letter| letter.to_ascii_uppercase())
            .take(Self::LENGTH + 1)
            .collect();
        let valid = code.len() == Self::LENGTH && code.bytes().all(|letter| Self::LETTERS.contains(&letter));
        valid.then_some(Self(code))
    }
}

impl std::fmt::Display for UserCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, second) = self.0.split_at_checked(4).unwrap_or((&self.0, ""));
        write!(formatter, "{first}-{second}")
    }
}

impl Devices {
    pub(crate) fn new() -> Self {
        Self { by_device_code: Expiring::new(4096), device_codes: Expiring::new(4096) }
    }

    /// Tells whether a user code is in use.
    pub(crate) fn is_taken(&self, code: &UserCode, now: UnixTime) -> bool {
        self.device_codes.get(&code.0, now).is_some()
    }

    pub(crate) fn add(
        &mut self,
        (device_code, user_code): (&str, &UserCode),
        ask: DeviceAsk,
        (ttl, interval): (Duration, Duration),
    ) {
        let now = ask.at;
        let expires_at = now.plus(ttl);
        self.device_codes.insert(user_code.0.clone(), device_code.to_owned(), expires_at, now);
        // kept for longer than it is good, so that a late poll hears "expired"
        let kept_until = expires_at.plus(ttl);
        let pending = Pending { ask, state: State::Waiting, expires_at, interval, polled: None };
        self.by_device_code.insert(device_code.to_owned(), pending, kept_until, now);
    }

    /// Returns what was asked for under a user code that still waits for a decision.
    pub(crate) fn waiting(&self, code: &UserCode, now: UnixTime) -> Option<&DeviceAsk> {
        let pending = self.by_device_code.get(self.device_codes.get(&code.0, now)?, now)?;
        matches!(pending.state, State::Waiting).then_some(&pending.ask)
    }

    /// Records a person's decision: `None` is a refusal. Returns whether there was something to decide. The user code
    /// is used up by it.
    pub(crate) fn decide(&mut self, code: &UserCode, sign_in: Option<Authentication>, now: UnixTime) -> bool {
        let Some(device_code) = self.device_codes.remove(&code.0, now) else { return false };
        let Some(pending) = self.by_device_code.get_mut(&device_code, now) else { return false };
        if pending.expires_at <= now || !matches!(pending.state, State::Waiting) {
            return false;
        }
        pending.state = sign_in.map_or(State::Denied, State::Approved);
        true
    }

    /// Answers a poll. `grant` names the grant that comes to be when the person has approved.
    pub(crate) fn poll(
        &mut self,
        device_code: &str,
        (client, key): (&str, Option<&DeviceId>),
        grant: String,
        at: Moment,
    ) -> Result<Grant, PollError> {
        let pending = self.by_device_code.get_mut(device_code, at.wall);
        let pending = pending.filter(|pending| pending.ask.ask.client == client).ok_or(PollError::Unknown)?;
        if pending.ask.ask.key.is_some() && pending.ask.ask.key.as_ref() != key {
            return Err(PollError::Key);
        }
        if let State::Redeemed { grant } = &pending.state {
            return Err(PollError::Reused(grant.clone()));
        }
        if pending.expires_at <= at.wall {
            return Err(PollError::Expired);
        }
        let early = pending.polled.replace(at).is_some_and(|last| last.is_within(pending.interval, at));
        if early {
            pending.interval += SLOW_DOWN;
            return Err(PollError::SlowDown(pending.interval.as_secs()));
        }
        match pending.state.clone() {
            State::Waiting => Err(PollError::Waiting),
            State::Denied => Err(PollError::Denied),
            State::Redeemed { grant } => Err(PollError::Reused(grant)),
            State::Approved(sign_in) => {
                pending.state = State::Redeemed { grant: grant.clone() };
                Ok(Grant { id: grant, ask: pending.ask.ask.clone(), sign_in })
            }
        }
    }
}

impl Moment {
    fn is_within(self, interval: Duration, later: Self) -> bool {
        later.wall.since(self.wall) <= interval && later.steady.duration_since(self.steady) + TOLERANCE < interval
    }
}

#[cfg(test)]
mod tests;
