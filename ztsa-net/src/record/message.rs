//! Messages that may come once the handshake is over (RFC 8446 section 4.6).

use super::RecordError;

/// NewSessionTicket (section 4.6.1).
const NEW_SESSION_TICKET: u8 = 4;
/// KeyUpdate (section 4.6.3).
const UPDATE: u8 = 24;
/// Bytes before a message's body: type and length.
const HEAD: usize = 4;
/// Most bytes of a message's body that are gathered.
const BODY_MAX: usize = 0xffff;
/// KeyUpdates that may come with no data between them.
const UPDATES_MAX: u32 = 32;

/// A KeyUpdate that asks for none in return.
pub(crate) const KEY_UPDATE: [u8; HEAD + 1] = [UPDATE, 0, 0, 1, 0];

/// A message of the peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The body of a NewSessionTicket.
    Ticket(Vec<u8>),
    /// The peer's next record has the next key; with `answer`, it wants the same of us.
    KeyUpdate {
        /// Whether `update_requested` is set.
        answer: bool,
    },
}

/// Puts messages together that come in pieces, and bounds what a peer may send of them.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    updates: u32,
}

impl Messages {
    /// Adds the content of a record.
    pub(crate) fn add(&mut self, content: &[u8]) -> Result<(), RecordError> {
        // section 5.1: no empty fragments
        if content.is_empty() {
            return Err(RecordError::Unexpected("empty handshake record"));
        }
        self.bytes.extend_from_slice(content);
        Ok(())
    }

    /// Takes the next whole message.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, RecordError> {
        let Some((&[kind, high, middle, low], body)) = self.bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
        if length > BODY_MAX {
            return Err(RecordError::Malformed("handshake message of such a length"));
        }
        let message = match (kind, body.get(..length)) {
            (NEW_SESSION_TICKET | UPDATE, None) => return Ok(None),
            (NEW_SESSION_TICKET, Some(body)) => Message::Ticket(body.to_vec()),
            // section 5.1: nothing of the old key may follow
            (UPDATE, Some(_)) if self.bytes.len() > HEAD + length => {
                return Err(RecordError::Unexpected("message behind a KeyUpdate in the same record"));
            }
            (UPDATE, Some([request @ (0 | 1)])) => {
                self.updates += 1;
                if self.updates > UPDATES_MAX {
                    return Err(RecordError::TooMany("KeyUpdates"));
                }
                Message::KeyUpdate { answer: *request == 1 }
            }
            (UPDATE, Some([_])) => return Err(RecordError::Illegal("KeyUpdate")),
            (UPDATE, Some(_)) => return Err(RecordError::Malformed("KeyUpdate")),
            _ => return Err(RecordError::Unexpected("handshake message")),
        };
        self.bytes.drain(..HEAD + length);
        if self.bytes.is_empty() {
            // an idle connection holds no buffer
            self.bytes = Vec::new();
        }
        Ok(Some(message))
    }

    /// Notes that a record of another kind has come: none may in the middle of a message (section 5.1).
    pub(crate) fn interrupted(&self) -> Result<(), RecordError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(RecordError::Unexpected("record in the middle of a handshake message"))
    }

    /// Notes that data has come.
    pub(crate) fn data(&mut self) {
        self.updates = 0;
    }
}
