//! What an event does to whom it is about.

use std::time::Duration;

use ztsa_proto::name::SessionId;
use ztsa_proto::posture::State;
use ztsa_proto::set::event::{Kind, Level};
use ztsa_proto::set::{Event, Happening, Set};
use ztsa_proto::text::printable;
use ztsa_proto::time::UnixTime;

use super::subject::{Finder, Found};
use super::{OLDEST, Receiver};
use crate::audit::Outcome;
use crate::config::signals::Action;
use crate::engine::{Changed, Revoked};
use crate::measure::Cause;
use crate::posture::{Attested, COMPLIANT};
use crate::store::{NewSignal, Subject};

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(60);
/// How many facts that do not read are named.
const SHOWN: usize = 3;
/// How long a device's good name lasts, and its bad one, when the provider does not say.
const GOOD: Duration = Duration::from_secs(86_400);
const BAD: Duration = Duration::from_secs(31 * 86_400);

/// Says what an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// Sessions that began before it end.
    End,
    /// A risk signal stands for it.
    Score {
        points: u8,
        half_life: Option<Duration>,
        lasts: Duration,
    },
    /// The risk signal that stood for the like of it is taken back.
    Withdraw,
    /// Facts about the device stand for it.
    Attest,
}

/// Says what an event does under an action; `threshold` is the score that suspends.
pub(super) fn effect(event: &Event, action: Action, threshold: u8) -> Effect {
    let level = match &event.happening {
        Happening::RiskLevelChange { current, .. } => Some(*current),
        _ => None,
    };
    match action {
        Action::Ignore => Effect::Nothing,
        Action::Noncompliant => Effect::Attest,
        _ if !takes(event) => Effect::Withdraw,
        Action::Terminate if level == Some(Level::Medium) => Effect::Nothing,
        Action::Terminate => Effect::End,
        Action::Suspend { lasts } => Effect::Score { points: threshold, half_life: None, lasts },
        Action::Score { low, medium, high, half_life, lasts } => match Action::points(low, medium, high, level) {
            0 => Effect::Withdraw,
            points => Effect::Score { points, half_life, lasts },
        },
    }
}

/// Says whether an event takes trust away.
pub(super) fn takes(event: &Event) -> bool {
    match &event.happening {
        Happening::DeviceComplianceChange { compliant } => !compliant,
        Happening::AssuranceLevelChange { rose, .. } => *rose != Some(true),
        Happening::RiskLevelChange { current, .. } => *current != Level::Low,
        Happening::Plain(Kind::AccountEnabled) => false,
        _ => true,
    }
}

/// Says when an event happened, as far as its token can be believed, and what was not believed.
///
/// Nothing happens in the future. What happened longer ago than order is remembered for happened then at the latest.
pub(super) fn happened(set: &Set, now: UnixTime) -> (UnixTime, Option<&'static str>) {
    let made = set.iat.min(now);
    let told = set.event.at.unwrap_or(made);
    if set.iat > now.plus(SKEW) && set.event.at.is_none() {
        (now, Some("it was made in the future"))
    } else if told > now.plus(SKEW) {
        (made, Some("it tells of the future"))
    } else if told < now.minus(OLDEST) {
        (now.minus(OLDEST), Some("it dates the event back by more than seven days"))
    } else {
        (told.min(now), None)
    }
}

/// When an event happened, when that is, and when its token came.
#[derive(Clone, Copy)]
struct When {
    at: UnixTime,
    now: UnixTime,
    cause: Cause,
}

/// What was done.
#[derive(Default)]
struct Done {
    ended: Revoked,
    changed: Changed,
    notes: Vec<String>,
}

