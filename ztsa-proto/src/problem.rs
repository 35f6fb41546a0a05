//! Why not, and what to do about it: problem details (RFC 9457) with a stable code, a remedy and advice on retrying.

mod status;
mod table;
mod wire;

use serde::Deserialize;
use serde_json::{Map, Value};

pub use wire::ProblemError;

/// Says when trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not until someone changes something: policy, a name, the device.
    Never,
    /// After a while.
    After {
        /// How many seconds, when it is known.
        seconds: Option<u64>,
    },
    /// After signing in.
    AfterLogin,
    /// After signing in again with more proof (RFC 9470).
    AfterStepUp,
}

/// Tells a person why something was refused and what they can do.
///
/// Everything in it is fit to print: text that was read from the wire has been cleaned by
/// [`printable`](crate::text::printable) and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Map<String, Value>")]
pub struct Problem {
    /// The stable code, dotted, such as `policy.no_match`.
    pub code: String,
    /// What sort of problem it is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, in a sentence; may be empty.
    pub detail: String,
    /// What the person should do, in a sentence.
    pub remedy: Option<String>,
    /// When trying again makes sense.
    pub retry: Retry,
    /// The policies that decided.
    pub policy: Vec<String>,
    /// How the person should sign in for a step-up (RFC 9470).
    pub acr_values: Option<String>,
    /// How many seconds ago the person may have signed in at most for a step-up (RFC 9470).
    pub max_age: Option<u64>,
    /// The decision's id in the gateway's audit log.
    pub decision: Option<String>,
    /// How many seconds a suspended tunnel waits for the answer to change before it ends.
    pub waits: Option<u64>,
}

/// Builds the problem of a known code from the table: its title, status, retry and remedy.
///
/// A code that the table does not know takes the row of its first part (`posture.x` is a posture problem), else a
/// general one; it keeps its own text.
#[must_use]
pub fn new(code: &str) -> Problem {
    let row = table::row(code);
    Problem {
        code: code.to_owned(),
        title: row.title.to_owned(),
        status: row.status,
        detail: String::new(),
        remedy: Some(row.remedy.to_owned()),
        retry: row.retry,
        policy: Vec::new(),
        acr_values: None,
        max_age: None,
        decision: None,
        waits: None,
    }
}

/// Lists the codes that the table knows.
pub fn codes() -> impl Iterator<Item = &'static str> {
    table::rows().map(|row| row.code)
}

impl Problem {
    /// Says what happened this time.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// Says what the person should do, in place of the table's remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Says when trying again makes sense, in place of the table's advice.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// Names the policies that decided.
    #[must_use]
    pub fn with_policy(self, policy: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { policy: policy.into_iter().map(Into::into).collect(), ..self }
    }

    /// Names the decision in the audit log.
    #[must_use]
    pub fn with_decision(self, decision: impl Into<String>) -> Self {
        Self { decision: Some(decision.into()), ..self }
    }

    /// Says how many seconds a suspended tunnel waits.
    #[must_use]
    pub fn with_wait(self, seconds: u64) -> Self {
        Self { waits: Some(seconds), ..self }
    }

    /// Says how the person should sign in for a step-up.
    #[must_use]
    pub fn with_step_up(self, acr_values: Option<String>, max_age: Option<u64>) -> Self {
        Self { acr_values, max_age, ..self }
    }

    /// Reads a problem document, cleaning and bounding every text.
    ///
    /// Members of the wrong sort are ignored (RFC 9457 section 3.1), missing ones are filled from the table. A
    /// document of another maker gets the code that fits its status best.
    ///
    /// # Errors
    /// [`ProblemError`] when it is over 16 KiB or no JSON object, such as the page of a captive portal.
    pub fn from_json(json: &[u8]) -> Result<Self, ProblemError> {
        wire::read(json)
    }

    /// Writes the document's bytes, for `application/problem+json`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // a problem holds only text and numbers, which always write
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Writes the `Proxy-Status` item (RFC 9209): `gw; error=http_request_denied; details="policy.no_match"`.
    #[must_use]
    pub fn proxy_status(&self, gateway: &str) -> String {
        status::item(gateway, table::row(&self.code).proxy_error, &self.code)
    }

    /// Gives the exit code of a command that was refused with this (DESIGN section 8).
    #[must_use]
    pub fn exit(&self) -> u8 {
        table::row(&self.code).exit
    }

    /// Gives the exit code of a command whose tunnel was open when this ended or suspended it: 7 for whatever the
    /// gateway decided, 8 for a wanted step-up, 6 when gateway, app or network went away.
    #[must_use]
    pub fn exit_when_open(&self) -> u8 {
        match self.exit() {
            exit @ (6 | 8) => exit,
            _ => 7,
        }
    }
}

impl std::fmt::Display for Problem {
    /// Writes what happened, or the title where nothing more is known.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.detail.is_empty() { &self.title } else { &self.detail })
    }
}

#[cfg(test)]
mod tests;
