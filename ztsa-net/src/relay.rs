//! Carries bytes between a local byte stream and a tunnel, both ways, for as long as access lasts.
//!
//! FIN is FIN in both directions; everything else is abortive at both ends. While access is suspended no byte moves
//! and both sides stay open. An idle relay holds no buffer.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use ztsa_proto::capsule::Notice;
use ztsa_proto::problem::Problem;

use crate::tunnel::{TunnelError, TunnelRecv, TunnelSend};

mod inbound;
mod outbound;

/// How long one direction may stay silent after the other has ended, before the relay is taken for forgotten. It begins anew
/// after each pause, during which nothing could move.
pub const HALF_CLOSED_IDLE: Duration = Duration::from_secs(30 * 60);

/// How long the peer has to take the reason of an ending before the stream is reset.
pub const END_GRACE: Duration = Duration::from_millis(100);

/// Whether bytes may move.
#[derive(Debug, Clone, PartialEq)]
pub enum Access {
    /// They may.
    Open,
    /// Not now: both sides wait.
    Suspended(Arc<Problem>),
    /// Never again on this tunnel.
    Ended(Arc<Problem>),
}

/// Counts the bytes that a relay carries.
pub trait Meter: Send + Sync {
    /// Counts bytes that went from the local side into the tunnel.
    fn sent(&self, bytes: u64);
    /// Counts bytes that went from the tunnel to the local side.
    fn received(&self, bytes: u64);
    /// Returns what was counted, both directions together.
    fn total(&self) -> u64;
    /// Hears that no byte is passed on any more because access was suspended or has ended: called where this side decides,
    /// once both directions have stopped, and before the peer has taken the reason. What was passed on before still comes:
    /// at most [`SEND_BUFFER`](crate::http2::SEND_BUFFER) bytes that wait for the peer, and what TLS and the sockets hold.
    fn stopped(&self) {}
}

/// A [`Meter`] by itself.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Returns the bytes from the local side into the tunnel, and from the tunnel to the local side.
    #[must_use]
    pub fn read(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

impl Meter for Traffic {
    fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        let (sent, received) = self.read();
        sent + received
    }
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions ended with a FIN.
    Finished,
    /// The local side failed; the tunnel was reset.
    Local(io::Error),
    /// The tunnel broke; the local side must be reset.
    Tunnel(TunnelError),
    /// Access ended; the local side must be reset.
    Access(Arc<Problem>),
    /// One direction had ended and the other was silent for [`HALF_CLOSED_IDLE`], pauses not counted.
    Idle,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Local(error) => write!(f, "local side: {error}"),
            Self::Tunnel(error) => write!(f, "tunnel: {error}"),
            Self::Access(problem) => write!(f, "access ended: {}", problem.code),
            Self::Idle => f.write_str("half-closed and idle"),
        }
    }
}

/// Who decides about access.
pub enum Authority<'a> {
    /// This side does (the gateway): changes are acted on and told to the peer.
    Own(watch::Receiver<Access>),
    /// The peer does (the client's view): its notices are acted on and handed to the callback.
    Peer(&'a mut (dyn FnMut(&Notice) + Send)),
}

/// Where the two directions of a relay stand; both look at it.
struct Shared<'a> {
    access: watch::Receiver<Access>,
    meter: &'a dyn Meter,
}

