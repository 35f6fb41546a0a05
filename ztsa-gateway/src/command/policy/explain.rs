//! `ztsa-gateway policy explain`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ztsa_gateway::admin::request::Request;
use ztsa_gateway::audit::By;
use ztsa_gateway::config::Thresholds;
use ztsa_gateway::policy::case::{Case, CaseError, Expect};
use ztsa_gateway::policy::replay::{Line, Log, Past, find};
use ztsa_gateway::policy::{self, Change, Monitored, Policies, View};
use ztsa_proto::name::AppName;
use ztsa_proto::posture::State;
use ztsa_proto::text::printable;
use ztsa_proto::why;

use super::super::failure::Failure;
use super::super::output::{line, list, text};
use super::super::socket;
use super::{Where, known, load, replay};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The person: of the running gateway subject, name, e-mail address or ISSUER|SUBJECT; of --config any subject.
    #[arg(long, required_unless_present = "decision")]
    user: Option<String>,
    /// The app.
    #[arg(long, required_unless_present = "decision")]
    app: Option<AppName>,
    /// Explain the policies of a configuration file instead of the running gateway's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Explain a past decision by the id that the person was told.
    #[arg(long, value_name = "ID", requires = "against", conflicts_with_all = ["user", "app", "groups", "posture", "acr", "device", "ip"], allow_hyphen_values = true)]
    decision: Option<String>,
    /// With --decision: the audit logs that may hold it, rotated ones too; `-` reads stdin.
    #[arg(long, value_name = "AUDIT", requires = "decision", num_args = 1..)]
    against: Vec<PathBuf>,
    /// With --decision: another directory of policies to decide it by.
    #[arg(long, value_name = "DIR", requires = "decision")]
    with: Option<PathBuf>,
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
    match (&args.decision, &args.config, args.user, args.app) {
        (Some(id), ..) => past(id, &args.against, args.config.as_deref(), args.with, socket.json),
        (None, Some(_), Some(user), Some(app)) => {
            let args = Args { user: Some(user), app: Some(app), ..args };
            written(&args, socket.json)
        }
        (None, None, Some(user), Some(app)) => live(user, app.to_string(), socket),
        _ => Err(Failure::new("it is not clear what to explain").hint("give --user and --app, or --decision")),
    }
}

/// Asks the running gateway about each session of a person.
fn live(user: String, app: String, socket: &socket::Args) -> Result<(), Failure> {
    socket.show(&Request::PolicyExplain { user, app }, |answer| {
        for session in list(answer, "sessions") {
            let why = session.get("why").cloned().unwrap_or_default();
            let (id, device) = (text(session, "session"), text(session, "device"));
            let from = match session.get("peer") {
                Some(Value::String(_)) => format!(" from {}", text(session, "peer")),
                _ => ", from where is not known since the gateway started".to_owned(),
            };
            line(&format!("session {id} on device {device}{from}: {}", text(&why, "decision")))?;
            say(&why, list(session, "monitored"))?;
        }
        Ok(())
    })
}

/// Asks the policies of a configuration about a person and a device as the arguments describe them.
fn written(args: &Args, json: bool) -> Result<(), Failure> {
    let (config, policies) = load(&Where { config: args.config.clone(), dir: None })?;
    args.app.iter().try_for_each(|app| known(app, &config))?;
    let case = case(args)?;
    let wrong = |error: CaseError| Failure::new(format!("--posture: {error}"));
    let (scene, app) = case.scene(&policies, &config.apps).map_err(wrong)?;
    show(&explained(&policies, &scene.request(&app), Some(&config.risk.thresholds)), json)
}

/// Explains a decision of the past.
fn past(
    id: &str,
    against: &[PathBuf],
    config: Option<&Path>,
    with: Option<PathBuf>,
    json: bool,
) -> Result<(), Failure> {
    let (config, policies) = load(&Where { config: config.map(Path::to_owned), dir: with })?;
    let mut log = Log::default();
    let mut found = None;
    for file in against {
        let unreadable = |error| Failure::new(format!("{}: {error}", file.display()));
        let here = replay::open(file, |reader| find(reader, id, &mut log, &policies)).map_err(unreadable)?;
        found = found.or(here);
    }
    let past = match found {
        Some(Line::Decision(past) | Line::Question(past)) => past,
        Some(Line::NoApp(_)) => {
            return Err(Failure::new(format!(
                "the name that {id} answered is no app of the gateway, so there was nothing to decide"
            ))
            .hint("the message of its line in the audit log says which name it was"));
        }
        Some(Line::Lost(lost, _)) => {
            return Err(Failure::new(format!("the decision {id} cannot be made again: {}", lost.as_str())));
        }
        Some(Line::Other | Line::Foreign | Line::Altered) | None => {
            return Err(Failure::new(format!("no decision {id} is in these files"))
                .hint("name the audit log of that time with --against, rotated ones too"));
        }
    };
    let Some(app) = config.apps.iter().find(|app| app.name == past.app) else {
        return Err(Failure::new(format!("{} is not in the configuration any more", past.app)));
    };
    let now = explained(&policies, &past.recalled.request(app), None);
    if json {
        return line(&json!({ "past": recorded(&past), "now": now }).to_string());
    }
    let Past { recalled, .. } = &*past;
    // what a file says is fit for a terminal only when it was made so
    let fit = |text: &str| printable(text, 80);
    let policies: Vec<String> = past.policies.iter().map(|id| fit(id)).collect();
    let by = if policies.is_empty() { past.by.as_str().to_owned() } else { policies.join(", ") };
    let code = past.code.as_ref().map(|code| format!(" {}", fit(code))).unwrap_or_default();
    let (activity, user) = (fit(&past.activity), printable(&recalled.identity.user.to_string(), 300));
    line(&format!("{activity} {} of {user} at {}", past.app, recalled.now.rfc3339()))?;
    line(&format!("  was {}{code} by {by}", past.answer.as_str()))?;
    line(&format!("  from {} on device {} ({})", recalled.peer, recalled.device, fit(&recalled.device_state)))?;
    let scores = &recalled.scores;
    line(&format!("  risk: user {}, device {}, session {}", scores.user, scores.device, scores.session))?;
    if past.by != By::Policy {
        line("  policy had no say in it")?;
    }
    line(&format!("by these policies it is {}", text(&now, "decision")))?;
    say(&now, list(&now, "monitored"))
}

