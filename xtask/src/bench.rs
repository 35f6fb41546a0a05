//! `cargo xtask bench`: what a tunnel costs, beside what a plain loopback copy and a bare TLS 1.3 copy cost in the same
//! run.
//!
//! The release programs run as processes of their own: `ztsa-gateway dev` in front of the load generator's own app, and
//! `ztsa proxy` as the client. See docs/reference/performance.md for what the figures mean.

mod app;
mod cost;
mod deadline;
mod evaluation;
mod idle;
mod latency;
mod machine;
mod people;
mod posture;
mod process;
mod relay;
mod report;
mod revocation;
mod route;
mod sample;
mod scrape;
mod stack;
mod throughput;
mod wire;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use report::{Figures, Small};
use route::Route;
use stack::Stack;

use crate::command::{self, Failure};
use crate::workspace::Workspace;

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure for about a minute, with less certainty
    #[arg(long)]
    quick: bool,
    /// Print one JSON object as the last line instead of a table
    #[arg(long)]
    json: bool,
    /// Measure this alone
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Measure the release programs as they are
    #[arg(long, hide = true)]
    no_build: bool,
    /// Measure the programs of this folder, with `--no-build`
    #[arg(long, hide = true)]
    programs: Option<PathBuf>,
    /// Measure nothing but the throughput of these loads (`down_1`, `up_1`, `down_16`, `up_16`)
    #[arg(long, hide = true, value_delimiter = ',')]
    loads: Vec<String>,
    /// Be the private app of a measurement
    #[arg(long, hide = true)]
    serve_app: bool,
    /// Be a process of a measurement that only passes bytes on to this address
    #[arg(long, hide = true)]
    serve_relay: Option<SocketAddr>,
}

/// A part that can be measured alone.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// Bytes and new connections.
    Throughput,
    /// Idle tunnels.
    Memory,
    /// A thousand tunnels of one person ended.
    Revocation,
    /// Ten thousand tunnels of a hundred people paused, resumed and ended.
    Evaluation,
    /// A look at this device.
    Posture,
}

/// How much is measured.
struct Plan {
    rounds: usize,
    bulk: Duration,
    openings: usize,
    pings: usize,
    rate: Duration,
    revocations: usize,
    looks: usize,
}

const QUICK: Plan = Plan {
    rounds: 1,
    bulk: Duration::from_millis(1200),
    openings: 1000,
    pings: 4000,
    rate: Duration::from_millis(1200),
    revocations: 2,
    looks: 40,
};
const FULL: Plan = Plan {
    rounds: 3,
    bulk: Duration::from_secs(3),
    openings: 3000,
    pings: 20_000,
    rate: Duration::from_secs(2),
    revocations: 5,
    looks: 200,
};

/// Idle tunnels at which memory is read.
const IDLE: [usize; 3] = [0, 1_000, 10_000];
/// How long each load may take; twice what a busy machine needs.
const ROUND: Duration = Duration::from_secs(240);
const MEMORY: Duration = Duration::from_secs(180);
const REVOCATION: Duration = Duration::from_secs(240);
const EVALUATION: Duration = Duration::from_secs(420);
const POSTURE: Duration = Duration::from_secs(120);
/// Files that a process needs beside those of its tunnels.
const SPARE_FILES: u64 = 300;

/// Builds the release programs, then measures with the release build of this program.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.serve_app {
        process::raise_limit();
        return app::serve();
    }
    if let Some(target) = args.serve_relay {
        return relay::serve(target);
    }
    let workspace = Workspace::find()?;
    let programs = workspace.target.join("release");
    if args.no_build {
        let programs = args.programs.as_ref().unwrap_or(&programs);
        return measure(args, programs, &workspace.target.join("bench"));
    }
    let build = ["build", "--release", "--locked", "-p", "ztsa-cli", "-p", "ztsa-gateway", "-p", "xtask"];
    command::run(&mut workspace.cargo(&build))?;
    let mut again = Command::new(programs.join("xtask"));
    again.args(["bench", "--no-build"]);
    if let Some(only) = args.only.as_ref().and_then(clap::ValueEnum::to_possible_value) {
        again.args(["--only", only.get_name()]);
    }
    again.args([(args.quick, "--quick"), (args.json, "--json")].into_iter().filter(|flag| flag.0).map(|flag| flag.1));
    // returns only when it failed
    let source = again.exec();
    Err(Failure::Start { program: again.get_program().to_string_lossy().into_owned(), source })
}

