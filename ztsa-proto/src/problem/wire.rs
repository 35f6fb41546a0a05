//! Problem documents as JSON: written plainly, read with suspicion.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Problem, Retry, new};
use crate::text::printable;

/// Tells why bytes are no problem document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemError {
    /// It is over 16 KiB.
    #[error("the problem document is larger than 16 KiB")]
    TooLarge,
    /// It is no JSON object.
    #[error("the answer is not a problem document")]
    NotJson,
}

pub(super) fn read(json: &[u8]) -> Result<Problem, ProblemError> {
    if json.len() > LARGEST {
        return Err(ProblemError::TooLarge);
    }
    serde_json::from_slice(json).map_err(|_| ProblemError::NotJson)
}

/// Reads the members of a document; those of the wrong sort count as missing.
impl From<Map<String, Value>> for Problem {
    fn from(members: Map<String, Value>) -> Self {
        let text = |name: &str, limit| {
            members.get(name).and_then(Value::as_str).map(|text| printable(text, limit)).filter(|text| !text.is_empty())
        };
        let number = |name: &str| members.get(name).and_then(Value::as_u64);
        let status = number("status").and_then(|status| u16::try_from(status).ok()).filter(|s| (100..600).contains(s));
        let code = code(&members).unwrap_or_else(|| of_status(status).to_owned());
        let known = new(&code);
        Self {
            title: text("title", 256).unwrap_or(known.title),
            status: status.unwrap_or(known.status),
            detail: text("detail", 1024).unwrap_or_default(),
            remedy: text("remedy", 1024).or(known.remedy),
            retry: retry(text("retry", 32).as_deref(), number("retry_after"), known.retry),
            policy: policy(members.get("policy")),
            acr_values: text("acr_values", 256),
            max_age: number("max_age"),
            decision: text("decision", 64),
            waits: number("waits"),
            code,
        }
    }
}

/// Reads the code from `code`, else from a `type` of ours.
fn code(members: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let code = text("code").or_else(|| text("type")?.strip_prefix(TYPE))?;
    let is_fit = (1..=64).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    is_fit.then(|| code.to_owned())
}

/// Which of our codes comes closest to a status.
fn of_status(status: Option<u16>) -> &'static str {
    match status {
        Some(401) => "auth.required",
        Some(404) => "app.unknown",
        Some(407) => "ticket.invalid",
        Some(502) => "app.unreachable",
        Some(504) => "app.timeout",
        Some(429) => "gateway.limit",
        Some(400 | 405..=499) => "request.invalid",
        Some(500..) => "gateway.unavailable",
        _ => "policy.forbidden",
    }
}

fn retry(word: Option<&str>, seconds: Option<u64>, default: Retry) -> Retry {
    match (word, default) {
        (Some("never"), _) => Retry::Never,
        (Some("after_login"), _) => Retry::AfterLogin,
        (Some("after_step_up"), _) => Retry::AfterStepUp,
        (Some("after"), _) | (None, Retry::After { seconds: None }) => Retry::After { seconds },
        (None, Retry::After { .. }) if seconds.is_some() => Retry::After { seconds },
        (_, default) => default,
    }
}

fn policy(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).take(16).map(|id| printable(id, 128)).collect()
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("{TYPE}{}", self.code))?;
        map.serialize_entry("title", &self.title)?;
        map.serialize_entry("status", &self.status)?;
        if !self.detail.is_empty() {
            map.serialize_entry("detail", &self.detail)?;
        }
        map.serialize_entry("code", &self.code)?;
        if let Some(remedy) = &self.remedy {
            map.serialize_entry("remedy", remedy)?;
        }
        let (word, seconds) = match self.retry {
            Retry::Never => ("never", None),
            Retry::After { seconds } => ("after", seconds),
            Retry::AfterLogin => ("after_login", None),
            Retry::AfterStepUp => ("after_step_up", None),
        };
        map.serialize_entry("retry", word)?;
        if let Some(seconds) = seconds {
            map.serialize_entry("retry_after", &seconds)?;
        }
        if !self.policy.is_empty() {
            map.serialize_entry("policy", &self.policy)?;
        }
        if let Some(acr_values) = &self.acr_values {
            map.serialize_entry("acr_values", acr_values)?;
        }
        if let Some(max_age) = self.max_age {
            map.serialize_entry("max_age", &max_age)?;
        }
        if let Some(decision) = &self.decision {
            map.serialize_entry("decision", decision)?;
        }
        if let Some(waits) = self.waits {
            map.serialize_entry("waits", &waits)?;
        }
        map.end()
    }
}

const TYPE: &str = "urn:ztsa:problem:";
const LARGEST: usize = 16 * 1024;
