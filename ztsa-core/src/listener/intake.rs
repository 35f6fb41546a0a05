//! The first bytes of a local connection: looked at before they are consumed, never lost, never cut on the way back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes asked from the socket at a time while a request is being read.
const CHUNK: usize = 2048;

/// A stream during its opening request: it reads ahead into a buffer, and what the request did not use is handed on
/// with the stream by [`Intake::into_parts`].
///
/// A write is taken whole: what the socket does not take at once is kept and sent before the next read, so that a
/// protocol that writes once and then waits for an answer cannot lose the tail of a short reply.
#[derive(Debug)]
pub(crate) struct Intake<S> {
    stream: S,
    ahead: BytesMut,
    unsent: BytesMut,
}

impl<S> Intake<S> {
    /// Wraps a fresh connection.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, ahead: BytesMut::new(), unsent: BytesMut::new() }
    }

    /// Wraps a connection of which `ahead` has been read.
    pub(crate) fn with(stream: S, ahead: &[u8]) -> Self {
        Self { ahead: BytesMut::from(ahead), ..Self::new(stream) }
    }

    /// What has arrived and is not consumed yet.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.ahead
    }

    /// Consumes the first `count` buffered bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.ahead.advance(count.min(self.ahead.len()));
    }

    /// Gives the stream back, with the bytes that arrived early.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        // an empty buffer would be kept for as long as the connection lasts
        let early = if self.ahead.is_empty() { Bytes::new() } else { self.ahead.freeze() };
        (self.stream, early)
    }
}

impl<S: AsyncRead + Unpin> Intake<S> {
    /// Waits for more bytes and adds them to the buffered ones; 0 means that the peer has ended.
    ///
    /// # Cancel safety
    /// Cancel-safe: no byte is lost.
    pub(crate) async fn more(&mut self) -> io::Result<usize> {
        self.ahead.reserve(CHUNK);
        self.stream.read_buf(&mut self.ahead).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Intake<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            ready!(self.as_mut().poll_send(context))?;
        }
        if self.ahead.is_empty() {
            // a large reader (hyper) reads straight into its own buffer
            if into.remaining() >= CHUNK {
                return Pin::new(&mut self.stream).poll_read(context, into);
            }
            let this = &mut *self;
            this.ahead.resize(CHUNK, 0);
            let mut chunk = ReadBuf::new(&mut this.ahead);
            let polled = Pin::new(&mut this.stream).poll_read(context, &mut chunk);
            let filled = chunk.filled().len();
            this.ahead.truncate(filled);
            ready!(polled)?;
        }
        let count = self.ahead.len().min(into.remaining());
        into.put_slice(&self.ahead.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Intake<S> {
    fn poll_send(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut this.stream).poll_write(context, &this.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.unsent.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Intake<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_send(context))?;
        let this = &mut *self;
        let sent = ready!(Pin::new(&mut this.stream).poll_write(context, from))?;
        // a bulk writer handles a short count itself; only short replies are kept whole
        if from.len() > CHUNK {
            return Poll::Ready(Ok(sent));
        }
        this.unsent.extend_from_slice(from.get(sent..).unwrap_or_default());
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn what_the_request_did_not_use_is_handed_on() {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(b"headtail").await.unwrap();
        let mut intake = Intake::new(far);
        assert_eq!(intake.more().await.unwrap(), 8);
        assert_eq!(intake.buffered(), b"headtail");
        let mut head = [0; 4];
        intake.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"head");
        assert_eq!(intake.into_parts().1, "tail");
    }

    #[tokio::test]
    async fn one_write_is_sent_whole_through_a_socket_that_takes_three_bytes_at_a_time() {
        let (near, mut far) = tokio::io::duplex(3);
        let mut intake = Intake::new(near);
        // one call, as fast-socks5 does, and no loop around it
        let reply = async {
            assert_eq!(intake.write(b"0123456789").await.unwrap(), 10);
            intake.flush().await.unwrap();
        };
        let mut seen = [0; 10];
        tokio::join!(reply, async { far.read_exact(&mut seen).await.unwrap() });
        assert_eq!(&seen, b"0123456789");
    }
}
