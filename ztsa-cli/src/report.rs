//! The one table from errors to words, hints and exit codes.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;
use ztsa_core::api::ApiError;
use ztsa_core::client::{BuildError, ConnectError, Error, ForwardError};
use ztsa_core::listener::listen::ListenError;
use ztsa_core::listener::stdio::StdioError;
use ztsa_core::token::{SignInError, TokenError};
use ztsa_proto::problem::{Problem, Retry};

use crate::interrupt::Interrupt;
use crate::settings::SettingsError;
use crate::ui::{Printer, span};

mod core;

/// Ended well.
pub(crate) const OK: u8 = 0;
/// Something inside went wrong.
pub(crate) const INTERNAL: u8 = 1;
/// The command line or the configuration is wrong.
pub(crate) const USAGE: u8 = 2;
/// A person has to sign in.
pub(crate) const LOGIN: u8 = 3;
/// The gateway or the app cannot be reached.
pub(crate) const UNREACHABLE: u8 = 6;

/// Everything that can keep a command from doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for something that cannot be.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to type instead.
        hint: String,
    },
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The library could not do it.
    #[error("{error}")]
    Core {
        /// The app that was asked for, where it was one.
        app: Option<String>,
        /// What happened.
        error: Box<Error>,
    },
    /// Access was refused.
    #[error("denied: {app}: {problem}")]
    Denied {
        /// What was asked for.
        app: String,
        /// Why not.
        problem: Box<Problem>,
    },
    /// Access ended while it was in use.
    #[error("access ended: {app}: {problem}")]
    Ended {
        /// What was in use.
        app: String,
        /// Why it ended.
        problem: Box<Problem>,
    },
    /// The command to run against an app cannot be started.
    #[error("cannot run `{program}`: {source}")]
    Command {
        /// Its name.
        program: String,
        /// What happened.
        source: io::Error,
    },
    /// The other end of stdin or stdout is gone, while bytes were carried.
    #[error("stdin or stdout failed: {source}")]
    Streams {
        /// What happened.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What happened.
        source: io::Error,
    },
    /// Whoever read our output has stopped reading.
    #[error("the output was closed")]
    OutputClosed,
    /// A person or a supervisor asked us to end.
    #[error("interrupted")]
    Interrupted(Interrupt),
}

/// What the library says, whichever operation says it.
macro_rules! from_core {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Core { app: None, error: Box::new(error.into()) }
            }
        }
    )*};
}
from_core!(Error, ApiError, BuildError, ConnectError, ForwardError, ListenError, SignInError, TokenError);

/// Failing to write output: most often somebody closed the pipe.
impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Io { what: "write the output".to_owned(), source },
        }
    }
}

impl Failure {
    /// Makes the failure of asking for one app.
    pub(crate) fn about(app: &str, error: impl Into<Error>) -> Self {
        Self::Core { app: Some(app.to_owned()), error: Box::new(error.into()) }
    }

    /// Makes the failure of carrying an app's bytes on stdin and stdout.
    pub(crate) fn stdio(app: String, error: StdioError) -> Self {
        match error {
            StdioError::Refused(problem) => Self::Denied { app, problem: Box::new((*problem).clone()) },
            StdioError::Cut(problem) => Self::Ended { app, problem: Box::new((*problem).clone()) },
            StdioError::Local(source) => Self::Streams { source },
            other => Self::Io { what: "carry bytes".to_owned(), source: io::Error::other(other) },
        }
    }

    /// Makes the failure of writing under a path.
    pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { what: format!("write {}", path.display()), source }
    }
}

/// What a person and a program are told about a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// The exit code.
    pub(crate) exit: u8,
    /// The stable code, dotted, where the gateway gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// What happened.
    pub(crate) message: String,
    /// Why: the code and the policies that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// When to try again, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<String>,
}

