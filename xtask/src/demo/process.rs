//! The demo's processes: servers that run until the end, and commands of the person and the administrator.
//!
//! Every process leads a group of its own and is ended by its own id, however the demo ends.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::command::Failure;

/// How long a program may take to get ready or to end, on a machine with other work to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often a server's log and port are looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A program that is ended with its group when this is dropped.
#[derive(Debug)]
struct Owned {
    name: String,
    child: Child,
}

impl Owned {
    fn start(name: &str, command: &mut Command) -> Result<Self, Failure> {
        let started = command.stdin(Stdio::null()).process_group(0).kill_on_drop(true).spawn();
        let child = started.map_err(|source| Failure::Start { program: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), child })
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Asks the program to end, as Ctrl-C does, and ends its group when it does not.
    async fn end(&mut self) {
        let Some(pid) = self.pid() else { return };
        // it may have ended meanwhile
        let _ = kill_process(pid, Signal::INT);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.wait().await;
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // the id is known for as long as nobody has waited for the program's end, so it is still its own
        if let (Some(pid), Ok(None)) = (self.pid(), self.child.try_wait()) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// A program that runs until the demo ends; what it writes goes to a file.
#[derive(Debug)]
pub(super) struct Server {
    owned: Owned,
    log: PathBuf,
}

impl Server {
    /// Starts a program that writes to `NAME.log` in this folder.
    pub(super) fn start(name: &str, logs: &Path, command: &mut Command) -> Result<Self, Failure> {
        let log = logs.join(format!("{name}.log"));
        let file = |source| Failure::file(&log, source);
        let out = File::create(&log).map_err(file)?;
        let err = out.try_clone().map_err(file)?;
        Ok(Self { owned: Owned::start(name, command.stdout(out).stderr(err))?, log })
    }

    /// Waits until the program has written a line that holds this text, and returns the line.
    pub(super) async fn line(&mut self, text: &str) -> Result<String, Failure> {
        let found =
            |log: &str| log.split_inclusive('\n').find(|l| l.contains(text) && l.ends_with('\n')).map(str::to_owned);
        self.until(text, found).await
    }

    /// Waits until something listens on this port of 127.0.0.1.
    pub(super) async fn listens(&mut self, port: u16) -> Result<(), Failure> {
        let open = |_: &str| std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).ok().map(drop);
        self.until(&format!("port {port}"), open).await
    }

    /// Asks the program to end and waits until it has.
    pub(super) async fn end(mut self) {
        self.owned.end().await;
    }

    async fn until<T>(&mut self, what: &str, ready: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
        let started = Instant::now();
        loop {
            let log = fs::read(&self.log).map_err(|source| Failure::file(&self.log, source))?;
            let log = String::from_utf8_lossy(&log);
            if let Some(found) = ready(&log) {
                return Ok(found);
            }
            let name = &self.owned.name;
            if let Ok(Some(status)) = self.owned.child.try_wait() {
                return Err(Failure::Ended { program: name.clone(), how: format!("{status}: {}", log.trim()) });
            }
            if started.elapsed() > PATIENCE {
                return Err(Failure::Wrong(format!("{name} is not ready ({what}) after {PATIENCE:?}: {}", log.trim())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A line that a command has written, and when it came.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) at: Instant,
    error: bool,
}

/// A command at work; what it writes is read line by line.
#[derive(Debug)]
pub(super) struct Running {
    owned: Owned,
    lines: mpsc::UnboundedReceiver<Line>,
    seen: Vec<Line>,
    _readers: JoinSet<()>,
}

/// What a command has left.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: ExitStatus,
    /// When it ended.
    pub(super) at: Instant,
    lines: Vec<Line>,
}

impl Running {
    /// Starts a command.
    pub(super) fn start(command: &mut Command) -> Result<Self, Failure> {
        let name = said(command);
        let mut owned = Owned::start(&name, command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        let (sender, lines) = mpsc::unbounded_channel();
        let mut readers = JoinSet::new();
        if let Some(stdout) = owned.child.stdout.take() {
            readers.spawn(read(stdout, false, sender.clone()));
        }
        if let Some(stderr) = owned.child.stderr.take() {
            readers.spawn(read(stderr, true, sender));
        }
        Ok(Self { owned, lines, seen: Vec::new(), _readers: readers })
    }

    /// Waits for a line that holds this text, on stdout or stderr.
    pub(super) async fn line(&mut self, text: &str, patience: Duration) -> Result<Line, Failure> {
        let name = self.owned.name.clone();
        let wait = async {
            loop {
                if let Some(line) = self.seen.iter().find(|line| line.text.contains(text)) {
                    return Ok(line.clone());
                }
                match self.lines.recv().await {
                    Some(line) => self.seen.push(line),
                    None => return Err(Failure::Wrong(format!("`{name}` ended and said:\n{}", joined(&self.seen)))),
                }
            }
        };
        let found = tokio::time::timeout(patience, wait).await;
        found.unwrap_or_else(|_| {
            let said = joined(&self.seen);
            Err(Failure::Wrong(format!("`{name}` did not say {text:?} within {patience:?}, but:\n{said}")))
        })
    }

    /// Waits until the command has ended by itself.
    pub(super) async fn ended(&mut self, patience: Duration) -> Result<Outcome, Failure> {
        let Ok(status) = tokio::time::timeout(patience, self.owned.child.wait()).await else {
            return Err(Failure::Wrong(format!("`{}` did not end within {patience:?}", self.owned.name)));
        };
        let status = status.map_err(|source| Failure::Start { program: self.owned.name.clone(), source })?;
        let at = Instant::now();
        // a program that was left behind may hold the pipes open
        let rest = async {
            while let Some(line) = self.lines.recv().await {
                self.seen.push(line);
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
        Ok(Outcome { status, at, lines: std::mem::take(&mut self.seen) })
    }

    /// Asks the command to end and waits until it has.
    pub(super) async fn end(mut self) {
        self.owned.end().await;
    }
}

/// Runs a command to its end.
pub(super) async fn finish(command: &mut Command) -> Result<Outcome, Failure> {
    Running::start(command)?.ended(PATIENCE).await
}

impl Outcome {
    /// What the command wrote to stdout.
    pub(super) fn stdout(&self) -> String {
        self.text(false)
    }

    /// What the command wrote to stderr.
    pub(super) fn stderr(&self) -> String {
        self.text(true)
    }

    /// The first line that holds this text, on stdout or stderr.
    pub(super) fn line(&self, text: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.text.contains(text))
    }

    /// Everything, for a message about what went wrong.
    pub(super) fn all(&self) -> String {
        format!("{}: {}", self.status, joined(&self.lines))
    }

    /// Returns stdout of a command that succeeded.
    pub(super) fn ok(&self) -> Result<String, Failure> {
        if self.status.success() { Ok(self.stdout()) } else { Err(Failure::Wrong(self.all())) }
    }

    fn text(&self, error: bool) -> String {
        let lines = self.lines.iter().filter(|line| line.error == error);
        lines.map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
    }
}

async fn read(pipe: impl AsyncRead + Unpin, error: bool, lines: mpsc::UnboundedSender<Line>) {
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut bytes).await {
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        if lines.send(Line { text, at: Instant::now(), error }).is_err() {
            return;
        }
    }
}

fn joined(lines: &[Line]) -> String {
    lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// The command line, as a person would type it.
pub(super) fn said(command: &Command) -> String {
    let command = command.as_std();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program).chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,{}".contains(letter);
    match word.as_ref() {
        word if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
        word if word.contains('\'') => format!("\"{word}\""),
        word => format!("'{word}'"),
    }
}
