//! The first bytes of a local program, sent along with the opening.
//!
//! They reach the gateway together with the request, and the app as soon as it is open: one round trip to the first
//! answer instead of two. They are kept until the gateway has answered, so that an opening that is asked for again (a
//! nonce, a newer session) sends them again.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use ztsa_net::tunnel::{HEADROOM, TunnelSend};

/// Most bytes that travel before the gateway has answered, in bytes.
pub const EARLY_MAX: usize = 16 * 1024;

/// Bytes asked of the local program at a time.
const READ: usize = 4 * 1024;

/// What a local program has to say before its app is open.
pub struct Early<'a> {
    source: Option<&'a mut (dyn AsyncRead + Unpin + Send)>,
    kept: BytesMut,
    sent: usize,
    at_risk: bool,
    failed: Option<io::Error>,
}

impl fmt::Debug for Early<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early").field("kept", &self.kept.len()).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// What became of the first bytes when the app was open.
#[derive(Debug)]
pub struct Settled {
    /// How many have been sent.
    pub sent: usize,
    /// Those that were read and have not been sent.
    pub rest: Bytes,
    /// Why the local program could not be read; the connection then has nobody who wants it.
    pub failed: Option<io::Error>,
}

impl<'a> Early<'a> {
    /// Nothing is sent before the app is open.
    #[must_use]
    pub fn none() -> Self {
        Self { source: None, kept: BytesMut::new(), sent: 0, at_risk: false, failed: None }
    }

    /// Sends these bytes, of which those beyond [`EARLY_MAX`] wait until the app is open.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        Self { kept: BytesMut::from(bytes), ..Self::none() }
    }

    /// Sends what can be read from a local program meanwhile, up to [`EARLY_MAX`].
    #[must_use]
    pub fn read(source: &'a mut (dyn AsyncRead + Unpin + Send)) -> Self {
        Self { source: Some(source), ..Self::none() }
    }

    /// Says what became of the bytes, once the app is open.
    #[must_use]
    pub fn settle(mut self) -> Settled {
        Settled { sent: self.sent, rest: self.kept.split_off(self.sent).freeze(), failed: self.failed }
    }

    /// Tells whether bytes were sent on a connection that was then lost, so that the app may have them although nobody
    /// said so. To send them again by another connection could do twice what was asked for once.
    #[must_use]
    pub fn at_risk(&self) -> bool {
        self.at_risk
    }

    /// Begins another attempt: everything is sent again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Notes that the connection was lost before the gateway answered.
    pub(super) fn lost(&mut self) {
        self.at_risk |= self.sent > 0;
    }

    /// Sends what there is while the gateway has not answered; never completes by itself.
    pub(super) fn poll_send(&mut self, send: &mut TunnelSend, context: &mut Context<'_>) {
        loop {
            let end = self.kept.len().min(EARLY_MAX);
            let waiting = self.kept.get(self.sent..end).unwrap_or_default();
            if waiting.is_empty() {
                if self.poll_read(context).is_pending() {
                    return;
                }
                continue;
            }
            // a stream that broke is told by the answer, which is polled beside this
            let Poll::Ready(Ok(room)) = send.poll_room(waiting.len(), context) else { return };
            let piece = waiting.get(..room.min(waiting.len())).unwrap_or_default();
            let mut buffer = BytesMut::with_capacity(HEADROOM + piece.len());
            buffer.resize(HEADROOM, 0);
            buffer.extend_from_slice(piece);
            let length = piece.len();
            if send.data(buffer).is_err() {
                return;
            }
            self.sent += length;
        }
    }

    /// Reads more from the local program; pending also when there is nothing more to read for now.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let room = EARLY_MAX.saturating_sub(self.kept.len()).min(READ);
        let Some(source) = self.source.as_mut().filter(|_| room > 0) else { return Poll::Pending };
        let mut bytes = [0; READ];
        let mut target = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
        match Pin::new(source).poll_read(context, &mut target) {
            // the end of the input is read again once the app is open
            Poll::Ready(Ok(())) if target.filled().is_empty() => self.source = None,
            Poll::Ready(Ok(())) => {
                self.kept.extend_from_slice(target.filled());
                return Poll::Ready(());
            }
            Poll::Ready(Err(error)) => {
                self.failed = Some(error);
                self.source = None;
            }
            Poll::Pending => {}
        }
        Poll::Pending
    }
}
