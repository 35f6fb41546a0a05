//! An event in words, and as a line of NDJSON.

use serde::Serialize;
use serde_json::{Value, json};
use ztsa_core::listener::event::{Connection, Event};
use ztsa_proto::event::EventKind;
use ztsa_proto::problem::{Problem, Retry};
use ztsa_proto::time::UnixTime;

use super::{app, clock, pause};
use crate::report;
use crate::ui::span;

/// How an event is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Plain,
}

/// An event in words.
#[derive(Debug)]
pub(super) struct Told<'a> {
    event: &'static str,
    pub(super) word: &'static str,
    pub(super) tone: Tone,
    pub(super) what: Option<String>,
    pub(super) said: Option<String>,
    pub(super) problem: Option<&'a Problem>,
    more: Value,
}

/// An event as a line of NDJSON.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
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
    /// The event as a line of NDJSON.
    pub(super) fn line(&self, now: UnixTime) -> Line<'_> {
        let app = self.what.as_deref();
        let paused = self.problem.filter(|_| self.event == "suspended");
        let ends_at = paused.and_then(|problem| pause::ends_at(problem, now)).map(UnixTime::rfc3339);
        Line { event: self.event, at: now.rfc3339(), app, ends_at, more: &self.more, problem: self.problem }
    }
}

/// Puts an event in words; `None` when only a curious person wants to know.
pub(super) fn told(event: &Event, curious: bool, elsewhere: bool) -> Option<Told<'_>> {
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
        Event::Missed(count) => Told {
            said: Some(format!(
                "{count} at once were too many; what waited may have gone on or ended, and what goes on may wait"
            )),
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
        EventKind::SessionEnded if passes(event) => ("session_ended", "the session has lapsed, ports stay open"),
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

/// Whether what has ended comes back without the person.
fn passes(event: &ztsa_proto::event::Event) -> bool {
    event.problem.as_ref().is_some_and(|problem| matches!(problem.retry, Retry::After { .. }))
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

    #[test]
    fn who_missed_something_is_told_so() {
        let told = told(&Event::Missed(600), false, false).unwrap();
        assert_eq!(told.word, "some events were missed");
        assert!(told.said.unwrap().starts_with("600 at once were too many"));
    }
}
