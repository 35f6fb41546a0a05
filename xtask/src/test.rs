//! `cargo xtask test`: installs the real programs that the tests need, then runs every check in order.

use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::command::{self, Failure};
use crate::demo;
use crate::programs;
use crate::workspace::Workspace;

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only this step (may be given more than once)
    #[arg(long, value_enum)]
    only: Vec<Step>,
    /// Do not look for or install programs; take the machine as it is
    #[arg(long)]
    skip_install: bool,
    /// What to hand to the test runner, such as a test's name
    #[arg(last = true)]
    filter: Vec<String>,
}

/// One check; they run in this order.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Install the real programs that the tests talk to
    Install,
    /// Formatting
    Fmt,
    /// Lints, warnings denied
    Clippy,
    /// Documentation, warnings denied
    Doc,
    /// Licences, banned crates and sources
    Deny,
    /// Every binary, example and test
    Build,
    /// Unit, end-to-end and interop tests
    Test,
    /// Examples in the documentation
    Doctest,
    /// The demo, with the programs as they were built
    Demo,
}

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    let started = Instant::now();
    let wanted = |step: &Step| match args.only.as_slice() {
        [] => !(args.skip_install && *step == Step::Install),
        only => only.contains(step),
    };
    let steps: Vec<Step> = Step::value_variants().iter().copied().filter(wanted).collect();
    let mut times = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let name = name(*step);
        println!("\n==> {}/{} {name}", index + 1, steps.len());
        let begun = Instant::now();
        let outcome = step.run(&workspace, &args.filter);
        let took = seconds(begun.elapsed());
        times.push(format!("{name} {took}"));
        match outcome {
            Ok(()) => println!("    {name}: ok, {took}"),
            Err(failure) => {
                println!("    {name}: FAILED, {took}");
                return Err(failure);
            }
        }
    }
    println!("\nall {} steps ok in {} ({})", steps.len(), seconds(started.elapsed()), times.join(", "));
    Ok(())
}

impl Step {
    fn run(self, workspace: &Workspace, filter: &[String]) -> Result<(), Failure> {
        match self {
            Self::Install => programs::ensure(workspace),
            Self::Fmt => command::run(&mut workspace.cargo(&["fmt", "--all", "--check"])),
            Self::Clippy => command::run(&mut workspace.cargo(&[
                "clippy",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])),
            // clap shows doc comments on terminals, where a URL has no angle brackets
            Self::Doc => command::run(
                workspace
                    .cargo(&["doc", "--locked", "--workspace", "--no-deps"])
                    .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::bare_urls"),
            ),
            Self::Deny => deny(workspace),
            // one feature set for binaries and tests, so that nothing is built twice
            Self::Build => command::run(&mut workspace.cargo(&["build", "--locked", "--workspace", "--all-targets"])),
            Self::Test => tests(workspace, filter),
            Self::Doctest => command::run(&mut workspace.cargo(&["test", "--locked", "--workspace", "--doc"])),
            Self::Demo => demo::check(),
        }
    }
}

/// Runs cargo-deny on the graphs of all platforms; the advisories need a network that continuous integration may lack.
fn deny(workspace: &Workspace) -> Result<(), Failure> {
    command::run(&mut workspace.cargo(&["fetch", "--locked"]))?;
    let installed = workspace.tools().join("bin/cargo-deny");
    let program = if installed.is_file() { installed } else { "cargo-deny".into() };
    command::run(
        Command::new(program)
            .current_dir(&workspace.root)
            // two versions of one crate are only a warning: run `cargo deny check bans` to see them
            .args(["--log-level", "error", "--offline", "check", "licenses", "bans", "sources"]),
    )
}

/// Runs the tests by cargo-nextest where it is installed, else by cargo itself.
fn tests(workspace: &Workspace, filter: &[String]) -> Result<(), Failure> {
    let mut runner = if command::succeeds(&mut workspace.cargo(&["nextest", "--version"])) {
        workspace.cargo(&["nextest", "run", "--locked", "--workspace", "--no-fail-fast"])
    } else {
        workspace.cargo(&["test", "--locked", "--workspace", "--all-targets", "--no-fail-fast"])
    };
    command::run(runner.args(filter))
}

fn name(step: Step) -> String {
    step.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}
