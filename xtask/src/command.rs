//! Other people's programs, run to their end.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a chore did not get to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A program could not be started.
    Start { program: String, source: io::Error },
    /// A program ended with something else than success.
    Ended { program: String, how: String },
    /// A file or folder could not be used.
    File { path: PathBuf, source: io::Error },
    /// Something is not as it must be; the text says what to do.
    Wrong(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { program, source } => write!(f, "cannot start `{program}`: {source}"),
            Self::Ended { program, how } => write!(f, "`{program}` ended with {how}"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Wrong(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Names the file that an I/O error belongs to.
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// Runs a program with the terminal's own output and waits for success.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let program = line(command);
    let status = command.status().map_err(|source| Failure::Start { program: program.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Failure::Ended { program, how: status.to_string() }) }
}

/// Runs a program, waits for success and returns what it wrote to stdout.
pub(crate) fn read(command: &mut Command) -> Result<String, Failure> {
    let program = line(command);
    let output =
        command.stdin(Stdio::null()).output().map_err(|source| Failure::Start { program: program.clone(), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::Ended { program, how: format!("{}: {}", output.status, said.trim()) })
    }
}

/// Says whether a program starts and succeeds, without any output.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Finds a program in the folders of PATH and those that Debian keeps servers in.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
