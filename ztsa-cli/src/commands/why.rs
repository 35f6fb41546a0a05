//! `ztsa why`

use std::fmt::Write as _;

use ztsa_proto::why::{ConditionKind, Decision, MissingFact, WhyResponse};

use super::{Context, Done};
use crate::cli;
use crate::report::{self, Failure};
use crate::ui::Style;

pub(crate) async fn run(args: cli::Why, context: &Context) -> Result<Done, Failure> {
    let client = context.signed_in().await?;
    let answer = {
        let ask = async || {
            let _shown = context.printer.spinner("asking the gateway");
            client.why(&args.app).await.map_err(|error| Failure::about(args.app.as_str(), error))
        };
        context.led(&client, ask).await?
    };
    if context.printer.json() {
        context.printer.json_value(&answer)?;
    } else {
        context.printer.data(&draw(&answer, context.printer.out_style()))?;
    }
    Ok(Done::Ok)
}

fn draw(answer: &WhyResponse, style: Style) -> String {
    let decision = match answer.decision {
        Decision::Allow => style.good("allowed"),
        Decision::StepUp => style.warn("needs a stronger sign-in"),
        Decision::Deny => style.bad("denied"),
    };
    let mut text = format!("{}: {decision}", style.bold(answer.app.as_str()));
    if let Some(problem) = &answer.problem {
        let _infallible = write!(text, " — {problem}\n  why:  {}", report::why(problem));
        if let Some(remedy) = &problem.remedy {
            let _infallible = write!(text, "\n  do:   {}", remedy.replace("APP", answer.app.as_str()));
        }
    }
    if !answer.changes.is_empty() {
        text.push_str(match answer.decision {
            Decision::Allow => "\nwhat would end it:",
            Decision::StepUp | Decision::Deny => "\nwhat would change it:",
        });
    }
    for change in &answer.changes {
        let _infallible = write!(text, "\n  {change}");
        for (when, remedy) in change.when.iter().filter_map(|when| Some((when, when.remedy.as_ref()?))) {
            // said above already
            let told = answer.problem.as_ref().and_then(|problem| problem.remedy.as_ref()) == Some(remedy);
            if !told && change.when.len() > 1 {
                let _infallible = write!(text, "\n    {}: {remedy}", when.about);
            } else if !told {
                let _infallible = write!(text, "\n    {remedy}");
            }
        }
    }
    unmended(&mut text, answer);
    if !answer.policies.is_empty() {
        text.push_str("\nwho decides:");
    }
    for policy in &answer.policies {
        let _infallible = write!(text, "\n  {} by policy {}", effect(&policy.effect), style.bold(&policy.id));
        let told = answer.problem.as_ref().map(ToString::to_string);
        if let Some(reason) = policy.reason.as_ref().filter(|reason| told.as_ref() != Some(reason)) {
            let _infallible = write!(text, " — {reason}");
        }
    }
    let risk = &answer.risk;
    let _infallible = write!(text, "\nrisk: user {}, device {}, session {}", risk.user, risk.device, risk.session);
    for signal in &risk.signals {
        let _infallible = write!(text, "\n  {}", super::status::signal(signal));
    }
    text
}

/// What stands in the way and was not told of yet: no single change of it would be enough, or the gateway is an older one.
fn unmended(text: &mut String, answer: &WhyResponse) {
    let told = |fact: &MissingFact| {
        let mut conditions = answer.changes.iter().flat_map(|change| &change.when);
        conditions.any(|when| when.about == fact.fact || (fact.fact == "auth" && when.kind == ConditionKind::SignIn))
    };
    let missing: Vec<&MissingFact> = answer.missing.iter().filter(|fact| !told(fact)).collect();
    if !missing.is_empty() {
        text.push_str("\nwhat stands in the way:");
    }
    for fact in missing {
        let _infallible = match fact.fact.as_str() {
            "auth" => write!(text, "\n  your sign-in is not strong or fresh enough"),
            check => write!(text, "\n  {check} is {} on this device", fact.state),
        };
        if let Some(remedy) = &fact.remedy {
            let _infallible = write!(text, " — {remedy}");
        }
    }
}

