//! Events of the log about itself, of OCSF's class Base Event: what was lost, and checkpoints.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::chain::Range;
use super::event;

/// The longest fragment that is kept, in bytes.
const FRAGMENT: usize = 16 * 1024;

/// What happened to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Events that the queue did not take.
    Lost(u64),
    /// Requests that were refused while the queue was full, and are not written one by one.
    Refused(u64),
    /// What was left of a line that was cut, as by a power failure.
    Cut(Vec<u8>),
    /// Lines that had been written and are not there any more: the last one that is, and the last one that was written.
    Missing(u64, u64),
    /// Lines that stood in the file at a start, and that nothing shows the gateway to have written: the first and the last.
    Unvouched(u64, u64),
    /// The note of how far the log had come was gone, or somebody else's.
    Unnoted,
    /// Another file stood there at a start: the last line that the gateway had written, and where what stood there is now.
    Replaced(u64, PathBuf),
    /// Events that the collector was not sent; they are in the file.
    NotSent(u64),
}

impl Own {
    /// Says it in words.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Lost(count) => {
                format!("{count} events were lost here: the disk did not take them and the queue was full")
            }
            Self::Refused(count) => format!("{count} requests were refused while no more events could wait"),
            Self::Cut(fragment) => format!("a line was cut after {} bytes: its event is lost", fragment.len()),
            Self::Missing(last, written) => {
                format!("the log ended with line {last} when the gateway started, but line {written} had been written")
            }
            Self::Unvouched(from, to) => format!(
                "lines {from} to {to} stood in the log when the gateway started, and nothing shows that it wrote them"
            ),
            Self::Unnoted => {
                "nothing of the gateway's own said how far the log had come when it started: lines may have \
                              been taken from the end, or all of it replaced"
                    .to_owned()
            }
            Self::Replaced(written, aside) => format!(
                "the log did not end with line {written} when the gateway started, the last that it had written: what stood \
                 there is not its own and was moved to {}",
                aside.display()
            ),
            Self::NotSent(count) => format!("{count} events were not sent to the collector; they are in the file"),
        }
    }

    /// Writes it as the members of one event.
    pub(super) fn members(&self, time: u64) -> Map<String, Value> {
        let (name, code, count) = match self {
            Self::Lost(count) => ("Lost", "lost", *count),
            Self::Refused(count) => ("Refused", "refused", *count),
            Self::Cut(_) => ("Cut", "cut", 1),
            Self::Missing(last, written) => ("Missing", "missing", written.saturating_sub(*last)),
            Self::Unvouched(from, to) => ("Unvouched", "unvouched", to.saturating_sub(*from).saturating_add(1)),
            Self::Unnoted => ("Unnoted", "unnoted", 1),
            Self::Replaced(..) => ("Replaced", "replaced", 1),
            Self::NotSent(count) => ("Not Sent", "not-sent", *count),
        };
        let severity = if matches!(self, Self::NotSent(_) | Self::Refused(_)) { 3 } else { 4 };
        let mut event = event::Head { time, class: 0, activity: 99, name, severity, code }.members();
        let mut put = |key: &str, value: Value| drop(event.insert(key.to_owned(), value));
        put("status_id", json!(2));
        put("status", json!("Failure"));
        put("message", json!(self.message()));
        put("count", json!(count));
        if let Self::Unvouched(from, to) = *self {
            put("unmapped", json!({ "unvouched": Range { from, to } }));
        }
        if let Self::Cut(fragment) = self {
            let kept = fragment.get(..fragment.len().min(FRAGMENT)).unwrap_or_default();
            put("raw_data", json!(String::from_utf8_lossy(kept)));
        }
        event
    }
}

/// Writes a checkpoint as the members of one event.
pub(super) fn checkpoint(signed: &str, time: u64) -> Map<String, Value> {
    let head = event::Head { time, class: 0, activity: 99, name: "Checkpoint", severity: 1, code: "checkpoint" };
    let mut event = head.members();
    event.insert("unmapped".to_owned(), json!({ "checkpoint": signed }));
    event
}
