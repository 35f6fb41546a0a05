//! `ztsa-idp`: an OpenID Connect issuer for development and tests, on loopback.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use ztsa_idp::{Config, Idp, IdpError};

/// Runs an OpenID Connect issuer for development and tests.
///
/// The users are alice (group dev), bob (group ops) and mallory (no group); the password is the name, the one-time code
/// is 000000. Everything is kept in memory. It listens on loopback only.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The loopback address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Approves every sign-in at once as this user
    #[arg(long, value_name = "USER")]
    approve: Option<String>,
    /// A resource that access tokens may be for; the first is the default. May be repeated
    #[arg(long = "audience", value_name = "URL")]
    audiences: Vec<String>,
    /// Demands a nonce in DPoP proofs
    #[arg(long)]
    dpop_nonce: bool,
    /// Gives out the tokens of jobs, in the shapes of GitHub Actions and of Kubernetes; --json tells where and by which
    /// request token
    #[arg(long)]
    workload: bool,
    /// Prints one JSON object instead of the bare issuer URL
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(io::stderr).init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            // nowhere is left to tell of a closed stderr
            let _ = writeln!(io::stderr(), "ztsa-idp: {error}{cause}{}", hint(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let workload = arguments.workload;
    let config = Config {
        listen: arguments.listen,
        approve: arguments.approve,
        audiences: arguments.audiences,
        dpop_nonce: arguments.dpop_nonce,
        workload: arguments.workload,
        ..Config::default()
    };
    let idp = Idp::spawn(config).await?;
    let line = if arguments.json {
        let workload = workload.then(|| {
            let (url, token) = idp.request_token();
            serde_json::json!({ "request_url": url, "request_token": token.expose() })
        });
        serde_json::json!({ "event": "ready", "issuer": idp.issuer(), "workload": workload }).to_string()
    } else {
        idp.issuer().to_owned()
    };
    writeln!(io::stdout(), "{line}")?;
    io::stdout().flush()?;
    tokio::select! {
        () = idp.closed() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    idp.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

fn hint(error: &(dyn std::error::Error + 'static)) -> &'static str {
    match error.downcast_ref() {
        Some(IdpError::NotLoopback(_)) => "\nhint: use --listen 127.0.0.1:0 or --listen [::1]:0",
        Some(IdpError::UnknownUser(_)) => "\nhint: the users are alice, bob and mallory",
        Some(IdpError::Bind { .. }) => "\nhint: --listen 127.0.0.1:0 picks a free port",
        _ => "",
    }
}
