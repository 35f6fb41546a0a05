//! Local side to tunnel.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;
use ztsa_proto::capsule::Notice;
use ztsa_proto::problem::Problem;

use super::{Access, End, Shared};
use crate::tunnel::{BULK_MAX, FAST_MAX, HEADROOM, PAYLOAD_MAX, TunnelSend};

/// First size of a read, in bytes; it doubles while reads fill it and halves when they do not.
const READ_MIN: usize = 4 * 1024;
/// Bytes in a second from which a tunnel moves fast: a piece of [`FAST_MAX`] then holds others up for 8 ms at most.
const FAST: u128 = 32 * 1024 * 1024;
/// Bytes in a second from which a tunnel moves very fast: a piece of [`BULK_MAX`] then holds others up for 1 ms at most, and
/// sixteen tunnels that share a connection do not all hold such pieces.
const VERY_FAST: u128 = 16 * FAST;

/// Moves bytes into the tunnel until the local side's FIN has been sent.
///
/// With `tell`, suspension and resumption are told to the peer, and the stream is left open behind the FIN: the gateway ends it
/// when both directions are done.
pub(super) async fn pump<R>(reader: &mut R, send: &mut TunnelSend, shared: &Shared<'_>, tell: bool) -> Result<(), End>
where
    R: AsyncRead + Unpin + Send,
{
    let mut access = shared.access.clone();
    let mut pace = Pace { size: READ_MIN, last: Instant::now() };
    loop {
        wait_open(&mut access, send, tell).await?;
        let mut changed = pin!(access.changed());
        loop {
            let step = poll_fn(|context| {
                if changed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(None));
                }
                poll_step(reader, send, &mut pace, context).map_ok(Some)
            });
            match step.await? {
                None => break,
                Some(0) if tell => return send.final_data().map_err(End::Tunnel),
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
    pace: &mut Pace,
    context: &mut Context<'_>,
) -> Poll<Result<usize, End>> {
    if let Poll::Ready(error) = send.poll_reset(context) {
        return Poll::Ready(Err(End::Tunnel(error)));
    }
    let room = ready!(send.poll_room(pace.size, context)).map_err(End::Tunnel)?;
    let limit = room.min(pace.size);
    let buffer = ready!(poll_read(reader, limit, context)).map_err(End::Local)?;
    let length = buffer.len().saturating_sub(HEADROOM);
    let now = Instant::now();
    // a read that filled what little room there was says nothing about the tunnel
    if length < limit || limit == pace.size {
        pace.size = next_size(pace.size, length, length == limit, now - pace.last);
    }
    pace.last = now;
    send.data(buffer).map_err(End::Tunnel)?;
    Poll::Ready(Ok(length))
}

/// How much is read at a time, and when it last was.
struct Pace {
    size: usize,
    last: Instant,
}

/// Chooses the size of the next read from that of the last one, what it brought, and the time since the one before.
///
/// Beyond [`PAYLOAD_MAX`] it grows only for a tunnel that moves fast: fewer and larger turns cost less, but on a slow
/// network a large piece would hold up the tunnels beside it.
fn next_size(size: usize, length: usize, filled: bool, took: Duration) -> usize {
    let moves = |rate: u128| took.as_nanos() * rate <= length as u128 * 1_000_000_000;
    let most = match () {
        () if moves(VERY_FAST) => BULK_MAX,
        () if moves(FAST) => FAST_MAX,
        () => PAYLOAD_MAX,
    };
    match filled {
        true if size >= FAST_MAX => most,
        true if size >= PAYLOAD_MAX => most.min(FAST_MAX),
        true => (size * 2).min(PAYLOAD_MAX),
        false if length < size / 4 => (size / 2).max(READ_MIN),
        false => size.min(most),
    }
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

/// Waits until access is open. With `tell`, the peer hears of each reason for the wait, and of its end.
///
/// It is told when it lets bytes come, and only what holds then: a peer that takes nothing is owed one word, however often
/// access changes.
async fn wait_open(access: &mut watch::Receiver<Access>, send: &mut TunnelSend, tell: bool) -> Result<(), End> {
    let mut told: Option<Arc<Problem>> = None;
    // its end is told even where the pause was not: the peer may have heard of that in another way
    let mut paused = false;
    loop {
        let now = access.borrow_and_update().clone();
        let word = match &now {
            Access::Open if !paused || !tell => return Ok(()),
            Access::Open => Some(Notice::Resume),
            Access::Suspended(problem) => {
                paused = true;
                let news = tell && told.as_ref().is_none_or(|told| told.code != problem.code);
                news.then(|| Notice::Suspend(Box::new(Problem::clone(problem))))
            }
            Access::Ended(problem) => return Err(End::Access(problem.clone())),
        };
        let turn = poll_fn(|context| {
            if let Poll::Ready(error) = send.poll_reset(context) {
                return Poll::Ready(Err(error));
            }
            if word.is_some() { send.poll_room(1, context).map_ok(drop) } else { Poll::Pending }
        });
        tokio::select! {
            biased;
            changed = access.changed() => if changed.is_err() { return Err(End::Finished) },
            room = turn => {
                room.map_err(End::Tunnel)?;
                if let Some(word) = &word {
                    send.notice(word).map_err(End::Tunnel)?;
                }
                (told, paused) = if let Access::Suspended(problem) = now { (Some(problem), true) } else { (None, false) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_with_what_they_bring_and_beyond_a_frame_only_for_a_fast_tunnel() {
        let [at_once, very_quick, quick, slow] = [200, 1000, 5000, 20_000].map(Duration::from_micros);
        for (size, length, filled, took, next) in [
            (READ_MIN, READ_MIN, true, slow, 2 * READ_MIN),
            (48 * 1024, 48 * 1024, true, Duration::ZERO, PAYLOAD_MAX),
            (PAYLOAD_MAX, PAYLOAD_MAX, true, Duration::ZERO, FAST_MAX),
            (PAYLOAD_MAX, PAYLOAD_MAX, true, very_quick, FAST_MAX),
            (PAYLOAD_MAX, PAYLOAD_MAX, true, slow, PAYLOAD_MAX),
            (FAST_MAX, FAST_MAX, true, at_once, BULK_MAX),
            (FAST_MAX, FAST_MAX, true, very_quick, FAST_MAX),
            (FAST_MAX, FAST_MAX, true, slow, PAYLOAD_MAX),
            (BULK_MAX, BULK_MAX, true, at_once, BULK_MAX),
            (BULK_MAX, BULK_MAX, true, quick, FAST_MAX),
            (BULK_MAX, BULK_MAX, true, 3 * slow, PAYLOAD_MAX),
            (BULK_MAX, BULK_MAX / 2, false, at_once, BULK_MAX),
            (BULK_MAX, BULK_MAX / 2, false, slow, PAYLOAD_MAX),
            (BULK_MAX, 64, false, slow, BULK_MAX / 2),
            (READ_MIN, 64, false, quick, READ_MIN),
        ] {
            assert_eq!(next_size(size, length, filled, took), next, "{size} {length} {filled} {took:?}");
        }
    }
}
