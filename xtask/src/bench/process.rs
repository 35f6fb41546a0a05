//! The processes that are measured: started, asked what they cost, ended.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::command::Failure;

/// How long a process may take to say that it is ready.
const START: Duration = Duration::from_secs(30);
/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// Ticks of /proc/PID/stat in a second: `USER_HZ`, 100 wherever Linux runs these days.
pub(super) const TICKS: f64 = 100.0;

/// The processes that run now, for the case that the bench gives up.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Kills every process that was started here and still runs.
pub(super) fn kill_all() {
    for id in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if let Some(pid) = i32::try_from(*id).ok().and_then(Pid::from_raw) {
            // one that has ended already needs no signal
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A running process; it is ended when dropped.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts a process whose stderr goes to a file in `folder`.
    pub(super) fn start(name: &'static str, folder: &Path, command: &mut Command) -> Result<Self, Failure> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).map_err(|source| Failure::file(&log, source))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().map_err(|source| Failure::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).insert(child.id());
        let (send, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // ends with the process; reading on keeps it from blocking on a full pipe
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = send.send(line);
                }
            });
        }
        Ok(Self { name, child, log, lines })
    }

    /// Waits for the next line on stdout.
    pub(super) fn line(&mut self) -> Result<String, Failure> {
        self.lines.recv_timeout(START).map_err(|_| self.failed("does not say that it is ready"))
    }

    /// Waits for the next line on stdout that is JSON and returns it.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let line = self.line()?;
        serde_json::from_str(&line).map_err(|error| self.failed(&format!("wrote {line:?} ({error})")))
    }

    /// Waits for the process to end with success.
    pub(super) fn succeed(mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failed(&format!("ended with {status}"))),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return Err(self.failed("does not end")),
                Err(source) => return Err(Failure::Start { program: self.name.to_owned(), source }),
            }
        }
    }

    /// The processor time used so far, in seconds.
    pub(super) fn cpu(&self) -> Result<f64, Failure> {
        spent(self.id()).map_err(|error| self.failed(&format!("tells no times ({error})")))
    }

    /// The resident memory, in KiB.
    pub(super) fn resident(&self) -> Result<f64, Failure> {
        let text = self.proc("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .ok_or_else(|| self.failed("has no VmRSS in its /proc/PID/status"))
    }

    /// The number of the process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A failure that shows the end of the process's log.
    pub(super) fn failed(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n    ");
        Failure::Wrong(format!("{} {what}; its log ends with:\n    {tail}", self.name))
    }

    fn proc(&self, file: &str) -> Result<String, Failure> {
        let path = PathBuf::from(format!("/proc/{}/{file}", self.id()));
        fs::read_to_string(&path).map_err(|source| Failure::file(&path, source))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // one that has ended already needs no signal
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + GRACE;
        let mut asked = false;
        while let Ok(None) = self.child.try_wait() {
            if !asked {
                self.signal(Signal::TERM);
                asked = true;
            } else if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.child.id());
    }
}

/// The processor time that a process has used so far, all its threads together, in seconds.
pub(super) fn spent(id: u32) -> Result<f64, Failure> {
    let path = PathBuf::from(format!("/proc/{id}/stat"));
    let text = fs::read_to_string(&path).map_err(|source| Failure::file(&path, source))?;
    // the name in parentheses may hold spaces: what follows it is counted (proc_pid_stat(5): utime 14, stime 15)
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS),
        _ => Err(Failure::Wrong(format!("{} has no times", path.display()))),
    }
}

/// Raises the limit of open files as far as it goes, for this process and those it starts, and returns it.
pub(super) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // a limit that cannot be raised is told by its number
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
