//! Who signed in, how and when, and what a client demands of that.

use std::collections::HashMap;
use std::time::Duration;

use ztsa_proto::time::UnixTime;

use crate::config::User;
use crate::form::Form;

/// The strength of a sign-in: the values of `acr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Acr {
    /// `pwd`: a password.
    Password,
    /// `mfa`: a password and a second factor.
    SecondFactor,
}

/// A sign-in that took place.
#[derive(Debug, Clone)]
pub(crate) struct Authentication {
    pub(crate) user: User,
    pub(crate) at: UnixTime,
    pub(crate) acr: Acr,
}

/// What a client demands of the sign-in (OpenID Connect Core 3.1.2.1, RFC 9470).
#[derive(Debug, Clone, Default)]
pub(crate) struct Demand {
    /// The first `acr_values` that this issuer knows.
    pub(crate) acr: Option<Acr>,
    pub(crate) max_age: Option<Duration>,
    /// `prompt=login`: a sign-in that is already there does not do.
    pub(crate) login: bool,
}

impl Acr {
    pub(crate) const ALL: [Self; 2] = [Self::Password, Self::SecondFactor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::SecondFactor => "mfa",
        }
    }

    /// The authentication methods of RFC 8176.
    pub(crate) fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::SecondFactor => &["pwd", "otp", "mfa"],
        }
    }

    fn first_known(values: &str) -> Option<Self> {
        values.split(' ').find_map(|asked| Self::ALL.into_iter().find(|known| known.name() == asked))
    }
}

impl Demand {
    /// Reads `acr_values`, `max_age` and `prompt`; the error is a sentence.
    pub(crate) fn read(form: &Form) -> Result<Self, &'static str> {
        let max_age = form.value("max_age").map(str::parse::<u64>).transpose();
        Ok(Self {
            acr: form.value("acr_values").and_then(Acr::first_known),
            max_age: max_age.map_err(|_| "max_age must be a whole number of seconds")?.map(Duration::from_secs),
            login: form.value("prompt").unwrap_or_default().split(' ').any(|prompt| prompt == "login"),
        })
    }

    /// Tells whether `sign_in` does. `here` says that it took place for this very request, which is as fresh as can be.
    pub(crate) fn is_met(&self, sign_in: &Authentication, here: bool, now: UnixTime) -> bool {
        let strong = self.acr.is_none_or(|acr| sign_in.acr >= acr);
        let fresh = here || (!self.login && self.max_age.is_none_or(|age| sign_in.at.plus(age) > now));
        strong && fresh
    }
}

/// Counts wrong guesses, so that nobody goes on guessing: five wrong ones within a minute close the door for a minute.
#[derive(Debug)]
pub(crate) struct Guesses {
    wrong: HashMap<String, Vec<UnixTime>>,
}

impl Guesses {
    pub(crate) const LIMIT: usize = 5;
    pub(crate) const WINDOW: Duration = Duration::from_secs(60);
    const CAPACITY: usize = 1024;

    pub(crate) fn new() -> Self {
        Self { wrong: HashMap::new() }
    }

    /// Tells whether `who` may guess now.
    pub(crate) fn may(&self, who: &str, now: UnixTime) -> bool {
        self.wrong.get(who).is_none_or(|times| recent(times, now) < Self::LIMIT)
    }

    /// Counts a wrong guess.
    pub(crate) fn count(&mut self, who: &str, now: UnixTime) {
        if self.wrong.len() >= Self::CAPACITY {
            self.wrong.retain(|_, times| recent(times, now) > 0);
        }
        if self.wrong.len() >= Self::CAPACITY && !self.wrong.contains_key(who) {
            // full of fresh guesses of others: forget one of those rather than grow
            let any = self.wrong.keys().next().cloned();
            any.and_then(|any| self.wrong.remove(&any));
        }
        let times = self.wrong.entry(who.to_owned()).or_default();
        times.retain(|at| at.plus(Self::WINDOW) > now);
        times.push(now);
    }
}

fn recent(times: &[UnixTime], now: UnixTime) -> usize {
    times.iter().filter(|at| at.plus(Guesses::WINDOW) > now).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(query: &str) -> Demand {
        Demand::read(&Form::parse(query.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_demand_is_met_by_strength_and_freshness() {
        let sign_in = |acr| Authentication { user: User::new("alice", &[]), at: UnixTime(1000), acr };
        // query, strength, signed in for this request, seconds since, met
        let table = [
            ("", Acr::Password, false, 9999, true),
            ("acr_values=mfa", Acr::Password, true, 0, false),
            ("acr_values=mfa", Acr::SecondFactor, false, 99, true),
            ("acr_values=pwd", Acr::SecondFactor, false, 99, true),
            ("acr_values=phr+mfa+pwd", Acr::Password, false, 0, false),
            ("acr_values=phr", Acr::Password, false, 0, true),
            ("max_age=300", Acr::Password, false, 299, true),
            ("max_age=300", Acr::Password, false, 300, false),
            ("max_age=300", Acr::Password, true, 400, true),
            ("max_age=0", Acr::Password, false, 0, false),
            ("max_age=0", Acr::Password, true, 1, true),
            ("prompt=login", Acr::Password, false, 0, false),
            ("prompt=consent+login", Acr::Password, true, 0, true),
            ("prompt=consent", Acr::Password, false, 5, true),
        ];
        for (query, acr, here, later, met) in table {
            let now = UnixTime(1000 + later);
            assert_eq!(demand(query).is_met(&sign_in(acr), here, now), met, "{query} {acr:?} {here} {later}");
        }
        assert!(Demand::read(&Form::parse(b"max_age=soon").unwrap()).is_err());
    }

    #[test]
    fn the_sixth_guess_within_a_minute_is_refused_and_a_minute_later_allowed() {
        let mut guesses = Guesses::new();
        for at in 0..5 {
            assert!(guesses.may("code 127.0.0.1", UnixTime(100 + at)));
            guesses.count("code 127.0.0.1", UnixTime(100 + at));
        }
        assert!(!guesses.may("code 127.0.0.1", UnixTime(105)));
        assert!(guesses.may("code ::1", UnixTime(105)));
        assert!(guesses.may("code 127.0.0.1", UnixTime(160)));
    }
}