fn effect(word: &str) -> &str {
    match word {
        "permit" => "permitted",
        "forbid" => "forbidden",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drawn(answer: serde_json::Value) -> String {
        draw(&serde_json::from_value(answer).unwrap(), Style::plain())
    }

    #[test]
    fn a_denial_begins_with_the_answer_then_why_then_what_to_do() {
        let text = drawn(json!({
            "app": "db-prod", "decision": "deny",
            "problem": {"code": "posture.disk_encryption", "title": "x", "detail": "production needs an encrypted disk",
                "remedy": "Turn on LUKS.", "policy": ["disk"], "decision": "d1"},
            "policies": [{"id": "disk", "effect": "forbid", "reason": "production needs an encrypted disk"}],
            "missing": [{"fact": "disk.root", "state": "fail", "remedy": "Turn on LUKS."}],
            "changes": [{"decision": "allow", "when": [
                {"kind": "posture", "about": "disk.root", "now": "fail", "then": "pass", "remedy": "Turn on LUKS."}]}],
        }));
        assert_eq!(
            text,
            "db-prod: denied — production needs an encrypted disk\n  \
             why:  posture.disk_encryption, policy disk, decision d1\n  \
             do:   Turn on LUKS.\n\
             what would change it:\n  \
             allowed when disk.root passes (now fail)\n\
             who decides:\n  \
             forbidden by policy disk\n\
             risk: user 0, device 0, session 0"
        );
    }

    #[test]
    fn what_is_allowed_says_what_would_end_it_and_signals_say_how_they_fade() {
        let text = drawn(json!({
            "app": "wiki", "decision": "allow",
            "policies": [{"id": "dev", "effect": "permit", "reason": "developers read the wiki"}],
            "changes": [
                {"decision": "deny", "when": [{"kind": "risk", "about": "user", "now": "12", "then": "60"}]},
                {"decision": "step_up", "when": [{"kind": "time"}], "at": 1_795_352_700},
                {"decision": "deny", "when": [{"kind": "moon"}]},
            ],
            "risk": {"user": 12, "device": 0, "session": 0, "signals": [
                {"kind": "login.failed", "score": 12, "reason": "3 failed sign-ins", "source": "gateway", "half_life": 7200}]},
        }));
        assert_eq!(
            text,
            "wiki: allowed\n\
             what would end it:\n  \
             denied when the user's risk rises to 60 (now 12)\n  \
             open after a stronger sign-in from 2026-11-22T13:05:00Z on by itself\n  \
             denied when something is otherwise that this version has no word for\n\
             who decides:\n  \
             permitted by policy dev — developers read the wiki\n\
             risk: user 12, device 0, session 0\n  \
             12 login.failed: 3 failed sign-ins (from gateway), halving every 2 h"
        );
    }

    #[test]
    fn several_things_together_are_one_way() {
        let text = drawn(json!({
            "app": "db", "decision": "deny", "problem": {"code": "policy.no_match", "detail": "no policy lets you"},
            "missing": [{"fact": "os.eol", "state": "unknown"}, {"fact": "auth", "state": "unknown"}],
            "changes": [{"decision": "allow", "when": [
                {"kind": "posture", "about": "disk.root", "now": "unknown", "then": "pass", "remedy": "Turn on LUKS."},
                {"kind": "sign_in", "then": "mfa"}, {"kind": "device", "now": "unmanaged", "then": "approved"}]}],
        }));
        assert!(
            text.contains(
                "allowed when disk.root passes (now unknown), and the sign-in is fresh and as strong as mfa, \
             and an administrator approves the device (now unmanaged)\n    disk.root: Turn on LUKS.\n"
            ),
            "{text}"
        );
        assert!(text.contains("what stands in the way:\n  os.eol is unknown on this device\n"), "{text}");
        assert!(!text.contains("your sign-in is not strong"), "{text}");
    }
}
