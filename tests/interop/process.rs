//! Other people's programs: started, watched, and ended by the id of their own process group.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::folder::Folder;

/// How long a program may take to get ready, on a machine with other work to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs until it is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; all that it writes goes to a log in this folder.
    pub fn start(name: &str, folder: &Folder, command: &mut Command) -> Self {
        Self::reading(name, folder, command, Stdio::null())
    }

    /// Starts a program that reads what [`Process::types`] writes.
    pub fn typed(name: &str, folder: &Folder, command: &mut Command) -> Self {
        Self::reading(name, folder, command, Stdio::piped())
    }

    fn reading(name: &str, folder: &Folder, command: &mut Command, input: Stdio) -> Self {
        let log = folder.join(&format!("{name}.log"));
        let out = File::create(&log).unwrap();
        let child = command
            .stdin(input)
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}; `cargo xtask test` installs it"));
        Self { name: name.to_owned(), child, log }
    }

    /// What the program has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the program has written a line that holds this text, and returns the line.
    pub fn line(&mut self, text: &str) -> String {
        let what = format!("{} to write {text:?}", self.name);
        self.until(&what, |process| {
            process.log().split_inclusive('\n').find(|l| l.contains(text) && l.ends_with('\n')).map(str::to_owned)
        })
    }

    /// Waits until what the program has written is enough for this, and returns what that gives.
    pub fn shows<T>(&mut self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        let what = format!("{} to show {what}", self.name);
        self.until(&what, |process| found(&process.log()))
    }

    /// Types on the keyboard of a program of [`Process::typed`].
    pub fn types(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until something listens on this port of 127.0.0.1.
    pub fn listens(&mut self, port: u16) {
        let what = format!("{} to listen on port {port}", self.name);
        self.until(&what, |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    }

    /// Waits until the program has ended, and returns how.
    pub fn ended(&mut self) -> ExitStatus {
        let what = format!("{} to end", self.name);
        until(&what, PATIENCE, || self.child.try_wait().unwrap())
    }

    /// Asks the program to end, as Ctrl-C does, and waits until it has.
    pub fn interrupt(&mut self) -> ExitStatus {
        self.signal(Signal::INT);
        self.ended()
    }

    /// Stops the program where it stands.
    pub fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn until<T>(&mut self, what: &str, mut ready: impl FnMut(&Self) -> Option<T>) -> T {
        until(what, PATIENCE, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("waiting for {what}: it ended with {status} and wrote:\n{}", self.log());
            }
            ready(self)
        })
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- {} wrote:\n{}", self.name, self.log());
        }
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.signal(Signal::CONT);
        self.signal(Signal::INT);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// What a program that ran to its end left.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    line: String,
}

impl Outcome {
    /// Asserts success and returns what the program wrote to stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }

    /// Asserts this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, stdout, stderr, line } = self;
        write!(f, "`{line}` ended with {code:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

/// Runs a program to its end, and ends it when it takes longer than a minute.
pub fn finish(command: &mut Command) -> Outcome {
    let folder = Folder::new("run");
    let (out, err) = (folder.join("out"), folder.join("err"));
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `{line}`: {error}; `cargo xtask test` installs what tests need"));
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Outcome { code: status.code(), stdout: read(&out), stderr: read(&err), line };
        }
        if Instant::now() > deadline {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
            panic!("`{line}` did not end in {PATIENCE:?}\nstdout: {}\nstderr: {}", read(&out), read(&err));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Polls until there is an answer; a deadline is a failure that says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Finds a port of 127.0.0.1 that nothing listens on: below those that the system gives to outgoing connections, and from
/// a block of this process, so that tests that run at once do not meet.
pub fn free_port() -> u16 {
    static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let mut blocks = BLOCKS.lock().unwrap();
    loop {
        let mut ports = blocks.last_mut().into_iter().flat_map(|block| &mut block.ports);
        if let Some(port) = ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()) {
            return port;
        }
        blocks.push(Block::take());
    }
}

/// Ports that no other process of these tests takes while this one lives.
struct Block {
    ports: Range<u16>,
    _lock: File,
}

impl Block {
    fn take() -> Self {
        let first = u16::try_from(std::process::id() % 500).unwrap();
        let take = |number| {
            // a file that cannot be opened is another user's
            let lock = File::create(std::env::temp_dir().join(format!("ztsa-ports-{number}"))).ok()?;
            lock.try_lock().ok()?;
            let start = 20_000 + number * 20;
            Some(Self { ports: start..start + 20, _lock: lock })
        };
        (first..500).chain(0..first).find_map(take).expect("a block of ports that nobody holds")
    }
}
