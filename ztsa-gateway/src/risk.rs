//! Turns signals into scores: how far a user, a device and a session are trusted at this moment, and why.
//!
//! A signal is a row of the store: who it is about, what was seen, how much it counts, since when and until when.
//! [`score()`] is a pure function of the signals and the time; [`Risk`] holds the live signals by subject.

mod score;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ztsa_proto::name::{DeviceId, SessionId, UserId};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::time::UnixTime;

use crate::config::Thresholds;
use crate::store::{NewSignal, Signal, Store, Subject};

pub use score::{Counted, DETECTED, Scores, score};

/// The kind of an administrator's word: while it lasts, the subject's score is exactly that.
pub const ADMINISTRATOR: &str = "admin";

/// At most this many signals of one subject count; the oldest give way.
const MAX_SIGNALS: usize = 64;

/// Says what the scores mean for a tunnel.
#[derive(Debug, Clone, PartialEq)]
pub enum Tolerance {
    /// Every score is below the thresholds.
    Within,
    /// New tunnels are refused and live ones paused, for this reason.
    Suspend(Problem),
    /// New tunnels are refused and live ones ended, for this reason.
    Terminate(Problem),
}

/// Compares the scores with the thresholds; the highest score names the reason.
pub fn tolerance(scores: &Scores, thresholds: &Thresholds) -> Tolerance {
    let (score, code, whose) = [
        (scores.user, "risk.user", "your"),
        (scores.device, "risk.device", "this device's"),
        (scores.session, "risk.session", "this session's"),
    ]
    .into_iter()
    .fold((0, "", ""), |worst, next| if next.0 > worst.0 { next } else { worst });
    if code.is_empty() || score < thresholds.suspend.min(thresholds.terminate) {
        return Tolerance::Within;
    }
    let mut problem = problem::new(code);
    let reasons = scores.reasons(code);
    problem.detail = format!("{whose} risk is {score} of 100");
    if !reasons.is_empty() {
        problem.detail = format!("{}: {}", problem.detail, reasons.join("; "));
    }
    if score >= thresholds.terminate { Tolerance::Terminate(problem) } else { Tolerance::Suspend(problem) }
}

/// Holds the live signals by subject; the store keeps them for the next start.
#[derive(Debug, Clone)]
pub struct Risk {
    store: Store,
    live: Arc<RwLock<HashMap<Subject, Vec<Signal>>>>,
}

impl Risk {
    /// Restores the signals that still count, and forgets the others.
    pub fn restore(store: Store, now: UnixTime) -> Self {
        let mut live: HashMap<Subject, Vec<Signal>> = HashMap::new();
        for signal in store.signals() {
            if score::counts(&signal.signal, now) {
                live.entry(signal.signal.subject.clone()).or_default().push(signal);
            } else {
                store.delete_signal(signal.id);
            }
        }
        Self { store, live: Arc::new(RwLock::new(live)) }
    }

    /// Scores one session of one person on one device.
    pub fn scores(&self, user: &UserId, device: &DeviceId, session: &SessionId, now: UnixTime) -> Scores {
        let subjects =
            [Subject::User(user.clone()), Subject::Device(device.clone()), Subject::Session(session.clone())];
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let signals = subjects.iter().filter_map(|subject| live.get(subject)).flatten();
        score(signals.map(|signal| &signal.signal), now)
    }

