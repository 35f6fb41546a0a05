//! What happens while a command runs, one line each: words on stderr, or NDJSON on stdout.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::time::Instant;
use ztsa_core::listener::event::{Connection, Event};
use ztsa_proto::event::EventKind;
use ztsa_proto::name::Destination;
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use crate::report;
use crate::ui::{Foot, Printer};
use pause::Pauses;
use told::{Told, Tone, told};

mod pause;
mod told;

/// The pause between two looks at what is paused.
const BEAT: Duration = Duration::from_secs(1);

/// Tells events to whoever runs the command.
#[derive(Debug)]
pub(crate) struct Watch {
    printer: Printer,
    json: bool,
    elsewhere: bool,
    /// Whether another program writes on the same terminal.
    shared: bool,
    /// Where what is paused is counted down; nothing where no person looks at a terminal of ours.
    foot: Option<Foot>,
    pauses: Pauses,
    /// What was told last of an ending, and how many more ended alike.
    ended: Option<(String, String, usize)>,
    next: Instant,
}

impl Watch {
    /// Speaks through `printer`; as NDJSON where stdout is ours and JSON is wanted.
    pub(crate) fn new(printer: &Printer, owns_stdout: bool) -> Self {
        Self {
            printer: printer.clone(),
            json: owns_stdout && printer.json(),
            elsewhere: false,
            shared: false,
            foot: None,
            pauses: Pauses::default(),
            ended: None,
            next: Instant::now(),
        }
    }

    /// Counts down what is paused in a line at the foot of the terminal, where there is one: only when nothing else
    /// writes there.
    pub(crate) fn with_countdown(self) -> Self {
        let foot = self.printer.foot();
        Self { foot, ..self }
    }

    /// Speaks on lines of its own where another program has the terminal, in whatever mode it has set it to.
    pub(crate) fn on_a_shared_terminal(self) -> Self {
        let shared = self.printer.present();
        Self { shared, ..self }
    }

    /// Completes when it is time for [`Watch::beat`]; never while nothing is paused.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn due(&self) {
        if self.json || (self.pauses.is_empty() && self.ended.is_none()) {
            return std::future::pending().await;
        }
        tokio::time::sleep_until(self.next).await;
    }

    /// Says how long what is paused still waits.
    pub(crate) fn beat(&mut self, now: UnixTime) {
        self.next = Instant::now() + BEAT;
        self.told_alike();
        self.pauses.give_up(now);
        match &mut self.foot {
            Some(foot) if self.pauses.is_empty() => foot.clear(),
            Some(foot) => {
                let line = self.printer.err_style().warn(&self.pauses.line(now));
                foot.show(&line);
            }
            None => {
                for reminder in self.pauses.reminders(now) {
                    let style = self.printer.err_style();
                    self.say(&format!("{} {reminder}", style.dim(&clock(now))));
                }
            }
        }
    }

    /// Says how many more connections ended as the one that was told last.
    fn told_alike(&mut self) {
        if let Some((app, _, more @ 1..)) = self.ended.take() {
            let connections = if more == 1 { "connection" } else { "connections" };
            self.say(&format!("  and {more} more {connections} to {app}"));
        }
    }

    fn say(&self, text: &str) {
        match &self.foot {
            Some(foot) => foot.above(|| self.printer.say(text)),
            None if self.shared => self.printer.say(&format!("\r\n{}\r", text.replace('\n', "\r\n"))),
            None => self.printer.say(text),
        }
    }

    /// Keeps in mind what is paused and what ended; gives more words for the event, or nothing when it was told with
    /// others.
    fn remember(&mut self, event: &Event, now: UnixTime) -> Option<String> {
        match event {
            Event::Suspended { connection, problem } => {
                if self.pauses.is_empty() {
                    // the countdown begins at once
                    self.next = Instant::now();
                }
                (!self.pauses.begin(connection, problem, now)).then(String::new)
            }
            // what was missed is not known here
            Event::Restored(connection) if !self.pauses.holds(connection.id) => Some(String::new()),
            Event::Restored(connection) => self.pauses.restore(connection.id, now).map(|over| over.to_string()),
            Event::Ended { connection, problem, .. } => {
                self.end(connection, now);
                let Some(problem) = problem else { return Some(String::new()) };
                let (app, said) = (app(&connection.to), problem.to_string());
                match &mut self.ended {
                    Some((before, why, more)) if *before == app && *why == said => {
                        *more += 1;
                        return None;
                    }
                    _ => {}
                }
                self.told_alike();
                self.ended = Some((app, said, 0));
                self.next = Instant::now() + BEAT;
                Some(String::new())
            }
            Event::Missed(_) => {
                // what is restored or ended among them would wait here for ever
                self.pauses = Pauses::default();
                self.told_alike();
                Some(String::new())
            }
            _ => {
                self.told_alike();
                Some(String::new())
            }
        }
    }

    /// Notes that a connection has ended; those that waited with it may all have gone on.
    fn end(&mut self, connection: &Connection, now: UnixTime) {
        let Some(over) = self.pauses.end(connection.id, now) else { return };
        let restored = Event::Restored(connection.clone());
        if let Some(mut told) = told(&restored, false, false) {
            told.said = Some(over.to_string());
            self.say(&self.line(&told, now));
        }
    }

    /// Tells of the person's connections in other processes too.
    pub(crate) fn everywhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }

    /// Tells one event.
    ///
    /// # Errors
    /// Nobody reads the NDJSON any more.
    pub(crate) fn tell(&mut self, event: &Event, now: UnixTime) -> io::Result<()> {
        let told = told(event, self.printer.verbose() || self.json, self.elsewhere);
        if self.json {
            return told.map_or(Ok(()), |told| self.printer.json_line(&told.line(now)));
        }
        if told.is_none() && matches!(event, Event::Gateway(_)) {
            // said by the connections themselves, and not to come between those that end alike
            return Ok(());
        }
        let more = self.remember(event, now);
        if let Some(foot) = self.foot.as_mut().filter(|_| self.pauses.is_empty()) {
            foot.clear();
        }
        let (Some(mut told), Some(more)) = (told, more) else { return Ok(()) };
        told.said = told.said.or(Some(more).filter(|more| !more.is_empty()));
        self.say(&self.line(&told, now));
        Ok(())
    }

    fn line(&self, told: &Told<'_>, now: UnixTime) -> String {
        let style = self.printer.err_style();
        let word = match told.tone {
            Tone::Good => style.good(told.word),
            Tone::Bad => style.bad(told.word),
            Tone::Plain => told.word.to_owned(),
        };
        let mut line = format!("{} {word}", style.dim(&clock(now)));
        if let Some(what) = &told.what {
            let _infallible = write!(line, " {}", style.bold(what));
        }
        if let Some(said) = &told.said {
            let _infallible = write!(line, " — {}", self.printer.exact(said));
        }
        if let Some(problem) = &told.problem {
            let _infallible = write!(line, "\n  {} {}", style.dim("why: "), report::why(problem));
            if let Some(remedy) = &problem.remedy {
                let remedy = remedy.replace("APP", told.what.as_deref().unwrap_or("APP"));
                let _infallible = write!(line, "\n  {} {}", style.dim("do:  "), self.printer.exact(&remedy));
            }
        }
        line
    }
}

