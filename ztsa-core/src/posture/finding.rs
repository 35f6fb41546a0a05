//! What one look brought.

use std::borrow::Cow;

use serde_json::Value;
use ztsa_proto::posture::{Reason, State};

/// The answer to one check, before it has its place in a report.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    pub(super) state: State,
    pub(super) reason: Option<Reason>,
    pub(super) value: Option<Value>,
    pub(super) source: Cow<'static, str>,
}

impl Finding {
    pub(super) fn pass(value: impl Into<Value>, source: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Pass, reason: None, value: Some(value.into()), source: source.into() }
    }

    pub(super) fn fail(value: impl Into<Value>, source: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Fail, ..Self::pass(value, source) }
    }

    pub(super) fn not_applicable(value: impl Into<Value>, source: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::NotApplicable, ..Self::pass(value, source) }
    }

    pub(super) fn unknown(reason: Reason, source: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Unknown, reason: Some(reason), value: None, source: source.into() }
    }

    pub(super) fn error(reason: Reason, source: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Error, ..Self::unknown(reason, source) }
    }

    /// A value whose meaning is policy's business.
    pub(super) fn known(value: Result<Value, Reason>, source: impl Into<Cow<'static, str>>) -> Self {
        match value {
            Ok(value) => Self::pass(value, source),
            Err(reason) => Self::unknown(reason, source),
        }
    }

    /// Something that is on or off.
    pub(super) fn of(on: bool, value: impl Into<Value>, source: impl Into<Cow<'static, str>>) -> Self {
        if on { Self::pass(value, source) } else { Self::fail(value, source) }
    }

    /// Keeps the value within what a report may hold: 1 KiB of JSON.
    pub(super) fn bounded(mut self) -> Self {
        if let Some(Value::String(text)) = &mut self.value
            && text.len() > MOST
        {
            *text = text.chars().take(MOST / 4).collect();
        }
        if self.value.as_ref().is_some_and(|value| value.to_string().len() > 2 * MOST) {
            return Self::error(Reason::Parse, self.source);
        }
        self
    }
}

/// Whether a screen locks by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// It does not.
    Off,
    /// After so many seconds without use.
    After(u64),
}

/// The longest text, in bytes; twice as much as JSON, where quotes and backslashes are written as two.
const MOST: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_to_what_a_report_may_hold() {
        let long = Finding::pass("\\".repeat(5_000), "x").bounded();
        assert!(long.value.unwrap().to_string().len() <= 1_024);
        let large = Finding::pass(serde_json::json!({"a": "x".repeat(2_000)}), "x").bounded();
        assert_eq!((large.state, large.reason), (State::Error, Some(Reason::Parse)));
        let small = Finding::pass("luks2", "x");
        assert_eq!(small.clone().bounded(), small);
    }
}
