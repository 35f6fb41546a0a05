//! Capsules (RFC 9297 section 3.2) of a TCP tunnel: DATA and FINAL_DATA of draft-ietf-httpbis-connect-tcp, and ours
//! for suspend, resume and the reason of an ending.
//!
//! The draft's numbers change when it becomes an RFC: they stand here and nowhere else. Ours are sent only to a peer
//! that named [`VERSION`] in the [`HEADER`] field; any other peer would skip them anyway, as RFC 9297 demands.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::problem::Problem;

/// The field by which both ends say that they understand ztsa's own capsules.
pub const HEADER: &str = "ztsa-capsules";
/// The version of ztsa's own capsules.
pub const VERSION: &str = "1";

/// Bytes of the TCP stream.
pub const DATA: u64 = 0x2028_d7f2;
/// The last bytes of the TCP stream: its FIN.
pub const FINAL_DATA: u64 = 0x2028_d7f3;
/// Access is suspended: a [`Problem`] says why; no bytes move until RESUME or END.
pub const SUSPEND: u64 = 0x1a74_7301;
/// Access is restored.
pub const RESUME: u64 = 0x1a74_7302;
/// Access has ended: a [`Problem`] says why. The stream is then abortive, never a FIN.
pub const END: u64 = 0x1a74_7303;

/// Length of the header that [`data_header`] writes, in bytes.
pub const DATA_HEADER: usize = 8;
/// Largest payload that [`data_header`] can announce, in bytes.
pub const DATA_MAX: usize = (1 << 30) - 1;
/// Largest payload of SUSPEND, RESUME and END that is accepted, in bytes.
pub const NOTICE_MAX: u64 = 16 * 1024;

/// What a tunnel's stream carries, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Capsule {
    /// Bytes of the TCP stream, as they arrived: a DATA capsule may come in several pieces.
    Data(Bytes),
    /// The TCP stream's FIN: all bytes have arrived.
    Fin,
    /// The gateway's word on this tunnel's access.
    Notice(Notice),
}

/// The gateway's word on a tunnel's access.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// No bytes move until [`Notice::Resume`] or [`Notice::End`].
    Suspend(Box<Problem>),
    /// Bytes move again.
    Resume,
    /// The tunnel has ended.
    End(Box<Problem>),
}

/// What is wrong with a stream of capsules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// The stream ended before FINAL_DATA: bytes may be missing.
    #[error("the tunnel was cut: its stream ended without FINAL_DATA")]
    Truncated,
    /// DATA or FINAL_DATA came after FINAL_DATA.
    #[error("data came after FINAL_DATA")]
    AfterFinal,
    /// One of our own capsules is longer than [`NOTICE_MAX`].
    #[error("a control capsule of {0} bytes is over the limit of {NOTICE_MAX}")]
    Oversized(u64),
    /// One of our own capsules does not hold a problem document.
    #[error("a control capsule does not hold a problem document")]
    Malformed,
}

/// Returns the header of a DATA capsule of `length` bytes ([`FINAL_DATA`] when `last`). Lengths over [`DATA_MAX`] are
/// cut to it.
#[must_use]
pub fn data_header(length: usize, last: bool) -> [u8; DATA_HEADER] {
    // both fit four-byte varints (RFC 9000 section 16), whose two high bits are 10
    let kind = if last { FINAL_DATA } else { DATA };
    let length = u64::try_from(length.min(DATA_MAX)).unwrap_or(0);
    (((kind | 0x8000_0000) << 32) | length | 0x8000_0000).to_be_bytes()
}

/// Encodes a notice as a capsule.
#[must_use]
pub fn encode_notice(notice: &Notice) -> Bytes {
    let (kind, payload) = match notice {
        Notice::Suspend(problem) => (SUSPEND, encode_problem(problem)),
        Notice::Resume => (RESUME, Vec::new()),
        Notice::End(problem) => (END, encode_problem(problem)),
    };
    let mut out = BytesMut::with_capacity(payload.len() + 16);
    put_varint(&mut out, kind);
    put_varint(&mut out, payload.len() as u64);
    out.put_slice(&payload);
    out.freeze()
}

fn encode_problem(problem: &Problem) -> Vec<u8> {
    let text = problem.to_json();
    if text.len() as u64 <= NOTICE_MAX { text } else { crate::problem::new(&problem.code).to_json() }
}

/// Writes a variable-length integer (RFC 9000 section 16) in its shortest form. Values over 2^62-1 are cut to it.
pub fn put_varint(out: &mut impl BufMut, value: u64) {
    match value.min((1 << 62) - 1) {
        value @ 0..=0x3f => out.put_uint(value, 1),
        value @ 0x40..=0x3fff => out.put_uint(value | 0x4000, 2),
        value @ 0x4000..=0x3fff_ffff => out.put_uint(value | 0x8000_0000, 4),
        value => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// Decodes a stream of capsules, fed in pieces of any size.
///
/// DATA passes through without being gathered; unknown capsules are skipped without being stored; at most
/// [`NOTICE_MAX`] bytes are ever held.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    finished: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Header {
        bytes: [u8; 16],
        filled: u8,
    },
    Data {
        left: u64,
        last: bool,
    },
    Notice(Box<Gathered>),
    Skip {
        left: u64,
    },
}

