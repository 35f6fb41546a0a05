//! What a device says of its own state, signed by the device's key.
//!
//! A report is evidence, not proof: whoever owns the machine can forge it. The signature says which device spoke, so
//! that no report can be lent to another.

pub mod certificate;
mod known;
mod signed;
mod wanted;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::UnixTime;

pub use known::{FAMILIES, KNOWN, Known, describe, family, known, ttl};
pub use signed::{Accepted, Expected, LARGEST_PROOF, MEDIA_TYPE, MOST_PROOFS, PostureError, TYP, check, sign};
pub use wanted::{FINGERPRINT, Paths, Product, Wanted, fingerprint};

/// Says how a check came out; there are no defaults, and unknown is never pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The device is as it should be.
    Pass,
    /// The device is not as it should be.
    Fail,
    /// Nobody can say; see the reason.
    Unknown,
    /// The question does not arise on this device.
    NotApplicable,
    /// The check itself broke.
    Error,
}

impl State {
    /// Gives the word of the wire and of policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::NotApplicable => "not_applicable",
            Self::Error => "error",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Says why a check is unknown or broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The person may not look.
    Permission,
    /// The source does not exist.
    Absent,
    /// This sort of system is not supported.
    Unsupported,
    /// It took too long.
    Timeout,
    /// The source could not be read as what it should be.
    Parse,
}

impl Reason {
    /// Gives the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Absent => "absent",
            Self::Unsupported => "unsupported",
            Self::Timeout => "timeout",
            Self::Parse => "parse",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Says who stands behind a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// The person's own program.
    #[default]
    #[serde(rename = "self")]
    SelfReported,
    /// A privileged helper of the device.
    System,
    /// The device's hardware.
    Hardware,
    /// Someone else, such as device management.
    ThirdParty,
}

impl Assurance {
    /// Gives the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SelfReported => "self",
            Self::System => "system",
            Self::Hardware => "hardware",
            Self::ThirdParty => "third_party",
        }
    }
}

/// Says with which rights the checks were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    /// A person's.
    #[default]
    User,
    /// The system's.
    System,
}

/// Holds one answer about the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The check, dotted: `disk.root`, `os.version`; `x.ORG.NAME` is free for others.
    #[serde(deserialize_with = "crate::text::clean")]
    pub id: String,
    /// How it came out.
    pub state: State,
    /// Why, when it is unknown or broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was seen: text, number, truth value or a small object, at most 1 KiB.
    #[serde(default, deserialize_with = "crate::text::clean_value", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Where it was seen.
    #[serde(default, deserialize_with = "crate::text::clean")]
    pub source: String,
    /// Who stands behind it.
    #[serde(default)]
    pub assurance: Assurance,
    /// When it was seen.
    pub at: UnixTime,
    /// For how many seconds it may be believed.
    pub ttl: u64,
    /// How many milliseconds it took.
    #[serde(default)]
    pub took_ms: u64,
}

/// Holds all answers of one collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form: 1.
    pub v: u32,
    /// The report's own identifier.
    pub id: String,
    /// The operating system.
    pub os: Os,
    /// With which rights the checks were made.
    #[serde(default)]
    pub privilege: Privilege,
    /// The program that made them.
    pub client: ClientInfo,
    /// The answers, at most 64, each id once.
    pub checks: Vec<Check>,
    /// Whether it holds only what is new: what it leaves out is as it was reported before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// What proves an answer, by check id, at most 4 of 16 KiB: for `cert.NAME` a [`certificate`] proof.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, String>,
}

/// Names an operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// `linux`, `macos` or `windows`.
    #[serde(deserialize_with = "crate::text::clean")]
    pub family: String,
    /// The distribution or product, such as `debian`.
    #[serde(default, deserialize_with = "crate::text::clean")]
    pub id: String,
    /// Its version.
    #[serde(default, deserialize_with = "crate::text::clean")]
    pub version: String,
    /// The kernel's version.
    #[serde(default, deserialize_with = "crate::text::clean")]
    pub kernel: String,
}

/// Names a client program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// Its name.
    #[serde(deserialize_with = "crate::text::clean")]
    pub name: String,
    /// Its version.
    #[serde(default, deserialize_with = "crate::text::clean")]
    pub version: String,
}

/// Gives the name that a check has in policies, where dots cannot stand: `disk.root` is `disk_root`. A check that the
/// configuration names keeps the dot after its family: `file.agent`.
#[must_use]
pub fn policy_name(id: &str) -> String {
    match family(id) {
        Some((family, name)) => format!("{family}.{}", name.replace('.', "_")),
        None => id.replace('.', "_"),
    }
}

/// Gives the problem code of a failed check: that of its row, such as `posture.disk_encryption` for every disk, else
/// `posture.` and the id.
#[must_use]
pub fn problem_code(id: &str) -> String {
    match describe(id) {
        Some(known) => known.code.to_owned(),
        None => format!("posture.{}", policy_name(id)),
    }
}

#[cfg(test)]
mod tests;
