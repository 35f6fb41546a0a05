//! What `ztsa-gateway` understands: the clap tree, and one file per command.

mod audit;
mod check;
#[cfg(feature = "dev")]
mod dev;
mod devices;
mod failure;
mod output;
mod policy;
mod reload;
mod risk;
mod run;
mod sessions;
mod socket;
mod status;
mod top;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Gives one person on one device access to one app at a time.
#[derive(Debug, Parser)]
#[command(name = "ztsa-gateway", version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// What is logged, such as `info` or `ztsa_gateway=debug`.
    #[arg(
        long,
        env = "ZTSA_LOG",
        default_value = "info",
        global = true,
        value_name = "FILTER",
        hide_env_values = true
    )]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Run(run::Args),
    /// Check a configuration and its policies, and start nothing.
    Check(check::Args),
    /// Run a whole installation on loopback, for a first look and for tests.
    #[cfg(feature = "dev")]
    Dev(dev::Arguments),
    /// Make a running gateway read its configuration, policies and certificate again.
    Reload(socket::Args),
    /// Check, test, explain and reload policies.
    Policy(policy::Args),
    /// Show who is connected to what, and end it.
    Sessions(sessions::Args),
    /// Watch who is connected to what.
    Top(top::Args),
    /// Show risk, and say what it is.
    Risk(risk::Args),
    /// Show devices, and approve or block them.
    Devices(devices::Args),
    /// Check the audit log, and show the key that signs it.
    Audit(audit::Args),
    /// Show how a running gateway is.
    Status(socket::Args),
}

/// Runs the command and says how it came out: 0 done, 1 failed, 2 misused, 6 no gateway answers.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    log(&cli.log);
    let done = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args),
        #[cfg(feature = "dev")]
        Command::Dev(args) => develop(args),
        Command::Reload(args) => reload::run(&args),
        Command::Policy(args) => policy::run(args),
        Command::Sessions(args) => sessions::run(args),
        Command::Top(args) => top::run(&args),
        Command::Risk(args) => risk::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Status(args) => status::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(feature = "dev")]
fn develop(args: dev::Arguments) -> Result<(), failure::Failure> {
    run::runtime()?.block_on(dev::run(args)).map_err(|error| failure::Failure::new(error.to_string()))
}

/// Waits for Ctrl-C or SIGTERM.
#[cfg(feature = "dev")]
async fn interrupted() {
    match run::Stop::new() {
        Ok(mut stop) => stop.wait().await,
        Err(failure) => drop(failure.report()),
    }
}

fn log(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // the first one stays, and there is no other
    let _ = subscriber.try_init();
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Cli;

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_id_may_begin_with_a_hyphen() {
        for line in [
            "devices approve -KL1LITH",
            "devices block -hKL1",
            "devices remove --KL1",
            "sessions revoke --device -KL1LITH",
            "sessions revoke --session -KL1LITH",
        ] {
            let parsed = Cli::try_parse_from(["ztsa-gateway"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
        }
    }
}
