//! Which connections are paused now, why, and for how long still.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ztsa_core::listener::event::Connection;
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use super::app;
use crate::ui::span;

/// When a person who sees no countdown is reminded: so many seconds before the end.
const REMINDER: u64 = 10;
/// How much later than it should a pause may end.
const OVERDUE: Duration = Duration::from_secs(5);

/// The connections that are paused, together by app and reason.
#[derive(Debug, Default)]
pub(super) struct Pauses(Vec<Pause>);

/// One app's connections that are paused for one reason.
#[derive(Debug)]
struct Pause {
    app: String,
    code: String,
    waiting: BTreeSet<u64>,
    restored: usize,
    since: UnixTime,
    until: Option<UnixTime>,
    reminded: bool,
}

impl Pause {
    /// Lets a connection go over to a pause for another reason; the last one takes along what there is still to tell.
    fn moved(&mut self, connection: u64, to: Self) -> Self {
        self.waiting.remove(&connection);
        let restored = if self.waiting.is_empty() { self.restored } else { 0 };
        Self { restored, since: self.since, until: self.until.or(to.until), reminded: self.reminded, ..to }
    }
}

/// A pause that is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// How many connections go on.
    pub(super) connections: usize,
    /// After how many seconds.
    pub(super) seconds: u64,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connections {
            1 => write!(f, "after {}", span(self.seconds)),
            many => write!(f, "{many} connections, after {}", span(self.seconds)),
        }
    }
}

impl Pauses {
    /// Whether a connection waits, as far as is known.
    pub(super) fn holds(&self, connection: u64) -> bool {
        self.0.iter().any(|pause| pause.waiting.contains(&connection))
    }

    /// Whether nothing is paused.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a paused connection; says whether others wait for the same reason already, so that it has been told. One
    /// that waits for another reason than before does not wait anew: the gateway keeps the first end.
    pub(super) fn begin(&mut self, connection: &Connection, problem: &Problem, now: UnixTime) -> bool {
        let app = app(&connection.to);
        let new = Pause {
            code: problem.code.clone(),
            waiting: BTreeSet::from([connection.id]),
            restored: 0,
            since: now,
            until: ends_at(problem, now),
            reminded: false,
            app,
        };
        let before = self.0.iter_mut().find(|pause| pause.waiting.contains(&connection.id) && pause.code != new.code);
        let new = match before {
            Some(before) => before.moved(connection.id, new),
            None => new,
        };
        self.forget();
        let known = self.0.iter_mut().find(|pause| pause.app == new.app && pause.code == new.code);
        if let Some(pause) = known {
            pause.waiting.insert(connection.id);
            pause.restored += new.restored;
            return true;
        }
        self.0.push(new);
        false
    }

    /// Notes that a connection goes on; tells of the pause when it was the last that waited.
    pub(super) fn restore(&mut self, connection: u64, now: UnixTime) -> Option<Over> {
        self.leave(connection, 1, now)
    }

    /// Notes that a connection has ended; tells of the pause when it was the last that waited and others go on.
    pub(super) fn end(&mut self, connection: u64, now: UnixTime) -> Option<Over> {
        self.leave(connection, 0, now).filter(|over| over.connections > 0)
    }

    fn leave(&mut self, connection: u64, restored: usize, now: UnixTime) -> Option<Over> {
        let pause = self.0.iter_mut().find(|pause| pause.waiting.contains(&connection))?;
        pause.waiting.remove(&connection);
        pause.restored += restored;
        let over = Over { connections: pause.restored, seconds: now.since(pause.since).as_secs() };
        let last = pause.waiting.is_empty();
        self.forget();
        last.then_some(over)
    }

    /// Drops what should have ended for some seconds: its end was missed, and nothing counts down any more.
    pub(super) fn give_up(&mut self, now: UnixTime) {
        self.0.retain(|pause| pause.until.is_none_or(|until| now.since(until) <= OVERDUE));
    }

    fn forget(&mut self) {
        self.0.retain(|pause| !pause.waiting.is_empty());
    }

    /// What is paused, in one line with the time that is left.
    pub(super) fn line(&self, now: UnixTime) -> String {
        let words = self.0.iter().map(|pause| {
            let left = pause.until.map(|until| format!(", {} left", span(until.since(now).as_secs())));
            format!("{} paused{}{}", pause.app, several(pause.waiting.len()), left.unwrap_or_default())
        });
        words.collect::<Vec<_>>().join(" · ")
    }

    /// What is about to end and has not been said yet.
    pub(super) fn reminders(&mut self, now: UnixTime) -> Vec<String> {
        let due = self.0.iter_mut().filter(|pause| {
            let left = pause.until.map(|until| until.since(now).as_secs());
            // a pause that is short as a whole has just been told
            let long = pause.until.is_some_and(|until| until.since(pause.since).as_secs() > 2 * REMINDER);
            long && !pause.reminded && left.is_some_and(|left| left <= REMINDER)
        });
        due.map(|pause| {
            pause.reminded = true;
            format!("{}{} ends in {REMINDER} s unless access is back", pause.app, several(pause.waiting.len()))
        })
        .collect()
    }
}

