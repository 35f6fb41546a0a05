//! Judges what a device says about itself: which facts hold, which do not, and which nobody knows.

mod catalogue;
mod certificate;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use ztsa_proto::name::DeviceId;
use ztsa_proto::posture::certificate::About;
use ztsa_proto::posture::{Accepted, Assurance, Check, Reason, State};
use ztsa_proto::time::UnixTime;

use crate::config::Config;

pub use catalogue::Catalogue;
pub use certificate::AuthorityError;

/// Whether device management or endpoint protection calls the device compliant: told by them alone, never by the device.
pub const COMPLIANT: &str = "device.compliant";

/// Two reports may be on their way together for so long.
const TOGETHER: Duration = Duration::from_secs(60);
/// The longest that a fact is believed, whatever the report says of itself.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The most devices whose last report is remembered; the oldest go first.
const MOST_DEVICES: usize = 100_000;
/// The most checks that are remembered of one device: those of a whole report, and what partial ones may add.
const MOST_CHECKS: usize = 128;

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
    /// Who stands behind it: the device itself unless somebody else does.
    pub assurance: Assurance,
}

/// Holds every known fact: those that no report gave are there as unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    facts: BTreeMap<String, Fact>,
    received: Option<UnixTime>,
}

/// Holds what a device reported: the device's own clock is not believed, so that each check has the time of its arrival.
#[derive(Clone, Debug, Default)]
pub struct Received {
    checks: BTreeMap<String, (Check, UnixTime)>,
    at: UnixTime,
}

impl Received {
    /// Adds what came now; only a partial report leaves what came before.
    #[must_use]
    pub fn with(&self, checks: Vec<Check>, partial: bool, now: UnixTime) -> Self {
        let mut all = if partial { self.checks.clone() } else { BTreeMap::new() };
        all.retain(|_, (_, at)| now.since(*at) <= LONGEST);
        for check in checks {
            let known = self.checks.get(&check.id).filter(|(known, at)| overtook(known, *at, &check, now));
            let kept = known.cloned().unwrap_or((check, now));
            all.insert(kept.0.id.clone(), kept);
        }
        while all.len() > MOST_CHECKS {
            let oldest = all.iter().min_by_key(|(_, (_, at))| *at).map(|(id, _)| id.clone());
            oldest.map(|id| all.remove(&id));
        }
        Self { checks: all, at: now }
    }
}

/// Says whether a check that is known was looked at later than one that comes now: two reports of one device were on their way
/// together. By the device's clock, and so only for a moment: one that was ahead and is right again is believed.
fn overtook(known: &Check, at: UnixTime, coming: &Check, now: UnixTime) -> bool {
    known.at > coming.at && known.at.since(coming.at) <= TOGETHER && now.since(at) <= TOGETHER
}

/// Remembers what each device reported.
#[derive(Debug, Default)]
pub struct Posture {
    catalogue: Arc<Catalogue>,
    authorities: certificate::Authorities,
    audience: String,
    reports: RwLock<HashMap<DeviceId, Arc<Received>>>,
    attested: RwLock<HashMap<DeviceId, Words>>,
}

/// What others say of one device, by fact and by whoever says so.
#[derive(Debug, Default)]
struct Words(BTreeMap<(String, String), Attested>);

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

impl Words {
    /// Gives the word that counts of each fact.
    fn now(&self, now: UnixTime) -> BTreeMap<&str, &Attested> {
        let mut last: BTreeMap<&str, &Attested> = BTreeMap::new();
        for ((id, _), told) in self.0.iter().filter(|(_, told)| told.expires_at > now) {
            let known = last.entry(id).or_insert(told);
            if told.outweighs(known) {
                *known = told;
            }
        }
        last
    }
}

impl Attested {
    /// Tells it as a check.
    fn check(&self, id: &str) -> Check {
        Check {
            id: id.to_owned(),
            state: self.state,
            reason: None,
            value: None,
            source: self.source.clone(),
            assurance: Assurance::ThirdParty,
            at: self.at,
            ttl: self.expires_at.since(self.at).as_secs(),
            took_ms: 0,
        }
    }

    /// Says which of two sources' words of one fact counts: one that it fails, else the newer.
    fn outweighs(&self, other: &Self) -> bool {
        let rank = |told: &Self| (told.state == State::Fail, told.at);
        rank(self) > rank(other)
    }
}

