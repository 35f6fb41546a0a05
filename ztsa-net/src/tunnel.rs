//! A TCP tunnel on an HTTP/2 stream: bytes in DATA capsules, FIN as FINAL_DATA, everything else abortive.
//!
//! The two halves belong to different owners, as a TCP socket's do. A tunnel that ends without [`TunnelSend::fin`]
//! is reset, so that no cut is ever taken for a complete transfer.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use ztsa_proto::capsule::{self, Capsule, CapsuleError, Decoder, Notice};

use crate::http2::{BULK_PAYLOAD, FAST_PAYLOAD, FRAME_PAYLOAD};

/// Room that must stand before the bytes given to [`TunnelSend::data`], for the capsule's header.
pub const HEADROOM: usize = capsule::DATA_HEADER;
/// Most bytes of a capsule that fills one frame of most tunnels.
pub const PAYLOAD_MAX: usize = FRAME_PAYLOAD - HEADROOM;
/// Most bytes of a capsule that fills one frame of a tunnel that moves fast.
pub const FAST_MAX: usize = FAST_PAYLOAD - HEADROOM;
/// Most bytes of a capsule that fills one frame of a tunnel that moves very fast.
pub const BULK_MAX: usize = BULK_PAYLOAD - HEADROOM;

/// The reset of a tunnel whose access has ended; one that broke is reset with CONNECT_ERROR (RFC 9113 section 8.5).
const WITHDRAWN: Reason = Reason::CANCEL;

/// Why a tunnel broke. A FIN or an ending with its reason is not an error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TunnelError {
    /// The peer reset the stream.
    #[error("the peer reset the tunnel ({0})")]
    Reset(Reason),
    /// The stream ended, or its capsules broke the protocol.
    #[error(transparent)]
    Capsule(#[from] CapsuleError),
    /// The connection that carried the tunnel ended.
    #[error("the connection that carried the tunnel ended: {0}")]
    Connection(String),
}

impl TunnelError {
    fn from_h2(error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() => Self::Reset(reason),
            _ => Self::Connection(error.to_string()),
        }
    }

    /// Tells whether the peer took the tunnel back because access has ended: what its last word was may not have come
    /// through.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        matches!(self, Self::Reset(WITHDRAWN))
    }
}

/// How the bytes of a tunnel lie in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// In capsules (`connect-tcp`): FIN is FINAL_DATA, and notices about access travel in band.
    Capsules,
    /// As they are (classic CONNECT, RFC 9113 section 8.5): FIN is END_STREAM, and there is no place for notices.
    Plain,
}

/// The sending half of a tunnel. Dropping it without [`TunnelSend::fin`] resets the stream.
#[derive(Debug)]
pub struct TunnelSend {
    stream: SendStream<Bytes>,
    framing: Framing,
    open: bool,
    /// FINAL_DATA was sent, and END_STREAM was not.
    owes: bool,
}

/// The receiving half of a tunnel.
#[derive(Debug)]
pub struct TunnelRecv {
    stream: RecvStream,
    framing: Framing,
    decoder: Decoder,
    chunk: Bytes,
}

impl TunnelSend {
    /// Wraps the sending half of an HTTP/2 stream whose tunnel is established.
    #[must_use]
    pub fn new(stream: SendStream<Bytes>, framing: Framing) -> Self {
        Self { stream, framing, open: true, owes: false }
    }

