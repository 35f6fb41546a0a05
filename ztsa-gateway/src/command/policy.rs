//! `ztsa-gateway policy`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};
use ztsa_gateway::admin::request::Request;
use ztsa_gateway::config::{App, Config};
use ztsa_gateway::policy::case::{self, Case, Expect, Outcome};
use ztsa_gateway::policy::{Explanation, Policies, PolicyError, schema};
use ztsa_gateway::posture::Catalogue;

use super::failure::Failure;
use super::output::{changed, line, list, text};
use super::socket;

/// Where `run` and `dev` have their configuration when nothing else is said.
const USUAL: [&str; 2] = ["gateway.toml", ".ztsa-dev/gateway.toml"];

#[derive(Debug, clap::Args)]
#[group(id = "policy-args")]
pub(crate) struct Args {
    #[command(flatten)]
    socket: socket::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the policies: syntax, types, annotations, names of apps.
    Check(Where),
    /// Try cases (TOML) and fail when a policy answers otherwise than they want.
    Test(Test),
    /// Say which policies decide for a person and an app, and what is missing.
    Explain(Explain),
    /// Print the schema that policies are validated against, for editors.
    Schema {
        /// The configuration whose [posture] adds names to it.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Make the running gateway read its policies again now.
    Reload,
}

#[derive(Debug, clap::Args)]
struct Where {
    /// The configuration file: the apps and the policies' directory [default: ./gateway.toml, else
    /// .ztsa-dev/gateway.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another directory of policies.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Where {
    fn config(&self) -> Result<Config, Failure> {
        let usual = || USUAL.iter().map(Path::new).find(|path| path.exists()).unwrap_or(Path::new("gateway.toml"));
        let file = self.config.as_deref().unwrap_or_else(usual);
        Config::load(file).map_err(|error| {
            let failure = Failure::new(error.to_string());
            if file.exists() { failure } else { failure.hint("name the gateway's configuration with --config FILE") }
        })
    }
}

#[derive(Debug, clap::Args)]
struct Test {
    #[command(flatten)]
    place: Where,
    /// Files of cases [default: every *.test.toml beside the policies].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Explain {
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

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Check(place) => {
            let (_, policies) = load(&place)?;
            warn(&policies);
            let shown = if args.socket.json {
                let warnings: Vec<String> = policies.warnings().iter().map(ToString::to_string).collect();
                json!({ "policies": policies.len(), "warnings": warnings }).to_string()
            } else {
                format!("{} policies are good", policies.len())
            };
            line(&shown)
        }
        Command::Test(test) => try_cases(&test, args.socket.json),
        Command::Explain(explain) => match &explain.config {
            Some(config) => explain_file(&explain, config, args.socket.json),
            None => explain_live(explain, &args.socket),
        },
        Command::Schema { config } => {
            let config = config.as_deref().map(Config::load).transpose();
            let config = config.map_err(|error| Failure::new(error.to_string()))?;
            let catalogue = config.map_or_else(Catalogue::default, |config| Catalogue::of(&config.posture));
            line(schema::text(&catalogue).trim_end())
        }
        Command::Reload => args.socket.show(&Request::PolicyReload {}, |answer| {
            line(&format!("{} policies run: {}", text(answer, "policies"), changed(answer)))
        }),
    }
}

/// Turns mistakes in policies into a failure that names each of them.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
pub(crate) fn failure(error: PolicyError) -> Failure {
    let mistakes = error.mistakes().len();
    let failure = Failure::new(error.to_string());
    match error {
        PolicyError::Mistakes(_) if mistakes == 1 => failure.hint("one mistake; nothing was loaded"),
        PolicyError::Mistakes(_) => failure.hint(format!("{mistakes} mistakes; nothing was loaded")),
        PolicyError::Read { .. } => {
            failure.hint("[policy] dir names the directory; `policy schema` prints the vocabulary")
        }
        PolicyError::TooLarge { .. } | PolicyError::Schema(_) => failure,
    }
}

/// Says on stderr what is probably not meant.
pub(crate) fn warn(policies: &Policies) {
    for warning in policies.warnings() {
        tracing::warn!("{warning}");
    }
}

fn load(place: &Where) -> Result<(Vec<Arc<App>>, Policies), Failure> {
    let config = place.config()?;
    let dir = place.dir.as_ref().unwrap_or(&config.policy.dir);
    let policies = Policies::load(dir, &config.apps, &Arc::new(Catalogue::of(&config.posture))).map_err(failure)?;
    Ok((config.apps, policies))
}

fn try_cases(test: &Test, json: bool) -> Result<(), Failure> {
    let (apps, policies) = load(&test.place)?;
    let files = if test.files.is_empty() { beside(&test.place)? } else { test.files.clone() };
    let (mut right, mut wrong) = (0_usize, Vec::new());
    for file in &files {
        let text =
            std::fs::read_to_string(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        let cases = case::parse(&text).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        for (number, case) in cases.iter().enumerate() {
            let name = if case.name.is_empty() { format!("case {}", number + 1) } else { case.name.clone() };
            let outcome =
                case.try_on(&policies, &apps).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
            if outcome.wrong.is_empty() {
                right += 1;
                continue;
            }
            let why = outcome.wrong.join("; ");
            if !json {
                line(&format!("WRONG {}: {name}: {why}", file.display()))?;
            }
            wrong.push(
                json!({ "file": file, "case": name, "wrong": why, "policies": outcome.explanation.decision.policies }),
            );
        }
    }
    if json {
        line(&json!({ "right": right, "wrong": wrong }).to_string())?;
    } else {
        line(&format!("{right} right, {} wrong", wrong.len()))?;
    }
    match (wrong.len(), right) {
        (0, 0) => Err(Failure::new("there is no case to try").hint("write [[case]] tables into a *.test.toml file")),
        (0, _) => Ok(()),
        (wrong, _) => Err(Failure::new(format!("{wrong} cases are answered otherwise than they want"))
            .hint("`policy explain --config` shows which policies decide")),
    }
}

/// Every file of cases beside the policies.
fn beside(place: &Where) -> Result<Vec<PathBuf>, Failure> {
    let config = place.config()?;
    let dir = place.dir.clone().unwrap_or(config.policy.dir);
    let entries = std::fs::read_dir(&dir).map_err(|error| Failure::new(format!("{}: {error}", dir.display())))?;
    let is_cases = |path: &Path| path.to_string_lossy().ends_with(".test.toml");
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_cases(path)).collect();
    files.sort();
    Ok(files)
}

fn explain_live(explain: Explain, socket: &socket::Args) -> Result<(), Failure> {
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

fn explain_file(explain: &Explain, config: &Path, json: bool) -> Result<(), Failure> {
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
fn case(explain: &Explain) -> Result<Case, Failure> {
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
