//! Tunnel to local side.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use ztsa_proto::capsule::{Capsule, CapsuleError, Notice};

use super::{Access, End, Shared};
use crate::tunnel::{TunnelError, TunnelRecv};

/// Most bytes gathered for one write.
const BATCH_BYTES: usize = 1024 * 1024;
/// Most pieces gathered for one write.
const BATCH_PIECES: usize = 32;

/// What to do with the peer's notices about access.
pub(super) enum Notices<'a> {
    /// This side decides: a notice from the peer is skipped, as any unknown capsule.
    Skip,
    /// The peer decides: its notices set the state that both directions follow.
    Follow(&'a watch::Sender<Access>, &'a mut (dyn FnMut(&Notice) + Send)),
}

/// Moves bytes to the local side until the tunnel's FIN has been passed on.
pub(super) async fn pump<W>(
    writer: &mut W,
    recv: &mut TunnelRecv,
    shared: &Shared<'_>,
    mut notices: Notices<'_>,
) -> Result<(), End>
where
    W: AsyncWrite + Unpin + Send,
{
    let mut access = shared.access.clone();
    let mut batch = Batch::default();
    loop {
        if matches!(notices, Notices::Skip) {
            wait_open(&mut access).await?;
        }
        let step = {
            let mut changed = pin!(access.changed());
            poll_fn(|context| {
                if changed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(Step::Access));
                }
                poll_step(writer, recv, &mut batch, shared, context)
            })
            .await
        };
        match step.map_err(|end| end_of(end, &access))? {
            Step::Access => {
                if let Access::Ended(problem) = &*access.borrow_and_update() {
                    return Err(End::Access(problem.clone()));
                }
            }
            Step::Fin => {
                shut_down(writer).await?;
                return Ok(());
            }
            Step::Notice(notice) => {
                if let Notices::Follow(state, notify) = &mut notices {
                    notify(&notice);
                    state.send_replace(match notice {
                        Notice::Suspend(problem) => Access::Suspended(Arc::new(*problem)),
                        Notice::Resume => Access::Open,
                        Notice::End(problem) => Access::Ended(Arc::new(*problem)),
                    });
                }
            }
        }
    }
}

enum Step {
    Fin,
    Notice(Notice),
    Access,
}

/// A cut that comes while access has ended is the ending, not a cut.
fn end_of(end: End, access: &watch::Receiver<Access>) -> End {
    match (&end, &*access.borrow()) {
        (End::Tunnel(_), Access::Ended(problem)) => End::Access(problem.clone()),
        _ => end,
    }
}

/// Moves what there is; completes at the FIN or at a notice.
fn poll_step<W: AsyncWrite + Unpin>(
    writer: &mut W,
    recv: &mut TunnelRecv,
    batch: &mut Batch,
    shared: &Shared<'_>,
    context: &mut Context<'_>,
) -> Poll<Result<Step, End>> {
    loop {
        batch.gather(recv, context);
        while batch.has_remaining() {
            let written = ready!(batch.poll_write(writer, context)).map_err(End::Local)?;
            if written == 0 {
                return Poll::Ready(Err(End::Local(std::io::ErrorKind::WriteZero.into())));
            }
            recv.release(written);
            shared.meter.received(written as u64);
        }
        match batch.after.take() {
            Some(Ok(Capsule::Fin)) => return Poll::Ready(Ok(Step::Fin)),
            Some(Ok(Capsule::Notice(notice))) => return Poll::Ready(Ok(Step::Notice(notice))),
            Some(Err(error)) => return Poll::Ready(Err(End::Tunnel(error))),
            None if batch.starved => {
                // what was written may sit in a buffered writer while the tunnel is silent
                ready!(Pin::new(&mut *writer).poll_flush(context)).map_err(End::Local)?;
                return Poll::Pending;
            }
            Some(Ok(Capsule::Data(_))) | None => {}
        }
    }
}

async fn shut_down<W: AsyncWrite + Unpin>(writer: &mut W) -> Result<(), End> {
    match writer.shutdown().await {
        // the local program has closed both directions already: it has what it wanted
        Err(error) if error.kind() != std::io::ErrorKind::NotConnected => Err(End::Local(error)),
        _ => Ok(()),
    }
}

async fn wait_open(access: &mut watch::Receiver<Access>) -> Result<(), End> {
    loop {
        match &*access.borrow_and_update() {
            Access::Open => return Ok(()),
            Access::Suspended(_) => {}
            Access::Ended(problem) => return Err(End::Access(problem.clone())),
        }
        if access.changed().await.is_err() {
            return Err(End::Tunnel(TunnelError::Capsule(CapsuleError::Truncated)));
        }
    }
}

/// Pieces of data that wait to be written together, and what came behind them.
#[derive(Default)]
struct Batch {
    pieces: VecDeque<Bytes>,
    length: usize,
    after: Option<Result<Capsule, TunnelError>>,
    starved: bool,
}

impl Batch {
    fn has_remaining(&self) -> bool {
        self.length > 0
    }

    /// Takes what is ready from the tunnel, up to the batch's size or the first thing that is not data.
    fn gather(&mut self, recv: &mut TunnelRecv, context: &mut Context<'_>) {
        self.starved = false;
        while self.after.is_none() && self.length < BATCH_BYTES && self.pieces.len() < BATCH_PIECES {
            match recv.poll_next(context) {
                Poll::Ready(Ok(Capsule::Data(piece))) => {
                    self.length += piece.len();
                    self.pieces.push_back(piece);
                }
                Poll::Ready(other) => self.after = Some(other),
                Poll::Pending => {
                    self.starved = true;
                    return;
                }
            }
        }
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let written = if self.pieces.len() > 1 && writer.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); BATCH_PIECES];
            let mut used = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
                used += 1;
            }
            let slices = slices.get(..used).unwrap_or_default();
            ready!(Pin::new(writer).poll_write_vectored(context, slices))?
        } else {
            let first = self.pieces.front().map_or(&[][..], |piece| &piece[..]);
            ready!(Pin::new(writer).poll_write(context, first))?
        };
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        self.length = self.length.saturating_sub(written);
        while let Some(front) = self.pieces.front_mut() {
            if written < front.len() {
                front.advance(written);
                break;
            }
            written -= front.len();
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            // an idle tunnel holds no buffer
            self.pieces = VecDeque::new();
        }
    }
}
