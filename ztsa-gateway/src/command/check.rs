//! `ztsa-gateway check`.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, json};
use ztsa_gateway::audit;
use ztsa_gateway::certificate;
use ztsa_gateway::config::Config;
use ztsa_gateway::lookup::Lookup;
use ztsa_gateway::policy::Policies;
use ztsa_gateway::posture::Catalogue;
use ztsa_gateway::signals;

use super::failure::Failure;
use super::output;

#[derive(Debug, clap::Args)]
#[group(id = "check-args")]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(|error| Failure::new(error.to_string()))?;
    certificate::read(&config.tls).map_err(|error| Failure::new(error.to_string()).hint(error.hint()))?;
    signals::check(&config.signals).map_err(|error| {
        Failure::new(error.to_string()).hint("the file must be there and readable by the user that runs the gateway")
    })?;
    audit::check(&config.audit).map_err(|error| Failure::new(error.to_string()))?;
    Lookup::read(&config.risk).map_err(|error| Failure::new(error.to_string()))?;
    let policies = Policies::load(&config.policy.dir, &config.apps, &Arc::new(Catalogue::of(&config.posture)))
        .map_err(super::policy::failure)?;
    super::policy::warn(&policies);
    if args.json {
        let members = [
            ("apps", json!(config.apps.len())),
            ("issuers", json!(config.issuers.len())),
            ("policies", json!(policies.len())),
        ];
        return output::json(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>());
    }
    let (apps, issuers, policies) = (
        output::counted(config.apps.len(), "app", "apps"),
        output::counted(config.issuers.len(), "issuer", "issuers"),
        output::counted(policies.len(), "policy", "policies"),
    );
    output::line(&format!("{} is good: {apps}, {issuers}, {policies}", args.config.display()))
}