/// Carries bytes until both directions have ended, something breaks, or access ends.
///
/// The local side is left open, so that the caller decides how it closes: drop it after [`End::Finished`], reset it
/// (see [`crate::accept::reset_on_close`]) after anything else.
///
/// # Cancel safety
/// Dropping the future resets the tunnel; bytes in flight are lost.
pub async fn relay<R, W>(
    reader: &mut R,
    writer: &mut W,
    mut send: TunnelSend,
    mut recv: TunnelRecv,
    authority: Authority<'_>,
    meter: &dyn Meter,
) -> End
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    let tells = matches!(authority, Authority::Own(_));
    let end = match authority {
        Authority::Own(access) => {
            let pauses = Pauses(access.clone());
            let shared = Shared { access, meter };
            let out = outbound::pump(reader, &mut send, &shared, true);
            let back = inbound::pump(writer, &mut recv, &shared, inbound::Notices::Skip);
            both(out, back, Some(pauses), &shared.access, meter).await
        }
        Authority::Peer(notify) => {
            let (state, access) = watch::channel(Access::Open);
            let shared = Shared { access, meter };
            let out = outbound::pump(reader, &mut send, &shared, false);
            let back = inbound::pump(writer, &mut recv, &shared, inbound::Notices::Follow(&state, notify));
            both(out, back, None, &shared.access, meter).await
        }
    };
    match &end {
        // a peer that is gone by now has had everything
        End::Finished if tells => drop(send.finish()),
        End::Finished => {
            // whoever lets go of a stream before its end resets it
            let _ = tokio::time::timeout(END_GRACE, recv.ended()).await;
        }
        End::Access(problem) if tells => {
            meter.stopped();
            // thousands may end at once: all of them stop before the first of them spends time on its goodbye
            tokio::task::yield_now().await;
            // the reason goes behind what was sent before; a peer that does not take it in time is reset all the same
            let _ = send.notice(&Notice::End(Box::new((**problem).clone())));
            let gone = std::future::poll_fn(|context| send.poll_reset(context));
            let _ = tokio::time::timeout(END_GRACE, gone).await;
            send.withdraw();
        }
        _ => send.reset(),
    }
    end
}

/// Notices that access has been suspended.
struct Pauses(watch::Receiver<Access>);

impl Pauses {
    fn begins(&mut self) -> bool {
        self.0.has_changed().unwrap_or(false) && matches!(*self.0.borrow_and_update(), Access::Suspended(_))
    }
}

/// Drives both directions; the first failure ends both, and a half-closed relay must not stay silent for ever.
async fn both(
    out: impl Future<Output = Result<(), End>>,
    back: impl Future<Output = Result<(), End>>,
    mut pauses: Option<Pauses>,
    access: &watch::Receiver<Access>,
    meter: &dyn Meter,
) -> End {
    let (mut out, mut back) = (pin!(out), pin!(back));
    let (mut out_done, mut back_done) = (false, false);
    let mut idle = pin!(None::<tokio::time::Sleep>);
    let mut silent = Silent::default();
    std::future::poll_fn(|context| {
        // looked at first: what is seen here has stopped both directions once they have been polled
        let pausing = pauses.as_mut().is_some_and(Pauses::begins);
        for (done, pump) in [(&mut out_done, out.as_mut() as Pump<'_>), (&mut back_done, back.as_mut() as Pump<'_>)] {
            if !*done {
                match pump.poll(context) {
                    Poll::Ready(Ok(())) => *done = true,
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Pending => {}
                }
            }
        }
        if pausing {
            meter.stopped();
        }
        match (out_done, back_done) {
            (true, true) => Poll::Ready(End::Finished),
            (false, false) => Poll::Pending,
            _ => {
                let held = matches!(*access.borrow(), Access::Suspended(_));
                poll_idle(idle.as_mut(), &mut silent, meter.total(), held, context)
            }
        }
    })
    .await
}

type Pump<'a> = Pin<&'a mut (dyn Future<Output = Result<(), End>> + 'a)>;

/// What a half-closed relay was like when it was last looked at.
#[derive(Default)]
struct Silent {
    total: u64,
    held: bool,
}

/// Completes when nothing has moved for [`HALF_CLOSED_IDLE`] though it might: while access is suspended (`held`) no time
/// counts, and after it the time begins anew.
fn poll_idle(
    mut idle: Pin<&mut Option<tokio::time::Sleep>>,
    silent: &mut Silent,
    total: u64,
    held: bool,
    context: &mut Context<'_>,
) -> Poll<End> {
    if idle.is_none() {
        idle.set(Some(tokio::time::sleep(HALF_CLOSED_IDLE)));
        *silent = Silent { total, held };
    }
    loop {
        let Some(mut sleep) = idle.as_mut().as_pin_mut() else { return Poll::Pending };
        let resumed = silent.held && !held;
        silent.held = held;
        if !resumed {
            ready!(sleep.as_mut().poll(context));
            if silent.total == total && !held {
                return Poll::Ready(End::Idle);
            }
        }
        silent.total = total;
        sleep.reset(Instant::now() + HALF_CLOSED_IDLE);
    }
}

#[cfg(test)]
mod tests;
