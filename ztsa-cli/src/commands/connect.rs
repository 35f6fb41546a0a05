//! `ztsa connect`: apps on local ports, with a command that uses them or in the foreground.

use std::time::{Duration, Instant};

use ztsa_core::api::ApiError;
use ztsa_core::client::Client;
use ztsa_core::listener::event::{Event, Events};
use ztsa_core::listener::forward::Forward;
use ztsa_core::listener::listen::Listen;
use ztsa_proto::app::{AppInfo, AppList};
use ztsa_proto::event::EventKind;
use ztsa_proto::name::AppName;
use ztsa_proto::problem::{self, Problem, Retry};

use super::watch::{self, Watch};
use super::{Context, Done, lead};
use crate::cli;
use crate::interrupt::interrupt;
use crate::report::{Failure, Report, UNREACHABLE};
use crate::settings::nearest;

mod child;
pub(crate) mod fill;

use child::Child;
use fill::Endpoint;

/// How long connections may take to end after Ctrl-C.
const GRACE: Duration = Duration::from_millis(500);
/// The pause between two attempts under `--wait`.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: cli::Connect, context: Context) -> Result<Done, Failure> {
    check(&args)?;
    let ready = tokio::select! {
        ready = Box::pin(open(&args, &context)) => ready?,
        by = interrupt() => return Err(Failure::Interrupted(by?)),
    };
    if args.command.is_empty() {
        foreground(&args, &context, ready).await
    } else {
        command(&args, &context, ready).await
    }
}

/// Apps that can be used now.
struct Ready {
    client: Client,
    events: Events,
    open: Vec<(Forward, Endpoint)>,
}

impl Ready {
    fn endpoints(&self) -> Vec<Endpoint> {
        self.open.iter().map(|(_, endpoint)| endpoint.clone()).collect()
    }

    async fn close(self) {
        for (forward, _) in self.open {
            forward.shutdown(GRACE).await;
        }
        self.client.close().await;
    }
}

fn check(args: &cli::Connect) -> Result<(), Failure> {
    let several = args.apps.len() > 1;
    if several && matches!(args.listen, Some(listen) if port(listen) != 0) {
        return Err(Failure::Usage {
            message: "several apps cannot share one port".to_owned(),
            hint: "leave --listen out, or open them one by one".to_owned(),
        });
    }
    Ok(())
}

fn port(listen: Listen) -> u16 {
    match listen {
        Listen::Loopback(port) => port,
        Listen::At(address) => address.port(),
    }
}

/// Asks for access and binds the ports; under `--wait`, until it works or the time is up.
async fn open(args: &cli::Connect, context: &Context) -> Result<Ready, Failure> {
    let started = Instant::now();
    let client = context.signed_in().await?;
    let patient = async || loop {
        let asked = {
            let _shown = context.printer.spinner("asking the gateway");
            ask(args, &client).await
        };
        match asked {
            Err(failure) if is_passing(&failure) && started.elapsed() + PAUSE < Duration::from_secs(args.wait) => {
                tokio::time::sleep(PAUSE).await;
            }
            done => break done,
        }
    };
    let list = context.led(&client, patient).await?;
    // from here on: what was refused while it waited is no news when it has worked
    let events = client.events();
    let mut open = Vec::new();
    for name in &args.apps {
        let Some(app) = list.apps.iter().find(|app| app.name == *name) else { continue };
        let listen = listen(args, context, app);
        let forward = client.forward(name.as_str(), listen).await?;
        if let Some(warning) = forward.warning() {
            context.printer.warn(&warning.to_string());
        }
        let (kind, hosts, local) = (app.kind, app.hosts.clone(), forward.local_addr());
        open.push((forward, Endpoint { app: name.clone(), kind, hosts, local }));
    }
    Ok(Ready { client, events, open })
}