/// What was refused, suspended or is wanted by an event, and why.
pub(crate) fn refusal(event: &Event) -> Option<(String, &Problem)> {
    match event {
        Event::Refused { to, problem, .. } => Some((app(to), problem)),
        Event::Suspended { connection, problem } => Some((app(&connection.to), problem)),
        Event::LoginNeeded(problem) => Some(("the gateway".to_owned(), problem)),
        Event::Gateway(event) if matches!(event.kind, EventKind::StepUp) => {
            let app = event.app.as_ref().map_or_else(|| "the gateway".to_owned(), ToString::to_string);
            Some((app, event.problem.as_ref()?))
        }
        _ => None,
    }
}

/// The name of an app in a destination, as people know it.
pub(crate) fn app(to: &Destination) -> String {
    let host = to.host.to_string();
    host.strip_suffix(".ztsa").map_or(host.clone(), str::to_owned)
}

/// `13:05:00Z` of a time.
fn clock(now: UnixTime) -> String {
    now.rfc3339().split_once('T').map(|(_, time)| time.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ztsa_core::listener::event::Way;
    use ztsa_proto::problem;

    use super::*;
    use crate::cli::Color;
    use crate::env::Environment;

    #[test]
    fn what_was_missed_freezes_no_countdown_and_swallows_no_pause() {
        let printer = Printer::new(Color::Never, false, true, 0, &Environment::default());
        let mut watch = Watch::new(&printer, false);
        let connection = Connection { id: 1, to: "db:1".parse().unwrap(), way: Way::Forward };
        let problem = Arc::new(problem::new("risk.user").with_wait(60));
        let suspended = Event::Suspended { connection: connection.clone(), problem };
        let now = UnixTime(1000);
        assert!(watch.remember(&suspended, now).is_some());
        assert!(watch.remember(&Event::Missed(600), now).is_some(), "it is told");
        assert!(watch.pauses.is_empty());
        assert!(watch.remember(&Event::Restored(connection.clone()), now).is_some(), "it is told, whatever was missed");
        assert!(watch.remember(&suspended, now).is_some(), "the next pause is told again");
        assert_eq!(watch.pauses.line(now), "db paused, 60 s left");
    }
}
