//! One app on a pair of byte streams, such as standard input and output under ssh's `ProxyCommand`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use ztsa_net::relay::{End, Meter as _};
use ztsa_proto::capsule::Notice;
use ztsa_proto::name::Destination;
use ztsa_proto::problem::Problem;

use super::dial::{self, Dial, Opened};
use super::event::{Reporter, Way};
use crate::tunnel::{Early, Settled};

/// How long the local input may stay silent after the app has ended its side, before the connection counts as done.
///
/// A terminal never ends its input by itself; ssh and pipes do at once.
pub const INPUT_IDLE: Duration = Duration::from_secs(2);

/// What was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Bytes from the input to the app.
    pub sent: u64,
    /// Bytes from the app to the output.
    pub received: u64,
}

/// Why a connection on standard input and output did not come to its own end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StdioError {
    /// It was not opened.
    #[error("{0}")]
    Refused(Arc<Problem>),
    /// It was open and has been cut: what was read is not everything.
    #[error("{0}")]
    Cut(Arc<Problem>),
    /// The input or the output failed.
    #[error("standard input or output failed: {0}")]
    Local(#[source] io::Error),
}

impl StdioError {
    /// Returns the reason, when it is not a matter of the local streams.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) | Self::Cut(problem) => Some(problem),
            Self::Local(_) => None,
        }
    }

    /// Returns the exit code of a command that ended so (DESIGN section 8).
    pub fn exit(&self) -> u8 {
        match self {
            Self::Refused(problem) => problem.exit(),
            Self::Cut(problem) => problem.exit_when_open(),
            Self::Local(_) => 1,
        }
    }

    /// Says what to do.
    pub fn hint(&self) -> String {
        let remedy = self.problem().and_then(|problem| problem.remedy.clone());
        remedy.unwrap_or_else(|| "the program at the other end of the pipe is gone".to_owned())
    }
}

/// Opens an app and carries bytes between it and a pair of streams, until both directions have ended.
///
/// The end of the input is passed on and the output stays open (half-close); the output is shut down when the app has
/// ended.
///
/// # Errors
/// [`StdioError`]: anything but the orderly end of both directions.
///
/// # Cancel safety
/// Dropping the future resets the connection to the app.
pub(crate) async fn carry<D, R, W>(
    dial: &D,
    to: &Destination,
    reporter: &Reporter,
    input: R,
    mut output: W,
) -> Result<Carried, StdioError>
where
    D: Dial,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    let mut input = input;
    let mut early = Early::read(&mut input);
    let opened = dial.open(to, Way::Stdio, &mut early).await;
    let Settled { sent, rest, failed } = early.settle();
    let tunnel = match opened {
        Ok(tunnel) => tunnel,
        Err(problem) => {
            reporter.refused(to, Way::Stdio, problem.clone());
            return Err(StdioError::Refused(problem));
        }
    };
    if let Some(error) = failed {
        return Err(StdioError::Local(error));
    }
    let open = reporter.opened(to.clone(), Way::Stdio, tunnel.id());
    let traffic = open.traffic.clone();
    traffic.sent(sent as u64);
    let app_ended = AtomicBool::new(false);
    let mut reader = Input { reader: rest.as_ref().chain(input), app_ended: &app_ended, idle: None };
    let mut writer = Output { writer: &mut output, app_ended: &app_ended };
    let mut notify = |notice: &Notice| open.notice(notice);
    let end = tunnel.carry(&mut reader, &mut writer, &mut notify, &*traffic).await;
    let (sent, received) = traffic.read();
    match (dial::cut(&end, &open).await, end) {
        (Some(problem), _) => {
            open.cut(problem.clone());
            Err(StdioError::Cut(problem))
        }
        (None, End::Local(error)) => Err(StdioError::Local(error)),
        (None, _) => Ok(Carried { sent, received }),
    }
}

/// The input; once the app has ended, silence for [`INPUT_IDLE`] counts as its end.
struct Input<'a, R> {
    reader: R,
    app_ended: &'a AtomicBool,
    idle: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Input<'_, R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.reader).poll_read(context, into);
        if polled.is_ready() {
            self.idle = None;
            return polled;
        }
        if !self.app_ended.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(INPUT_IDLE)));
        idle.as_mut().poll(context).map(Ok)
    }
}

/// The output; it notes when the app has ended.
struct Output<'a, W> {
    writer: W,
    app_ended: &'a AtomicBool,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Output<'_, W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.app_ended.swap(true, Ordering::Relaxed) {
            // the input, polled by the same task, has to look at its clock
            context.waker().wake_by_ref();
        }
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
