//! Cases: what policies must answer, written down beside them and tried by `ztsa-gateway policy test`.
//!
//! ```toml
//! [[case]]
//! name   = "a developer on an encrypted laptop reads the wiki"
//! user   = "alice"
//! groups = ["dev"]
//! app    = "wiki"
//! expect = "allow"                      # allow, deny or step_up
//! posture = { "disk.root" = "pass" }    # what is not named is unknown
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use ztsa_proto::jws::sha256_base64url;
use ztsa_proto::name::{AppName, DeviceId, UserId};
use ztsa_proto::posture::{Assurance, Check, State};
use ztsa_proto::time::UnixTime;

use super::annotation::distance;
use super::{Explanation, Policies, Recalled, Verdict};
use crate::authn::Identity;
use crate::config::{App, Thresholds};
use crate::posture;
use crate::risk::Scores;

/// Holds one question and the answer that it must get.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case is about, in words.
    #[serde(default)]
    pub name: String,
    /// The subject at the issuer.
    #[serde(default = "somebody")]
    pub user: String,
    /// The issuer: its URL in the user's id, its name in `context.auth.issuer`.
    #[serde(default = "issuer")]
    pub issuer: String,
    /// The person's e-mail address.
    pub email: Option<String>,
    /// The person's groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The app asked for.
    pub app: AppName,
    /// The answer: `allow`, `deny` or `step_up`.
    pub expect: Option<Expect>,
    /// The code of the refusal, when it matters.
    pub code: Option<String>,
    /// The ids of the policies that decide, when they matter.
    pub policies: Option<Vec<String>>,
    /// The state of the device.
    #[serde(default)]
    pub device: Device,
    /// How the person signed in.
    #[serde(default)]
    pub auth: Auth,
    /// What the device reports; what is not named is unknown.
    #[serde(default)]
    pub posture: BTreeMap<String, Fact>,
    /// The scores.
    #[serde(default)]
    pub risk: Risk,
    /// Where the request comes from.
    #[serde(default = "nowhere")]
    pub ip: IpAddr,
    /// The country that this is in, by its ISO 3166 code.
    #[serde(default)]
    pub country: String,
    /// When, in seconds since 1970; noon of Monday, 5 January 2026 unless it is said.
    #[serde(default = "noon")]
    pub at: u64,
}

/// Names an answer; a greater one gives more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The app may not be opened.
    Deny,
    /// It may, after a stronger or fresher sign-in.
    StepUp,
    /// It may.
    Allow,
}

/// Says what an administrator said of the device of a case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// Nothing.
    #[default]
    Unmanaged,
    /// It is managed.
    Approved,
    /// It must not be used.
    Blocked,
}

/// Says how the person of a case signed in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The authentication context class.
    pub acr: Option<String>,
    /// The methods.
    #[serde(default)]
    pub amr: Vec<String>,
    /// How many seconds ago; unknown unless it is said.
    pub age: Option<u64>,
}

/// Says what the device of a case reports for one check.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a check is pass, fail, unknown, not_applicable or error, or a table of state, value, age and assurance"
)]
pub enum Fact {
    /// The state alone.
    State(State),
    /// The state and what was seen.
    Full {
        /// The state.
        state: State,
        /// What was seen.
        value: Option<serde_json::Value>,
        /// How many seconds ago.
        #[serde(default)]
        age: u64,
        /// Who stands behind it; unless said, whoever does of this check.
        assurance: Option<Assurance>,
    },
}

/// Holds the scores of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// Of the person, 0 to 100 like the others.
    #[serde(default, deserialize_with = "score")]
    pub user: u8,
    /// Of the device.
    #[serde(default, deserialize_with = "score")]
    pub device: u8,
    /// Of the session.
    #[serde(default, deserialize_with = "score")]
    pub session: u8,
    /// The kinds of the signals behind them.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// Says why a case cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The file is not as it should be.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// The configuration has no such app.
    #[error("no app is named {app:?}; the apps are {known}", app = app.as_str())]
    UnknownApp {
        /// The app.
        app: AppName,
        /// All that there are.
        known: String,
    },
    /// A check has a name that policies do not know.
    #[error("no check is named {check:?}; {hint}")]
    UnknownCheck {
        /// The check.
        check: String,
        /// The one that was probably meant, else all that there are.
        hint: String,
    },
}

/// Holds what cases are tried on.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// The apps of the configuration.
    pub apps: &'a [Arc<App>],
    /// Its thresholds of risk.
    pub thresholds: &'a Thresholds,
}

/// Says how a case came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was answered.
    pub explanation: Explanation,
    /// What is not as the case wants it; empty when all is.
    pub wrong: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "case")]
    cases: Vec<Case>,
}

/// Reads the cases of a file.
///
/// # Errors
/// It is no TOML, or has keys that cases do not have; with line and column.
pub fn parse(text: &str) -> Result<Vec<Case>, CaseError> {
    Ok(toml::from_str::<File>(text)?.cases)
}

impl Case {
    /// Asks as the gateway does and compares: what it refuses before policy is asked, then the policies.
    ///
    /// # Errors
    /// The app or a posture check is not known.
    pub fn try_on(&self, ground: &Ground<'_>) -> Result<Outcome, CaseError> {
        let (scene, app) = self.scene(ground.policies, ground.apps)?;
        let explanation = ground.policies.explain_whole(&scene.request(&app), ground.thresholds);
        let wrong = self.wrong(&explanation);
        Ok(Outcome { explanation, wrong })
    }

