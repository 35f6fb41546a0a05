//! An app as a byte stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ztsa_proto::name::{Destination, TunnelId};
use ztsa_proto::problem::Problem;

use super::link::Link;
use crate::listener::event::Open;
use crate::listener::told::Told;
use crate::stream::Stream;
use crate::tunnel::Tunnel;

/// A byte stream to an app.
///
/// `shutdown` ends one direction and leaves the other open. While access is suspended, reads and writes wait. When
/// access ends or the tunnel breaks, they fail with `ConnectionReset`, never with a clean end; [`AppStream::ended`] has
/// the reason. The session is renewed for as long as the stream is held.
#[derive(Debug)]
pub struct AppStream {
    stream: Told<Stream>,
    _link: Link,
}

impl AppStream {
    pub(super) fn new(tunnel: Tunnel, open: Open, link: Link) -> Self {
        Self { stream: Told::new(Stream::new(tunnel), Arc::new(open)), _link: link }
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
        self.stream.ended()
    }
}

impl AsyncRead for AppStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
