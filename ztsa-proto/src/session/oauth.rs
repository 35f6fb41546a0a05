//! An error of the token endpoint (RFC 6749 section 5.2) that also says what a problem document says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::problem::Problem;
use crate::text::printable;

/// Tells why the token endpoint gave no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(from = "Map<String, Value>")]
#[error("{}", .error_description.as_deref().unwrap_or(.error))]
pub struct OAuthError {
    /// The registered error, such as `invalid_grant` or `use_dpop_nonce`.
    pub error: String,
    /// What happened, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
    /// The problem, whose members stand beside the others; absent when the server is not a ztsa gateway.
    #[serde(flatten)]
    pub problem: Option<Problem>,
}

impl OAuthError {
    /// Says an error with the problem behind it.
    #[must_use]
    pub fn new(error: &str, description: &str, problem: Option<Problem>) -> Self {
        let error_description = Some(description.to_owned()).filter(|text| !text.is_empty());
        Self { error: error.to_owned(), error_description, problem }
    }

    /// Reads the body of an error answer; `None` when it is over 16 KiB or not such a body.
    #[must_use]
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let body: Self = (json.len() <= LARGEST).then(|| serde_json::from_slice(json).ok()).flatten()?;
        (!body.error.is_empty()).then_some(body)
    }
}

impl From<Map<String, Value>> for OAuthError {
    fn from(members: Map<String, Value>) -> Self {
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(|text| printable(text, 1024));
        Self {
            error: text("error").unwrap_or_default(),
            error_description: text("error_description"),
            problem: members.contains_key("code").then(|| members.into()),
        }
    }
}

const LARGEST: usize = 16 * 1024;
