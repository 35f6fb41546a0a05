//! Judges what a device says about itself: which facts hold, which do not, and which nobody knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use ztsa_proto::name::DeviceId;
use ztsa_proto::posture::{Check, Reason, Report, State};
use ztsa_proto::time::UnixTime;

pub use ztsa_proto::posture::KNOWN;

/// The longest that a fact is believed, whatever the report says of itself.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The most devices whose last report is remembered; the oldest go first.
const MOST_DEVICES: usize = 100_000;

/// Says what is known about one fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Pass, fail, or one of the ways of not knowing.
    pub state: State,
    /// Why it is not known, where it is not.
    pub reason: Option<Reason>,
    /// What was seen, as text.
    pub value: Option<String>,
    /// How long ago the gateway was told; `None` when it never was.
    pub age: Option<Duration>,
}

/// Holds every known fact: those that no report gave are there as unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    facts: BTreeMap<&'static str, Fact>,
    received: Option<UnixTime>,
}

#[derive(Debug)]
struct Received {
    report: Report,
    /// When it came: the device's own clock is not believed.
    at: UnixTime,
}

/// Remembers the last report of each device.
#[derive(Debug, Default)]
pub struct Posture {
    reports: RwLock<HashMap<DeviceId, Arc<Received>>>,
}

/// Judges a report that has just come, or the lack of one.
pub fn judge(report: Option<&Report>, now: UnixTime) -> Facts {
    judge_received(report.map(|report| (report, now)), now)
}

/// Judges a report that came at a time.
///
/// A fact is believed for as long as its `ttl` says, counted from the report's arrival, and at most a day; then it is unknown.
fn judge_received(received: Option<(&Report, UnixTime)>, now: UnixTime) -> Facts {
    let fact = |id: &str| {
        let (report, at) = received?;
        let check = report.checks.iter().find(|check| check.id == id)?;
        let age = now.since(at);
        let stale = age > Duration::from_secs(check.ttl).min(LONGEST);
        let (state, reason) = if stale { (State::Unknown, Some(Reason::Timeout)) } else { (check.state, check.reason) };
        Some(Fact { state, reason, value: check.value.as_ref().map(text), age: Some(age) })
    };
    let facts = KNOWN.iter().map(|id| (*id, fact(id).unwrap_or_else(|| UNKNOWN.clone()))).collect();
    Facts { facts, received: received.map(|(_, at)| at) }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

static UNKNOWN: Fact = Fact { state: State::Unknown, reason: Some(Reason::Absent), value: None, age: None };

impl Fact {
    /// Says whether the fact holds. Not knowing is not holding.
    pub fn holds(&self) -> bool {
        self.state == State::Pass
    }
}

impl Facts {
    /// Gives a fact by its id, such as `disk.root`; one that nobody knows is unknown.
    pub fn fact(&self, id: &str) -> &Fact {
        self.facts.get(id).unwrap_or(&UNKNOWN)
    }

    /// Goes through all facts, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Fact)> {
        self.facts.iter().map(|(id, fact)| (*id, fact))
    }

    /// How long ago the last report came, when one did.
    pub fn age(&self, now: UnixTime) -> Option<Duration> {
        self.received.map(|at| now.since(at))
    }
}

impl Posture {
    /// Takes a device's report, which replaces its last one; says which facts held before and do not any more.
    pub fn receive(&self, device: &DeviceId, report: Report, now: UnixTime) -> Vec<&'static str> {
        let before = self.facts(device, now);
        let after = judge(Some(&report), now);
        let mut reports = self.reports.write().unwrap_or_else(PoisonError::into_inner);
        if reports.len() >= MOST_DEVICES && !reports.contains_key(device) {
            let oldest = reports.iter().min_by_key(|(_, received)| received.at).map(|(device, _)| device.clone());
            oldest.map(|device| reports.remove(&device));
        }
        reports.insert(device.clone(), Arc::new(Received { report, at: now }));
        KNOWN.into_iter().filter(|id| before.fact(id).holds() && !after.fact(id).holds()).collect()
    }

    /// Gives the facts about a device now.
    pub fn facts(&self, device: &DeviceId, now: UnixTime) -> Facts {
        let received = self.last(device);
        judge_received(received.as_ref().map(|received| (&received.report, received.at)), now)
    }

    /// Gives the checks as the device last reported them, for telling the person.
    pub fn checks(&self, device: &DeviceId) -> Vec<Check> {
        self.last(device).map(|received| received.report.checks.clone()).unwrap_or_default()
    }

    fn last(&self, device: &DeviceId) -> Option<Arc<Received>> {
        self.reports.read().unwrap_or_else(PoisonError::into_inner).get(device).cloned()
    }
}

#[cfg(test)]
mod tests;
