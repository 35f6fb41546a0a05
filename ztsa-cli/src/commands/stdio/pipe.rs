//! Our own stdin and stdout as byte streams: without a copying thread where they are pipes, as ssh makes them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The process's stdin.
#[derive(Debug)]
pub(crate) enum Input {
    /// A pipe, read by readiness.
    #[cfg(target_os = "linux")]
    Pipe(tokio::net::unix::pipe::Receiver),
    /// Anything else, read on a thread.
    Other(tokio::io::Stdin),
}

/// The process's stdout; shutting it down lets the reader see the end of the stream while we still run.
#[derive(Debug)]
pub(crate) enum Output {
    /// A pipe, written by readiness.
    #[cfg(target_os = "linux")]
    Pipe(tokio::net::unix::pipe::Sender),
    /// Anything else, written on a thread.
    Other(tokio::io::Stdout),
    /// Shut down.
    Closed,
}

impl Input {
    /// Takes stdin.
    pub(crate) fn take() -> Self {
        // Opening the pipe anew gives us a file description of our own: making it non-blocking disturbs nobody else.
        #[cfg(target_os = "linux")]
        if let Ok(pipe) = tokio::net::unix::pipe::OpenOptions::new().open_receiver("/proc/self/fd/0") {
            return Self::Pipe(pipe);
        }
        Self::Other(tokio::io::stdin())
    }
}

impl Output {
    /// Takes stdout.
    pub(crate) fn take() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(pipe) = tokio::net::unix::pipe::OpenOptions::new().open_sender("/proc/self/fd/1") {
            return Self::Pipe(pipe);
        }
        Self::Other(tokio::io::stdout())
    }
}

impl AsyncRead for Input {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            #[cfg(target_os = "linux")]
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buf),
            Self::Other(stdin) => Pin::new(stdin).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            #[cfg(target_os = "linux")]
            Self::Pipe(pipe) => Pin::new(pipe).poll_write(cx, buf),
            Self::Other(stdout) => Pin::new(stdout).poll_write(cx, buf),
            Self::Closed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            #[cfg(target_os = "linux")]
            Self::Pipe(pipe) => Pin::new(pipe).poll_flush(cx),
            Self::Other(stdout) => Pin::new(stdout).poll_flush(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        *self = Self::Closed;
        Poll::Ready(close_stdout())
    }
}

/// Tells whether the program that read our stdout is gone; never where the system does not tell, nor once stdout is shut
/// down.
#[cfg(target_os = "linux")]
pub(crate) fn reader_is_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = rustix::stdio::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let answered = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    answered.is_ok() && asked.iter().any(|stdout| stdout.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

/// Nothing tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn reader_is_gone() -> bool {
    false
}

/// Puts the null device in stdout's place, which closes it for the reader.
#[cfg(unix)]
fn close_stdout() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

/// Nothing to do: the stream ends with the process.
#[cfg(not(unix))]
fn close_stdout() -> io::Result<()> {
    Ok(())
}
