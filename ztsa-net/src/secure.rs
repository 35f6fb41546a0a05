//! A byte stream over TLS 1.3 whose records are sealed and opened in the buffers of the socket.
//!
//! rustls makes the handshake, checks certificates and derives every key; only the record layer is ours
//! ([`crate::record`]). A write seals up to 256 KiB into one buffer and gives it to the socket in one call; a read takes as
//! much from the socket at once and opens records where they lie. An idle stream holds no buffer.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::record::{ALERT, DATA, HANDSHAKE, Message, Messages, Opener, RecordError};

mod handshake;
mod input;
mod output;

pub use handshake::{HandshakeError, accept, connect};
use input::Input;
use output::Output;

/// The alert that ends a direction in good order (RFC 8446 section 6.1).
const CLOSE_NOTIFY: u8 = 0;
/// The alert that says no more than that something was given up by its user; close_notify follows.
const USER_CANCELED: u8 = 90;
/// Records without content, and user_canceled alerts, that may come with no data between them.
const EMPTY_MAX: u32 = 32;

/// What rustls keeps of a connection: it derives the next keys and stores tickets.
trait Secrets: Send {
    /// The next secret of the sending direction.
    fn next_sent(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error>;
    /// The next secret of the receiving direction.
    fn next_received(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error>;
    /// Stores the body of a NewSessionTicket.
    fn ticket(&mut self, body: &[u8]) -> Result<(), rustls::Error>;
}

/// A TLS 1.3 connection after its handshake.
///
/// # Security
/// An end without close_notify is an error ([`io::ErrorKind::UnexpectedEof`]), never an end of file. After any error of the
/// records nothing more is read or written; the peer is told by an alert where RFC 8446 wants it.
///
/// # Limits
/// One task reads and writes: a read may write, too, and then takes the place of a writer that waits in another task.
pub struct Secure<S> {
    socket: S,
    secrets: Box<dyn Secrets>,
    opener: Opener,
    input: Input,
    output: Output,
    messages: Messages,
    empty: u32,
    received: Received,
    alpn: Option<Vec<u8>>,
}

/// How far the peer's direction has come.
enum Received {
    Open,
    /// close_notify has come.
    Closed,
    Failed(RecordError),
}

impl<S> Secure<S> {
    /// Takes over from a handshake; `come` are the records that came behind it.
    fn new(
        socket: S,
        keys: &ExtractedSecrets,
        limit: u64,
        secrets: Box<dyn Secrets>,
        alpn: Option<Vec<u8>>,
        come: Vec<u8>,
    ) -> Result<Self, RecordError> {
        Ok(Self {
            socket,
            secrets,
            opener: Opener::new(&keys.rx.1, keys.rx.0)?,
            input: Input::new(come),
            output: Output::new(&keys.tx.1, keys.tx.0, limit)?,
            messages: Messages::default(),
            empty: 0,
            received: Received::Open,
            alpn,
        })
    }

    /// Returns the socket.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// Returns the application protocol that was agreed on (RFC 7301).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Takes one record that has come whole. Returns whether there was one.
    fn take_record(&mut self) -> Result<bool, RecordError> {
        let Some(kind) = self.input.open(&mut self.opener)? else { return Ok(false) };
        if kind != HANDSHAKE {
            self.messages.interrupted()?;
        }
        match (kind, self.input.content()) {
            (DATA, []) => self.count_empty("empty records")?,
            (DATA, _) => {
                self.empty = 0;
                self.messages.data();
                return Ok(true);
            }
            (ALERT, &[_, CLOSE_NOTIFY]) => self.received = Received::Closed,
            (ALERT, &[_, USER_CANCELED]) => self.count_empty("alerts")?,
            (ALERT, &[_, other]) => return Err(RecordError::Alert(other)),
            // section 5.4: not even an alert that cannot be read
            (ALERT, []) => return Err(RecordError::Unexpected("empty alert")),
            (ALERT, _) => return Err(RecordError::Malformed("alert")),
            (HANDSHAKE, content) => {
                self.messages.add(content)?;
                while let Some(message) = self.messages.next()? {
                    self.obey(message)?;
                }
            }
            _ => return Err(RecordError::Unexpected("record of such a type")),
        }
        // only data is handed on
        self.input.drop_content();
        Ok(true)
    }

    fn obey(&mut self, message: Message) -> Result<(), RecordError> {
        let keys = |error: rustls::Error| RecordError::Keys(error.to_string());
        match message {
            Message::Ticket(body) => {
                self.secrets.ticket(&body).map_err(|_| RecordError::Unexpected("NewSessionTicket"))
            }
            Message::KeyUpdate { answer } => {
                self.opener = Opener::new(&self.secrets.next_received().map_err(keys)?, 0)?;
                if answer { self.output.update(&mut *self.secrets) } else { Ok(()) }
            }
        }
    }

    fn count_empty(&mut self, what: &'static str) -> Result<(), RecordError> {
        self.empty += 1;
        if self.empty > EMPTY_MAX { Err(RecordError::TooMany(what)) } else { Ok(()) }
    }

    /// The error of every call after a failure.
    fn failed(error: &RecordError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error.clone())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secure<S> {
    /// Remembers a failure, and tells the peer if the socket takes it at once.
    fn fail(&mut self, error: RecordError, context: &mut Context<'_>) -> io::Error {
        // the content of a record that was refused is no data
        self.input = Input::new(Vec::new());
        match error.alert() {
            Some(alert) if self.output.alert(alert).is_ok() => {
                // a peer that has gone, or does not read, is not told
                let _ = self.output.poll_drain(&mut self.socket, context);
            }
            // section 6.2: nothing may answer a fatal alert
            _ => self.output.end(),
        }
        let failed = Self::failed(&error);
        self.received = Received::Failed(error);
        failed
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secure<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = target.filled().len();
        loop {
            this.input.take(target);
            if target.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let some = target.filled().len() > before;
            match &this.received {
                Received::Open => {}
                Received::Failed(error) if !some => return Poll::Ready(Err(Self::failed(error))),
                Received::Closed | Received::Failed(_) => return Poll::Ready(Ok(())),
            }
            match this.take_record() {
                Ok(true) => continue,
                Ok(false) if some => return Poll::Ready(Ok(())),
                Ok(false) => {}
                Err(error) => {
                    let failed = this.fail(error, context);
                    // what came before it was sealed: it is handed on first
                    return Poll::Ready(if some { Ok(()) } else { Err(failed) });
                }
            }
            if this.output.is_waiting() {
                // the answer to a KeyUpdate; if the socket is full, it goes with the next write. If the socket takes nothing
                // any more, that write says so: what has come may still be read
                let _ = this.output.poll_drain(&mut this.socket, context);
            }
            if ready!(this.input.poll_fill(&mut this.socket, context))? == 0 {
                let text = "the peer closed the connection without TLS' close_notify";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secure<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Received::Failed(error) = &this.received {
            return Poll::Ready(Err(Self::failed(error)));
        }
        if this.output.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(this.output.poll_drain(&mut this.socket, context))?;
        let taken = match this.output.seal(slices, &mut *this.secrets) {
            Ok(taken) => taken,
            Err(error) => return Poll::Ready(Err(this.fail(error, context))),
        };
        // what the socket does not take now waits for the next call or the flush
        let _ = this.output.poll_drain(&mut this.socket, context)?;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.output.poll_drain(&mut this.socket, context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Err(error) = this.output.close() {
            return Poll::Ready(Err(Self::failed(&error)));
        }
        ready!(this.output.poll_drain(&mut this.socket, context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

impl<S: fmt::Debug> fmt::Debug for Secure<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
