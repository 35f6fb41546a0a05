//! Large reads under TLS.
//!
//! rustls asks its socket for 4 KiB at a time, which costs about four system calls for each 16 KiB record. [`Wide`]
//! reads 64 KiB at once, up to 256 KiB while reads fill that, and hands them out; the buffer is freed when the socket has
//! no more, so that an idle connection holds none.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

/// Bytes asked of the socket at a time, at first.
const READ_MIN: usize = 64 * 1024;
/// Bytes asked of the socket at a time while it fills each read.
const READ_MAX: usize = 256 * 1024;

/// A byte stream whose reads are large, whatever its reader asks for.
#[derive(Debug)]
pub struct Wide<S> {
    inner: S,
    buffer: Vec<u8>,
    from: usize,
    size: usize,
}

impl<S> Wide<S> {
    /// Wraps a stream.
    pub fn new(inner: S) -> Self {
        Self { inner, buffer: Vec::new(), from: 0, size: READ_MIN }
    }

    /// Returns the wrapped stream.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncBufRead for Wide<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.from >= this.buffer.len() {
            this.from = 0;
            this.buffer.clear();
            this.buffer.reserve_exact(this.size);
            match tokio_util::io::poll_read_buf(Pin::new(&mut this.inner), context, &mut this.buffer) {
                Poll::Ready(Ok(length)) if length >= this.size => this.size = (this.size * 2).min(READ_MAX),
                Poll::Ready(Ok(length)) if length < this.size / 4 => this.size = (this.size / 2).max(READ_MIN),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    this.buffer = Vec::new();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(this.buffer.get(this.from..).unwrap_or_default()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().from += amount;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wide<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let available = ready!(self.as_mut().poll_fill_buf(context))?;
        let taken = available.len().min(target.remaining());
        target.put_slice(available.get(..taken).unwrap_or_default());
        self.consume(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wide<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_come_through_whole_in_small_reads_and_an_idle_stream_holds_no_buffer() {
        let (mut far, near) = tokio::io::duplex(256 * 1024);
        let mut wide = Wide::new(near);
        let sent: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0]).collect();
        far.write_all(&sent).await.unwrap();
        let mut got = vec![0; sent.len()];
        for chunk in got.chunks_mut(4096) {
            wide.read_exact(chunk).await.unwrap();
        }
        assert_eq!(got, sent);
        let mut one = [0; 1];
        let idle = std::future::poll_fn(|context| {
            Poll::Ready(Pin::new(&mut wide).poll_read(context, &mut ReadBuf::new(&mut one)).is_pending())
        });
        assert!(idle.await);
        assert_eq!(wide.buffer.capacity(), 0);
        drop(far);
        assert_eq!(wide.read(&mut one).await.unwrap(), 0);
    }
}
