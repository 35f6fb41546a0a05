//! Judges what a device says about itself: which facts hold, which do not, and which nobody knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use ztsa_proto::name::DeviceId;
use ztsa_proto::posture::{Check, KNOWN as REPORTED, Reason, Report, State};
use ztsa_proto::time::UnixTime;

/// Whether device management or endpoint protection calls the device compliant: told by them alone, never by the device.
pub const COMPLIANT: &str = "device.compliant";

/// The facts that policies know: what devices report, and [`COMPLIANT`].
pub const KNOWN: [&str; REPORTED.len() + 1] = known();

#[expect(clippy::indexing_slicing, reason = "counted at compile time")]
const fn known() -> [&'static str; REPORTED.len() + 1] {
    let mut all = [COMPLIANT; REPORTED.len() + 1];
    let mut place = 0;
    while place < REPORTED.len() {
        all[place] = REPORTED[place];
        place += 1;
    }
    all
}

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
    attested: RwLock<HashMap<DeviceId, BTreeMap<&'static str, Attested>>>,
}

/// Holds what somebody other than the device says about one fact of it (assurance `third_party`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// Pass or fail.
    pub state: State,
    /// Who says so.
    pub source: String,
    /// When it became so.
    pub at: UnixTime,
    /// Until when it is believed.
    pub expires_at: UnixTime,
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
        // the device has no say in what only others can tell
        let (report, at) = received.filter(|_| id != COMPLIANT)?;
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
        let mut facts = judge_received(received.as_ref().map(|received| (&received.report, received.at)), now);
        let attested = self.attested.read().unwrap_or_else(PoisonError::into_inner);
        for (id, told) in attested.get(device).into_iter().flatten().filter(|(_, told)| told.expires_at > now) {
            let age = Some(now.since(told.at));
            let fact = Fact { state: told.state, reason: None, value: Some(told.source.clone()), age };
            facts.facts.insert(id, fact);
        }
        facts
    }

    /// Takes what somebody other than the device says about a fact of it; it stands above the device's own word.
    ///
    /// Says whether it was taken: an id that nobody knows is not, and nothing is taken for more than 100,000 devices.
    pub fn attest(&self, device: &DeviceId, id: &str, told: Attested) -> bool {
        let Some(id) = KNOWN.into_iter().find(|known| *known == id) else { return false };
        let mut attested = self.attested.write().unwrap_or_else(PoisonError::into_inner);
        if attested.len() >= MOST_DEVICES && !attested.contains_key(device) {
            return false;
        }
        attested.entry(device.clone()).or_default().insert(id, told);
        true
    }

    /// Forgets what others said that has run out, and gives the devices and facts concerned.
    pub fn expire(&self, now: UnixTime) -> Vec<(DeviceId, &'static str)> {
        let mut over = Vec::new();
        let mut attested = self.attested.write().unwrap_or_else(PoisonError::into_inner);
        for (device, facts) in attested.iter_mut() {
            facts.retain(|id, told| {
                let lasts = told.expires_at > now;
                if !lasts {
                    over.push((device.clone(), *id));
                }
                lasts
            });
        }
        attested.retain(|_, facts| !facts.is_empty());
        over
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