impl Receiver {
    /// Applies an event, and records what became of it.
    ///
    /// `cause` is when its token came.
    pub(super) fn apply(&self, set: &Set, now: UnixTime, cause: Cause) {
        let kind = set.event.kind();
        let (about, done) = self.applied(set, now, cause);
        let mut parts = vec![format!("{}: {kind}, jti {}", self.config.name, printable(&set.jti, 64))];
        parts.extend(set.txn.iter().map(|txn| format!("txn {}", printable(txn, 64))));
        parts.extend(about.iter().map(ToString::to_string));
        parts.extend(set.event.reason());
        parts.extend(done.notes);
        let Revoked { sessions, tunnels, tickets } = done.ended;
        if done.ended != Revoked::default() {
            parts.push(format!("ended {sessions} sessions, {tunnels} tunnels, {tickets} tickets"));
        }
        let Changed { ended, suspended, restored } = done.changed;
        if done.changed != Changed::default() {
            parts.push(format!("tunnels ended {ended}, suspended {suspended}, restored {restored}"));
        }
        let message = parts.join("; ");
        tracing::info!("{message}");
        let session = about.iter().find_map(|subject| match subject {
            Subject::Session(id) => Some(id.clone()),
            _ => None,
        });
        self.engine.told(Outcome::Success, &format!("signal.{}", short(&kind)), session, message);
    }

    fn applied(&self, set: &Set, now: UnixTime, cause: Cause) -> (Vec<Subject>, Done) {
        let mut done = Done::default();
        let (at, doubt) = happened(set, now);
        done.notes.extend(doubt.map(|doubt| format!("{doubt}, so its time was moved to {}", at.rfc3339())));
        if now.since(set.iat) > OLDEST {
            done.notes.push("it is older than seven days and does nothing".to_owned());
            return (Vec::new(), done);
        }
        let action = self.config.actions.of(&set.event.kind());
        let effect = effect(&set.event, action, self.engine.config().risk.thresholds.suspend);
        if effect == Effect::Nothing {
            done.notes.push("nothing is done about it".to_owned());
            return (Vec::new(), done);
        }
        let document = self.live().document.clone();
        let critical = document.map(|(document, _)| document.critical_subject_members.clone()).unwrap_or_default();
        let finder = Finder {
            config: &self.config,
            resource: &self.resource,
            store: self.engine.store(),
            critical: &critical,
            takes: takes(&set.event),
            now: self.engine.now(),
        };
        let about = match finder.find(set.subject.as_ref()) {
            Found::Some { about, wider } => {
                if wider {
                    done.notes.push("part of its subject is not known here, so all that the rest means is".to_owned());
                }
                about
            }
            Found::Nobody(why) => {
                done.notes.push(format!("nothing is done: {why}"));
                return (Vec::new(), done);
            }
        };
        let when = When { at, now, cause };
        for subject in &about {
            self.one(set, effect, subject, when, &mut done);
        }
        (about, done)
    }

    fn one(&self, set: &Set, effect: Effect, subject: &Subject, when: When, done: &mut Done) {
        let When { at, now, cause } = when;
        let engine = self.engine.because(cause);
        let kind = set.event.kind();
        let reason = format!("{} says {}", self.config.name, set.event.reason().unwrap_or_else(|| kind.to_string()));
        if effect == Effect::End {
            let ended = engine.cut(subject, at, &reason);
            done.ended.sessions += ended.sessions;
            done.ended.tunnels += ended.tunnels;
            done.ended.tickets += ended.tickets;
            return;
        }
        let named = named(&set.event, effect, subject, |id| {
            self.engine.store().session(id).map(|row| Subject::Login(row.user, row.device))
        });
        let Some(subject) = scored(&set.event, effect, &named) else {
            return done.notes.push("nothing is done: it is about no device that is known here".to_owned());
        };
        // what happened last is what holds, whatever comes last
        let key = format!("{}|{kind}|{subject}", self.config.name);
        if self.order.of(&key).is_some_and(|last| last > at) || !self.order.keep(&key, at, now) {
            return done.notes.push("a later event of this kind has been applied already".to_owned());
        }
        let signal = format!("signal.{}", short(&kind));
        let changed = match (effect, subject) {
            (Effect::Score { points, half_life, lasts }, subject) => Some(engine.raise(NewSignal {
                subject,
                kind: signal,
                score: points,
                reason,
                cause: String::new(),
                source: self.config.name.clone(),
                at,
                expires_at: Some(at.plus(lasts)),
                half_life: half_life.map(|life| life.as_secs()),
            })),
            (Effect::Withdraw, subject) => engine.lower(&subject, &signal, &self.config.name),
            (Effect::Attest, Subject::Device(device)) => {
                let facts = self.facts(&set.event, at, now);
                let asked = facts.len();
                let (taken, changed) = engine.attest(&device, facts);
                if taken.len() < asked {
                    let passed = asked - taken.len();
                    done.notes.push(format!("{passed} of its facts are not known here, or older than its last word"));
                }
                done.notes.extend(unread(&set.event));
                Some(changed)
            }
            _ => None,
        };
        done.changed += changed.unwrap_or_default();
    }

