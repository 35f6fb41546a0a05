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
    /// Take it for a failure when something cannot be shown here, and try what `--stay` offers
    #[arg(skip)]
    insist: bool,
}

/// Shows the whole road with the programs as they are, tries what it offers to go on with, and ends.
pub(crate) fn check() -> Result<(), Failure> {
    run(&Args { stay: true, interactive: false, skip_install: true, no_build: true, insist: true })
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
        let invitation = invitation(&place, &house);
        println!("{invitation}");
        let tried = async { if args.insist { accept(&place, &invitation).await } else { Ok(()) } };
        // the first to be polled, so that the signal of the second finds it waiting
        let (by, tried) = tokio::join!(interrupted(), tried);
        by?;
        shown = shown.map(|shown| shown.and(tried));
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
    if args.insist {
        whole(&database, shell.is_some())?;
    }
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

/// Insists that everything can be shown.
fn whole(database: &Database, shell: bool) -> Result<(), Failure> {
    let real = matches!(database, Database::Postgres { .. });
    let lacking = [(real, "PostgreSQL"), (shell, "OpenSSH")].into_iter().filter(|(here, _)| !here);
    let lacking: Vec<&str> = lacking.map(|(_, name)| name).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Failure::Wrong(format!(
        "the demo cannot be shown whole: {} is not installed here; run `cargo xtask test`, or install {}",
        lacking.join(" and "),
        PACKAGES.join(" ")
    )))
}

/// A live connection, the administrator's word, and the way back.
async fn risk(timeline: &mut Timeline, place: &Place, database: &Database) {
    let live = timeline.step("she works in a live session", risk::stay(place, database)).await;
    let Some(live) = live else { return };
    timeline.step("an administrator raises her risk: the live session ends", risk::raise(place, live)).await;
    timeline.step("while her risk is high, nothing new opens", risk::refused(place, database)).await;
    timeline.step("her risk falls: it works again, without a new login", risk::fall(place, database)).await;
}

/// Writes commands to try.
fn invitation(place: &Place, house: &House) -> String {
    let mut lines = vec!["\nEverything stays up until Ctrl-C. In another terminal:\n".to_owned()];
    for (name, value) in place.variables() {
        match name {
            "PATH" => lines.push(format!("  export PATH=\"{}:$PATH\"", place.programs.display())),
            "LANG" => {}
            _ => lines.push(format!("  export {name}=\"{value}\"")),
        }
    }
    lines.push("\n  ztsa apps\n  ztsa connect db-prod -- psql\n  ztsa why payroll".to_owned());
    if let Some((_, address)) = &house.proxy {
        lines.push(format!("  curl --proxy socks5h://{address} http://wiki.ztsa/"));
    }
    if place.join("ssh/config").is_file() {
        let config = place.join("ssh/config");
        lines.push(format!("  ssh -F {} -o ProxyCommand=\"ztsa stdio %h:%p\" bastion", config.display()));
    }
    lines.push("  ztsa-gateway risk set alice 70 --reason \"a look at it\"    # what is open pauses".to_owned());
    lines.push("  ztsa-gateway risk clear alice                            # and goes on".to_owned());
    lines.push("  ztsa-gateway sessions list".to_owned());
    lines.push(format!("  less {}\n", place.join("gateway/audit.ndjson").display()));
    lines.join("\n")
}

/// Does as the invitation says, in a shell as a person's, and presses Ctrl-C.
async fn accept(place: &Place, invitation: &str) -> Result<(), Failure> {
    let takes_part = |line: &&str| !line.is_empty() && !line.starts_with("Everything") && !line.starts_with("less ");
    let lines: Vec<&str> = invitation.lines().map(str::trim).filter(takes_part).collect();
    let mut shell = tokio::process::Command::new("bash");
    shell.args(["-uc", &lines.join("\n")]).env("PSQLRC", "/dev/null").env("HOME", place.join("home"));
    let tried = process::finish(&mut shell).await;
    let interrupt = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
    let said = tried?.ok()?;
    interrupt.map_err(|error| Failure::Wrong(format!("Ctrl-C cannot be pressed: {error}")))?;
    let seen = |what: &str| {
        let lacks = || Failure::Wrong(format!("the commands to try do not show {what}:\n{said}"));
        said.contains(what).then_some(()).ok_or_else(lacks)
    };
    ["db-prod", "payroll is for the operations team", "The wiki"].into_iter().try_for_each(seen)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_that_cannot_show_everything_is_a_failure_where_it_is_a_check() {
        let real = Database::Postgres { port: 5432, version: "15".to_owned() };
        let echo = Database::Echo { why: "none".to_owned() };
        assert!(whole(&real, true).is_ok());
        for (database, shell, lacking) in
            [(&real, false, "OpenSSH is"), (&echo, true, "PostgreSQL is"), (&echo, false, "PostgreSQL and OpenSSH")]
        {
            let told = whole(database, shell).unwrap_err().to_string();
            assert!(told.contains(lacking) && told.contains("install postgresql"), "{told}");
        }
    }
}
