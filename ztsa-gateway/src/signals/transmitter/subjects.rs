//! What is kept of a stream, and whom its receiver wants to hear of.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ztsa_proto::set::Subject;
use ztsa_proto::set::stream::{Status, Stream};

use super::State;

/// The documents that hold streams.
pub(super) const DOCUMENT: &str = "ssf.told";
/// How many subjects a receiver may take out of one stream.
pub(super) const MOST: usize = 10_000;

/// A stream as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) receiver: String,
    stream: Stream,
    status: Status,
    reason: Option<String>,
    removed: Vec<Value>,
}

impl Record {
    pub(super) fn of(receiver: &str, state: &State) -> Record {
        Record {
            receiver: receiver.to_owned(),
            stream: state.stream.clone(),
            status: state.status,
            reason: state.reason.clone(),
            removed: state.removed.iter().map(Subject::write).collect(),
        }
    }

    pub(super) fn state(self) -> State {
        let removed = self.removed.iter().filter_map(|subject| Subject::read(subject).ok()).collect();
        let Record { stream, status, reason, .. } = self;
        State { stream, status, reason, removed, verified: None, gone: false }
    }
}

impl State {
    /// Says whether an event about a subject goes over the stream; one that is paused holds it back.
    pub(super) fn wants(&self, uri: &str, subject: &Subject) -> bool {
        self.status != Status::Disabled
            && self.stream.events_delivered.iter().any(|event| event == uri)
            && !self.removed.iter().any(|removed| removed.matches(subject))
    }

    /// Hears of a subject again; says whether it had been taken out.
    pub(super) fn add(&mut self, subject: &Subject) -> bool {
        let before = self.removed.len();
        self.removed.retain(|removed| removed != subject);
        self.removed.len() != before
    }

    /// Hears no more of a subject; says whether there was room for that.
    pub(super) fn remove(&mut self, subject: Subject) -> bool {
        if self.removed.contains(&subject) {
            return true;
        }
        let room = self.removed.len() < MOST;
        if room {
            self.removed.push(subject);
        }
        room
    }
}
