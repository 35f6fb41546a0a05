//! `ztsa posture`: everything that is said about this device, why, who asks, and how to mend it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use ztsa_core::posture::collect_within;
use ztsa_net::clock::Clock;
use ztsa_proto::posture::{Assurance, Check, Report, State, Wanted, describe, known};
use ztsa_proto::time::UnixTime;

use super::{Context, Done};
use crate::report::Failure;
use crate::ui::{Style, span};

/// What was seen, and who wants to know.
struct Seen {
    report: Report,
    wanted: Vec<Wanted>,
    /// The gateway, when one is known.
    gateway: Option<String>,
    /// The apps that need each check, as far as this person may know of them.
    needs: BTreeMap<String, Vec<String>>,
    /// What the gateway knows from others, of the session of whoever has signed in.
    others: Vec<Check>,
    now: UnixTime,
}

pub(crate) async fn run(context: &Context) -> Result<Done, Failure> {
    let shown = context.printer.spinner("looking at this device");
    let seen = if context.settings.gateway.is_some() {
        let client = context.client().await?;
        let (report, wanted) = (client.posture().await?, client.posture_wanted().await?);
        let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // only who has signed in may know of apps; the rest is told to everybody
        let status = client.status().await.ok();
        let signed_in = status.as_ref().is_some_and(|status| status.sign_in.is_some());
        let apps = if signed_in { client.apps().await.map(|list| list.apps).unwrap_or_default() } else { Vec::new() };
        for app in apps {
            app.needs.into_iter().for_each(|check| needs.entry(check).or_default().push(app.name.to_string()));
        }
        let known =
            if signed_in { client.refresh().await.map(|info| info.posture).unwrap_or_default() } else { Vec::new() };
        let others = others(known, &report);
        let gateway = Some(context.settings.config()?.resource());
        Seen { report, wanted, gateway, needs, others, now: client.now() }
    } else {
        // Before the first login: what any gateway may ask.
        let wanted: Vec<Wanted> = known().map(Wanted::from).collect();
        let now = Clock::system().now();
        let report = collect_within(&wanted, "ztsa", now).await;
        Seen { report, wanted, gateway: None, needs: BTreeMap::new(), others: Vec::new(), now }
    };
    drop(shown);
    if context.printer.json() {
        context.printer.json_value(&seen.as_json())?;
    } else {
        context.printer.data(&seen.draw(context.printer.out_style()))?;
    }
    Ok(Done::Ok)
}

impl Seen {
    fn as_json(&self) -> Value {
        let explanations: serde_json::Map<String, Value> = self
            .report
            .checks
            .iter()
            .map(|check| {
                let known = describe(&check.id);
                let text = json!({
                    "why": known.map(|known| known.why),
                    "remedy": known.map(|known| known.remedy),
                    "looks_for": self.parameter(check),
                    "asked_by": self.gateway,
                    "needed_by": self.needs_of(check),
                });
                (check.id.clone(), text)
            })
            .collect();
        json!({ "report": self.report, "sent_to": self.gateway, "explanations": explanations, "others": self.others })
    }

    fn draw(&self, style: Style) -> String {
        let os = &self.report.os;
        let mut text = format!("{} {}, {} {}\n", os.id, os.version, os.family, os.kernel);
        let width = self.report.checks.iter().map(|check| check.id.len()).max().unwrap_or_default();
        for check in &self.report.checks {
            self.draw_check(check, width, style, &mut text);
        }
        self.draw_others(style, &mut text);
        let _infallible = match &self.gateway {
            Some(gateway) if self.report.checks.is_empty() => {
                write!(text, "\n{gateway} asks for nothing about this device.")
            }
            Some(gateway) => write!(
                text,
                "\n\nThis is all that is sent to {gateway}: at sign-in and at each renewal, and while something is open as soon \
                 as it changes, signed by this device's key. With it goes the name of this machine, at sign-in, for the \
                 list of devices."
            ),
            None => write!(text, "\n\nNothing is sent: no gateway is known. A gateway may ask for any of these."),
        };
        text.push_str("\nIt is what this device says about itself; policy decides which apps need which of it.");
        text
    }

    fn draw_others(&self, style: Style, text: &mut String) {
        if self.others.is_empty() {
            return;
        }
        text.push_str("\n\nOthers say of this device, and that counts above its own word:");
        let width = self.others.iter().map(|check| check.id.len()).max().unwrap_or_default();
        for check in &self.others {
            let id = format!("{:<width$}", check.id);
            let left = span(check.at.plus(Duration::from_secs(check.ttl)).since(self.now).as_secs());
            let (id, word) = (style.bold(&id), state(check, style));
            let _infallible = write!(text, "\n{id}  {word}  says {}, for {left} more", check.source);
        }
    }