fn measure(args: &Args, programs: &Path, folder: &Path) -> Result<(), Failure> {
    for program in ["ztsa", "ztsa-gateway", "xtask"] {
        if !programs.join(program).is_file() {
            let text = format!("{} has no {program}: run `cargo xtask bench`, which builds it", programs.display());
            return Err(Failure::Wrong(text));
        }
    }
    let plan = if args.quick { &QUICK } else { &FULL };
    let limit = process::raise_limit();
    let mut figures = Figures { machine: machine::describe(), rounds: plan.rounds, ..Figures::default() };
    let wanted = |part: Only| args.only.is_none_or(|only| only == part);
    for round in 1..=plan.rounds {
        if !wanted(Only::Throughput) {
            break;
        }
        eprintln!("round {round} of {}: throughput, latency", plan.rounds);
        deadline::within("a round of throughput and latency", ROUND, || {
            let mut stack = Stack::start(programs)?;
            throughput::round(&stack, plan.bulk, &args.loads, &mut figures.throughput)?;
            if !args.loads.is_empty() {
                return Ok(());
            }
            small(&mut stack, plan, &mut figures)
        })?;
    }
    if !args.loads.is_empty() {
        println!("{}", figures.table());
        return Ok(());
    }
    if wanted(Only::Posture) {
        eprintln!("posture");
        figures.posture = deadline::within("posture", POSTURE, || posture::measure(programs, plan.looks))?;
    }
    if wanted(Only::Memory) {
        eprintln!("memory of idle tunnels");
        figures.memory = deadline::within("memory of idle tunnels", MEMORY, || memory(programs, limit))?;
    }
    if wanted(Only::Revocation) {
        eprintln!("revocation");
        figures.revocation = deadline::within("revocation", REVOCATION, || {
            revocation::measure(&Stack::start(programs)?, plan.revocations)
        })?;
    }
    if wanted(Only::Evaluation) {
        eprintln!("evaluation: {} tunnels of {} people", evaluation::PEOPLE * evaluation::EACH, evaluation::PEOPLE);
        figures.evaluation = Some(deadline::within("evaluation", EVALUATION, || evaluation::measure(programs))?);
    }
    let json = figures.json();
    let file = folder.join("latest.json");
    fs::create_dir_all(folder).map_err(|source| Failure::file(folder, source))?;
    fs::write(&file, format!("{json:#}\n")).map_err(|source| Failure::file(&file, source))?;
    if args.json {
        eprintln!("{}", figures.table());
        println!("{json}");
    } else {
        println!("{}\nas JSON: {}", figures.table(), file.display());
    }
    Ok(())
}

fn memory(programs: &Path, limit: u64) -> Result<Vec<idle::Memory>, Failure> {
    let counts: Vec<usize> = IDLE.into_iter().filter(|count| *count as u64 + SPARE_FILES < limit).collect();
    if counts.len() < IDLE.len() {
        eprintln!("only {limit} files may be open here: raise it (ulimit -n {}) to measure all", 10_000 + SPARE_FILES);
    }
    idle::measure(&Stack::start(programs)?, &counts)
}

/// Measures small things over the three ways, and new connections through a forwarded port.
fn small(stack: &mut Stack, plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let ways =
        [(stack.tcp(), &mut figures.tcp), (stack.tls()?, &mut figures.tls), (stack.tunnel(), &mut figures.tunnel)];
    for (route, small) in ways {
        one(&route, plan, small).map_err(|error| stack.explain("latency", &error))?;
    }
    let route = stack.forward()?;
    let times = latency::openings(&route, plan.openings).map_err(|error| stack.explain("a forwarded port", &error))?;
    figures.forward.extend(times);
    Ok(())
}

fn one(route: &Route, plan: &Plan, small: &mut Small) -> io::Result<()> {
    small.openings.extend(latency::openings(route, plan.openings)?);
    small.pings.extend(latency::pings(route, plan.pings)?);
    small.rates.push(latency::rate(route, plan.rate)?);
    Ok(())
}
