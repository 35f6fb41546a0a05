//! Local side to tunnel.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio_util::io::poll_read_buf;
use ztsa_proto::capsule::Notice;

use super::{Access, End, Shared};
use crate::tunnel::{HEADROOM, PAYLOAD_MAX, TunnelSend};

/// First size of a read, in bytes; it doubles while reads fill it and halves when they do not.
const READ_MIN: usize = 4 * 1024;

/// Moves bytes into the tunnel until the local side's FIN has been sent.
///
/// With `tell`, suspension and resumption are told to the peer.
pub(super) async fn pump<R>(reader: &mut R, send: &mut TunnelSend, shared: &Shared<'_>, tell: bool) -> Result<(), End>
where
    R: AsyncRead + Unpin + Send,
{
    let mut access = shared.access.clone();
    let mut size = READ_MIN;
    loop {
        wait_open(&mut access, send, tell).await?;
        let mut changed = pin!(access.changed());
        loop {
            let step = poll_fn(|context| {
                if changed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(None));
                }
                poll_step(reader, send, &mut size, context).map_ok(Some)
            });
            match step.await? {
                None => break,
                Some(0) => return send.fin().map_err(End::Tunnel),
                Some(length) => {
                    shared.meter.sent(length as u64);
                }
            }
        }
    }
}

/// Waits for room in the tunnel, then for bytes from the local side, and moves them. Completes with 0 at the local
/// side's FIN.
fn poll_step<R: AsyncRead + Unpin>(
    reader: &mut R,
    send: &mut TunnelSend,
    size: &mut usize,
    context: &mut Context<'_>,
) -> Poll<Result<usize, End>> {
    if let Poll::Ready(error) = send.poll_reset(context) {
        return Poll::Ready(Err(End::Tunnel(error)));
    }
    let room = ready!(send.poll_room(*size, context)).map_err(End::Tunnel)?;
    let limit = room.min(*size);
    let buffer = ready!(poll_read(reader, limit, context)).map_err(End::Local)?;
    let length = buffer.len().saturating_sub(HEADROOM);
    if length == limit {
        *size = (*size * 2).min(PAYLOAD_MAX);
    } else if length < *size / 4 {
        *size = (*size / 2).max(READ_MIN);
    }
    send.data(buffer).map_err(End::Tunnel)?;
    Poll::Ready(Ok(length))
}

/// Reads up to `limit` bytes behind [`HEADROOM`]; the buffer lives only when there are bytes.
fn poll_read<R: AsyncRead + Unpin>(
    reader: &mut R,
    limit: usize,
    context: &mut Context<'_>,
) -> Poll<io::Result<BytesMut>> {
    let mut buffer = BytesMut::with_capacity(HEADROOM + limit);
    buffer.put_bytes(0, HEADROOM);
    ready!(poll_read_buf(Pin::new(reader), context, &mut (&mut buffer).limit(limit)))?;
    Poll::Ready(Ok(buffer))
}

/// Waits until access is open.
async fn wait_open(access: &mut watch::Receiver<Access>, send: &mut TunnelSend, tell: bool) -> Result<(), End> {
    let mut suspended = false;
    loop {
        let now = access.borrow_and_update().clone();
        match now {
            Access::Open if suspended && tell => return send.notice(&Notice::Resume).map_err(End::Tunnel),
            Access::Open => return Ok(()),
            Access::Suspended(problem) => {
                if tell && !suspended {
                    send.notice(&Notice::Suspend(Box::new((*problem).clone()))).map_err(End::Tunnel)?;
                }
                suspended = true;
            }
            Access::Ended(problem) => return Err(End::Access(problem)),
        }
        let reset = poll_fn(|context| send.poll_reset(context));
        tokio::select! {
            changed = access.changed() => if changed.is_err() { return Err(End::Finished) },
            error = reset => return Err(End::Tunnel(error)),
        }
    }
}
