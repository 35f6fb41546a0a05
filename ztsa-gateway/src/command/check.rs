//! `ztsa-gateway check`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, json};
use ztsa_gateway::config::Config;
use ztsa_gateway::listen;
use ztsa_gateway::policy::Policies;
use ztsa_gateway::posture::Catalogue;
use ztsa_gateway::signals;
use ztsa_net::tls;

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
    check_tls(&config)?;
    signals::check(&config.signals).map_err(|error| {
        Failure::new(error.to_string()).hint("the file must be there and readable by the user that runs the gateway")
    })?;
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
        counted(config.apps.len(), "app", "apps"),
        counted(config.issuers.len(), "issuer", "issuers"),
        counted(policies.len(), "policy", "policies"),
    );
    output::line(&format!("{} is good: {apps}, {issuers}, {policies}", args.config.display()))
}

/// Reads certificate and key as the gateway will: a good file must not fail at the start.
fn check_tls(config: &Config) -> Result<(), Failure> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|error| {
            Failure::new(format!("[tls] {}: {error}", file.display()))
                .hint("the file must be there and readable by the user that runs the gateway")
        })
    };
    let (certificate, key) = (read(&config.tls.cert)?, read(&config.tls.key)?);
    tls::server_config(&certificate, &key, &listen::ALPN).map(|_| ()).map_err(|error| {
        Failure::new(format!("[tls]: {error}")).hint(
            "cert is a PEM chain, the gateway's own certificate first; key is the private key of that certificate",
        )
    })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