fn recorded(past: &Past) -> Value {
    let recalled = &past.recalled;
    let known = recalled.facts.iter().filter(|(_, fact)| fact.age.is_some());
    let facts = known.map(|(id, fact)| {
        let age = fact.age.map(|age| age.as_secs());
        (id.to_owned(), json!({ "state": fact.state, "value": fact.value, "age": age }))
    });
    json!({
        "decision": past.id,
        "activity": past.activity,
        "app": past.app,
        "at": recalled.now,
        "answer": past.answer.as_str(),
        "code": past.code,
        "policies": past.policies,
        "by": past.by,
        "person": *recalled.identity,
        "device": { "id": recalled.device, "state": recalled.device_state },
        "ip": recalled.peer,
        "risk": { "user": recalled.scores.user, "device": recalled.scores.device, "session": recalled.scores.session },
        "posture": facts.collect::<serde_json::Map<_, _>>(),
    })
}

/// Explains one request as the gateway's own answer does, or by the policies alone where there are no thresholds.
fn explained(policies: &Policies, request: &policy::Request<'_>, thresholds: Option<&Thresholds>) -> Value {
    let outside = |request: &policy::Request<'_>| thresholds.and_then(|thresholds| request.outside(thresholds));
    let explanation = match thresholds {
        Some(thresholds) => policies.explain_whole(request, thresholds),
        None => policies.explain(request),
    };
    let view = View { groups: true, signals: false };
    let decide = |request: &policy::Request<'_>| outside(request).unwrap_or_else(|| policies.decide(request));
    let changes = policies.changes(request, view, &decide);
    let changes: Vec<why::Change> = changes.into_iter().map(Change::told).collect();
    let rules = explanation
        .rules
        .iter()
        .map(|rule| json!({ "id": rule.id, "effect": rule.effect, "reason": rule.reason, "monitor": rule.monitor }));
    let missing = explanation
        .missing
        .iter()
        .map(|missing| json!({ "fact": missing.fact, "state": missing.state, "remedy": missing.remedy }));
    let refusal = outside(request);
    let monitored = policies.monitored(request).into_iter().map(|monitored| {
        let refusal = refusal.as_ref().and_then(|decision| decision.problem());
        let monitored = if let Some(problem) = refusal { monitored.refused(problem) } else { monitored };
        let Monitored { rule, would, code } = monitored;
        json!({ "id": rule.id, "effect": rule.effect, "reason": rule.reason, "would": would.as_str(), "code": code })
    });
    json!({
        "decision": Expect::of(&explanation.decision.verdict).as_str(),
        "problem": explanation.decision.problem().map(|problem| &**problem),
        "policies": rules.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
        "changes": changes,
        "monitored": monitored.collect::<Vec<_>>(),
    })
}

fn show(why: &Value, json: bool) -> Result<(), Failure> {
    if json {
        return line(&why.to_string());
    }
    line(&text(why, "decision"))?;
    say(why, list(why, "monitored"))
}

fn say(why: &Value, monitored: &[Value]) -> Result<(), Failure> {
    if let Some(problem) = why.get("problem").filter(|problem| problem.is_object()) {
        line(&format!("  {}: {}", text(problem, "code"), text(problem, "detail")))?;
        if problem.get("remedy").is_some() {
            line(&format!("  remedy: {}", text(problem, "remedy")))?;
        }
    }
    let enforced = list(why, "policies").iter().filter(|rule| rule.get("monitor") != Some(&Value::Bool(true)));
    for policy in enforced {
        line(&format!("  {} {}: {}", text(policy, "effect"), text(policy, "id"), text(policy, "reason")))?;
    }
    for policy in monitored {
        let (effect, id, would) = (text(policy, "effect"), text(policy, "id"), text(policy, "would"));
        line(&format!("  {effect} {id} (monitor): the answer would be {would}: {}", text(policy, "reason")))?;
    }
    for missing in list(why, "missing") {
        let (fact, state, remedy) = (text(missing, "fact"), text(missing, "state"), text(missing, "remedy"));
        line(&format!("  missing {fact} ({state}): {remedy}"))?;
    }
    for change in list(why, "changes") {
        if let Ok(change) = serde_json::from_value::<why::Change>(change.clone()) {
            line(&format!("  would be {change}"))?;
        }
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
        let state = Value::String(state.to_owned());
        if serde_json::from_value::<State>(state.clone()).is_err() {
            return Err(Failure::new(format!("--posture {fact}: {state} is no state"))
                .hint("a check is pass, fail, unknown, not_applicable or error"));
        }
        posture.insert(check.to_owned(), state);
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