/// Asks the gateway for each app, so that a refusal is told before any port is open.
async fn ask(args: &cli::Connect, client: &Client) -> Result<AppList, Failure> {
    let list = client.apps().await?;
    for name in &args.apps {
        // the gateway is asked even where the list says no: its answer is the decision, and stands in its audit log
        match client.grant(name, args.reason.as_deref()).await {
            // who waits, waits for the app too: one connection to it is opened and closed again
            Ok(_) if args.wait > 0 => {
                client.connect(name.as_str()).await.map_err(|error| Failure::about(name.as_str(), error))?;
            }
            Ok(_) => {}
            Err(ApiError::Denied(problem)) => {
                let known = list.apps.iter().any(|app| app.name == *name);
                let problem = if known { problem } else { Box::new(nearby(*problem, name, &list)) };
                return Err(Failure::Denied { app: name.to_string(), problem });
            }
            Err(error) => return Err(Failure::about(name.as_str(), error)),
        }
    }
    Ok(list)
}

/// Names the app that was probably meant, when there is no app of this name for the person.
fn nearby(problem: Problem, name: &AppName, list: &AppList) -> Problem {
    let known: Vec<&str> = list.apps.iter().map(|app| app.name.as_str()).collect();
    match nearest(name.as_str(), &known) {
        Some(nearest) => {
            problem.with_remedy(format!("Did you mean {nearest}? See the apps that you can reach with `ztsa apps`."))
        }
        None => problem,
    }
}

fn is_passing(failure: &Failure) -> bool {
    Report::of(failure).exit == UNREACHABLE
}

/// A command that is filled in takes any free port; a person's tools find the app where it always is.
fn listen(args: &cli::Connect, context: &Context, app: &AppInfo) -> Listen {
    let configured = context.settings.forwards.get(&app.name).copied().or(app.local_port);
    match (args.listen, configured) {
        (Some(listen), _) => listen,
        (None, _) if !args.command.is_empty() => Listen::Loopback(0),
        (None, Some(port)) => Listen::Loopback(port),
        (None, None) => Listen::derived(&app.name),
    }
}

/// Runs the command and returns its exit code.
async fn command(args: &cli::Connect, context: &Context, mut ready: Ready) -> Result<Done, Failure> {
    let endpoints = ready.endpoints();
    let environment = fill::environment(&endpoints);
    let mut words = args.command.iter().map(|word| fill::argument(word, &endpoints));
    let Some(program) = words.next() else { return Ok(Done::Ok) };
    let words: Vec<_> = words.collect();
    let failed = |source| Failure::Command { program: program.to_string_lossy().into_owned(), source };
    let mut child = Child::start(&program, &words, &environment).map_err(failed)?;
    // the command writes on this terminal: no countdown there, but a reminder before the end
    let mut watch = Watch::new(&context.printer, false).on_a_shared_terminal();
    let code = loop {
        tokio::select! {
            code = child.wait() => break code.map_err(failed)?,
            () = watch.due() => watch.beat(ready.client.now()),
            Some(event) = ready.events.next() => watch.tell(&event, ready.client.now())?,
        }
    };
    // What was said about the ending of the last connection may have arrived together with the end of the command.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), ready.events.next()).await {
        watch.tell(&event, ready.client.now())?;
    }
    watch.beat(ready.client.now());
    ready.close().await;
    Ok(Done::Code(code))
}

/// Stays until somebody ends it or access is revoked.
async fn foreground(args: &cli::Connect, context: &Context, mut ready: Ready) -> Result<Done, Failure> {
    let interrupted = interrupt();
    let mut interrupted = std::pin::pin!(interrupted);
    announce(args, context, &ready)?;
    let mut watch = Watch::new(&context.printer, args.print.is_none()).with_countdown();
    loop {
        tokio::select! {
            () = watch.due() => watch.beat(ready.client.now()),
            event = ready.events.next() => {
                let Some(event) = event else { return Ok(Done::Ok) };
                watch.tell(&event, ready.client.now())?;
                if let Some((app, problem)) = watch::refusal(&event) {
                    lead::note(context, &ready.client, &app, problem);
                }
                if let Some((app, problem)) = ending(&event) {
                    ready.open.retain(|(_, endpoint)| app.as_ref().is_some_and(|app| endpoint.app.as_str() != app));
                    if ready.open.is_empty() {
                        ready.close().await;
                        // Why has just been told.
                        return Ok(Done::Code(problem.exit_when_open()));
                    }
                }
            }
            by = &mut interrupted => {
                let by = by?;
                ready.close().await;
                return Err(Failure::Interrupted(by));
            }
        }
    }
}

