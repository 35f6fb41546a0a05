//! The annotations of a policy, parsed: a misspelt one is a mistake, never silently nothing.

use std::time::Duration;

use cedar_policy::{ActionConstraint, Effect, Policy, PrincipalConstraint, ResourceConstraint};

use super::mention::Mentions;
use super::schema::Vocabulary;
use crate::config::duration;

/// Says what happens to a live tunnel when policy no longer lets it be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// Bytes stop both ways; the tunnel waits for a grace time in case the answer changes back.
    Suspend,
    /// The tunnel ends.
    Terminate,
}

/// One policy with what its annotations say.
#[derive(Debug, Clone)]
pub(super) struct Annotated {
    pub(super) policy: Policy,
    pub(super) id: String,
    pub(super) monitor: bool,
    pub(super) strict: bool,
    pub(super) reason: Option<String>,
    pub(super) remedy: Option<String>,
    pub(super) code: Option<String>,
    pub(super) step_up: Option<StepUp>,
    pub(super) on_change: Option<OnChange>,
    /// The posture checks that its conditions name, as `disk.root`.
    pub(super) facts: Vec<String>,
    /// What else they name.
    pub(super) mentions: Mentions,
}

/// What a step-up asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepUp {
    pub(super) acr_values: Option<String>,
    pub(super) max_age: Option<Duration>,
}

/// A mistake in the annotation `name`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) name: String,
    pub(super) cause: String,
    pub(super) hint: String,
}

const KNOWN: [&str; 9] = ["id", "reason", "remedy", "code", "step_up", "max_age", "on_change", "mode", "strict"];

/// Texts for people are bounded: they travel in a problem document.
const MAX_TEXT: usize = 1_000;

impl Annotated {
    /// Reads the annotations of `policy`; `fallback` is its name when it has no `@id`.
    pub(super) fn read(policy: &Policy, fallback: &str, vocabulary: &Vocabulary) -> Result<Self, Wrong> {
        for (name, value) in policy.annotations() {
            check(policy.effect(), name, value)?;
        }
        asks_for_something(policy)?;
        let text = |name: &str| policy.annotation(name).map(str::to_owned);
        let id = text("id").unwrap_or_else(|| fallback.to_owned());
        let step_up = match (text("step_up"), text("max_age")) {
            (None, None) => None,
            (acr_values, max_age) => Some(StepUp {
                acr_values: acr_values.filter(|values| !values.trim().is_empty()),
                max_age: max_age.as_deref().and_then(duration::parse),
            }),
        };
        Ok(Self {
            policy: policy.new_id(cedar_policy::PolicyId::new(&id)),
            monitor: policy.annotation("mode") == Some("monitor"),
            strict: policy.annotation("strict").is_some(),
            reason: text("reason"),
            remedy: text("remedy"),
            code: text("code"),
            step_up,
            on_change: match policy.annotation("on_change") {
                Some("suspend") => Some(OnChange::Suspend),
                Some(_) => Some(OnChange::Terminate),
                None => None,
            },
            mentions: Mentions::of(policy, vocabulary),
            facts: vocabulary.catalogue.named_in(&policy.to_cedar().unwrap_or_default()),
            id,
        })
    }

    pub(super) fn is_permit(&self) -> bool {
        self.policy.effect() == Effect::Permit
    }

    pub(super) fn principal(&self) -> PrincipalConstraint {
        self.policy.principal_constraint()
    }

    pub(super) fn action(&self) -> ActionConstraint {
        self.policy.action_constraint()
    }

    pub(super) fn resource(&self) -> ResourceConstraint {
        self.policy.resource_constraint()
    }
}

fn check(effect: Effect, name: &str, value: &str) -> Result<(), Wrong> {
    let wrong = |cause: String, hint: &str| Err(Wrong { name: name.to_owned(), cause, hint: hint.to_owned() });
    if effect == Effect::Permit && matches!(name, "remedy" | "code" | "step_up" | "max_age") {
        return wrong(
            format!("@{name} stands on a permit, but only a forbid refuses"),
            "move it to the forbid that refuses until the condition holds",
        );
    }
    if effect == Effect::Forbid && name == "strict" {
        return wrong(
            "@strict stands on a forbid, but only a permit opens anything".to_owned(),
            "move it to the permit whose tunnels must not go on while the gateway cannot write its store",
        );
    }
    match name {
        "strict" if !value.is_empty() => {
            wrong(format!("@strict takes no value, not {value:?}"), "write @strict alone, or leave it out")
        }
        "id" if !is_id(value) => {
            wrong(format!("@id {value:?} is not a policy id"), "use 1 to 64 letters, digits and any of . _ : / -")
        }
        "reason" | "remedy" if value.is_empty() || value.len() > MAX_TEXT => {
            wrong(format!("@{name} is empty or longer than {MAX_TEXT} bytes"), "say it in a sentence")
        }
        "code" if !is_code(value) => wrong(
            format!("@code {value:?} is not the code of a refusal by policy"),
            "use policy.NAME or posture.NAME in lower case, such as posture.disk_encryption",
        ),
        "on_change" if !matches!(value, "suspend" | "terminate") => {
            wrong(format!("@on_change {value:?} is not known"), "use \"suspend\" or \"terminate\"")
        }
        "mode" if value != "monitor" => {
            wrong(format!("@mode {value:?} is not known"), "use \"monitor\", or leave it out to enforce the policy")
        }
        "max_age" if duration::parse(value).is_none_or(|age| age.is_zero()) => {
            let cause = format!("@max_age {value:?} is not a time that a sign-in can be younger than");
            wrong(cause, "use a number with s, m, h or d, such as \"5m\"")
        }
        "id" | "reason" | "remedy" | "code" | "step_up" | "max_age" | "on_change" | "mode" | "strict" => Ok(()),
        _ => wrong(format!("@{name} is not an annotation of ztsa"), &nearest(name)),
    }
}

/// Refuses a step-up to nothing: no sign-in would lift the refusal.
fn asks_for_something(policy: &Policy) -> Result<(), Wrong> {
    let is_empty = policy.annotation("step_up").is_some_and(|values| values.trim().is_empty());
    if !is_empty || policy.annotation("max_age").is_some() {
        return Ok(());
    }
    let cause = "@step_up asks for nothing, so no sign-in would lift the refusal".to_owned();
    let hint = "name acr values, such as @step_up(\"mfa\"), or use @max_age alone".to_owned();
    Err(Wrong { name: "step_up".to_owned(), cause, hint })
}

fn nearest(name: &str) -> String {
    let known = KNOWN.iter().min_by_key(|known| distance(name, known));
    match known {
        Some(known) if distance(name, known) <= 3 => format!("did you mean @{known}?"),
        _ => format!("the annotations are @{}", KNOWN.join(" @")),
    }
}

/// Counts the edits from one short word to another.
pub(super) fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut before = i;
        let mut last = i + 1;
        let mut next = vec![last];
        for (b, above) in right.chars().zip(row.iter().skip(1)) {
            last = (before + usize::from(a != b)).min(above + 1).min(last + 1);
            before = *above;
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-'))
}

fn is_code(text: &str) -> bool {
    let Some((family, name)) = text.split_once('.') else { return false };
    matches!(family, "policy" | "posture")
        && (1..=48).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
