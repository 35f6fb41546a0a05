//! What is to be sent: sealed into one buffer, written by one call.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ConnectionTrafficSecrets;
use tokio::io::AsyncWrite;

use super::{CLOSE_NOTIFY, Secrets};
use crate::record::{ALERT, DATA, HANDSHAKE, KEY_UPDATE, OVERHEAD, PLAINTEXT_MAX, RecordError, Sealer};

/// Bytes of the buffer's room that only alerts and KeyUpdates may fill: two of each.
const RESERVE: usize = 2 * (OVERHEAD + KEY_UPDATE.len()) + 2 * (OVERHEAD + 2);
/// Bytes of the buffer: sixteen full records, and the reserve.
const SIZE: usize = 16 * (PLAINTEXT_MAX + OVERHEAD) + RESERVE;
/// The level that alerts bear; nothing depends on it (RFC 8446 section 6).
const FATAL: u8 = 2;
const WARNING: u8 = 1;

thread_local! {
    /// A buffer that no stream of this thread needs now, so that it is not made, and filled with zeros, for each write. It
    /// never holds anything but sealed records.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Sealed records that wait for the socket.
pub(super) struct Output {
    sealer: Sealer,
    /// Records that one key may seal.
    pub(super) limit: u64,
    /// Either empty or of [`SIZE`] bytes.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// Whether the last of them is a KeyUpdate: it answers any number of requests.
    updated: bool,
    closed: bool,
}

impl Output {
    /// Begins with the record of number `sequence`; a key seals `limit` records at most.
    pub(super) fn new(keys: &ConnectionTrafficSecrets, sequence: u64, limit: u64) -> Result<Self, RecordError> {
        let sealer = Sealer::new(keys, sequence)?;
        Ok(Self { sealer, limit, buffer: Vec::new(), from: 0, to: 0, updated: false, closed: false })
    }

    /// Tells whether anything waits for the socket.
    pub(super) fn is_waiting(&self) -> bool {
        self.from < self.to
    }

    /// Tells whether the last word has been sealed: no data may follow.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Seals data, as much as the buffer holds, and returns how many bytes that were. Nothing may wait before.
    pub(super) fn seal(&mut self, slices: &[IoSlice<'_>], secrets: &mut dyn Secrets) -> Result<usize, RecordError> {
        let mut slices = slices.iter().map(|slice| &slice[..]).filter(|slice| !slice.is_empty());
        let (mut taken, mut first) = (0, slices.next().unwrap_or_default());
        while !first.is_empty() && self.room() >= PLAINTEXT_MAX + OVERHEAD + RESERVE {
            if self.sealer.sealed() >= self.limit {
                self.update(secrets)?;
            }
            let (now, rest) = first.split_at(first.len().min(PLAINTEXT_MAX));
            first = rest;
            let mut joined = Vec::new();
            let mut content = now;
            // a frame's head lies apart from its payload: one record holds both, and so all records of a frame are full
            while first.is_empty() && content.len() < PLAINTEXT_MAX {
                let Some(next) = slices.next() else { break };
                if joined.is_empty() {
                    joined.reserve_exact(PLAINTEXT_MAX);
                    joined.extend_from_slice(now);
                }
                let (more, rest) = next.split_at(next.len().min(PLAINTEXT_MAX - joined.len()));
                joined.extend_from_slice(more);
                (content, first) = (&joined, rest);
            }
            taken += content.len();
            self.record(DATA, content)?;
            if first.is_empty() {
                first = slices.next().unwrap_or_default();
            }
        }
        Ok(taken)
    }

    /// Seals a KeyUpdate, unless the last record that waits for the socket is one, and goes on with the next key (RFC 8446
    /// section 4.6.3).
    pub(super) fn update(&mut self, secrets: &mut dyn Secrets) -> Result<(), RecordError> {
        if self.closed || (self.updated && self.is_waiting()) {
            return Ok(());
        }
        self.record(HANDSHAKE, &KEY_UPDATE)?;
        let next = secrets.next_sent().map_err(|error| RecordError::Keys(error.to_string()))?;
        self.sealer = Sealer::new(&next, 0)?;
        self.updated = true;
        Ok(())
    }

    /// Seals the alert that is the last word of a connection that failed.
    pub(super) fn alert(&mut self, description: u8) -> Result<(), RecordError> {
        if self.closed {
            return Ok(());
        }
        self.closed = true;
        self.record(ALERT, &[FATAL, description])
    }

    /// Ends this direction without a word.
    pub(super) fn end(&mut self) {
        self.closed = true;
    }

    /// Seals close_notify, once.
    pub(super) fn close(&mut self) -> Result<(), RecordError> {
        if self.closed {
            return Ok(());
        }
        self.closed = true;
        self.record(ALERT, &[WARNING, CLOSE_NOTIFY])
    }

    /// Writes what waits.
    pub(super) fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.is_waiting() {
            let waiting = self.buffer.get(self.from..self.to).unwrap_or_default();
            let written = ready!(Pin::new(&mut *socket).poll_write(context, waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.from += written;
        }
        if !self.buffer.is_empty() {
            (self.from, self.to, self.updated) = (0, 0, false);
            SPARE.replace(std::mem::take(&mut self.buffer));
        }
        Poll::Ready(Ok(()))
    }

    fn room(&self) -> usize {
        SIZE - self.to
    }

    pub(super) fn record(&mut self, kind: u8, content: &[u8]) -> Result<(), RecordError> {
        if self.buffer.is_empty() {
            self.buffer = SPARE.take();
            self.buffer.resize(SIZE, 0);
        }
        let room = self.buffer.get_mut(self.to..).unwrap_or_default();
        self.to += self.sealer.seal(kind, content, room)?;
        self.updated = false;
        Ok(())
    }

    /// Counts the records that the present key has sealed.
    #[cfg(test)]
    pub(super) fn sealed(&self) -> u64 {
        self.sealer.sealed()
    }

    /// Counts the bytes that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.to - self.from
    }

    /// Goes on with another key.
    #[cfg(test)]
    pub(super) fn rekey(&mut self, keys: &ConnectionTrafficSecrets) {
        self.sealer = Sealer::new(keys, 0).unwrap();
    }

    /// Takes the first bytes of what waits and forgets the rest.
    #[cfg(test)]
    pub(super) fn cut(&mut self, length: usize) -> Vec<u8> {
        let cut = self.buffer[self.from..self.from + length].to_vec();
        (self.from, self.to) = (0, 0);
        cut
    }
}
