//! What the socket has brought: read in large pieces, opened in place, handed on.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::record::{self, OVERHEAD, Opener, PLAINTEXT_MAX, RECORD_MAX, RecordError};

/// Bytes that the buffer has room for at first, and at most while a connection waits.
const SIZE_MIN: usize = 32 * 1024;
/// Bytes that it has room for while reads fill it: sixteen full records.
const SIZE_MAX: usize = 16 * (PLAINTEXT_MAX + OVERHEAD);
const _: () = assert!(SIZE_MIN >= RECORD_MAX, "a record fits the smallest buffer");

/// Records that have come, and the content of the last one opened.
pub(super) struct Input {
    buffer: Vec<u8>,
    /// Where the content lies that is not handed on yet.
    content: Range<usize>,
    /// Where the records begin that are not opened yet.
    from: usize,
    size: usize,
}

impl Input {
    /// Begins with what has come already.
    pub(super) fn new(buffer: Vec<u8>) -> Self {
        Self { buffer, content: 0..0, from: 0, size: SIZE_MIN }
    }

    /// The content of the last record, as far as it is not handed on.
    pub(super) fn content(&self) -> &[u8] {
        self.buffer.get(self.content.clone()).unwrap_or_default()
    }

    /// Gives up the content of the last record.
    pub(super) fn drop_content(&mut self) {
        self.content = 0..0;
    }

    /// Hands content on, as much as there is room for.
    pub(super) fn take(&mut self, target: &mut ReadBuf<'_>) {
        let content = self.content();
        let length = content.len().min(target.remaining());
        target.put_slice(content.get(..length).unwrap_or_default());
        self.content.start += length;
    }

    /// Opens the next record, if it has come whole, and returns its type. The content of the one before must be gone.
    pub(super) fn open(&mut self, opener: &mut Opener) -> Result<Option<u8>, RecordError> {
        let waiting = self.buffer.get_mut(self.from..).unwrap_or_default();
        let Some(length) = record::length(waiting)? else { return Ok(None) };
        let Some(whole) = waiting.get_mut(..length) else { return Ok(None) };
        let (kind, content) = opener.open(whole)?;
        self.content = self.from + content.start..self.from + content.end;
        self.from += length;
        Ok(Some(kind))
    }

    /// Reads what the socket has, as much as there is room for. Content must be handed on before. Returns 0 at the end.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.content = 0..0;
        // a record that has come in part moves to the front: the next read is large
        self.buffer.drain(..self.from);
        self.from = 0;
        let room = self.size.max(RECORD_MAX) - self.buffer.len().min(RECORD_MAX);
        self.buffer.reserve_exact(room);
        let read = poll_read_buf(Pin::new(socket), context, &mut (&mut self.buffer).limit(room));
        if read.is_pending() {
            // an idle connection holds no buffer, and one that waits for the rest of a record a small one
            self.buffer.shrink_to(if self.buffer.is_empty() { 0 } else { SIZE_MIN });
        }
        let length = ready!(read)?;
        if length >= room {
            self.size = (self.size * 2).min(SIZE_MAX);
        } else if length < self.size / 4 {
            self.size = (self.size / 2).max(SIZE_MIN);
        }
        Poll::Ready(Ok(length))
    }

    /// Bytes that the buffer holds room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}
