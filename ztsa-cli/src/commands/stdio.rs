//! `ztsa stdio`: one app's bytes on stdin and stdout, and nothing else on stdout.

use std::time::Duration;

use ztsa_proto::name::{AppName, Destination, HostName};

use ztsa_core::listener::event::Event;

use super::watch::{Watch, app};
use super::{Context, Done};
use crate::cli;
use crate::interrupt::{Interrupt, interrupt};
use crate::report::Failure;

mod pipe;

/// How often it is looked whether the program at the other end of a paused connection's stdout is still there.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: cli::Stdio, context: &Context) -> Result<Done, Failure> {
    let target = target(&args)?;
    let work = async {
        let client = context.signed_in().await?;
        let to = match &target {
            Target::Destination(destination) => destination.clone(),
            Target::App(name) => context.led(&client, async || Ok(client.destination(name).await?)).await?,
        };
        // what is refused has carried nothing yet: the same pipes serve the next try
        let (mut input, mut output) = (pipe::Input::take(), pipe::Output::take());
        let (mut events, mut watch) = (client.events(), Watch::new(&context.printer, false).on_a_shared_terminal());
        let carry = async || {
            let carried = client.stdio(&to, &mut input, &mut output).await;
            carried.map_err(|error| Failure::stdio(app(&to), error))
        };
        // whoever sits before ssh learns why nothing moves
        let told = async {
            let (mut paused, mut look) = (false, tokio::time::interval(LOOK));
            look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = watch.due() => watch.beat(client.now()),
                    // nothing is written during a pause that would tell that ssh was killed
                    _ = look.tick(), if paused => if pipe::reader_is_gone() {
                        return Failure::Streams { source: std::io::ErrorKind::BrokenPipe.into() };
                    },
                    Some(event) = events.next() => {
                        paused = match &event {
                            Event::Suspended { .. } => true,
                            Event::Restored(_) => false,
                            _ => paused,
                        };
                        if matches!(event, Event::Suspended { .. } | Event::Restored(_) | Event::Missed(_))
                            && let Err(error) = watch.tell(&event, client.now())
                        {
                            return Failure::from(error);
                        }
                    }
                }
            }
        };
        tokio::select! {
            carried = context.led(&client, carry) => drop(carried?),
            failure = told => return Err(failure),
        }
        Ok(Done::Ok)
    };
    tokio::select! {
        done = Box::pin(work) => done,
        by = interrupt() => match by? {
            // ssh ends its ProxyCommand so after every connection: nothing to tell the person
            by @ Interrupt::Hangup => Ok(Done::Code(by.exit())),
            by => Err(Failure::Interrupted(by)),
        },
    }
}

/// What stdin and stdout are to reach.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A host and a port, as ssh gives them.
    Destination(Destination),
    /// An app at its own port.
    App(String),
}

/// Reads `APP`, `APP:PORT`, `[::1]:22`, and `HOST PORT`.
fn target(args: &cli::Stdio) -> Result<Target, Failure> {
    let wrong = |what: &dyn std::fmt::Display| Failure::Usage {
        message: format!("`{}` is not an app: {what}", args.app),
        hint: "ztsa stdio APP, ztsa stdio APP:PORT, or ztsa stdio HOST PORT".to_owned(),
    };
    if let Some(port) = args.port {
        let text = args.app.trim_start_matches('[').trim_end_matches(']');
        let host: HostName = text.parse().map_err(|error| wrong(&error))?;
        if port == 0 {
            return Err(wrong(&"port 0 does not exist"));
        }
        return Ok(Target::Destination(Destination { host, port }));
    }
    if args.app.contains(':') {
        return args.app.parse().map(Target::Destination).map_err(|error| wrong(&error));
    }
    match args.app.parse::<AppName>() {
        Ok(_) => Ok(Target::App(args.app.clone())),
        Err(error) => match args.app.parse::<HostName>() {
            Ok(_) => Ok(Target::App(args.app.clone())),
            Err(_) => Err(wrong(&error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_ssh_gives_is_read() {
        let read = |app: &str, port: Option<u16>| match target(&cli::Stdio { app: app.to_owned(), port }) {
            Ok(Target::Destination(to)) => Some(to.to_string()),
            Ok(Target::App(name)) => Some(name),
            Err(_) => None,
        };
        for (app, port, expected) in [
            ("bastion", None, Some("bastion")),
            ("bastion.ztsa", None, Some("bastion.ztsa")),
            ("bastion:22", None, Some("bastion:22")),
            ("bastion.ztsa", Some(22), Some("bastion.ztsa:22")),
            ("::1", Some(22), Some("[::1]:22")),
            ("[::1]:22", None, Some("[::1]:22")),
            ("bastion:0", None, None),
            ("bastion", Some(0), None),
            ("bad name", None, None),
            ("", None, None),
        ] {
            assert_eq!(read(app, port).as_deref(), expected, "{app:?} {port:?}");
        }
    }
}
