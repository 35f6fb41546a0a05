//! `cargo xtask demo`: the whole road on this machine, as a short timeline. Everything is real but the people.

mod app;
mod bridge;
mod page;
mod place;
mod process;
mod risk;
mod road;
mod timeline;

use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};

use crate::command::{self, Failure};
use crate::programs;
use crate::workspace::Workspace;

use app::Database;
use bridge::Way;
use place::Place;
use process::{Running, Server};
use timeline::Timeline;

/// What `cargo xtask demo` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave everything running at the end, and print commands to try
    #[arg(long)]
    stay: bool,
    /// Let a person approve the sign-in in a browser
    #[arg(long)]
    interactive: bool,
    /// Do not install programs; take the machine as it is
    #[arg(long)]
    skip_install: bool,
    /// Show the programs as they were built
    #[arg(long, hide = true)]
    no_build: bool,
}

/// Shows the road with the programs as they are, and ends.
pub(crate) fn check() -> Result<(), Failure> {
    run(&Args { stay: false, interactive: false, skip_install: true, no_build: true })
}

/// The Debian packages that the demo shows something with.
const PACKAGES: &[&str] = &["postgresql", "postgresql-client", "openssh-server", "openssh-client"];

/// Shows the road; everything that was started has ended when this returns.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    if !args.no_build {
        println!("building ztsa and ztsa-gateway (the first time takes some minutes)");
        command::run(&mut workspace.cargo(&["build", "--locked", "--quiet", "-p", "ztsa-cli", "-p", "ztsa-gateway"]))?;
    }
    let missing = if args.skip_install { None } else { install() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Failure::Wrong(format!("no runtime: {source}")))?;
    runtime.block_on(Box::pin(show(args, &workspace, missing)))
}

/// Installs what is missing, where that needs no question; says why not.
fn install() -> Option<String> {
    let root = rustix::process::geteuid().is_root();
    let asks = !root && !command::succeeds(std::process::Command::new("sudo").args(["-n", "true"]));
    let wanted = [PACKAGES, &["curl"]].concat();
    if programs::missing(&wanted).is_empty() {
        return None;
    }
    let failed = if asks {
        Some("only root can install it".to_owned())
    } else {
        programs::install(&wanted).err().map(|f| f.to_string())
    };
    if let Some(why) = &failed {
        println!("    not installed: {}: {why}", programs::missing(&wanted).join(" "));
    }
    failed
}

/// What runs until the demo ends.
#[derive(Debug, Default)]
struct House {
    servers: Vec<Server>,
    proxy: Option<(Running, SocketAddr)>,
}

async fn show(args: &Args, workspace: &Workspace, missing: Option<String>) -> Result<(), Failure> {
    let place = Place::make(workspace)?;
    let mut house = House::default();
    let mut shown = tokio::select! {
        shown = Box::pin(timeline(args, &place, &mut house, missing)) => Some(shown),
        by = interrupted() => { by?; None }
    };
    if args.stay && shown.is_some() && house.proxy.is_some() {
        invite(&place, &house);
        shown = interrupted().await.map(|()| shown)?;
    }
    if let Some((proxy, _)) = house.proxy {
        proxy.end().await;
    }
    // the gateway was started last and ends first
    for server in house.servers.into_iter().rev() {
        server.end().await;
    }
    match shown {
        Some(Err(failure)) => {
            println!("the logs are in {}", place.logs().display());
            Err(failure)
        }
        Some(Ok(())) => place.remove(),
        None => place.remove().and(Err(Failure::Wrong("interrupted".to_owned()))),
    }
}

