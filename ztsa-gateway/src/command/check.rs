//! `ztsa-gateway check`.

use std::path::PathBuf;

use serde_json::{Map, json};
use ztsa_gateway::config::Config;
use ztsa_gateway::policy::Policies;

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
    for file in [&config.tls.cert, &config.tls.key] {
        if let Err(error) = std::fs::File::open(file) {
            return Err(Failure::new(format!("[tls] {}: {error}", file.display()))
                .hint("the file must be there and readable by the user that runs the gateway"));
        }
    }
    let policies = Policies::load(&config.policy.dir, &config.apps).map_err(super::policy::failure)?;
    super::policy::warn(&policies);
    if args.json {
        let members = [
            ("apps", json!(config.apps.len())),
            ("issuers", json!(config.issuers.len())),
            ("policies", json!(policies.len())),
        ];
        return output::json(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>());
    }
    let (apps, issuers, policies) = (config.apps.len(), config.issuers.len(), policies.len());
    output::line(&format!("{} is good: {apps} apps, {issuers} issuers, {policies} policies", args.config.display()))
}
