//! A request as the audit log keeps it, and back again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ztsa_proto::name::DeviceId;
use ztsa_proto::posture::{Assurance, Reason, State};
use ztsa_proto::time::UnixTime;

use super::Request;
use crate::audit::{About, Audit, By, Input, VERSION};
use crate::authn::Identity;
use crate::config::App;
use crate::posture::{Catalogue, Fact, Facts};
use crate::risk::Scores;

/// What is known of a device, as its line in the audit log holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceSheet {
    /// The device's key.
    pub device: DeviceId,
    /// What was told, by check; what nobody told is not there.
    pub facts: BTreeMap<String, Told>,
}

/// Holds one fact without its age.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Lines of before it was written down say nothing.
    #[serde(default, skip_serializing_if = "is_own")]
    assurance: Assurance,
}

/// Holds everything that a [`Request`] refers to.
#[derive(Debug, Clone)]
pub struct Recalled {
    /// Who.
    pub identity: Arc<Identity>,
    /// The device's key.
    pub device: DeviceId,
    /// `unmanaged`, `approved` or `blocked`.
    pub device_state: String,
    /// What was known of the device.
    pub facts: Facts,
    /// The scores, with the kinds of their signals.
    pub scores: Scores,
    /// Where the request came from.
    pub peer: IpAddr,
    /// The country that this was in.
    pub country: String,
    /// When.
    pub now: UnixTime,
}

impl Request<'_> {
    /// Writes down what an answer is made from. Never a token.
    pub fn input(&self, by: By, audit: &Audit) -> Input {
        let ages: BTreeMap<&str, u64> =
            self.facts.iter().filter_map(|(id, fact)| Some((id, fact.age?.as_secs()))).collect();
        let age = most(ages.values().copied());
        let others = ages.iter().filter(|(_, other)| Some(**other) != age);
        let others = others.map(|(id, age)| ((*id).to_owned(), *age)).collect();
        let mut sheets = Vec::with_capacity(2);
        let mut sheet = |about, text: String| {
            let sheet = audit.sheet(about, &text);
            let digest = sheet.digest.clone();
            sheets.push(sheet);
            digest
        };
        // a map of texts and numbers is always JSON
        let person = sheet(About::Person, serde_json::to_string(self.identity).unwrap_or_default());
        let facts = (!ages.is_empty())
            .then(|| sheet(About::Device, serde_json::to_string(&DeviceSheet::of(self)).unwrap_or_default()));
        let mut kinds: Vec<String> = self.scores.kinds().map(str::to_owned).collect();
        kinds.sort_unstable();
        kinds.dedup();
        Input {
            v: VERSION,
            by,
            person,
            facts,
            device: self.device_state.to_owned(),
            risk: [self.scores.user, self.scores.device, self.scores.session],
            kinds,
            country: self.country.to_owned(),
            told: self.facts.age(self.now).map(|age| age.as_secs()),
            age,
            ages: others,
            sheets,
        }
    }
}

impl DeviceSheet {
    fn of(request: &Request<'_>) -> Self {
        let known = request.facts.iter().filter(|(_, fact)| fact.age.is_some());
        let told = |fact: &Fact| {
            let Fact { state, reason, value, assurance, .. } = fact.clone();
            Told { state, reason, value, assurance }
        };
        Self { device: request.device.clone(), facts: known.map(|(id, fact)| (id.to_owned(), told(fact))).collect() }
    }
}

impl Recalled {
    /// Copies what a request refers to.
    pub fn of(request: &Request<'_>) -> Self {
        Self {
            identity: Arc::new(request.identity.clone()),
            device: request.device.clone(),
            device_state: request.device_state.to_owned(),
            facts: request.facts.clone(),
            scores: request.scores.clone(),
            peer: request.peer,
            country: request.country.to_owned(),
            now: request.now,
        }
    }

    /// Puts together what was decided from.
    pub fn new(
        input: &Input,
        identity: Arc<Identity>,
        device: DeviceId,
        sheet: Option<&DeviceSheet>,
        (peer, now): (IpAddr, UnixTime),
        catalogue: &Catalogue,
    ) -> Self {
        let age = |id: &str| input.ages.get(id).copied().or(input.age).map(Duration::from_secs);
        let fact = |(id, told): (&String, &Told)| {
            let Told { state, reason, value, assurance } = told.clone();
            (id.clone(), Fact { state, reason, value, age: age(id), assurance })
        };
        let facts = sheet.into_iter().flat_map(|sheet| &sheet.facts).map(fact);
        let received = input.told.map(|age| now.minus(Duration::from_secs(age)));
        let [user, device_score, session] = input.risk;
        Self {
            facts: Facts::recalled(catalogue, facts, received),
            scores: Scores::recalled([user, device_score, session], &input.kinds, &identity.user, now),
            identity,
            device,
            device_state: input.device.clone(),
            peer,
            country: input.country.clone(),
            now,
        }
    }

    /// Asks again about an app.
    pub fn request<'a>(&'a self, app: &'a App) -> Request<'a> {
        Request {
            identity: &self.identity,
            device: &self.device,
            device_state: &self.device_state,
            facts: &self.facts,
            scores: &self.scores,
            peer: self.peer,
            country: &self.country,
            app,
            now: self.now,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_own(assurance: &Assurance) -> bool {
    *assurance == Assurance::SelfReported
}

/// Gives the value that comes most often, the smallest of those that come equally often.
fn most(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    counts.into_iter().max_by_key(|(value, count)| (*count, u64::MAX - value)).map(|(value, _)| value)
}
