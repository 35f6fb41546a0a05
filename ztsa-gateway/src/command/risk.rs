//! `ztsa-gateway risk`.

use clap::Subcommand;
use serde_json::Value;
use ztsa_gateway::admin::request::Request;
use ztsa_gateway::config::duration;

use super::failure::Failure;
use super::output::{changed, line, list, person, table, text, time};
use super::socket;

#[derive(Debug, clap::Args)]
#[group(id = "risk-args")]
pub(crate) struct Args {
    #[command(flatten)]
    socket: socket::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the risk of a person, a device or a session is: exactly this, until it is cleared.
    Set {
        /// A person (subject, name or e-mail address; ISSUER|SUBJECT also before they sign in), device:ID or session:ID.
        #[arg(value_name = "USER")]
        whom: String,
        /// From 0 (none) to 100.
        #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
        score: u8,
        /// Why, in words for the people concerned.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
        /// For how long, such as 30m or 1h; without it until it is cleared.
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        lasts: Option<String>,
    },
    /// Show scores and the signals behind them.
    Show {
        /// A person, device:ID or session:ID; everybody without it.
        #[arg(value_name = "USER")]
        whom: Option<String>,
    },
    /// Take back what was said with `risk set`.
    Clear {
        /// A person, device:ID or session:ID.
        #[arg(value_name = "USER")]
        whom: String,
    },
    /// Forget the habits that are remembered of a person: when they work, from where, with which apps.
    Forget {
        /// A person.
        #[arg(value_name = "USER")]
        whom: String,
    },
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Set { whom, score, reason, lasts } => {
            let (user, device, session) = about(Some(whom));
            let request = Request::RiskSet { user, device, session, score, reason, lasts };
            args.socket.show(&request, |answer| {
                let until = match time(answer, "expires_at") {
                    never if never == "-" => String::new(),
                    until => format!(" until {until}"),
                };
                line(&format!("the risk of {} is {score}{until}: {}", subject(answer), changed(answer)))
            })
        }
        Command::Show { whom } => {
            let (user, device, session) = about(whom);
            args.socket.show(&Request::RiskShow { user, device, session }, show)
        }
        Command::Clear { whom } => {
            let (user, device, session) = about(Some(whom));
            args.socket.show(&Request::RiskClear { user, device, session }, |answer| {
                let cleared = answer.get("cleared").and_then(Value::as_bool).unwrap_or_default();
                let done = if cleared { "is cleared" } else { "had not been set" };
                line(&format!("the risk of {} {done}: {}", subject(answer), changed(answer)))
            })
        }
        Command::Forget { whom } => args.socket.show(&Request::RiskForget { user: whom }, |answer| {
            let forgotten = answer.get("forgotten").and_then(Value::as_bool).unwrap_or_default();
            let done = if forgotten { "are forgotten" } else { "had not been remembered" };
            line(&format!("the habits of {} {done}", subject(answer)))
        }),
    }
}

fn show(answer: &Value) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for about in list(answer, "risk") {
        let mut first = vec![subject(about), text(about, "score")];
        if list(about, "signals").is_empty() {
            rows.push([first.clone(), vec!["-".to_owned(); 5]].concat());
        }
        for signal in list(about, "signals") {
            let cells = ["kind", "score", "reason", "source"].map(|member| text(signal, member));
            rows.push([first.clone(), cells.to_vec(), vec![time(signal, "expires_at")]].concat());
            first = vec![String::new(); 2];
        }
    }
    table(&["ABOUT", "SCORE", "SIGNAL", "POINTS", "REASON", "SOURCE", "UNTIL"], &rows, "there is no risk signal")
}

fn about(whom: Option<String>) -> (Option<String>, Option<String>, Option<String>) {
    let Some(whom) = whom else { return (None, None, None) };
    match whom.split_once(':') {
        Some(("device", id)) => (None, Some(id.to_owned()), None),
        Some(("session", id)) => (None, None, Some(id.to_owned())),
        _ => (Some(whom), None, None),
    }
}

fn subject(value: &Value) -> String {
    let named = ["device", "session"].into_iter().find(|kind| value.get(*kind).is_some());
    if let Some(kind) = named {
        return format!("{kind} {}", text(value, kind));
    }
    match value.get("known") {
        Some(Value::Bool(false)) => format!("{} (who has not signed in yet)", text(value, "user")),
        _ => person(value),
    }
}

fn span(text: &str) -> Result<String, String> {
    let span = duration::parse(text).filter(|span| !span.is_zero());
    span.map(|_| text.to_owned()).ok_or_else(|| "use a number with s, m, h or d, such as 1h".to_owned())
}
