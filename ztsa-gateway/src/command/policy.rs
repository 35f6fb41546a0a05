//! `ztsa-gateway policy`.

mod explain;
mod replay;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use ztsa_gateway::admin::request::Request;
use ztsa_gateway::config::Config;
use ztsa_gateway::engine::OrderError;
use ztsa_gateway::policy::case::Ground;
use ztsa_gateway::policy::{self, Policies, PolicyError, case, schema};
use ztsa_gateway::posture::Catalogue;
use ztsa_proto::name::AppName;

use super::failure::Failure;
use super::output::{changed, line, text};
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
    Explain(explain::Args),
    /// Decide past decisions of audit logs again with other policies, and say which would turn.
    #[command(
        long_about = "Decides past decisions of audit logs again with other policies, and says which would turn.\n\n\
        Exit code 0: none turns (or none that --fail-on names), 10: some do, 1: it could not be replayed."
    )]
    Replay(replay::Args),
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

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Check(place) => {
            let (_, policies) = load(&place)?;
            warn(&policies);
            let shown = if args.socket.json {
                let warnings: Vec<String> = warnings(&policies).collect();
                json!({ "policies": policies.len(), "warnings": warnings }).to_string()
            } else {
                format!("{} policies are good", policies.len())
            };
            line(&shown)
        }
        Command::Test(test) => try_cases(&test, args.socket.json),
        Command::Explain(explain) => explain::run(explain, &args.socket),
        Command::Replay(replay) => replay::run(replay, args.socket.json),
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
        PolicyError::Moving { .. } => failure.hint("try again when nothing writes there any more"),
        PolicyError::TooLarge { .. } | PolicyError::Schema(_) | PolicyError::Early(_) => failure,
    }
}

/// Says on stderr what is probably not meant.
pub(crate) fn warn(policies: &Policies) {
    for warning in warnings(policies) {
        tracing::warn!("{warning}");
    }
}

fn warnings(policies: &Policies) -> impl Iterator<Item = String> {
    let none = policies.is_empty().then(|| policy::NONE.to_owned());
    none.into_iter().chain(policies.warnings().iter().map(ToString::to_string))
}

fn load(place: &Where) -> Result<(Config, Policies), Failure> {
    let config = place.config()?;
    let dir = place.dir.as_ref().unwrap_or(&config.policy.dir);
    let policies = Policies::load(dir, &config.apps, &Arc::new(Catalogue::of(&config.posture))).map_err(failure)?;
    Ok((config, policies))
}

/// Refuses an app that the configuration does not have.
fn known(app: &AppName, config: &Config) -> Result<(), Failure> {
    let names = || config.apps.iter().map(|app| app.name.to_string());
    let unknown = || Failure::new(OrderError::UnknownApp(app.to_string(), names().collect()).to_string());
    if config.apps.iter().any(|known| known.name == *app) { Ok(()) } else { Err(unknown()) }
}

fn try_cases(test: &Test, json: bool) -> Result<(), Failure> {
    let (config, policies) = load(&test.place)?;
    let ground = Ground { policies: &policies, apps: &config.apps, thresholds: &config.risk.thresholds };
    warn(&policies);
    let files = if test.files.is_empty() { beside(&test.place)? } else { test.files.clone() };
    let (mut right, mut wrong) = (0_usize, Vec::new());
    for file in &files {
        let text =
            std::fs::read_to_string(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        let cases = case::parse(&text).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        for (number, case) in cases.iter().enumerate() {
            let name = if case.name.is_empty() { format!("case {}", number + 1) } else { case.name.clone() };
            let untried = |error| Failure::new(format!("{}: {name}: {error}", file.display()));
            let outcome = case.try_on(&ground).map_err(untried)?;
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
