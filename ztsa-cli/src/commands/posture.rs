//! `ztsa posture`: everything that is said about this device, why, and how to mend it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use ztsa_core::posture::{EXPLANATIONS, Explanation, collect_within};
use ztsa_net::clock::Clock;
use ztsa_proto::posture::{Check, KNOWN, Report, State};

use super::{Context, Done};
use crate::report::Failure;
use crate::ui::Style;

pub(crate) async fn run(context: &Context) -> Result<Done, Failure> {
    let shown = context.printer.spinner("looking at this device");
    let (report, gateway) = if context.settings.gateway.is_some() {
        (context.client().await?.posture().await?, Some(context.settings.config()?.resource()))
    } else {
        // Before the first login: what any gateway may ask.
        let all: Vec<String> = KNOWN.iter().map(|id| (*id).to_owned()).collect();
        (collect_within(&all, "ztsa", Clock::system().now()).await, None)
    };
    drop(shown);
    if context.printer.json() {
        context.printer.json_value(&as_json(&report, gateway.as_deref()))?;
    } else {
        context.printer.data(&draw(&report, gateway.as_deref(), context.printer.out_style()))?;
    }
    Ok(Done::Ok)
}

fn explained(id: &str) -> Option<&'static Explanation> {
    EXPLANATIONS.iter().find(|known| known.id == id)
}

fn as_json(report: &Report, gateway: Option<&str>) -> Value {
    let explanations: serde_json::Map<String, Value> = report
        .checks
        .iter()
        .filter_map(|check| explained(&check.id))
        .map(|known| (known.id.to_owned(), json!({ "why": known.why, "remedy": known.remedy })))
        .collect();
    json!({ "report": report, "sent_to": gateway, "explanations": explanations })
}

fn draw(report: &Report, gateway: Option<&str>, style: Style) -> String {
    let os = &report.os;
    let mut text = format!("{} {}, {} {}\n", os.id, os.version, os.family, os.kernel);
    let width = report.checks.iter().map(|check| check.id.len()).max().unwrap_or_default();
    for check in &report.checks {
        let (id, padding) = (format!("{:<width$}", check.id), " ".repeat(14_usize.saturating_sub(word(check).len())));
        let _infallible = write!(text, "\n{}  {}", style.bold(&id), state(check, style));
        let (value, indent) = (value(check), " ".repeat(width + 2));
        if !value.is_empty() {
            let _infallible = write!(text, "{padding}  {value}");
        }
        if let Some(known) = explained(&check.id) {
            let _infallible = write!(text, "\n{indent}{}", style.dim(known.why));
            if matches!(check.state, State::Fail | State::Unknown) {
                let _infallible = write!(text, "\n{indent}{}", remedy(check, known));
            }
        }
        if !check.source.is_empty() {
            let _infallible = write!(text, "\n{indent}{}", style.dim(&format!("seen in {}", check.source)));
        }
    }
    let _infallible = match gateway {
        Some(gateway) => write!(
            text,
            "\n\nThis is all that is sent to {gateway}: at sign-in and at each renewal, signed by this device's key."
        ),
        None => write!(text, "\n\nNothing is sent: no gateway is known. A gateway may ask for any of these."),
    };
    text.push_str("\nIt is what this device says about itself; policy decides which apps need which of it.");
    text
}

fn remedy(check: &Check, known: &Explanation) -> String {
    match (check.state, check.reason) {
        (State::Unknown, Some(reason)) => format!("cannot tell ({reason}); if it is not so: {}", known.remedy),
        _ => format!("to mend it: {}", known.remedy),
    }
}

fn word(check: &Check) -> &'static str {
    match check.state {
        State::Pass => "pass",
        State::Fail => "fail",
        State::Unknown => "unknown",
        State::NotApplicable => "not applicable",
        State::Error => "error",
    }
}

fn state(check: &Check, style: Style) -> String {
    let word = word(check);
    match check.state {
        State::Pass => style.good(word),
        State::Fail | State::Error => style.bad(word),
        State::Unknown => style.warn(word),
        State::NotApplicable => style.dim(word),
    }
}

fn value(check: &Check) -> String {
    match &check.value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(days)) if check.id == "os.patch_age" => format!("{days} days"),
        // An operating system says its whole name.
        Some(Value::Object(members)) => match members.get("name").and_then(Value::as_str) {
            Some(name) => name.to_owned(),
            None => Value::Object(members.clone()).to_string(),
        },
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_check_is_explained() {
        for id in KNOWN {
            assert!(explained(id).is_some(), "{id}");
        }
    }
}