#[derive(Debug)]
struct Gathered {
    kind: u64,
    left: usize,
    bytes: BytesMut,
}

impl Decoder {
    /// Creates a decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next capsule (or piece of one) from the front of `input`; `None` when `input` is used up.
    ///
    /// # Errors
    /// [`CapsuleError`] when the stream breaks the protocol; the tunnel must then be reset.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Capsule>, CapsuleError> {
        loop {
            match &mut self.state {
                State::Start | State::Header { .. } => {
                    let Some((kind, length)) = self.header(input) else { return Ok(None) };
                    if let Some(capsule) = self.begin(kind, length)? {
                        return Ok(Some(capsule));
                    }
                }
                State::Data { left: 0, last } => {
                    let last = *last;
                    self.state = State::Start;
                    if last {
                        self.finished = true;
                        return Ok(Some(Capsule::Fin));
                    }
                }
                State::Data { left, .. } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let piece = input.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()));
                    *left -= piece.len() as u64;
                    return Ok(Some(Capsule::Data(piece)));
                }
                State::Skip { left } => {
                    let piece = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    input.advance(piece);
                    *left -= piece as u64;
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Start;
                }
                State::Notice(gathered) => {
                    let piece = input.split_to(gathered.left.min(input.len()));
                    gathered.left -= piece.len();
                    gathered.bytes.extend_from_slice(&piece);
                    if gathered.left > 0 {
                        return Ok(None);
                    }
                    let notice = parse_notice(gathered.kind, &gathered.bytes)?;
                    self.state = State::Start;
                    return Ok(Some(Capsule::Notice(notice)));
                }
            }
        }
    }

    /// Tells whether the stream may end here: only after [`Capsule::Fin`].
    ///
    /// # Errors
    /// [`CapsuleError::Truncated`] when bytes may be missing.
    pub fn end(&self) -> Result<(), CapsuleError> {
        if self.finished { Ok(()) } else { Err(CapsuleError::Truncated) }
    }

    fn begin(&mut self, kind: u64, length: u64) -> Result<Option<Capsule>, CapsuleError> {
        match kind {
            DATA | FINAL_DATA if self.finished => return Err(CapsuleError::AfterFinal),
            DATA | FINAL_DATA => self.state = State::Data { left: length, last: kind == FINAL_DATA },
            SUSPEND | RESUME | END => {
                let left = usize::try_from(length).map_err(|_| CapsuleError::Oversized(length))?;
                if length > NOTICE_MAX {
                    return Err(CapsuleError::Oversized(length));
                }
                self.state = State::Notice(Box::new(Gathered { kind, left, bytes: BytesMut::new() }));
            }
            _ => self.state = State::Skip { left: length },
        }
        Ok(None)
    }

    /// Gathers type and length, which may arrive byte by byte.
    fn header(&mut self, input: &mut Bytes) -> Option<(u64, u64)> {
        if matches!(self.state, State::Start) {
            let mut ahead = &input[..];
            if let (Some(kind), Some(length)) = (take_varint(&mut ahead), take_varint(&mut ahead)) {
                let used = input.len() - ahead.len();
                input.advance(used);
                return Some((kind, length));
            }
            if input.is_empty() {
                return None;
            }
            self.state = State::Header { bytes: [0; 16], filled: 0 };
        }
        let State::Header { bytes, filled } = &mut self.state else { return None };
        while input.has_remaining() {
            if let Some(slot) = bytes.get_mut(usize::from(*filled)) {
                *slot = input.get_u8();
                *filled += 1;
            }
            let mut ahead = bytes.get(..usize::from(*filled)).unwrap_or_default();
            if let (Some(kind), Some(length)) = (take_varint(&mut ahead), take_varint(&mut ahead)) {
                return Some((kind, length));
            }
        }
        None
    }
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let first = *input.first()?;
    let length = 1usize << (first >> 6);
    if input.len() < length {
        return None;
    }
    let value = input.get_uint(length);
    Some(value & (u64::MAX >> (64 - 8 * length + 2)))
}

fn parse_notice(kind: u64, bytes: &[u8]) -> Result<Notice, CapsuleError> {
    let problem = || Problem::from_json(bytes).map(Box::new).map_err(|_| CapsuleError::Malformed);
    match kind {
        SUSPEND => problem().map(Notice::Suspend),
        END => problem().map(Notice::End),
        _ => Ok(Notice::Resume),
    }
}

#[cfg(test)]
mod tests;
