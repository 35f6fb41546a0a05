//! The explanation of a decision: which policies decided, which facts are missing, what would change it.

use serde::{Deserialize, Serialize};

use crate::name::AppName;
use crate::posture;
use crate::problem::Problem;
use crate::session::RiskInfo;
use crate::time::UnixTime;

/// Explains what would be decided for one app now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyResponse {
    /// The app.
    pub app: AppName,
    /// What would be decided.
    pub decision: Decision,
    /// What the person would be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The policies that took part.
    #[serde(default)]
    pub policies: Vec<PolicyInfo>,
    /// The facts about the device that stand in the way.
    #[serde(default)]
    pub missing: Vec<MissingFact>,
    /// The risk that was decided with.
    #[serde(default)]
    pub risk: RiskInfo,
    /// What would change the decision, each found by deciding again; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// Tells of one way in which the decision would be another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What would be decided.
    pub decision: Decision,
    /// What would have to be otherwise: one thing, or several together where none is enough alone.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// When it comes by itself, if nothing else changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UnixTime>,
}

/// Names one thing that would have to be otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What sort of thing.
    pub kind: ConditionKind,
    /// Which one: a posture check, `user`, `device` or `session` for a risk; empty where the kind says it.
    #[serde(default, deserialize_with = "crate::text::clean", skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What it is now.
    #[serde(default, deserialize_with = "crate::text::clean_option", skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// What it would have to be.
    #[serde(default, deserialize_with = "crate::text::clean_option", skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// How that is done.
    #[serde(default, deserialize_with = "crate::text::clean_option", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl std::fmt::Display for Condition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let about = &self.about;
        let then = self.then.as_deref().unwrap_or_default();
        match self.kind {
            ConditionKind::Posture if then == "pass" => write!(formatter, "{about} passes")?,
            ConditionKind::Posture if then == "fail" => return write!(formatter, "{about} fails"),
            ConditionKind::Posture => write!(formatter, "{about} is {then}")?,
            ConditionKind::PostureValue => write!(formatter, "{about} passes with a lower value")?,
            ConditionKind::SignIn if then.is_empty() => return formatter.write_str("the sign-in is fresh"),
            ConditionKind::SignIn => write!(formatter, "the sign-in is fresh and as strong as {then}")?,
            ConditionKind::Risk => {
                let falls = self.now.as_deref().and_then(number) > number(then);
                write!(formatter, "the {about}'s risk {} to {then}", if falls { "falls" } else { "rises" })?;
            }
            ConditionKind::Signals => return formatter.write_str("the signals of risk no longer count"),
            ConditionKind::Device if then == "approved" => {
                formatter.write_str("an administrator approves the device")?;
            }
            ConditionKind::Device => write!(formatter, "the device is {then}")?,
            ConditionKind::Group => return write!(formatter, "the person is in the group {then}"),
            ConditionKind::Time => return formatter.write_str("time passes"),
            ConditionKind::Other => {
                return formatter.write_str("something is otherwise that this version has no word for");
            }
        }
        match self.now.as_deref() {
            Some(now) if !now.is_empty() => write!(formatter, " (now {now})"),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decision = match self.decision {
            Decision::Allow => "allowed",
            Decision::StepUp => "open after a stronger sign-in",
            Decision::Deny => "denied",
        };
        if let Some(at) = self.at {
            let fades = self.when.iter().any(|condition| condition.kind == ConditionKind::Signals);
            let because = if fades { ", when the signals of risk have faded" } else { "" };
            return write!(formatter, "{decision} from {} on by itself{because}", at.rfc3339());
        }
        let when: Vec<String> = self.when.iter().map(ToString::to_string).collect();
        write!(formatter, "{decision} when {}", when.join(", and "))
    }
}

fn number(text: &str) -> Option<u8> {
    text.parse().ok()
}

/// Says what sort of thing would have to be otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// A posture check: its state is `then`.
    Posture,
    /// What a posture check measures is lower than `now`.
    PostureValue,
    /// A fresh sign-in, with the authentication context class `then` where there is one.
    SignIn,
    /// A score is `then`.
    Risk,
    /// The signals behind the scores no longer count.
    Signals,
    /// The device is in the state `then`.
    Device,
    /// The person is in the group `then`; told to administrators only.
    Group,
    /// Time passes.
    Time,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

/// Says what was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Access.
    Allow,
    /// Access after a stronger sign-in.
    StepUp,
    /// No access. A word that this version does not know reads as this one.
    #[serde(other)]
    Deny,
}

impl Decision {
    /// Gives the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::StepUp => "step_up",
            Self::Deny => "deny",
        }
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Tells of one policy that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// Its id.
    #[serde(deserialize_with = "crate::text::clean")]
    pub id: String,
    /// What it says: `permit` or `forbid`.
    #[serde(deserialize_with = "crate::text::clean")]
    pub effect: String,
    /// Its reason for people.
    #[serde(default, deserialize_with = "crate::text::clean_option", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Tells of one fact that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingFact {
    /// The fact, such as `disk.root`.
    #[serde(deserialize_with = "crate::text::clean")]
    pub fact: String,
    /// How the gateway sees it.
    pub state: posture::State,
    /// What would mend it.
    #[serde(default, deserialize_with = "crate::text::clean_option", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_newer_gateways_explanation_still_reads() {
        let why: WhyResponse = serde_json::from_value(json!({
            "app": "db-prod", "decision": "perhaps", "later": 1, "problem": {"code": "posture.disk_encryption"},
            "policies": [{"id": "prod", "effect": "permit", "later": 1}],
            "missing": [{"fact": "disk.root", "state": "fail", "remedy": "Turn on\u{1b}[5m LUKS"}],
            "changes": [{"decision": "allow", "when": [{"kind": "moon", "then": "full\u{7}", "later": 1}], "at": 9}],
        }))
        .unwrap();
        assert_eq!(why.decision, Decision::Deny);
        assert_eq!(why.missing.first().unwrap().remedy.as_deref(), Some("Turn on LUKS"));
        let change = why.changes.first().unwrap();
        let condition = change.when.first().unwrap();
        assert_eq!((condition.kind, condition.then.as_deref()), (ConditionKind::Other, Some("full")));
        assert_eq!((change.decision, change.at), (Decision::Allow, Some(UnixTime(9))));
        assert_eq!(serde_json::from_value::<WhyResponse>(serde_json::to_value(&why).unwrap()).unwrap(), why);
        for decision in [Decision::Allow, Decision::StepUp, Decision::Deny] {
            assert_eq!(serde_json::to_value(decision).unwrap(), decision.as_str());
        }
    }
}
