//! `ztsa-gateway policy explain`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ztsa_gateway::admin::request::Request;
use ztsa_gateway::policy::Explanation;
use ztsa_gateway::policy::case::{Case, Expect, Outcome};

use super::super::failure::Failure;
use super::super::output::{line, list, text};
use super::super::socket;
use super::{Where, load};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The person: of the running gateway subject, name, e-mail address or ISSUER|SUBJECT; of --config any subject.
    #[arg(long)]
    user: String,
    /// The app.
    #[arg(long)]
    app: String,
    /// Explain the policies of a configuration file instead of the running gateway's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// With --config: a group of the person; may be given again.
    #[arg(long = "group", value_name = "GROUP", requires = "config")]
    groups: Vec<String>,
    /// With --config: what the device reports, such as disk.root=pass; may be given again.
    #[arg(long = "posture", value_name = "CHECK=STATE", requires = "config")]
    posture: Vec<String>,
    /// With --config: how the person signed in.
    #[arg(long, value_name = "ACR", requires = "config")]
    acr: Option<String>,
    /// With --config: the state of the device: unmanaged, approved or blocked.
    #[arg(long, value_name = "STATE", requires = "config", value_parser = ["unmanaged", "approved", "blocked"])]
    device: Option<String>,
    /// With --config: where the request comes from.
    #[arg(long, value_name = "ADDRESS", requires = "config")]
    ip: Option<IpAddr>,
}

pub(super) fn run(args: Args, socket: &socket::Args) -> Result<(), Failure> {
    match &args.config {
        Some(config) => explain_file(&args, config, socket.json),
        None => explain_live(args, socket),
    }
}

fn explain_live(explain: Args, socket: &socket::Args) -> Result<(), Failure> {
    let request = Request::PolicyExplain { user: explain.user, app: explain.app };
    socket.show(&request, |answer| {
        for session in list(answer, "sessions") {
            let why = session.get("why").cloned().unwrap_or_default();
            line(&format!(
                "session {} on device {}: {}",
                text(session, "session"),
                text(session, "device"),
                text(&why, "decision")
            ))?;
            if let Some(problem) = why.get("problem").filter(|problem| problem.is_object()) {
                line(&format!("  {}: {}", text(problem, "code"), text(problem, "detail")))?;
            }
            for policy in list(&why, "policies") {
                line(&format!("  {} {}: {}", text(policy, "effect"), text(policy, "id"), text(policy, "reason")))?;
            }
            for missing in list(&why, "missing") {
                line(&format!(
                    "  missing {} ({}): {}",
                    text(missing, "fact"),
                    text(missing, "state"),
                    text(missing, "remedy")
                ))?;
            }
        }
        Ok(())
    })
}

fn explain_file(explain: &Args, config: &Path, json: bool) -> Result<(), Failure> {
    let (apps, policies) = load(&Where { config: Some(config.to_owned()), dir: None })?;
    let Outcome { explanation, .. } =
        case(explain)?.try_on(&policies, &apps).map_err(|error| Failure::new(error.to_string()))?;
    if json {
        return line(&shown(&explanation).to_string());
    }
    line(Expect::of(&explanation.decision.verdict).as_str())?;
    if let Some(problem) = explanation.decision.problem() {
        line(&format!("  {}: {problem}", problem.code))?;
        if let Some(remedy) = &problem.remedy {
            line(&format!("  remedy: {remedy}"))?;
        }
    }
    for rule in &explanation.rules {
        let mode = if rule.monitor { " (monitor)" } else { "" };
        line(&format!("  {} {}{mode}: {}", rule.effect, rule.id, rule.reason.as_deref().unwrap_or("-")))?;
    }
    for missing in &explanation.missing {
        let state = missing.state.map_or("-", |state| state.as_str());
        line(&format!("  missing {} ({state}): {}", missing.fact, missing.remedy.as_deref().unwrap_or("-")))?;
    }
    Ok(())
}

/// The question as a case, which has the defaults.
fn case(explain: &Args) -> Result<Case, Failure> {
    let mut posture = serde_json::Map::new();
    for fact in &explain.posture {
        let Some((check, state)) = fact.split_once('=') else {
            return Err(Failure::new(format!("--posture {fact} is not CHECK=STATE")).hint("for example disk.root=pass"));
        };
        posture.insert(check.to_owned(), Value::String(state.to_owned()));
    }
    let mut members = json!({
        "name": "explain",
        "user": explain.user,
        "app": explain.app,
        "groups": explain.groups,
        "posture": posture,
        "auth": { "acr": explain.acr },
        "device": explain.device.as_deref().unwrap_or("unmanaged"),
    });
    if let (Some(ip), Some(members)) = (explain.ip, members.as_object_mut()) {
        members.insert("ip".to_owned(), json!(ip));
    }
    serde_json::from_value(members).map_err(|error| Failure::new(error.to_string()))
}

fn shown(explanation: &Explanation) -> Value {
    let rules = explanation
        .rules
        .iter()
        .map(|rule| json!({ "id": rule.id, "effect": rule.effect, "reason": rule.reason, "monitor": rule.monitor }));
    let missing = explanation
        .missing
        .iter()
        .map(|missing| json!({ "fact": missing.fact, "state": missing.state, "remedy": missing.remedy }));
    json!({
        "decision": Expect::of(&explanation.decision.verdict).as_str(),
        "problem": explanation.decision.problem().map(|problem| &**problem),
        "policies": rules.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
    })
}
