//! How tokens travel: pushed (RFC 8935) or polled for (RFC 8936).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text;

/// Names the delivery by push in a stream's configuration.
pub const PUSH: &str = "urn:ietf:rfc:8935";
/// Names the delivery by poll in a stream's configuration.
pub const POLL: &str = "urn:ietf:rfc:8936";

/// Tells a transmitter why a token is not taken (RFC 8935 section 2.4, RFC 8936 section 2.4.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The code.
    #[serde(deserialize_with = "text::clean")]
    pub err: String,
    /// What is wrong, in words.
    #[serde(default, deserialize_with = "text::clean")]
    pub description: String,
}

/// Names what can be wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// It is malformed, or no security event token.
    InvalidRequest,
    /// Its signature does not hold, or no published key made it.
    InvalidKey,
    /// It is of another issuer.
    InvalidIssuer,
    /// It is for somebody else.
    InvalidAudience,
    /// The request does not say who delivers it.
    AuthenticationFailed,
    /// Whoever delivers it may not.
    AccessDenied,
    /// A verification echoes a word that nobody said (Shared Signals Framework section 8.1.4.1).
    InvalidState,
}

impl FaultCode {
    /// Gives the code of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
            Self::AccessDenied => "access_denied",
            Self::InvalidState => "invalid_state",
        }
    }

    /// Puts words to the code.
    #[must_use]
    pub fn because(self, description: &str) -> Fault {
        Fault { err: self.as_str().to_owned(), description: description.to_owned() }
    }
}

/// Asks for tokens, and says what became of those before (RFC 8936 section 2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollRequest {
    /// At most how many; 0 to acknowledge only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_events: Option<usize>,
    /// Whether to answer at once when there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_immediately: Option<bool>,
    /// The identifiers of tokens that were taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ack: Vec<String>,
    /// The identifiers of tokens that were not, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set_errs: BTreeMap<String, Fault>,
}

/// Answers a poll (RFC 8936 section 2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollResponse {
    /// The tokens by identifier.
    #[serde(default)]
    pub sets: BTreeMap<String, String>,
    /// Whether there are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_available: bool,
}