impl Report {
    fn new(exit: u8, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit, code: None, message: message.into(), why: None, hint: Some(hint.into()), retry: None }
    }

    /// Says what a failure means.
    pub(crate) fn of(failure: &Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Usage { hint, .. } => Self::new(USAGE, message, hint),
            Failure::Settings(error @ (SettingsError::NoGateway { .. } | SettingsError::Damaged { .. })) => {
                Self::new(LOGIN, message, error.hint())
            }
            Failure::Settings(error) => Self::new(USAGE, message, error.hint()),
            Failure::Core { app, error } => core::report(error, app.as_deref()),
            Failure::Denied { app, problem } => Self::refusal(problem, Some(app)),
            Failure::Ended { app, problem } => Self::problem(
                format!("access ended: {app} — {}", said(problem, app)),
                problem,
                Some(app),
                problem.exit_when_open(),
            ),
            Failure::Streams { source } => Self::new(INTERNAL, message, io_hint(source)),
            Failure::Command { program, source } => match source.kind() {
                io::ErrorKind::NotFound => Self::new(
                    127,
                    format!("there is no command `{program}`"),
                    "install it, or check the spelling and PATH",
                ),
                _ => Self::new(126, message, "check that the file is a program and that you may run it"),
            },
            Failure::Io { source, .. } => Self::new(INTERNAL, &message, io_hint(source)),
            Failure::OutputClosed => Self { hint: None, ..Self::new(OK, message, "") },
            Failure::Interrupted(by) => Self { hint: None, ..Self::new(by.exit(), message, "") },
        }
    }

    /// Says what a refusal means.
    fn refusal(problem: &Problem, app: Option<&str>) -> Self {
        let exit = problem.exit();
        let head = match exit {
            LOGIN => "sign-in needed",
            UNREACHABLE => "not reachable",
            8 => "step-up needed",
            _ => "denied",
        };
        // Nobody refused the app: what was asked for cannot be, or it is not the app that cannot be reached.
        let plain = exit == USAGE || (exit == UNREACHABLE && !problem.code.starts_with("app."));
        let message = match app {
            _ if plain => problem.to_string(),
            Some(app) => format!("{head}: {app} — {}", said(problem, app)),
            None => format!("{head}: {problem}"),
        };
        Self::problem(message, problem, app, exit)
    }

    /// Says what a problem document means, about an app or about everything.
    fn problem(message: String, problem: &Problem, app: Option<&str>, exit: u8) -> Self {
        // When it is not a matter of seconds, the remedy says.
        let retry = match problem.retry {
            Retry::After { seconds: Some(seconds) } => Some(format!("try again in {}", span(seconds))),
            _ => None,
        };
        Self {
            exit,
            code: Some(problem.code.clone()),
            message,
            why: Some(why(problem)),
            hint: problem.remedy.as_ref().map(|remedy| app.map_or(remedy.clone(), |app| remedy.replace("APP", app))),
            retry,
        }
    }

    /// Shows the report on stderr: as words, or with `--json` as one object.
    pub(crate) fn show(&self, printer: &Printer) {
        // Nobody reads, or the person who pressed Ctrl-C knows.
        if self.exit == OK || self.exit >= 128 {
            return;
        }
        if printer.json() {
            let exact = Self { hint: self.hint.as_ref().map(|hint| printer.exact(hint)), ..self.clone() };
            let object = serde_json::json!({ "error": exact });
            printer.must_say(&object.to_string());
            return;
        }
        printer.must_say(&self.text(printer));
    }

    /// The report in lines.
    pub(crate) fn text(&self, printer: &Printer) -> String {
        let style = printer.err_style();
        let message = match self.message.split_once(':') {
            Some((
                head @ ("denied" | "access ended" | "not reachable" | "sign-in needed" | "step-up needed"),
                rest,
            )) => {
                format!("{}:{rest}", style.bad(head))
            }
            _ => format!("{} {}", style.bad("ztsa:"), self.message),
        };
        let mut text = message;
        let hint = self.hint.as_ref().map(|hint| printer.exact(hint));
        for (label, line) in [("why", &self.why), ("do", &hint), ("when", &self.retry)] {
            if let Some(line) = line {
                let _infallible = write!(text, "\n  {} {line}", style.dim(&format!("{:<5}", format!("{label}:"))));
            }
        }
        text
    }
}

/// What a problem says, without the app's name where it begins with it.
pub(crate) fn said(problem: &Problem, app: &str) -> String {
    let text = problem.to_string();
    match text.strip_prefix(app).and_then(|rest| rest.strip_prefix(": ")) {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// The code and the policies that decided, for a person and for their administrator.
pub(crate) fn why(problem: &Problem) -> String {
    let mut why = problem.code.clone();
    match problem.policy.as_slice() {
        [] => {}
        [one] => why = format!("{why}, policy {one}"),
        many => why = format!("{why}, policies {}", many.join(", ")),
    }
    if let Some(decision) = &problem.decision {
        why = format!("{why}, decision {decision}");
    }
    why
}

fn io_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "check who owns the file and its directory",
        io::ErrorKind::StorageFull => "make room on the disk and try again",
        io::ErrorKind::AddrInUse => "choose another port, or 0 for any free one",
        _ => "run it again with -vv for more",
    }
}

#[cfg(test)]
mod tests;