async fn timeline(args: &Args, place: &Place, house: &mut House, missing: Option<String>) -> Result<(), Failure> {
    let servers = &mut house.servers;
    if command::find("curl").is_none() {
        return Err(Failure::Wrong("the demo needs curl: install it and repeat".to_owned()));
    }
    let mut timeline = Timeline::begin();
    let why = || missing.clone().unwrap_or_else(|| "its programs are not installed".to_owned());
    let database = app::postgres(place, servers).await?.unwrap_or_else(|| Database::Echo { why: why() });
    let shell = app::shell(place, servers).await?;
    let started = road::start(place, servers, &database, shell.as_ref());
    let Some(gateway) = timeline.step("an issuer, a gateway and private apps run, on loopback only", started).await
    else {
        return timeline.end();
    };
    let login = Box::pin(road::login(place, &gateway, args.interactive));
    if timeline.step("alice signs in, by device flow", login).await.is_none() {
        return timeline.end();
    }
    timeline.step("she sees the apps that she may know of", road::apps(place, &database)).await;
    let asked = match database {
        Database::Postgres { .. } => "she asks the database, with its own client",
        Database::Echo { .. } => "she speaks to the echo app, which stands in for a database",
    };
    timeline.step(asked, road::query(place, &database)).await;
    let proxy = timeline.step("she opens a local port that speaks SOCKS5 and HTTP CONNECT", road::proxy(place)).await;
    house.proxy = proxy;
    if let Some((_, address)) = &house.proxy {
        let socks = Box::pin(road::by_proxy(place, *address, Way::Socks5, &database));
        timeline.step("the same apps, by SOCKS5", socks).await;
        let connect = Box::pin(road::by_proxy(place, *address, Way::HttpConnect, &database));
        timeline.step("the same apps, by HTTP CONNECT", connect).await;
    }
    if shell.is_some() {
        timeline.step("a real ssh goes through it", road::ssh(place)).await;
    } else {
        timeline.remark("not shown: ssh to a real sshd, because OpenSSH is not installed here");
    }
    timeline.step("payroll is not for her, and she learns why", road::denied(place)).await;
    risk(&mut timeline, place, &database).await;
    timeline.end()
}

/// A live connection, the administrator's word, and the way back.
async fn risk(timeline: &mut Timeline, place: &Place, database: &Database) {
    let live = timeline.step("she works in a live session", risk::stay(place, database)).await;
    let Some(live) = live else { return };
    timeline.step("an administrator raises her risk: the live session ends", risk::raise(place, live)).await;
    timeline.step("while her risk is high, nothing new opens", risk::refused(place, database)).await;
    timeline.step("her risk falls: it works again, without a new login", risk::fall(place, database)).await;
}

/// Prints commands to try.
fn invite(place: &Place, house: &House) {
    println!("\nEverything stays up until Ctrl-C. In another terminal:\n");
    for (name, value) in place.variables() {
        match name {
            "PATH" => println!("  export PATH=\"{}:$PATH\"", place.programs.display()),
            "LANG" => {}
            _ => println!("  export {name}=\"{value}\""),
        }
    }
    println!("\n  ztsa apps\n  ztsa connect db-prod -- psql\n  ztsa why payroll");
    if let Some((_, address)) = &house.proxy {
        println!("  curl --proxy socks5h://{address} http://wiki.ztsa/");
    }
    if place.join("ssh/config").is_file() {
        println!("  ssh -F {} -o ProxyCommand=\"ztsa stdio %h:%p\" bastion", place.join("ssh/config").display());
    }
    println!("  ztsa-gateway risk set alice 70 --reason \"a look at it\"    # what is open pauses");
    println!("  ztsa-gateway risk clear alice                            # and goes on\n  ztsa-gateway sessions list");
    println!("  less {}\n", place.join("gateway/audit.ndjson").display());
}

/// Waits until somebody wants the demo to end: Ctrl-C, a supervisor, or the terminal that closes.
async fn interrupted() -> Result<(), Failure> {
    let handler = |kind| signal(kind).map_err(|source| Failure::Wrong(format!("no signals: {source}")));
    let (mut interrupt, mut terminate, mut hangup) =
        (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?, handler(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    println!("\nstopping");
    Ok(())
}
