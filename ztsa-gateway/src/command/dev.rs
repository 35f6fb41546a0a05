//! `ztsa-gateway dev`: a whole installation on loopback.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ztsa_gateway::dev::{Dev, DevError, Options};

/// How long live tunnels may finish when it is stopped.
const GRACE: Duration = Duration::from_secs(1);

/// Runs an issuer, sample apps and a gateway on this machine alone, for a first look, for scripts and for tests
///
/// Users: alice (group dev), bob (group ops), mallory (no group); password = name. Apps: echo, wiki, db-prod (the
/// PostgreSQL on 127.0.0.1:5432, where one answers) and payroll (group ops only).
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where it keeps everything: configuration, certificates, policies, store, audit log, admin socket
    #[arg(long, value_name = "DIR", default_value = ".ztsa-dev")]
    dir: PathBuf,
    /// The gateway's address, on loopback; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Lets the issuer approve every sign-in by itself, as this user
    #[arg(long, value_name = "USER")]
    approve: Option<String>,
    /// Adds the tables of another configuration file (the same keys as gateway.toml), and the policies beside it
    #[arg(long, value_name = "FILE")]
    add_config: Option<PathBuf>,
    /// Prints one JSON line when it is ready, instead of text for people
    #[arg(long)]
    json: bool,
}

/// Runs until it is interrupted.
pub(crate) async fn run(arguments: Arguments) -> Result<(), DevError> {
    let Arguments { dir, listen, approve, add_config, json } = arguments;
    let mut interrupted = std::pin::pin!(super::interrupted());
    let dev = tokio::select! {
        dev = Dev::spawn(Options { dir, listen, approve, add_config }) => dev?,
        () = &mut interrupted => return Ok(()),
    };
    let text = if json { ready(&dev) } else { welcome(&dev) };
    // nobody reading is no reason to stop
    let _ = writeln!(io::stdout(), "{text}").and_then(|()| io::stdout().flush());
    interrupted.await;
    dev.shutdown(GRACE).await;
    Ok(())
}

fn ready(dev: &Dev) -> String {
    serde_json::json!({
        "event": "ready",
        "gateway": dev.url(),
        "ca_file": dev.ca_file(),
        "admin": dev.admin_socket(),
        "issuer": dev.issuer(),
    })
    .to_string()
}

fn welcome(dev: &Dev) -> String {
    let (url, ca, admin) = (dev.url(), dev.ca_file(), dev.admin_socket());
    let (ca, admin) = (ca.display(), admin.display());
    format!(
        "The gateway runs at {url}, its issuer at {issuer}.\n\n\
         Sign in (alice/alice, bob/bob or mallory/mallory):\n    ztsa login {url} --ca-file {ca}\n\
         then:\n    ztsa apps\n    ztsa connect wiki -- curl -s http://{{addr}}/\n    ztsa why payroll\n\n\
         As the administrator:\n    ztsa-gateway sessions list --admin {admin}\n    \
         ztsa-gateway risk set alice 90 --reason \"lost laptop\" --admin {admin}\n\n\
         Ctrl-C stops it.",
        issuer = dev.issuer(),
    )
}
