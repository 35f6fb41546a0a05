//! How a command fails: what, what to do about it, and the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use ztsa_gateway::admin::call::CallError;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    exit: u8,
}

/// Nothing answers where it should (the same number as in `ztsa`).
const UNREACHABLE: u8 = 6;

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: 1 }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn unreachable(self) -> Self {
        Self { exit: UNREACHABLE, ..self }
    }

    pub(crate) fn exit(self, exit: u8) -> Self {
        Self { exit, ..self }
    }

    /// Says it on stderr.
    pub(crate) fn report(self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        // nobody is left to tell when stderr is gone
        let _ = writeln!(stderr, "error: {}", self.message);
        if let Some(hint) = self.hint {
            let _ = writeln!(stderr, "hint: {hint}");
        }
        ExitCode::from(self.exit)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Unreachable { .. } => Self::new(message)
                .hint("start it with `ztsa-gateway run --config FILE`, or name its socket with --admin or ZTSA_ADMIN")
                .unreachable(),
            CallError::Broken { .. } => Self::new(message).hint("its log may say more").unreachable(),
            CallError::Refused { hint, .. } => Self { message, hint, exit: 1 },
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("cannot write the answer: {error}"))
    }
}
