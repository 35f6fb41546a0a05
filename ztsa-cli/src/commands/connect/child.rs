//! The command that runs against an app: it gets our signals, and its exit code becomes ours.

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;

/// A command that is running; its own terminal, process group and standard streams are ours.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    #[cfg(unix)]
    signals: unix::Signals,
}

impl Child {
    /// Starts a command with more environment variables.
    ///
    /// # Errors
    /// There is no such command (`NotFound`), or it cannot be run.
    pub(crate) fn start(program: &OsString, args: &[OsString], environment: &[(String, String)]) -> io::Result<Self> {
        #[cfg(unix)]
        let signals = unix::Signals::catch()?;
        let process = tokio::process::Command::new(program)
            .args(args)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .spawn()?;
        Ok(Self {
            process,
            #[cfg(unix)]
            signals,
        })
    }

    /// Waits until the command ends and says its exit code: 128 + n when signal n ended it.
    ///
    /// # Cancel safety
    /// May be called again after it was dropped.
    ///
    /// # Errors
    /// The system cannot tell how it ended.
    pub(crate) async fn wait(&mut self) -> io::Result<u8> {
        loop {
            #[cfg(unix)]
            tokio::select! {
                status = self.process.wait() => return Ok(code(status?)),
                signal = self.signals.next() => unix::forward(self.process.id(), signal),
            }
            #[cfg(not(unix))]
            return Ok(code(self.process.wait().await?));
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    // An exit code beyond a byte exists on Windows only.
    status.code().map_or(1, |code| u8::try_from(code).unwrap_or(1))
}

#[cfg(unix)]
mod unix {
    use std::io;

    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    use tokio::signal::unix::{Signal as Caught, SignalKind, signal};

    /// The signals that people and supervisors send.
    #[derive(Debug)]
    pub(super) struct Signals {
        interrupt: Caught,
        terminate: Caught,
        hangup: Caught,
        quit: Caught,
    }

    impl Signals {
        pub(super) fn catch() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
                quit: signal(SignalKind::quit())?,
            })
        }

        pub(super) async fn next(&mut self) -> Signal {
            tokio::select! {
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.hangup.recv() => Signal::HUP,
                _ = self.quit.recv() => Signal::QUIT,
            }
        }
    }

    /// Passes a signal on, unless the terminal has sent it to the command already.
    pub(super) fn forward(process: Option<u32>, signal: Signal) {
        let typed = signal == Signal::INT || signal == Signal::QUIT;
        if typed && in_foreground() {
            return;
        }
        let pid = process.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It has ended meanwhile: nothing to pass on.
            let _ended = kill_process(pid, signal);
        }
    }

    /// Whether our process group is the one that the terminal's keys reach.
    fn in_foreground() -> bool {
        std::fs::File::open("/dev/tty")
            .ok()
            .and_then(|terminal| rustix::termios::tcgetpgrp(&terminal).ok())
            .is_some_and(|group| group == getpgrp())
    }
}
