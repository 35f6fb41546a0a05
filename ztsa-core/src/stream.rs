//! A tunnel as a byte stream for programs: `AsyncRead + AsyncWrite`, without a local port.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ztsa_net::tunnel::{HEADROOM, PAYLOAD_MAX, TunnelError, TunnelRecv, TunnelSend};
use ztsa_proto::capsule::{Capsule, Notice};
use ztsa_proto::name::{Destination, TunnelId};
use ztsa_proto::problem::Problem;

use crate::tunnel::{Held, Tunnel};

/// A byte stream to an app.
///
/// `shutdown` sends a FIN and leaves the other direction open. While access is suspended reads and writes wait. When
/// access ends or the tunnel breaks, reads and writes fail with `ConnectionReset`; [`Stream::ended`] has the reason.
/// Dropping the stream before both directions have ended resets the app's connection.
#[derive(Debug)]
pub struct Stream {
    send: TunnelSend,
    recv: TunnelRecv,
    id: Option<TunnelId>,
    to: Destination,
    chunk: Bytes,
    received_fin: bool,
    sent_fin: bool,
    suspended: Option<Arc<Problem>>,
    ended: Option<Arc<Problem>>,
    _held: Held,
}

impl Stream {
    /// Wraps an open tunnel.
    #[must_use]
    pub fn new(tunnel: Tunnel) -> Self {
        let Tunnel { send, recv, id, to, held } = tunnel;
        Self {
            send,
            recv,
            id,
            to,
            chunk: Bytes::new(),
            received_fin: false,
            sent_fin: false,
            suspended: None,
            ended: None,
            _held: held,
        }
    }

    /// Returns the gateway's number of the tunnel.
    #[must_use]
    pub fn id(&self) -> Option<TunnelId> {
        self.id
    }

    /// Returns where it leads.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.to
    }

    /// Returns why access is suspended at the moment, as far as reading has learnt.
    #[must_use]
    pub fn suspended(&self) -> Option<&Arc<Problem>> {
        self.suspended.as_ref()
    }

    /// Returns why access has ended, when the gateway said so.
    #[must_use]
    pub fn ended(&self) -> Option<&Arc<Problem>> {
        self.ended.as_ref()
    }

    fn failed(&self, error: TunnelError) -> io::Error {
        match &self.ended {
            Some(problem) => io::Error::new(io::ErrorKind::ConnectionReset, problem.to_string()),
            None => io::Error::new(io::ErrorKind::ConnectionReset, error),
        }
    }

    /// Takes the next data of the tunnel into `chunk`; leaves it empty at the FIN.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() && !self.received_fin {
            match ready!(self.recv.poll_next(context)) {
                Ok(Capsule::Data(data)) => self.chunk = data,
                Ok(Capsule::Fin) => self.received_fin = true,
                Ok(Capsule::Notice(Notice::Suspend(problem))) => self.suspended = Some(Arc::new(*problem)),
                Ok(Capsule::Notice(Notice::Resume)) => self.suspended = None,
                Ok(Capsule::Notice(Notice::End(problem))) => {
                    let problem = Arc::new(*problem);
                    self.ended = Some(Arc::clone(&problem));
                    self.send.reset();
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, problem.to_string())));
                }
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if target.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_chunk(context))?;
        let taken = this.chunk.split_to(this.chunk.len().min(target.remaining()));
        target.put_slice(&taken);
        this.recv.release(taken.len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.sent_fin {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Poll::Ready(error) = this.send.poll_reset(context) {
            return Poll::Ready(Err(this.failed(error)));
        }
        let room = ready!(this.send.poll_room(bytes.len(), context)).map_err(|error| this.failed(error))?;
        let length = bytes.len().min(room).min(PAYLOAD_MAX);
        let mut buffer = BytesMut::with_capacity(HEADROOM + length);
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(bytes.get(..length).unwrap_or_default());
        this.send.data(buffer).map_err(|error| this.failed(error))?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // the connection's task sends as soon as it can
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.sent_fin {
            this.sent_fin = true;
            this.send.fin().map_err(|error| this.failed(error))?;
        }
        Poll::Ready(Ok(()))
    }
}
