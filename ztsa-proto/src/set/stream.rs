//! Streams: where a transmitter's endpoints are, and what a receiver and it agree on (Shared Signals Framework 1.0,
//! sections 7 and 8).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use url::Url;

use super::subject::Subject;

/// Describes a transmitter: the document at `/.well-known/ssf-configuration`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transmitter {
    /// The version of the framework; `1_0` is the final one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_version: Option<String>,
    /// The `iss` of its tokens, exactly.
    pub issuer: String,
    /// Where its keys are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// How it delivers.
    #[serde(default)]
    pub delivery_methods_supported: Vec<String>,
    /// Where streams are made, read, changed and deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_endpoint: Option<String>,
    /// Where streams are paused and resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_endpoint: Option<String>,
    /// Where subjects are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_subject_endpoint: Option<String>,
    /// Where subjects are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_subject_endpoint: Option<String>,
    /// Where a heartbeat is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_endpoint: Option<String>,
    /// The members of complex subjects that a receiver must understand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical_subject_members: Vec<String>,
    /// How the endpoints are protected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_schemes: Vec<Scheme>,
    /// Whether a new stream tells of everybody (`ALL`) or nobody (`NONE`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_subjects: Option<String>,
}

/// Names how endpoints are protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheme {
    /// The specification, such as `urn:ietf:rfc:6750`.
    pub spec_urn: String,
}

/// Holds what a receiver and a transmitter agreed on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// The stream.
    pub stream_id: String,
    /// The `iss` of its tokens.
    pub iss: String,
    /// The `aud` of its tokens.
    #[serde(deserialize_with = "one_or_several")]
    pub aud: Vec<String>,
    /// What the transmitter could tell.
    #[serde(default)]
    pub events_supported: Vec<String>,
    /// What the receiver asked for.
    #[serde(default)]
    pub events_requested: Vec<String>,
    /// What comes.
    #[serde(default)]
    pub events_delivered: Vec<String>,
    /// How.
    pub delivery: Delivery,
    /// The least number of seconds between two verifications that are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_verification_interval: Option<u64>,
    /// After how many seconds without a sign of the receiver the transmitter may pause the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactivity_timeout: Option<u64>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Says how tokens are delivered.
///
/// # Security
/// `Debug` does not show the authorization header.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// [`super::delivery::PUSH`] or [`super::delivery::POLL`].
    pub method: String,
    /// Where they are pushed to, or polled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// What the transmitter sends as `Authorization` when it pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_header: Option<String>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Delivery");
        shown.field("method", &self.method).field("endpoint_url", &self.endpoint_url).finish_non_exhaustive()
    }
}

/// Asks for a stream, or for another form of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamRequest {
    /// The stream, when there is one already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_requested: Option<Vec<String>>,
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What only the transmitter says; it must be as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// As `iss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Value>,
    /// As `iss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_delivered: Option<Vec<String>>,
}

/// Says whether tokens flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// The stream.
    pub stream_id: String,
    /// Whether.
    pub status: Status,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Says whether tokens flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// They do.
    #[default]
    Enabled,
    /// They are held back.
    Paused,
    /// There are none.
    Disabled,
}

impl Status {
    /// Gives the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// Adds a subject to a stream, or removes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SubjectRequest {
    /// The stream.
    pub stream_id: String,
    /// Whom.
    #[serde(deserialize_with = "subject")]
    pub subject: Subject,
}

/// Asks for a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationRequest {
    /// The stream.
    pub stream_id: String,
    /// What the heartbeat must echo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Finds the discovery document of an issuer: the well-known path goes before the issuer's own.
#[must_use]
pub fn discovery_url(issuer: &str) -> Option<Url> {
    let mut url = Url::parse(issuer).ok()?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{WELL_KNOWN}{path}"));
    Some(url)
}

/// Where the discovery document of an issuer without a path is.
pub const WELL_KNOWN: &str = "/.well-known/ssf-configuration";

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Several(several) => several,
    })
}

fn subject<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Subject, D::Error> {
    Subject::read(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