    /// Lists the signals that count at `now`, of one subject or of all.
    pub fn signals(&self, subject: Option<&Subject>, now: UnixTime) -> Vec<NewSignal> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let one = subject.and_then(|subject| live.get(subject));
        let all = subject.is_none().then(|| live.values()).into_iter().flatten();
        let signals = one.into_iter().chain(all).flatten().map(|signal| &signal.signal);
        let mut signals: Vec<NewSignal> = signals.filter(|signal| score::counts(signal, now)).cloned().collect();
        signals.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.subject.key().cmp(&b.subject.key())));
        signals
    }

    /// Adds a signal.
    pub fn add(&self, signal: NewSignal) {
        self.put(signal, |_, _| false);
    }

    /// Adds a signal in place of what the same source said of the same kind and cause: at no moment is neither there.
    pub fn replace(&self, signal: NewSignal) {
        self.put(signal, |old, new| (&old.kind, &old.source, &old.cause) == (&new.kind, &new.source, &new.cause));
    }

    fn put(&self, signal: NewSignal, replaces: impl Fn(&NewSignal, &NewSignal) -> bool) {
        let kept = self.store.insert_signal(signal);
        let dropped: Vec<Signal> = {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            let signals = live.entry(kept.signal.subject.clone()).or_default();
            let mut dropped: Vec<Signal> = signals.extract_if(.., |old| replaces(&old.signal, &kept.signal)).collect();
            signals.push(kept);
            // an administrator's word never gives way to what a peer can cause
            let oldest = signals.iter().position(|signal| signal.signal.kind != ADMINISTRATOR);
            dropped.extend(oldest.filter(|_| signals.len() > MAX_SIGNALS).map(|oldest| signals.remove(oldest)));
            dropped
        };
        for signal in dropped {
            self.store.delete_signal(signal.id);
        }
    }

    /// Makes the subject's score exactly `score` until `lasts` is over or the word is taken back.
    pub fn set(&self, subject: Subject, score: u8, reason: &str, now: UnixTime, lasts: Option<Duration>) {
        let word = NewSignal {
            subject,
            kind: ADMINISTRATOR.to_owned(),
            score: score.min(100),
            reason: reason.to_owned(),
            source: ADMINISTRATOR.to_owned(),
            cause: String::new(),
            at: now,
            expires_at: lasts.map(|lasts| now.plus(lasts)),
            half_life: None,
        };
        // in place of the last one: at no moment is neither there
        self.put(word, |old, _| old.kind == ADMINISTRATOR);
    }

    /// Takes the administrator's word about the subject back; says whether there was one.
    pub fn clear(&self, subject: &Subject) -> bool {
        self.remove(subject, |signal| signal.kind == ADMINISTRATOR)
    }

    /// Takes back what one source said of one kind and cause about the subject; says whether there was anything.
    pub fn withdraw(&self, subject: &Subject, kind: &str, source: &str, cause: &str) -> bool {
        self.remove(subject, |signal| signal.kind == kind && signal.source == source && signal.cause == cause)
    }

    /// Scores one subject by itself.
    pub fn score_of(&self, subject: &Subject, now: UnixTime) -> Scores {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        score(live.get(subject).into_iter().flatten().map(|signal| &signal.signal), now)
    }

    /// Forgets the signals that no longer count, and gives their subjects.
    pub fn expire(&self, now: UnixTime) -> Vec<Subject> {
        let over: Vec<Subject> = {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            let any_over = |signals: &Vec<Signal>| signals.iter().any(|signal| !score::counts(&signal.signal, now));
            live.iter().filter(|(_, signals)| any_over(signals)).map(|(subject, _)| subject.clone()).collect()
        };
        for subject in &over {
            self.remove(subject, |signal| !score::counts(signal, now));
        }
        over
    }

    fn remove(&self, subject: &Subject, unwanted: impl Fn(&NewSignal) -> bool) -> bool {
        let removed: Vec<i64> = {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            let Some(signals) = live.get_mut(subject) else { return false };
            let removed = signals.iter().filter(|signal| unwanted(&signal.signal)).map(|signal| signal.id).collect();
            signals.retain(|signal| !unwanted(&signal.signal));
            if signals.is_empty() {
                live.remove(subject);
            }
            removed
        };
        for id in &removed {
            self.store.delete_signal(*id);
        }
        !removed.is_empty()
    }
}

#[cfg(test)]
mod tests;
