//! The explanation of a decision: which policies decided, which facts are missing, what would change it.

use serde::{Deserialize, Serialize};

use crate::name::AppName;
use crate::posture;
use crate::problem::Problem;
use crate::session::RiskInfo;

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
        }))
        .unwrap();
        assert_eq!(why.decision, Decision::Deny);
        assert_eq!(why.missing.first().unwrap().remedy.as_deref(), Some("Turn on LUKS"));
        assert_eq!(serde_json::from_value::<WhyResponse>(serde_json::to_value(&why).unwrap()).unwrap(), why);
        for decision in [Decision::Allow, Decision::StepUp, Decision::Deny] {
            assert_eq!(serde_json::to_value(decision).unwrap(), decision.as_str());
        }
    }
}
