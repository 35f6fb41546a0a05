//! An app as a byte stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ztsa_proto::name::{Destination, TunnelId};
use ztsa_proto::problem::Problem;

use super::link::Link;
use crate::listener::event::{Counted, Open};
use crate::stream::Stream;
use crate::tunnel::Tunnel;

/// A byte stream to an app.
///
/// `shutdown` ends one direction and leaves the other open. While access is suspended, reads and writes wait. When
/// access ends or the tunnel breaks, they fail with `ConnectionReset`, never with a clean end; [`AppStream::ended`] has
/// the reason. The session is renewed for as long as the stream is held.
#[derive(Debug)]
pub struct AppStream {
    stream: Counted<Stream>,
    open: Open,
    _link: Link,
}

impl AppStream {
    pub(super) fn new(tunnel: Tunnel, open: Open, link: Link) -> Self {
        Self { stream: Counted::new(Stream::new(tunnel), &open), open, _link: link }
    }

    /// Returns the gateway's number of the tunnel, which its events name.
    pub fn id(&self) -> Option<TunnelId> {
        self.stream.inner().id()
    }

    /// Returns where it leads.
    pub fn destination(&self) -> &Destination {
        self.stream.inner().destination()
    }

    /// Returns why access is suspended at the moment, as far as reading has learnt.
    pub fn suspended(&self) -> Option<&Arc<Problem>> {
        self.stream.inner().suspended()
    }

    /// Returns why access has ended, when the gateway said so.
    pub fn ended(&self) -> Option<&Arc<Problem>> {
        self.stream.inner().ended()
    }

    /// Tells the events what reading and writing have learnt.
    fn tell<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Self { stream, open, .. } = self;
        open.suspended(stream.inner().suspended());
        if let Poll::Ready(Err(error)) = &polled {
            let ended = stream.inner().ended().cloned();
            open.cut(ended.unwrap_or_else(|| crate::listener::dial::lost(error.to_string())));
        }
        polled
    }
}

impl AsyncRead for AppStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        self.tell(polled)
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, from);
        self.tell(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.tell(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.tell(polled)
    }
}
