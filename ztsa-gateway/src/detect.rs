//! The built-in detectors: what a person or a device does now, against what is known of them.
//!
//! Each is a pure function of the person's history, the event, its settings and the time. [`observe`] asks those whom an event
//! concerns, and adds the event to the history.
//!
//! # Security
//! An event is about whoever proved who they are: by a session with its key, by a known device's key, by an issuer's token.
//! What a stranger can make for nothing is never an event, and what somebody who overheard a request can send again counts once.

mod app;
mod country;
mod destination;
mod grant;
mod hours;
mod login;
mod network;
mod posture;
mod replay;
mod travel;
mod volume;

use ztsa_proto::name::{AppName, DeviceId, SessionId, UserId};
use ztsa_proto::time::UnixTime;

use crate::config::risk::{Detectors, Weight};
use crate::history::{Apps, Person};
use crate::lookup::{Listed, Place};
use crate::store::{NewSignal, Subject};

/// Who says so, in every signal of a detector.
pub const SOURCE: &str = crate::risk::DETECTED;

pub use crate::config::risk::PostureWorse;
pub use posture::failed;

/// Says what happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// The person signed in or asked for an app, from here.
    Seen {
        /// Where they are.
        place: &'a Place,
    },
    /// The person's client renewed a session, from here. It does so by itself: it says nothing about when they are at work.
    Renewed {
        /// Where it is.
        place: &'a Place,
    },
    /// The person was let into an app.
    Opened {
        /// The app.
        app: &'a AppName,
    },
    /// The person was refused by policy, or asked for what is not there.
    Refused {
        /// What they asked for.
        asked: &'a str,
    },
    /// A sign-in or renewal was refused that a known device's key asked for.
    LoginFailed {
        /// The device.
        device: &'a DeviceId,
        /// The proof that came with it.
        proof: &'a str,
    },
    /// A request came again with its proof.
    Replayed {
        /// The device whose key signed the proof.
        device: &'a DeviceId,
        /// The session whose token came with it, when there was one.
        session: Option<&'a SessionId>,
        /// The proof.
        proof: &'a str,
    },
    /// A check of a device passed before and fails now.
    Worse {
        /// The device.
        device: &'a DeviceId,
        /// The check.
        check: &'a str,
    },
    /// Tunnels carried bytes, both ways.
    Carried {
        /// How many since the last time.
        bytes: u64,
    },
    /// A tunnel leads to a destination of ill repute.
    Dialled {
        /// The app.
        app: &'a AppName,
        /// Where it was found.
        listed: &'a Listed,
    },
}

/// Says what a detector noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of signal.
    pub kind: &'static str,
    /// Whom it is about; the person, when nothing else.
    pub about: Option<Subject>,
    /// What tells it from others of its kind: one cause counts once.
    pub cause: String,
    /// Why, in words for the person.
    pub reason: String,
    /// What it counts.
    pub weight: Weight,
}

/// Holds what is known when an event comes.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    person: &'a Person,
    /// Since when anybody has opened an app.
    apps: &'a Apps,
    now: UnixTime,
}

/// Asks the detectors that an event concerns, and adds it to what is known of the person.
///
/// What was told of the same cause within its `again` is not told again.
pub fn observe(
    person: &mut Person,
    apps: &Apps,
    event: &Event<'_>,
    signals: &Detectors,
    now: UnixTime,
) -> Vec<Finding> {
    person.forget_later(now);
    count(person, event, signals, now);
    let known = Known { person, apps, now };
    let mut found: Vec<Finding> = match event {
        Event::Seen { place } => {
            places(known, place, signals).into_iter().chain(hours::detect(known, &signals.hours)).collect()
        }
        Event::Renewed { place } => places(known, place, signals),
        Event::Opened { app } => app::detect(known, app, &signals.app).into_iter().collect(),
        Event::Refused { .. } => grant::detect(known, &signals.grant).into_iter().collect(),
        Event::LoginFailed { device, .. } => login::detect(known, device, &signals.login).into_iter().collect(),
        Event::Replayed { device, session, .. } => {
            replay::detect(known, device, *session, &signals.dpop).into_iter().collect()
        }
        Event::Worse { device, check } => vec![posture::found(device, check, &signals.posture)],
        Event::Carried { bytes } => volume::detect(known, *bytes, &signals.volume).into_iter().collect(),
        Event::Dialled { app, listed } => vec![destination::found(app, listed, &signals.destination)],
    };
    found.retain(|finding| {
        let told = person.told(&finding.key()).is_some_and(|at| now.since(at) < finding.weight.again);
        finding.weight.enabled && finding.weight.points > 0 && !told
    });
    for finding in &found {
        person.note_told(&finding.key(), now);
    }
    learn(person, event, now);
    found
}

/// Asks the detectors that look at where somebody is.
fn places(known: Known<'_>, place: &Place, signals: &Detectors) -> Vec<Finding> {
    let found = [
        country::detect(known, place, &signals.country),
        network::detect(known, place, &signals.network),
        travel::detect(known, place, &signals.travel),
    ];
    found.into_iter().flatten().collect()
}

/// Adds what is only counted for a while.
fn count(person: &mut Person, event: &Event<'_>, signals: &Detectors, now: UnixTime) {
    match event {
        Event::Refused { asked } => grant::count(person, asked, &signals.grant, now),
        Event::LoginFailed { device, proof } => login::count(person, device, proof, &signals.login, now),
        Event::Replayed { device, session, proof } => {
            replay::count(person, device, *session, proof, &signals.dpop, now);
        }
        _ => {}
    }
}

/// Adds what makes a habit.
fn learn(person: &mut Person, event: &Event<'_>, now: UnixTime) {
    match event {
        Event::Seen { place } => {
            person.note_active(now);
            person.note_place(place, now);
        }
        Event::Renewed { place } => person.note_place(place, now),
        Event::Opened { app } => {
            person.note_active(now);
            person.note_app(app, now);
        }
        Event::Carried { bytes } => person.note_bytes(*bytes, now),
        _ => {}
    }
}

impl Finding {
    /// Makes the signal.
    pub fn signal(&self, person: &UserId, now: UnixTime) -> NewSignal {
        NewSignal {
            subject: self.about.clone().unwrap_or_else(|| Subject::User(person.clone())),
            kind: self.kind.to_owned(),
            score: self.weight.points,
            reason: self.reason.clone(),
            source: SOURCE.to_owned(),
            cause: self.cause.clone(),
            at: now,
            expires_at: Some(now.plus(self.weight.lasts)),
            half_life: self.weight.half_life.map(|life| life.as_secs()),
        }
    }

    fn key(&self) -> String {
        key(self.kind, &self.cause)
    }
}

/// Names what is remembered as told.
pub fn key(kind: &str, cause: &str) -> String {
    format!("{kind} {cause}")
}

impl Known<'_> {
    /// Says whether the person was active on enough days before today.
    fn for_days(&self, least: u32) -> bool {
        self.person.days_before(self.now).nth(usize::try_from(least.max(1) - 1).unwrap_or(usize::MAX)).is_some()
    }
}

/// Tells one text from others while the process runs.
fn mark(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What is usual: what was seen on the most days, and last of those.
fn usual(seen: &std::collections::BTreeMap<String, crate::history::Seen>) -> Option<(&String, &crate::history::Seen)> {
    seen.iter().max_by_key(|(_, seen)| (seen.days, seen.last))
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
