//! Reading server-sent events from a stream that is cut anywhere.

use super::{Event, EventKind};

/// Reads events from bytes as they arrive, holding at most 64 KiB.
///
/// Comments, unknown fields, and events of kinds that this version does not know are skipped.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    event: String,
    data: String,
    /// The last byte ended a line with CR: an LF that follows belongs to it.
    after_return: bool,
    /// The stream has begun: a byte order mark is only skipped before.
    begun: bool,
}

impl Decoder {
    /// Begins a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes and gives the events that they completed.
    ///
    /// # Errors
    /// [`EventError`] when an event is over 64 KiB or its data does not read. The stream should then be closed and
    /// opened anew, since an event that said something may have been lost.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, EventError> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                byte if self.line.len() + self.data.len() < LARGEST => self.line.push(byte),
                _ => return Err(EventError::TooLarge),
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Result<Option<Event>, EventError> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.begun { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Result<Option<Event>, EventError> {
        let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        let is_known = EventKind::ALL.iter().any(|kind| kind.as_str() == event);
        if data.is_empty() || !is_known {
            return Ok(None);
        }
        serde_json::from_str(&data).map(Some).map_err(|_| EventError::Malformed)
    }
}

/// Tells why a stream of events cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// An event is over 64 KiB.
    #[error("an event of the gateway is larger than 64 KiB")]
    TooLarge,
    /// The data of an event does not read.
    #[error("an event of the gateway is malformed")]
    Malformed,
}

const LARGEST: usize = 64 * 1024;
