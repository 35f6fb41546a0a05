//! What the gateway tells a session while it lives, as server-sent events (WHATWG HTML, section 9.2).

mod decoder;

use serde::{Deserialize, Serialize};

use crate::name::{AppName, TunnelId};
use crate::problem::Problem;
use crate::time::UnixTime;

pub use decoder::{Decoder, EventError};

/// Tells a session that something changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number in this session, growing.
    pub id: u64,
    /// When it happened.
    pub at: UnixTime,
    /// What happened.
    pub kind: EventKind,
    /// The tunnel that it concerns; all when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelId>,
    /// The app that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Says what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A tunnel was paused.
    Suspended,
    /// A paused tunnel goes on.
    Restored,
    /// A tunnel was ended.
    Ended,
    /// A stronger sign-in is wanted.
    StepUp,
    /// A grant is about to end.
    GrantExpiring,
    /// A new posture report is wanted.
    PostureWanted,
    /// The session was ended.
    SessionEnded,
    /// Nothing; the connection is alive.
    Ping,
}

impl EventKind {
    /// Gives the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Restored => "restored",
            Self::Ended => "ended",
            Self::StepUp => "step_up",
            Self::GrantExpiring => "grant_expiring",
            Self::PostureWanted => "posture_wanted",
            Self::SessionEnded => "session_ended",
            Self::Ping => "ping",
        }
    }

    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Suspended,
        Self::Restored,
        Self::Ended,
        Self::StepUp,
        Self::GrantExpiring,
        Self::PostureWanted,
        Self::SessionEnded,
        Self::Ping,
    ];
}

impl std::fmt::Display for EventKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl Event {
    /// Writes the event as it goes on the stream.
    #[must_use]
    pub fn encode(&self) -> String {
        // an event holds only names, text and numbers, which always write, and JSON has no raw line breaks
        let data = serde_json::to_string(self).unwrap_or_default();
        format!("event: {}\nid: {}\ndata: {data}\n\n", self.kind, self.id)
    }
}

/// The content type of the stream.
pub const MEDIA_TYPE: &str = "text/event-stream";

#[cfg(test)]
mod tests;
