//! The project's own chores, one file each: `cargo xtask <chore>`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person at the terminal")]

mod bench;
mod bless;
mod command;
mod demo;
mod programs;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Measure throughput, latency, memory and revocation beside a plain and a TLS copy
    Bench(bench::Args),
    /// Write completions, manual pages and generated references anew
    Bless,
    /// Show the whole road on this machine: sign-in, apps, a denial, a revocation
    Demo(demo::Args),
    /// Install what the tests need and run every check: what continuous integration runs
    Test(test::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Bench(args) => bench::run(&args),
        Chore::Bless => bless::run(),
        Chore::Demo(args) => demo::run(&args),
        Chore::Test(args) => test::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