    /// Makes what the case asks about, and finds its app.
    ///
    /// # Errors
    /// The app or a posture check is not known.
    pub fn scene(&self, policies: &Policies, apps: &[Arc<App>]) -> Result<(Recalled, Arc<App>), CaseError> {
        let known = || apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>().join(", ");
        let unknown = || CaseError::UnknownApp { app: self.app.clone(), known: known() };
        let app = apps.iter().find(|app| app.name == self.app).ok_or_else(unknown)?;
        if let Some(check) = self.posture.keys().find(|check| policies.catalogue().id(check).is_none()) {
            return Err(CaseError::UnknownCheck { check: check.clone(), hint: check_hint(check, policies) });
        }
        let now = UnixTime(self.at);
        let reported = (!self.posture.is_empty()).then(|| self.reported(now));
        let identity = Arc::new(self.identity(now));
        let Risk { user, device: of_device, session, kinds } = &self.risk;
        let scene = Recalled {
            scores: Scores::recalled([*user, *of_device, *session], kinds, &identity.user, now),
            identity,
            device: device(),
            device_state: self.device.as_str().to_owned(),
            facts: posture::judge(policies.catalogue(), reported.as_ref(), now),
            peer: self.ip,
            country: self.country.clone(),
            now,
        };
        Ok((scene, Arc::clone(app)))
    }

    fn wrong(&self, explanation: &Explanation) -> Vec<String> {
        let decision = &explanation.decision;
        let answer = Expect::of(&decision.verdict);
        let mut wrong = Vec::new();
        if self.expect.is_none() && self.code.is_none() && self.policies.is_none() {
            wrong.push("it wants nothing, so it could not fail: add expect, code or policies".to_owned());
        }
        if let Some(expect) = self.expect.filter(|expect| *expect != answer) {
            let why = decision.problem().map(|problem| format!(" ({problem})")).unwrap_or_default();
            wrong.push(format!("expected {}, got {}{why}", expect.as_str(), answer.as_str()));
        }
        let code = decision.problem().map(|problem| problem.code.as_str());
        if let Some(expect) = self.code.as_deref().filter(|expect| Some(*expect) != code) {
            wrong.push(format!("expected the code {expect}, got {}", code.unwrap_or("none")));
        }
        if let Some(expect) = &self.policies {
            let mut expect = expect.clone();
            expect.sort();
            if expect != decision.policies {
                let list = |ids: &[String]| if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
                wrong.push(format!("expected the policies {}, got {}", list(&expect), list(&decision.policies)));
            }
        }
        wrong
    }

    fn identity(&self, now: UnixTime) -> Identity {
        Identity {
            user: UserId { issuer: self.issuer.clone(), subject: self.user.clone() },
            name: Some(self.user.clone()),
            email: self.email.clone(),
            groups: self.groups.clone(),
            acr: self.auth.acr.clone(),
            amr: self.auth.amr.clone(),
            auth_time: self.auth.age.map(|age| now.minus(Duration::from_secs(age))),
            issuer: self.issuer.clone(),
        }
    }

    /// Each check came when the case says, the oldest first, and was believed for a day from then on.
    fn reported(&self, now: UnixTime) -> posture::Received {
        let checks = self.posture.iter().map(|(id, fact)| {
            let (state, value, age, assurance) = match fact {
                Fact::State(state) => (*state, None, 0, None),
                Fact::Full { state, value, age, assurance } => (*state, value.clone(), *age, *assurance),
            };
            let usual = if id == posture::COMPLIANT { Assurance::ThirdParty } else { Assurance::SelfReported };
            let (assurance, at) = (assurance.unwrap_or(usual), now.minus(Duration::from_secs(age)));
            let source = "case".to_owned();
            Check { id: id.clone(), state, reason: None, value, source, assurance, at, ttl: 86_400, took_ms: 0 }
        });
        let mut checks: Vec<Check> = checks.collect();
        checks.sort_by_key(|check| check.at);
        checks.into_iter().fold(posture::Received::default(), |received, check| {
            let at = check.at;
            received.with(vec![check], true, at)
        })
    }
}

impl Device {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unmanaged => "unmanaged",
            Self::Approved => "approved",
            Self::Blocked => "blocked",
        }
    }
}

impl Expect {
    /// Names the answer of a decision.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny(_) => Self::Deny,
            Verdict::StepUp(_) => Self::StepUp,
        }
    }

    /// Gives the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::StepUp => "step_up",
        }
    }
}

fn check_hint(check: &str, policies: &Policies) -> String {
    let known = || policies.catalogue().ids();
    match known().min_by_key(|known| distance(known, check)).filter(|known| distance(known, check) <= 3) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("the checks are {}", known().collect::<Vec<_>>().join(", ")),
    }
}

/// The device of every case: which one it is does not matter to policies that name none.
#[expect(clippy::expect_used, reason = "the digest of a constant has the shape of a thumbprint")]
fn device() -> DeviceId {
    sha256_base64url(b"case").parse().expect("43 characters of base64url")
}

fn somebody() -> String {
    "somebody".to_owned()
}

fn issuer() -> String {
    "issuer".to_owned()
}

fn score<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let score = u8::deserialize(from)?;
    let wrong = || serde::de::Error::custom(format!("a score is from 0 to 100, not {score}"));
    (score <= 100).then_some(score).ok_or_else(wrong)
}

fn nowhere() -> IpAddr {
    // RFC 5737: an address for documentation
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))
}

fn noon() -> u64 {
    1_767_614_400
}
