//! What happens while a command runs, one line each: words on stderr, or NDJSON on stdout.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use ztsa_core::listener::event::{Connection, Event};
use ztsa_proto::event::EventKind;
use ztsa_proto::name::Destination;
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use crate::report;
use crate::ui::{Foot, Printer, span};
use pause::Pauses;

mod pause;

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
            Event::Restored(connection) => self.pauses.restore(connection.id, now).map(|over| match over.connections {
                1 => format!("after {}", span(over.seconds)),
                many => format!("{many} connections, after {}", span(over.seconds)),
            }),
            Event::Ended { connection, problem: Some(problem), .. } => {
                self.pauses.end(connection.id);
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
            Event::Ended { connection, problem: None, .. } => {
                self.pauses.end(connection.id);
                Some(String::new())
            }
            _ => {
                self.told_alike();
                Some(String::new())
            }
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
        let more = self.remember(event, now);
        if let Some(foot) = self.foot.as_mut().filter(|_| self.pauses.is_empty()) {
            foot.clear();
        }
        let (Some(mut told), Some(more)) = (told, more) else { return Ok(()) };
        told.said = told.said.or(Some(more).filter(|more| !more.is_empty()));
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
        self.say(&line);
        Ok(())
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Bad,
    Plain,
}

/// An event in words.
#[derive(Debug)]
struct Told<'a> {
    event: &'static str,
    word: &'static str,
    tone: Tone,
    what: Option<String>,
    said: Option<String>,
    problem: Option<&'a Problem>,
    more: Value,
}

/// An event as a line of NDJSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    event: &'static str,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    /// When a paused connection ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(flatten)]
    more: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Problem>,
}

impl Told<'_> {
    fn line(&self, now: UnixTime) -> Line<'_> {
        let app = self.what.as_deref();
        let paused = self.problem.filter(|_| self.event == "suspended");
        let ends_at = paused.and_then(|problem| pause::ends_at(problem, now)).map(UnixTime::rfc3339);
        Line { event: self.event, at: now.rfc3339(), app, ends_at, more: &self.more, problem: self.problem }
    }
}

/// Puts an event in words; `None` when only a curious person wants to know.
fn told(event: &Event, curious: bool, elsewhere: bool) -> Option<Told<'_>> {
    let plain = |event, word, connection: &Connection| Told {
        event,
        word,
        tone: Tone::Plain,
        what: Some(app(&connection.to)),
        said: None,
        problem: None,
        more: json!({ "connection": connection.id }),
    };
    Some(match event {
        Event::Opened(connection) if curious => plain("opened", "opened", connection),
        Event::Refused { to, problem, .. } => Told {
            event: "refused",
            word: "refused",
            tone: Tone::Bad,
            what: Some(app(to)),
            said: Some(report::said(problem, &app(to))),
            problem: Some(problem),
            more: json!({}),
        },
        Event::Suspended { connection, problem } => Told {
            tone: Tone::Bad,
            said: Some(format!("{problem} ({})", waits(problem))),
            problem: Some(problem),
            ..plain("suspended", "suspended", connection)
        },
        Event::Restored(connection) => Told { tone: Tone::Good, ..plain("restored", "restored", connection) },
        Event::Ended { connection, problem: Some(problem), sent, received, lasted } => Told {
            tone: Tone::Bad,
            said: Some(report::said(problem, &app(&connection.to))),
            problem: Some(problem),
            more: ended(connection, *sent, *received, lasted.as_secs_f64()),
            ..plain("closed", "ended", connection)
        },
        Event::Ended { connection, problem: None, sent, received, lasted } if curious => Told {
            more: ended(connection, *sent, *received, lasted.as_secs_f64()),
            ..plain("closed", "closed", connection)
        },
        Event::Rejected { peer, reason } => Told {
            event: "rejected",
            word: "turned away",
            tone: Tone::Bad,
            what: Some(peer.to_string()),
            said: Some(reason.to_string()),
            problem: None,
            more: json!({ "reason": reason.as_ref() }),
        },
        Event::Gateway(event) => return gateway(event, curious, elsewhere),
        Event::LoginNeeded(problem) => about_all("login_needed", "sign-in needed", Tone::Bad, Some(problem)),
        Event::Expiring(expiry) => Told {
            said: Some(format!(
                "the {} ends at {}; `ztsa login --extend` prolongs it and leaves everything open",
                expiry.what,
                clock(expiry.at)
            )),
            more: json!({ "what": expiry.what.to_string(), "ends_at": expiry.at }),
            ..about_all("expiring", "ends soon", Tone::Bad, None)
        },
        Event::Offline(problem) => about_all("offline", "offline, trying again", Tone::Bad, Some(problem)),
        Event::Online => about_all("online", "online again", Tone::Good, None),
        Event::Missed(count) if curious => Told {
            more: json!({ "count": count }),
            ..about_all("missed", "some events were missed", Tone::Plain, None)
        },
        _ => return None,
    })
}