/// Judges what a device reported, or the lack of it.
///
/// A fact is believed for as long as its `ttl` says, counted from its arrival, and at most for what the reference says of its
/// check; then it is unknown.
pub fn judge(catalogue: &Catalogue, received: Option<&Received>, now: UnixTime) -> Facts {
    let fact = |wanted: &str| {
        let id = if wanted == "os.eol" { "os.version" } else { wanted };
        let (check, at) = received?.checks.get(id)?;
        // the device has no say in what only others can tell
        if wanted == COMPLIANT && check.assurance != Assurance::ThirdParty {
            return None;
        }
        let age = now.since(*at);
        // a device may ask to be believed for less, never for longer
        let stale = age > Duration::from_secs(check.ttl.min(ztsa_proto::posture::ttl(id))).min(LONGEST);
        let (state, reason) = if stale { (State::Unknown, Some(Reason::Timeout)) } else { (check.state, check.reason) };
        let (value, assurance) = (check.value.as_ref().map(text), check.assurance);
        let fact = Fact { state, reason, value, age: Some(age), assurance };
        Some(if wanted == "os.eol" { end_of_life(catalogue, check, &fact, now) } else { fact })
    };
    let facts = catalogue.ids().map(|id| (id.to_owned(), fact(id).unwrap_or_else(|| UNKNOWN.clone()))).collect();
    Facts { facts, received: received.map(|received| received.at) }
}

/// Works out from an operating system's version whether it still gets updates.
fn end_of_life(catalogue: &Catalogue, version: &Check, fact: &Fact, now: UnixTime) -> Fact {
    if fact.state != State::Pass {
        return Fact { value: None, ..fact.clone() };
    }
    match version.value.as_ref().and_then(|value| catalogue.end_of_life(value)) {
        Some(end) => {
            // the day itself is still covered
            let state = if now < end.plus(Duration::from_secs(86_400)) { State::Pass } else { State::Fail };
            let day = end.rfc3339();
            let day = day.split('T').next().unwrap_or_default().to_owned();
            Fact { state, reason: None, value: Some(day), ..fact.clone() }
        }
        None => Fact { state: State::Unknown, reason: Some(Reason::Unsupported), value: None, ..fact.clone() },
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

static UNKNOWN: Fact = Fact {
    state: State::Unknown,
    reason: Some(Reason::Absent),
    value: None,
    age: None,
    assurance: Assurance::SelfReported,
};

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

    /// Puts facts together that were known once; every other one that can be known is unknown.
    pub fn recalled(
        catalogue: &Catalogue,
        known: impl Iterator<Item = (String, Fact)>,
        received: Option<UnixTime>,
    ) -> Self {
        let mut facts: BTreeMap<String, Fact> = catalogue.ids().map(|id| (id.to_owned(), UNKNOWN.clone())).collect();
        facts.extend(known);
        Self { facts, received }
    }

    /// Says that the last report came at another time.
    #[must_use]
    pub fn received_at(self, received: Option<UnixTime>) -> Self {
        Self { received, ..self }
    }

    /// Says one thing otherwise.
    #[must_use]
    pub fn with(&self, id: &str, fact: Fact) -> Self {
        let mut facts = self.clone();
        facts.facts.insert(id.to_owned(), fact);
        facts
    }

    /// Goes through all facts, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.facts.iter().map(|(id, fact)| (id.as_str(), fact))
    }

    /// How long ago the last report came, when one did.
    pub fn age(&self, now: UnixTime) -> Option<Duration> {
        self.received.map(|at| now.since(at))
    }
}

impl Posture {
    /// Prepares for what the configuration asks of devices.
    ///
    /// # Errors
    /// A file of authorities cannot be used.
    pub fn new(config: &Config) -> Result<Self, AuthorityError> {
        Ok(Self {
            catalogue: Arc::new(Catalogue::of(&config.posture)),
            authorities: certificate::Authorities::read(&config.posture.authorities)?,
            audience: config.resource(),
            reports: RwLock::default(),
            attested: RwLock::default(),
        })
    }

