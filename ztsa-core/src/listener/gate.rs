//! The first bytes from a local program to one app's port: they pass when no web page can have sent them.
//!
//! What the app says is never held up, so that protocols whose server speaks first (SSH, SMTP, MySQL) notice nothing;
//! what the program says is held up only while it looks like the head of an HTTP/1 request that is not complete.

mod visit;

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use self::visit::Verdict;
pub(crate) use self::visit::{Doors, Stranger};

/// How long the first head of an HTTP/1 connection may take from its first byte to its end.
pub(crate) const SLOWEST: Duration = Duration::from_secs(60);
/// Bytes that are read at a time while nothing is decided.
const CHUNK: usize = 4 * 1024;

/// Decides about one connection, by what its program says first.
#[derive(Debug)]
pub(crate) struct Gate {
    doors: Arc<Doors>,
    /// The address that the connection came in by.
    by: Option<IpAddr>,
    held: BytesMut,
    state: State,
    slow: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum State {
    Watching,
    Open,
    Shut(Stranger),
}

impl Gate {
    /// Begins with a connection to the address `by`.
    pub(crate) fn new(doors: Arc<Doors>, by: Option<IpAddr>) -> Self {
        Self { doors, by, held: BytesMut::new(), state: State::Watching, slow: None }
    }

    /// Reads from the program what has passed.
    pub(crate) fn over<R>(&mut self, reader: R) -> Gated<'_, R> {
        Gated { gate: self, reader }
    }

    /// Tells whether the program can be read without the gate from now on.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open) && self.held.is_empty()
    }

    /// Gives why nothing passes, once that is so.
    pub(crate) fn stranger(&self) -> Option<&Stranger> {
        match &self.state {
            State::Shut(stranger) => Some(stranger),
            State::Watching | State::Open => None,
        }
    }

    fn shut(&mut self, stranger: Stranger) {
        self.held = BytesMut::new();
        self.slow = None;
        self.state = State::Shut(stranger);
    }

    fn open(&mut self) {
        self.slow = None;
        self.state = State::Open;
    }

    /// Hears what came after what is held.
    fn hear(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        match self.doors.judge(&self.held, self.by) {
            Verdict::More => {}
            Verdict::Pass => self.open(),
            Verdict::Refuse(stranger) => self.shut(stranger),
        }
    }

    /// Completes, with the gate shut, when a head that has begun took too long.
    fn poll_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.held.is_empty() {
            return Poll::Pending;
        }
        let slow = self.slow.get_or_insert_with(|| Box::pin(tokio::time::sleep(SLOWEST)));
        std::task::ready!(slow.as_mut().poll(context));
        self.shut(Stranger::slow(&self.held));
        Poll::Ready(())
    }
}

/// A program's bytes behind a [`Gate`]; a read of a stranger's fails.
#[derive(Debug)]
pub(crate) struct Gated<'a, R> {
    gate: &'a mut Gate,
    reader: R,
}

impl<R: AsyncRead + Unpin> AsyncRead for Gated<'_, R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &this.gate.state {
                State::Open if this.gate.held.is_empty() => return Pin::new(&mut this.reader).poll_read(context, into),
                State::Open => {
                    let held = &mut this.gate.held;
                    let count = held.len().min(into.remaining());
                    into.put_slice(held.get(..count).unwrap_or_default());
                    held.advance(count);
                    if held.is_empty() {
                        // an empty buffer would be kept for as long as the connection lasts
                        *held = BytesMut::new();
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Shut(stranger) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::PermissionDenied, stranger.to_string())));
                }
                State::Watching => {}
            }
            let mut bytes = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut bytes);
            match Pin::new(&mut this.reader).poll_read(context, &mut chunk) {
                // a head that never ends is no request
                Poll::Ready(Ok(())) if chunk.filled().is_empty() => {
                    this.gate.open();
                    if this.gate.held.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Ok(())) => this.gate.hear(chunk.filled()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => std::task::ready!(this.gate.poll_slow(context)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