/// Says that a paused connection waits, and how long.
fn waits(problem: &Problem) -> String {
    let long = problem.waits.map(|seconds| format!(" {}", span(seconds)));
    format!("the connection stays open and waits{}", long.unwrap_or_default())
}

fn ended(connection: &Connection, sent: u64, received: u64, seconds: f64) -> Value {
    json!({ "connection": connection.id, "sent": sent, "received": received, "seconds": seconds })
}

fn about_all<'a>(event: &'static str, word: &'static str, tone: Tone, problem: Option<&'a Problem>) -> Told<'a> {
    Told { event, word, tone, what: None, said: problem.map(ToString::to_string), problem, more: json!({}) }
}

/// What the gateway says beyond our own connections' suspensions and endings, which are told by them.
fn gateway(event: &ztsa_proto::event::Event, curious: bool, elsewhere: bool) -> Option<Told<'_>> {
    let (name, word) = match event.kind {
        EventKind::StepUp => ("step_up", "a stronger sign-in is wanted"),
        EventKind::SessionEnded => ("session_ended", "the session has ended"),
        // The next connection asks for a new one by itself.
        EventKind::GrantExpiring if curious => ("grant_expiring", "permission is renewed with the next connection:"),
        EventKind::Suspended if elsewhere => ("suspended", "suspended"),
        EventKind::Restored if elsewhere => ("restored", "restored"),
        EventKind::Ended if elsewhere => ("closed", "ended"),
        _ => return None,
    };
    let tone = if event.kind == EventKind::Restored { Tone::Good } else { Tone::Bad };
    let what = event.app.as_ref().map(ToString::to_string);
    Some(Told { what, ..about_all(name, word, tone, event.problem.as_ref()) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ztsa_core::listener::event::Way;
    use ztsa_proto::problem;

    use super::*;

    #[test]
    fn an_event_is_one_line_that_begins_with_its_name() {
        let connection = Connection { id: 3, to: "db-prod.ztsa:5432".parse().unwrap(), way: Way::Forward };
        let problem = Arc::new(problem::new("risk.user").with_detail("your risk is 70 of 100").with_wait(60));
        let event = Event::Suspended { connection, problem };
        let told = told(&event, false, false).unwrap();
        let line = serde_json::to_string(&told.line(UnixTime(0))).unwrap();
        let start = r#"{"event":"suspended","at":"1970-01-01T00:00:00Z","app":"db-prod","ends_at":"1970-01-01T00:01:00Z","connection":3,"problem":{"#;
        assert!(line.starts_with(start), "{line}");
        assert!(told.said.unwrap().ends_with("(the connection stays open and waits 60 s)"));
    }

    #[test]
    fn what_only_a_curious_person_wants_is_left_out() {
        let connection = Connection { id: 1, to: "wiki:80".parse().unwrap(), way: Way::Socks5 };
        let event = Event::Opened(connection);
        assert!(told(&event, false, false).is_none());
        assert!(told(&event, true, false).is_some());
    }
}
