//! Ctrl-C and the other ways in which a person or a supervisor asks the command to end.

use std::io;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C.
    Typed,
    /// A supervisor's SIGTERM.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

impl Interrupt {
    /// The exit code that says so: 128 + the signal's number.
    pub(crate) fn exit(self) -> u8 {
        match self {
            Self::Typed => 130,
            Self::Terminate => 143,
            Self::Hangup => 129,
        }
    }
}

/// Waits until somebody asks the command to end; from the first call on, the signals no longer end the process.
///
/// # Cancel safety
/// A signal that arrives between two calls is lost.
///
/// # Errors
/// The system does not let us catch signals.
#[cfg(unix)]
pub(crate) async fn interrupt() -> io::Result<Interrupt> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => Interrupt::Typed,
        _ = terminate.recv() => Interrupt::Terminate,
        _ = hangup.recv() => Interrupt::Hangup,
    })
}

/// Waits until somebody asks the command to end.
///
/// # Errors
/// The system does not let us catch Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn interrupt() -> io::Result<Interrupt> {
    tokio::signal::ctrl_c().await?;
    Ok(Interrupt::Typed)
}
