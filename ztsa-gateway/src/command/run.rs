//! `ztsa-gateway run`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use ztsa_gateway::config::Config;
use ztsa_gateway::gateway::Gateway;
use ztsa_net::clock::Clock;

use super::failure::Failure;
use super::output;

#[derive(Debug, clap::Args)]
#[group(id = "run-args")]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
    /// How many seconds live tunnels may finish in when the gateway is stopped.
    #[arg(long, value_name = "SECS", default_value_t = 10)]
    grace: u64,
    /// Print one JSON object when the gateway is ready.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(|error| Failure::new(error.to_string()))?;
    runtime()?.block_on(serve(config, args))
}

/// The runtime of `run` and `dev`.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("the runtime does not start: {error}")))
}

async fn serve(config: Config, args: Args) -> Result<(), Failure> {
    let (url, admin) = (config.public_url.to_string(), config.admin.socket.clone());
    // taken before the gateway says that it is ready: no signal is lost
    let mut stop = Stop::new()?;
    let mut reload = signal(SignalKind::hangup()).map_err(no_signals)?;
    let gateway = Gateway::spawn(config, Clock::system()).await.map_err(|error| Failure::new(error.to_string()))?;
    let listen: Vec<String> = gateway.local_addrs().iter().map(ToString::to_string).collect();
    tracing::info!(gateway = url, listen = listen.join(" "), "ready");
    if args.json {
        let ready = json!({ "event": "ready", "gateway": url, "listen": listen, "admin": admin });
        output::line(&ready.to_string())?;
    }
    loop {
        tokio::select! {
            () = stop.wait() => break,
            hangup = reload.recv() => {
                if hangup.is_none() {
                    continue;
                }
                // the log says how it went
                let _ = gateway.reload().await;
            }
        }
    }
    tracing::info!("going down");
    tokio::select! {
        () = gateway.shutdown(Duration::from_secs(args.grace)) => {}
        () = stop.wait() => tracing::warn!("told again: not waiting any longer"),
    }
    Ok(())
}

/// The signals that end the program.
pub(crate) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(no_signals)?,
            terminate: signal(SignalKind::terminate()).map_err(no_signals)?,
        })
    }

    /// Waits for Ctrl-C or SIGTERM.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
fn no_signals(error: std::io::Error) -> Failure {
    Failure::new(format!("signals cannot be received: {error}"))
}