/// When a pause that begins now ends.
pub(super) fn ends_at(problem: &Problem, now: UnixTime) -> Option<UnixTime> {
    problem.waits.map(|seconds| now.plus(Duration::from_secs(seconds)))
}

/// ` (3 connections)` when it is more than one.
fn several(count: usize) -> String {
    if count > 1 { format!(" ({count} connections)") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use ztsa_core::listener::event::Way;
    use ztsa_proto::problem;

    use super::*;

    fn connection(id: u64, to: &str) -> Connection {
        Connection { id, to: to.parse().unwrap(), way: Way::Forward }
    }

    #[test]
    fn connections_that_wait_for_one_reason_are_told_together_and_counted_down() {
        let mut pauses = Pauses::default();
        let risk = problem::new("risk.user").with_wait(60);
        let (start, later) = (UnixTime(1000), UnixTime(1012));
        assert!(!pauses.begin(&connection(1, "db.ztsa:5432"), &risk, start));
        assert!(pauses.begin(&connection(2, "db.ztsa:5432"), &risk, start));
        assert!(!pauses.begin(&connection(3, "wiki:80"), &risk, start));
        assert_eq!(pauses.line(later), "db paused (2 connections), 48 s left · wiki paused, 48 s left");
        assert!(pauses.reminders(later).is_empty());
        assert_eq!(pauses.end(3, later), None, "nobody of wiki goes on");
        assert_eq!(pauses.reminders(UnixTime(1051)), ["db (2 connections) ends in 10 s unless access is back"]);
        assert!(pauses.reminders(UnixTime(1052)).is_empty(), "once");
        assert_eq!(pauses.restore(1, later), None);
        assert_eq!(pauses.restore(2, later), Some(Over { connections: 2, seconds: 12 }));
        assert_eq!(pauses.restore(2, later), None);
        assert!(pauses.is_empty());
    }

    #[test]
    fn a_pause_whose_end_was_missed_is_not_counted_down_for_ever() {
        let mut pauses = Pauses::default();
        pauses.begin(&connection(1, "db:1"), &problem::new("risk.user").with_wait(60), UnixTime(1000));
        pauses.begin(&connection(2, "wiki:1"), &problem::new("auth.step_up"), UnixTime(1000));
        pauses.give_up(UnixTime(1065));
        assert_eq!(pauses.line(UnixTime(1065)), "db paused, 0 s left · wiki paused");
        pauses.give_up(UnixTime(1066));
        assert_eq!(pauses.line(UnixTime(1066)), "wiki paused");
    }

    #[test]
    fn another_reason_is_told_and_does_not_begin_the_time_anew() {
        let mut pauses = Pauses::default();
        let (risk, step_up) = (problem::new("risk.user").with_wait(60), problem::new("auth.step_up").with_wait(60));
        let (start, later) = (UnixTime(1000), UnixTime(1040));
        assert!(!pauses.begin(&connection(1, "db:1"), &risk, start));
        assert!(pauses.begin(&connection(2, "db:1"), &risk, start));
        assert!(!pauses.begin(&connection(1, "db:1"), &step_up, later), "it is told");
        assert_eq!(pauses.line(later), "db paused, 20 s left · db paused, 20 s left");
        assert!(pauses.begin(&connection(2, "db:1"), &step_up, later));
        assert_eq!(pauses.line(later), "db paused (2 connections), 20 s left");
        assert_eq!(pauses.restore(1, later), None);
        assert_eq!(pauses.restore(2, later), Some(Over { connections: 2, seconds: 40 }));
    }

    #[test]
    fn those_that_went_on_are_told_of_when_the_last_that_waited_with_them_ends() {
        let mut pauses = Pauses::default();
        for id in 1..=3 {
            pauses.begin(&connection(id, "db:1"), &problem::new("risk.user"), UnixTime(1000));
        }
        assert_eq!(pauses.restore(1, UnixTime(1010)), None);
        assert_eq!(pauses.restore(2, UnixTime(1010)), None);
        let over = pauses.end(3, UnixTime(1012)).unwrap();
        assert_eq!(over.to_string(), "2 connections, after 12 s");
        assert!(pauses.is_empty());
    }

    #[test]
    fn a_gateway_that_does_not_say_how_long_leaves_the_time_out() {
        let mut pauses = Pauses::default();
        pauses.begin(&connection(1, "db:1"), &problem::new("risk.user"), UnixTime(5));
        assert_eq!(pauses.line(UnixTime(6)), "db paused");
        assert!(pauses.reminders(UnixTime(600)).is_empty());
    }
}