    /// The facts that an event states about a device.
    fn facts(&self, event: &Event, at: UnixTime, now: UnixTime) -> Vec<(String, Attested)> {
        let told = |state: State| {
            let usual = if state == State::Pass { GOOD } else { BAD };
            let lasts = event.lasts.map_or(usual, Duration::from_secs).min(BAD);
            // believed from when it came: a provider that was not heard for a day has not changed its mind
            Attested { state, source: self.config.name.clone(), at, expires_at: now.plus(lasts) }
        };
        let compliant = match &event.happening {
            Happening::DeviceComplianceChange { compliant: true } => Some(State::Pass),
            Happening::DeviceComplianceChange { compliant: false } => Some(State::Fail),
            _ => None,
        };
        let mut facts: Vec<_> = compliant.map(|state| (COMPLIANT.to_owned(), told(state))).into_iter().collect();
        for (id, word) in event.facts.iter().filter(|(id, _)| *id != COMPLIANT) {
            match word.as_str() {
                "pass" => facts.push((id.clone(), told(State::Pass))),
                "fail" => facts.push((id.clone(), told(State::Fail))),
                _ => {}
            }
        }
        facts
    }
}

/// Says what of an event's facts does not read, a few by name.
fn unread(event: &Event) -> Vec<String> {
    let wrong = event.facts.iter().filter(|(_, word)| !matches!(word.as_str(), "pass" | "fail"));
    let count = wrong.clone().count();
    let mut notes: Vec<String> = wrong
        .take(SHOWN)
        .map(|(id, word)| format!("{} is neither pass nor fail: {}", printable(id, 64), printable(word, 64)))
        .collect();
    if count > SHOWN {
        notes.push(format!("so are {} more", count - SHOWN));
    }
    let lasts = event.unread.iter();
    notes.extend(lasts.map(|word| format!("lasts is no number of seconds: {}", printable(word, 64))));
    notes
}

/// Says of whose risk or facts an event speaks: of its subject's device, of its person, or of the subject as it is.
fn principal(event: &Event, effect: Effect) -> Option<Principal> {
    match &event.happening {
        Happening::RiskLevelChange { principal, .. } if principal.eq_ignore_ascii_case("DEVICE") => {
            Some(Principal::Device)
        }
        Happening::RiskLevelChange { principal, .. } if principal.eq_ignore_ascii_case("USER") => Some(Principal::User),
        Happening::DeviceComplianceChange { .. } => Some(Principal::Device),
        _ if effect == Effect::Attest => Some(Principal::Device),
        _ => None,
    }
}

/// Of whom an event speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Principal {
    Device,
    User,
}

/// A session's person and device in its place, where the event speaks of one of them; `login` finds them.
fn named(
    event: &Event,
    effect: Effect,
    subject: &Subject,
    login: impl FnOnce(&SessionId) -> Option<Subject>,
) -> Subject {
    match subject {
        Subject::Session(id) if principal(event, effect).is_some() => login(id).unwrap_or_else(|| subject.clone()),
        other => other.clone(),
    }
}

/// The subject that a score or a fact is of; `None` where a fact needs a device and there is none.
fn scored(event: &Event, effect: Effect, subject: &Subject) -> Option<Subject> {
    let device = principal(event, effect) == Some(Principal::Device);
    match subject {
        Subject::Login(_, own) | Subject::SignOut(_, own) if device => Some(Subject::Device(own.clone())),
        Subject::Login(user, _) | Subject::SignOut(user, _) => Some(Subject::User(user.clone())),
        Subject::Device(_) => Some(subject.clone()),
        _ if effect == Effect::Attest => None,
        other => Some(other.clone()),
    }
}

/// A word for codes: an event that is not known here has a URI for a name.
fn short(kind: &Kind) -> String {
    match kind {
        Kind::Other(_) => "other".to_owned(),
        known => known.to_string(),
    }
}

#[cfg(test)]
mod tests;