/// Whether an event says that access is over: for one app, or for all.
///
/// An ending that passes (the risk falls again) is not: the port stays, and a new connection works when access is back.
fn ending(event: &Event) -> Option<(Option<String>, Problem)> {
    match event {
        Event::Ended { problem: Some(problem), .. } if matches!(problem.retry, Retry::After { .. }) => None,
        Event::Ended { connection, problem: Some(problem), .. } if problem.exit_when_open() != UNREACHABLE => {
            Some((Some(watch::app(&connection.to)), (**problem).clone()))
        }
        Event::Gateway(event) if event.kind == EventKind::SessionEnded => {
            let problem = event.problem.clone().unwrap_or_else(|| problem::new("session.expired"));
            // one that was only not renewed in time begins again with the next renewal
            (!matches!(problem.retry, Retry::After { .. })).then_some((None, problem))
        }
        _ => None,
    }
}

fn announce(args: &cli::Connect, context: &Context, ready: &Ready) -> Result<(), Failure> {
    let printer = &context.printer;
    let style = printer.err_style();
    for (_, endpoint) in &ready.open {
        if let Some(form) = args.print {
            printer.data(&endpoint.print(form))?;
        } else if printer.json() {
            printer.json_line(&endpoint.ready())?;
        }
        let (app, usage) = (style.bold(endpoint.app.as_str()), endpoint.usage());
        printer.say(&format!("{app} is at {}\n  {usage}", style.bold(&endpoint.local.to_string())));
    }
    printer.say(&style.dim("Ctrl-C ends it"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ztsa_core::listener::event::{Connection, Way};

    use super::*;

    fn ended(code: &str) -> Event {
        Event::Ended {
            connection: Connection { id: 1, to: "wiki.ztsa:80".parse().unwrap(), way: Way::Forward },
            problem: Some(Arc::new(problem::new(code))),
            sent: 0,
            received: 0,
            lasted: Duration::ZERO,
        }
    }

    #[test]
    fn only_an_ending_that_does_not_pass_by_itself_ends_the_command() {
        for (code, exit) in [
            ("session.revoked", Some(7)),
            ("policy.forbidden", Some(7)),
            ("device.blocked", Some(7)),
            ("session.lapsed", None),
            ("risk.user", None),
            ("network.lost", None),
            ("app.unreachable", None),
        ] {
            let over = ending(&ended(code));
            assert_eq!(over.as_ref().map(|(_, problem)| problem.exit_when_open()), exit, "{code}");
            assert!(over.is_none_or(|(app, _)| app.as_deref() == Some("wiki")), "{code}");
        }
    }

    #[test]
    fn a_session_that_lapsed_leaves_every_port_open_and_one_that_was_ended_none() {
        let session_ended = |problem: Option<Problem>| {
            let at = ztsa_proto::time::UnixTime(0);
            let kind = EventKind::SessionEnded;
            Event::Gateway(Arc::new(ztsa_proto::event::Event { id: 1, at, kind, tunnel: None, app: None, problem }))
        };
        assert!(ending(&session_ended(Some(problem::new("session.lapsed")))).is_none());
        for last in [Some(problem::new("session.revoked")), Some(problem::new("session.expired")), None] {
            let (app, problem) = ending(&session_ended(last)).unwrap();
            assert_eq!((app, problem.exit_when_open()), (None, 7));
        }
    }

    #[test]
    fn a_mistyped_app_is_answered_with_the_nearest() {
        let list: AppList =
            serde_json::from_str(r#"{"apps":[{"name":"payroll","kind":"http","port":80,"access":{"state":"open"}}]}"#)
                .unwrap();
        let remedy = |name: &str| nearby(problem::new("app.unknown"), &name.parse().unwrap(), &list).remedy.unwrap();
        assert!(remedy("payrol").starts_with("Did you mean payroll?"), "{}", remedy("payrol"));
        assert!(!remedy("db-prod").contains("payroll"), "{}", remedy("db-prod"));
    }
}
