//! `ztsa-gateway sessions`.

use std::collections::BTreeMap;

use clap::{ArgGroup, Subcommand};
use serde_json::Value;
use ztsa_gateway::admin::request::Request;

use super::failure::Failure;
use super::output::{bytes, count, line, list, person, table, text, time, tunnel_count};
use super::socket;

#[derive(Debug, clap::Args)]
#[group(id = "sessions-args")]
pub(crate) struct Args {
    #[command(flatten)]
    socket: socket::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the sessions and their tunnels.
    List,
    /// End sessions and their tunnels at once; signing in again is needed.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["person", "user", "session", "device", "app", "all"]))]
struct Revoke {
    /// A person: subject, name, e-mail address or ISSUER|SUBJECT.
    #[arg(value_name = "USER")]
    person: Option<String>,
    /// The same, as an option.
    #[arg(long)]
    user: Option<String>,
    /// One session, by its id.
    #[arg(long, allow_hyphen_values = true)]
    session: Option<String>,
    /// All sessions of one device, by its id or the beginning of it.
    #[arg(long, allow_hyphen_values = true)]
    device: Option<String>,
    /// All tunnels to one app; the sessions stay.
    #[arg(long)]
    app: Option<String>,
    /// Everybody.
    #[arg(long)]
    all: bool,
    /// Why, in words for the people concerned.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::List => args.socket.show(&Request::SessionsList {}, show),
        Command::Revoke(Revoke { person, user, session, device, app, all, reason }) => {
            let request = Request::SessionsRevoke { user: person.or(user), session, device, app, all, reason };
            args.socket.show(&request, |answer| {
                let tunnels = tunnel_count(count(answer, "tunnels"));
                let sessions = match count(answer, "sessions") {
                    1 => "1 session".to_owned(),
                    sessions => format!("{sessions} sessions"),
                };
                line(&format!("revoked {}: {sessions} and {tunnels} ended", text(answer, "revoked")))
            })
        }
    }
}

fn show(answer: &Value) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for session in list(answer, "sessions") {
        let risk = session.get("risk").cloned().unwrap_or_default();
        let worst = count(&risk, "user").max(count(&risk, "device")).max(count(&risk, "session"));
        let tunnels = list(session, "tunnels");
        rows.push(vec![
            person(session),
            text(session, "session"),
            text(session, "device").chars().take(12).collect(),
            time(session, "started_at"),
            worst.to_string(),
            tunnels.len().to_string(),
            bytes(tunnels.iter().map(|tunnel| count(tunnel, "up")).sum()),
            bytes(tunnels.iter().map(|tunnel| count(tunnel, "down")).sum()),
            apps(tunnels),
        ]);
    }
    let head = ["USER", "SESSION", "DEVICE", "SINCE", "RISK", "TUNNELS", "UP", "DOWN", "APPS"];
    table(&head, &rows, "nobody is signed in")
}

/// Names the apps of some tunnels, each once, with how many lead there and how many of them are paused.
fn apps(tunnels: &[Value]) -> String {
    let mut apps = BTreeMap::<String, (u64, u64)>::new();
    for tunnel in tunnels {
        let (all, paused) = apps.entry(text(tunnel, "app")).or_default();
        *all += 1;
        *paused += u64::from(text(tunnel, "access") == "suspended");
    }
    let named = apps.into_iter().map(|(app, counts)| match counts {
        (1, 0) => app,
        (1, _) => format!("{app} (suspended)"),
        (all, 0) => format!("{app} ({all})"),
        (all, paused) if paused == all => format!("{app} ({all} suspended)"),
        (all, paused) => format!("{app} ({all}, {paused} suspended)"),
    });
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn apps_are_named_once_with_how_many_tunnels_are_paused() {
        let tunnel = |app: &str, access: &str| json!({ "app": app, "access": access });
        let tunnels = [
            tunnel("wiki", "open"),
            tunnel("db", "suspended"),
            tunnel("db", "open"),
            tunnel("echo", "suspended"),
            tunnel("wiki", "open"),
            tunnel("ssh", "open"),
            tunnel("web", "suspended"),
            tunnel("web", "suspended"),
        ];
        assert_eq!(apps(&tunnels), "db (2, 1 suspended), echo (suspended), ssh, web (2 suspended), wiki (2)");
    }
}
