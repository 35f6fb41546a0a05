//! Carries bytes between two byte streams for as long as access lasts: the plain tunnel of HTTP/1.1 CONNECT, where
//! there are no capsules and no notices.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::relay::{Access, End, Meter};
use crate::tunnel::TunnelError;

/// Bytes moved at a time, and held for each direction while it has some.
const BUFFER: usize = 64 * 1024;

/// One direction's bytes on their way.
#[derive(Default)]
struct Flow {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    read_done: bool,
    done: bool,
}

/// Carries bytes both ways until both directions have ended with a FIN, something fails, or access ends.
///
/// `local` is the app's side and `remote` the client's, as [`Meter`] counts them. Neither is closed abortively here:
/// that is the caller's, after anything but [`End::Finished`].
///
/// # Cancel safety
/// Dropping the future loses the bytes in flight.
pub async fn splice<L, R>(local: &mut L, remote: &mut R, mut access: watch::Receiver<Access>, meter: &dyn Meter) -> End
where
    L: AsyncRead + AsyncWrite + Unpin + Send,
    R: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut out, mut back) = (Flow::default(), Flow::default());
    loop {
        let state = access.borrow_and_update().clone();
        match state {
            Access::Ended(problem) => {
                meter.stopped();
                return End::Access(problem);
            }
            Access::Suspended(_) => {
                meter.stopped();
                if access.changed().await.is_err() {
                    return End::Finished;
                }
            }
            Access::Open => {
                let both = poll_fn(|context| {
                    let sent = |bytes| meter.sent(bytes);
                    let received = |bytes| meter.received(bytes);
                    let one = out.poll(local, remote, sent, context).map_err(Side::name);
                    if let Poll::Ready(Err(end)) = one {
                        return Poll::Ready(end);
                    }
                    let other = back.poll(remote, local, received, context).map_err(Side::swapped);
                    if let Poll::Ready(Err(end)) = other {
                        return Poll::Ready(end);
                    }
                    if one.is_ready() && other.is_ready() { Poll::Ready(End::Finished) } else { Poll::Pending }
                });
                tokio::select! {
                    biased;
                    changed = access.changed() => if changed.is_err() { return End::Finished },
                    end = both => return end,
                }
            }
        }
    }
}

/// Which end of a flow failed.
enum Side {
    Source(io::Error),
    Sink(io::Error),
}

impl Side {
    /// Names the failure of a flow from the local side.
    fn name(self) -> End {
        match self {
            Self::Source(error) => End::Local(error),
            Self::Sink(error) => End::Tunnel(TunnelError::Connection(error.to_string())),
        }
    }

    /// Names the failure of a flow to the local side.
    fn swapped(self) -> End {
        match self {
            Self::Source(error) => Self::Sink(error).name(),
            Self::Sink(error) => Self::Source(error).name(),
        }
    }
}

impl Flow {
    fn poll<A, B>(
        &mut self,
        source: &mut A,
        sink: &mut B,
        count: impl Fn(u64),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Side>>
    where
        A: AsyncRead + Unpin,
        B: AsyncWrite + Unpin,
    {
        while !self.done {
            while self.from < self.to {
                let waiting = self.buffer.get(self.from..self.to).unwrap_or_default();
                let written = ready!(Pin::new(&mut *sink).poll_write(context, waiting)).map_err(Side::Sink)?;
                if written == 0 {
                    return Poll::Ready(Err(Side::Sink(io::ErrorKind::WriteZero.into())));
                }
                self.from += written;
                count(written as u64);
            }
            if self.read_done {
                ready!(Pin::new(&mut *sink).poll_shutdown(context)).map_err(Side::Sink)?;
                self.done = true;
                break;
            }
            match self.fill(source, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Side::Source(error))),
                Poll::Pending => {
                    self.buffer = Vec::new();
                    ready!(Pin::new(&mut *sink).poll_flush(context)).map_err(Side::Sink)?;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn fill<A: AsyncRead + Unpin>(&mut self, source: &mut A, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.buffer.resize(BUFFER, 0);
        let mut target = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(source).poll_read(context, &mut target))?;
        (self.from, self.to) = (0, target.filled().len());
        self.read_done = self.to == 0;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::Traffic;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use ztsa_proto::problem;

    #[tokio::test]
    async fn a_half_close_is_passed_on_and_the_answer_comes_back() {
        let (mut app, mut local) = tokio::io::duplex(1024);
        let (mut client, mut remote) = tokio::io::duplex(1024);
        let (_sender, access) = watch::channel(Access::Open);
        let traffic = Traffic::default();
        let (end, (), ()) = tokio::join!(
            async {
                let end = splice(&mut local, &mut remote, access, &traffic).await;
                drop((local, remote));
                end
            },
            async {
                client.write_all(&[7; 5000]).await.unwrap();
                client.shutdown().await.unwrap();
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer, b"got 5000");
            },
            async {
                let mut request = Vec::new();
                app.read_to_end(&mut request).await.unwrap();
                app.write_all(format!("got {}", request.len()).as_bytes()).await.unwrap();
                app.shutdown().await.unwrap();
            }
        );
        assert!(matches!(end, End::Finished));
        assert_eq!(traffic.read(), (8, 5000));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_moves_while_access_is_suspended_and_nothing_is_lost() {
        let (mut app, mut local) = tokio::io::duplex(1024);
        let (mut client, mut remote) = tokio::io::duplex(1024);
        let problem = Arc::new(problem::new("risk.user"));
        let (sender, access) = watch::channel(Access::Suspended(problem.clone()));
        let traffic = Traffic::default();
        let ((), end) = tokio::join!(
            async {
                client.write_all(b"hello").await.unwrap();
                let waited = tokio::time::timeout(std::time::Duration::from_secs(60), app.read_u8()).await;
                assert!(waited.is_err(), "a byte moved during the suspension");
                sender.send_replace(Access::Open);
                let mut bytes = [0; 5];
                app.read_exact(&mut bytes).await.unwrap();
                assert_eq!(&bytes, b"hello");
                sender.send_replace(Access::Ended(problem.clone()));
            },
            splice(&mut local, &mut remote, access, &traffic)
        );
        assert!(matches!(end, End::Access(ended) if ended == problem));
    }
}
