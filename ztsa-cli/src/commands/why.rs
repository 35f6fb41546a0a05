//! `ztsa why`

use std::fmt::Write as _;

use ztsa_proto::why::{Decision, WhyResponse};

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
    for policy in &answer.policies {
        let _infallible = write!(text, "\n  {} by policy {}", effect(&policy.effect), style.bold(&policy.id));
        let told = answer.problem.as_ref().map(ToString::to_string);
        if let Some(reason) = policy.reason.as_ref().filter(|reason| told.as_ref() != Some(reason)) {
            let _infallible = write!(text, " — {reason}");
        }
    }
    if !answer.missing.is_empty() {
        text.push_str("\nwhat stands in the way:");
    }
    for fact in &answer.missing {
        let _infallible = match fact.fact.as_str() {
            "auth" => write!(text, "\n  your sign-in is not strong or fresh enough"),
            check => write!(text, "\n  {check} is {} on this device", fact.state),
        };
        if let Some(remedy) = &fact.remedy {
            let _infallible = write!(text, " — {remedy}");
        }
    }
    let risk = &answer.risk;
    let _infallible = write!(text, "\n  risk: user {}, device {}, session {}", risk.user, risk.device, risk.session);
    for signal in &risk.signals {
        let _infallible = write!(text, "\n    {}", super::status::signal(signal));
    }
    text
}

fn effect(word: &str) -> &str {
    match word {
        "permit" => "permitted",
        "forbid" => "forbidden",
        other => other,
    }
}
