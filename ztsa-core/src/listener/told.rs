//! An app as a stream: what reading and writing learn of its access is told, and every byte is counted.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ztsa_net::relay::Meter as _;
use ztsa_net::tunnel::TunnelError;
use ztsa_proto::problem::Problem;

use super::dial::{Informed, lost};
use super::event::Open;

/// A stream that tells its connection's events.
///
/// A read that finds it broken waits a moment for the gateway's reason, as [`Open::reason`] does; a write does not.
pub(crate) struct Told<S> {
    stream: S,
    open: Arc<Open>,
    suspended: Option<Arc<Problem>>,
    ended: Option<Arc<Problem>>,
    broken: Option<Broken>,
}

/// What a read has failed with, and why that was.
struct Broken {
    error: io::Error,
    reason: Pin<Box<dyn Future<Output = Option<Arc<Problem>>> + Send + Sync>>,
}

impl<S> fmt::Debug for Told<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("open", &self.open).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<S: Informed> Told<S> {
    /// Tells what passes through `stream` as what happens to `open`.
    pub(crate) fn new(stream: S, open: Arc<Open>) -> Self {
        Self { stream, open, suspended: None, ended: None, broken: None }
    }

    /// Returns the stream.
    pub(crate) const fn inner(&self) -> &S {
        &self.stream
    }

    /// Returns why access has ended, when the gateway said so.
    pub(crate) fn ended(&self) -> Option<&Arc<Problem>> {
        self.ended.as_ref()
    }

    /// Tells when the stream itself has learnt something new of its access.
    fn heed(&mut self) {
        let now = self.stream.suspended();
        if now.map(Arc::as_ptr) != self.suspended.as_ref().map(Arc::as_ptr) {
            self.open.suspended(now);
            self.suspended = now.cloned();
        }
    }

    /// Begins to find out why reading has failed.
    fn breaks(&self, error: io::Error) -> Broken {
        let known = self.stream.ended().cloned();
        let tunnel = error.get_ref().and_then(|error| error.downcast_ref::<TunnelError>()).cloned();
        let open = Arc::clone(&self.open);
        let reason = Box::pin(async move {
            match (known, tunnel) {
                (None, Some(tunnel)) => open.reason(&tunnel).await,
                (known, _) => known,
            }
        });
        Broken { error, reason }
    }

    /// Keeps why the stream failed, and says it.
    fn fails(&mut self, reason: Option<Arc<Problem>>, error: io::Error) -> io::Error {
        let Some(problem) = reason else {
            self.open.cut(lost(error.to_string()));
            return error;
        };
        self.open.ends(Arc::clone(&problem));
        let error = io::Error::new(io::ErrorKind::ConnectionReset, problem.to_string());
        self.ended = Some(problem);
        error
    }

    /// Tells what writing has learnt.
    fn wrote<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.heed();
        polled.map_err(|error| {
            let reason = self.stream.ended().cloned().or_else(|| self.open.ended());
            self.fails(reason, error)
        })
    }
}

impl<S: AsyncRead + Informed + Unpin> AsyncRead for Told<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut broken = if let Some(broken) = this.broken.take() {
            broken
        } else {
            let before = into.filled().len();
            let polled = Pin::new(&mut this.stream).poll_read(context, into);
            this.heed();
            match ready!(polled) {
                Ok(()) => {
                    this.open.traffic.received(into.filled().len().saturating_sub(before) as u64);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => this.breaks(error),
            }
        };
        let Poll::Ready(reason) = broken.reason.as_mut().poll(context) else {
            this.broken = Some(broken);
            return Poll::Pending;
        };
        Poll::Ready(Err(this.fails(reason, broken.error)))
    }
}

impl<S: AsyncWrite + Informed + Unpin> AsyncWrite for Told<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, from);
        this.wrote(polled).map_ok(|count| {
            this.open.traffic.sent(count as u64);
            count
        })
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(context);
        this.wrote(polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(context);
        this.wrote(polled)
    }
}