    /// Lists what can be known of a device.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Takes a device's report, which replaces its last one or adds to it; says which facts held before and do not any more.
    ///
    /// # Security
    /// Whatever a device claims, it is its own word: only a certificate's proof, checked here, is more.
    pub fn receive(&self, device: &DeviceId, accepted: Accepted, now: UnixTime) -> Vec<String> {
        let Accepted { mut report, nonce, .. } = accepted;
        report.checks.iter_mut().for_each(|check| check.assurance = Assurance::SelfReported);
        let about = nonce.map(|nonce| About { aud: self.audience.clone(), sub: device.clone(), nonce });
        self.authorities.settle(&mut report, about.as_ref(), now);
        let mut reports = self.reports.write().unwrap_or_else(PoisonError::into_inner);
        let last = reports.get(device).cloned();
        let received = last.as_deref().unwrap_or(&Received::default()).with(report.checks, report.partial, now);
        // as it was when it was told: a laptop that slept for a night has not become unknown by that
        let before = judge(&self.catalogue, last.as_deref(), last.as_ref().map_or(now, |last| last.at));
        let after = judge(&self.catalogue, Some(&received), now);
        if reports.len() >= MOST_DEVICES && last.is_none() {
            let oldest = reports.iter().min_by_key(|(_, received)| received.at).map(|(device, _)| device.clone());
            oldest.map(|device| reports.remove(&device));
        }
        reports.insert(device.clone(), Arc::new(received));
        let worse = |id: &&str| before.fact(id).holds() && !after.fact(id).holds();
        self.catalogue.ids().filter(worse).map(str::to_owned).collect()
    }

    /// Gives the facts about a device now.
    pub fn facts(&self, device: &DeviceId, now: UnixTime) -> Facts {
        let mut facts = judge(&self.catalogue, self.last(device).as_deref(), now);
        let attested = self.attested.read().unwrap_or_else(PoisonError::into_inner);
        for (id, told) in attested.get(device).map(|words| words.now(now)).unwrap_or_default() {
            let (age, value) = (Some(now.since(told.at)), Some(told.source.clone()));
            let fact = Fact { state: told.state, reason: None, value, age, assurance: Assurance::ThirdParty };
            facts.facts.insert(id.to_owned(), fact);
        }
        facts
    }

    /// Takes what somebody other than the device says about a fact of it; it stands above the device's own word.
    ///
    /// Each source's last word of a fact stands by itself: while any of them says that it fails, it does.
    /// Says whether it was taken: an id that nobody knows is not, nor what is older than the same source's word, and nothing
    /// is taken for more than 100,000 devices.
    pub fn attest(&self, device: &DeviceId, id: &str, told: Attested) -> bool {
        let Some(id) = self.catalogue.id(id) else { return false };
        let mut attested = self.attested.write().unwrap_or_else(PoisonError::into_inner);
        if attested.len() >= MOST_DEVICES && !attested.contains_key(device) {
            return false;
        }
        let words = &mut attested.entry(device.clone()).or_default().0;
        let key = (id.to_owned(), told.source.clone());
        if words.get(&key).is_some_and(|known| known.at > told.at) {
            return false;
        }
        words.insert(key, told);
        true
    }

    /// Forgets what others said that has run out, and gives the devices and facts concerned with who had said it.
    pub fn expire(&self, now: UnixTime) -> Vec<(DeviceId, String, String)> {
        let mut over = Vec::new();
        let mut attested = self.attested.write().unwrap_or_else(PoisonError::into_inner);
        for (device, words) in attested.iter_mut() {
            words.0.retain(|(id, source), told| {
                let lasts = told.expires_at > now;
                if !lasts {
                    over.push((device.clone(), id.clone(), source.clone()));
                }
                lasts
            });
        }
        attested.retain(|_, words| !words.0.is_empty());
        over
    }

    /// Gives the checks as the device last reported them, for telling the person, and what others say above that.
    pub fn checks(&self, device: &DeviceId, now: UnixTime) -> Vec<Check> {
        let last = self.last(device);
        let own = last.iter().flat_map(|received| &received.checks);
        let mut checks: BTreeMap<String, Check> = own.map(|(id, (check, _))| (id.clone(), check.clone())).collect();
        let attested = self.attested.read().unwrap_or_else(PoisonError::into_inner);
        for (id, told) in attested.get(device).map(|words| words.now(now)).unwrap_or_default() {
            checks.insert(id.to_owned(), told.check(id));
        }
        checks.into_values().collect()
    }

    fn last(&self, device: &DeviceId) -> Option<Arc<Received>> {
        self.reports.read().unwrap_or_else(PoisonError::into_inner).get(device).cloned()
    }
}

#[cfg(test)]
mod tests;