    /// Waits until bytes may be sent and returns how many ([`BULK_MAX`] at most).
    ///
    /// Credit for `want` bytes is set aside until they are sent, so a silent tunnel should want little: a peer that gives
    /// its connection little credit would have none left for other tunnels.
    ///
    /// # Errors
    /// [`TunnelError`] when the peer reset the tunnel or the connection ended.
    pub fn poll_room(&mut self, want: usize, context: &mut Context<'_>) -> Poll<Result<usize, TunnelError>> {
        self.stream.reserve_capacity(want.saturating_add(HEADROOM).min(BULK_PAYLOAD));
        loop {
            let capacity = self.stream.capacity();
            if capacity > HEADROOM {
                return Poll::Ready(Ok(capacity.min(BULK_PAYLOAD) - HEADROOM));
            }
            match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(TunnelError::from_h2(&error))),
                None => return Poll::Ready(Err(TunnelError::Reset(Reason::STREAM_CLOSED))),
            }
        }
    }

    /// Waits until bytes may be sent and returns how many.
    ///
    /// # Errors
    /// As [`TunnelSend::poll_room`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn room(&mut self) -> Result<usize, TunnelError> {
        std::future::poll_fn(|context| self.poll_room(PAYLOAD_MAX, context)).await
    }

    /// Sends bytes: `buffer` holds [`HEADROOM`] bytes to be overwritten, then at most what [`TunnelSend::room`] said.
    ///
    /// # Errors
    /// [`TunnelError`] when the peer reset the tunnel or the connection ended.
    pub fn data(&mut self, mut buffer: BytesMut) -> Result<(), TunnelError> {
        let length = buffer.len().saturating_sub(HEADROOM);
        if length == 0 {
            return Ok(());
        }
        match self.framing {
            Framing::Plain => buffer.advance(HEADROOM),
            Framing::Capsules => {
                if let Some(head) = buffer.get_mut(..HEADROOM) {
                    head.copy_from_slice(&capsule::data_header(length, false));
                }
            }
        }
        self.send(buffer.freeze(), false)
    }

    /// Sends the FIN: no bytes follow. The peer learns that it has everything.
    ///
    /// # Errors
    /// [`TunnelError`] when the peer reset the tunnel or the connection ended.
    pub fn fin(&mut self) -> Result<(), TunnelError> {
        self.open = false;
        match self.framing {
            Framing::Capsules => self.send(Bytes::copy_from_slice(&capsule::data_header(0, true)), true),
            Framing::Plain => self.send(Bytes::new(), true),
        }
    }

    /// Sends the FIN as [`TunnelSend::fin`] does, but leaves the stream open, where the framing can tell the two apart: its
    /// end follows with [`TunnelSend::finish`]. HAProxy, for one, resets a tunnel whose server ends the stream first.
    ///
    /// # Errors
    /// [`TunnelError`] when the peer reset the tunnel or the connection ended.
    pub fn final_data(&mut self) -> Result<(), TunnelError> {
        match self.framing {
            Framing::Plain => self.fin(),
            Framing::Capsules => {
                (self.open, self.owes) = (false, true);
                self.send(Bytes::copy_from_slice(&capsule::data_header(0, true)), false)
            }
        }
    }

    /// Ends the stream behind [`TunnelSend::final_data`], once the peer has ended its direction, too.
    ///
    /// # Errors
    /// [`TunnelError`] when the peer reset the tunnel or the connection ended.
    pub fn finish(&mut self) -> Result<(), TunnelError> {
        if std::mem::take(&mut self.owes) { self.send(Bytes::new(), true) } else { Ok(()) }
    }

    /// Tells the peer about its access; [`Notice::End`] is the last word of the tunnel. Where there is no place for
    /// notices, the end is a reset and the others are not told.
    ///
    /// A notice waits in memory until the peer lets bytes come, so that any but the last should be given only when
    /// [`TunnelSend::poll_room`] says that there is room.
    ///
    /// # Errors
    /// [`TunnelError`] when the peer reset the tunnel or the connection ended.
    pub fn notice(&mut self, notice: &Notice) -> Result<(), TunnelError> {
        let last = matches!(notice, Notice::End(_));
        match self.framing {
            Framing::Plain if last => self.reset(),
            Framing::Plain => {}
            Framing::Capsules if !self.open => {}
            Framing::Capsules => {
                self.open = !last;
                return self.send(capsule::encode_notice(notice), last);
            }
        }
        Ok(())
    }

    /// Resets the tunnel: the peer's local program sees an error. Bytes not yet sent are dropped.
    pub fn reset(&mut self) {
        self.open = false;
        self.stream.send_reset(Reason::CONNECT_ERROR);
    }

    /// Resets the tunnel because access has ended, as [`TunnelError::is_withdrawn`] tells the peer. Bytes not yet sent are
    /// dropped, and with them a reason that they stood before.
    pub fn withdraw(&mut self) {
        self.open = false;
        self.stream.send_reset(WITHDRAWN);
    }

    /// Completes when the peer resets the tunnel or the connection ends, even while nothing is sent.
    pub fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<TunnelError> {
        Poll::Ready(match ready!(self.stream.poll_reset(context)) {
            Ok(reason) => TunnelError::Reset(reason),
            Err(error) => TunnelError::from_h2(&error),
        })
    }

    fn send(&mut self, bytes: Bytes, last: bool) -> Result<(), TunnelError> {
        self.stream.send_data(bytes, last).map_err(|error| TunnelError::from_h2(&error))
    }
}

impl Drop for TunnelSend {
    fn drop(&mut self) {
        if self.open {
            self.stream.send_reset(Reason::CONNECT_ERROR);
        }
    }
}

impl TunnelRecv {
    /// Wraps the receiving half of an HTTP/2 stream whose tunnel is established.
    #[must_use]
    pub fn new(stream: RecvStream, framing: Framing) -> Self {
        Self { stream, framing, decoder: Decoder::new(), chunk: Bytes::new() }
    }

    /// Takes what comes next. Bytes taken must be given back with [`TunnelRecv::release`] once they are forwarded:
    /// that is what lets the peer send more.
    ///
    /// # Errors
    /// [`TunnelError`]; [`CapsuleError::Truncated`] when the stream ends without FINAL_DATA.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Capsule, TunnelError>> {
        loop {
            // asked without bytes, too: behind the bytes of FINAL_DATA it still owes the FIN
            let before = self.chunk.len();
            let capsule = self.decoder.decode(&mut self.chunk)?;
            let data = if let Some(Capsule::Data(data)) = &capsule { data.len() } else { 0 };
            self.release(before - self.chunk.len() - data);
            if let Some(capsule) = capsule {
                return Poll::Ready(Ok(capsule));
            }
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(chunk)) if self.framing == Framing::Capsules => self.chunk = chunk,
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Poll::Ready(Ok(Capsule::Data(chunk))),
                Some(Err(error)) => return Poll::Ready(Err(TunnelError::from_h2(&error))),
                None if self.framing == Framing::Plain => return Poll::Ready(Ok(Capsule::Fin)),
                None => {
                    return Poll::Ready(Err(self.decoder.end().err().unwrap_or(CapsuleError::AfterFinal).into()));
                }
            }
        }
    }

    /// Takes what comes next.
    ///
    /// # Errors
    /// As [`TunnelRecv::poll_next`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn next(&mut self) -> Result<Capsule, TunnelError> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// Gives back the credit of `bytes` that have been forwarded.
    pub fn release(&mut self, bytes: usize) {
        if bytes > 0 {
            // fails only when more is released than came in, which the callers' counting rules out
            let _ = self.stream.flow_control().release_capacity(bytes);
        }
    }

    /// Waits until the peer has ended the stream, or has reset it; what still comes is thrown away. For the time after its
    /// FIN, which says that nothing comes any more.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn ended(&mut self) {
        while let Some(Ok(chunk)) = std::future::poll_fn(|context| self.stream.poll_data(context)).await {
            self.release(chunk.len());
        }
    }

    /// Tells whether the peer has ended its direction and everything was taken.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.chunk.is_empty() && self.stream.is_end_stream()
    }
}