    fn draw_check(&self, check: &Check, width: usize, style: Style, text: &mut String) {
        let (id, padding) = (format!("{:<width$}", check.id), " ".repeat(14_usize.saturating_sub(word(check).len())));
        let _infallible = write!(text, "\n{}  {}", style.bold(&id), state(check, style));
        let (value, indent) = (value(check), " ".repeat(width + 2));
        if !value.is_empty() {
            let _infallible = write!(text, "{padding}  {value}");
        }
        let mut line = |words: String| {
            let _infallible = write!(text, "\n{indent}{words}");
        };
        if let Some(known) = describe(&check.id) {
            line(style.dim(known.why));
            match (check.state, check.reason) {
                (State::Unknown | State::Error, Some(reason)) => {
                    line(format!("cannot tell ({reason}); if it is not so: {}", known.remedy));
                }
                (State::Fail | State::Unknown | State::Error, _) => line(format!("to mend it: {}", known.remedy)),
                (State::Pass | State::NotApplicable, _) => {}
            }
        }
        if let Some(parameter) = self.parameter(check) {
            line(style.dim(&format!("looks for {parameter}")));
        }
        if !check.source.is_empty() {
            line(style.dim(&format!("seen in {}", check.source)));
        }
        match self.needs_of(check) {
            [] => {}
            apps => line(style.dim(&format!("needed by {}", apps.join(", ")))),
        }
    }

    fn parameter(&self, check: &Check) -> Option<String> {
        let wanted = self.wanted.iter().find(|wanted| wanted.id == check.id)?;
        wanted.parameter(&self.report.os.family)
    }

    fn needs_of(&self, check: &Check) -> &[String] {
        self.needs.get(&check.id).map_or(&[], Vec::as_slice)
    }
}

/// Leaves what others say of what the gateway knows: a certificate that they vouch for is the device's own answer.
fn others(known: Vec<Check>, report: &Report) -> Vec<Check> {
    let own = |check: &Check| report.checks.iter().any(|own| own.id == check.id && own.source == check.source);
    known.into_iter().filter(|check| check.assurance == Assurance::ThirdParty && !own(check)).collect()
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
        Some(Value::Number(number)) => match check.id.as_str() {
            "os.patch_age" => format!("{number} days"),
            "os.uptime" | "lock.delay" => format!("{number} s"),
            _ => number.to_string(),
        },
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
    use ztsa_proto::posture::{Paths, Product};

    #[tokio::test]
    async fn each_check_says_what_why_who_and_what_to_do() {
        let path = Paths { linux: Some("/no/such/agent.conf".to_owned()), ..Paths::default() };
        let products = vec![Product { name: "acme".to_owned(), processes: vec!["no-such-process".to_owned()] }];
        let wanted = vec![Wanted { path, ..Wanted::from("file.agent") }, Wanted { products, ..Wanted::from("edr") }];
        let report = collect_within(&wanted, "ztsa", Clock::system().now()).await;
        let needs = BTreeMap::from([("file.agent".to_owned(), vec!["wiki".to_owned(), "db".to_owned()])]);
        let now = UnixTime(1_795_000_000);
        let word = |source: &str, assurance| Check {
            source: source.to_owned(),
            assurance,
            at: now.minus(Duration::from_secs(60)),
            ttl: 3660,
            ..report.checks[0].clone()
        };
        let own = word(&report.checks[0].source, Assurance::ThirdParty);
        let known = vec![word("acme", Assurance::ThirdParty), own, word("nobody", Assurance::SelfReported)];
        let others = others(known, &report);
        let seen = Seen { report, wanted, gateway: Some("https://gw.example".to_owned()), needs, others, now };
        let text = seen.draw(Style::plain());
        for part in [
            "file.agent  fail",
            "looks for /no/such/agent.conf",
            "to mend it: ask your administrator",
            "needed by wiki, db",
            "looks for one of acme",
            "sent to https://gw.example",
            "counts above its own word",
            "says acme, for 60 min more",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("says nobody") && text.matches(", for 60 min more").count() == 1, "{text}");
        let json = seen.as_json();
        assert_eq!(json["others"][0]["assurance"], "third_party");
        assert_eq!(json["explanations"]["file.agent"]["needed_by"], json!(["wiki", "db"]));
        assert_eq!(json["explanations"]["edr"]["asked_by"], "https://gw.example");
    }
}
