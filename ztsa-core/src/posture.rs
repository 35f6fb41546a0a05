//! What this device says about itself, in the person's sight and with the person's rights only.
//!
//! Five answers: pass, fail, unknown, not applicable, error. What cannot be seen is unknown, never a default; a missing
//! permission is not a missing file. A check whose meaning is policy's business (a version, an age) passes when its
//! value is known, and policy judges the value.

mod command;
mod linux;
mod macos;
mod windows;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use ztsa_proto::{
    jws::random_id,
    posture::{Assurance, Check, ClientInfo, Os, Privilege, Reason, Report, State},
    time::UnixTime,
};

/// How long a collection may take before the rest is reported as unknown.
const PATIENCE: Duration = Duration::from_secs(4);
/// The largest file that is read, in bytes.
const LIMIT: u64 = 256 * 1024;
const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;

/// The system that is looked at: this machine, or a tree of files that stands for one.
#[derive(Clone, Debug)]
pub struct Sys {
    root: PathBuf,
    uid: u32,
}

impl Sys {
    /// This machine, as the user that runs this process.
    pub fn this() -> Self {
        #[cfg(unix)]
        let uid = rustix::process::geteuid().as_raw();
        #[cfg(not(unix))]
        let uid = 0;
        Self { root: PathBuf::from("/"), uid }
    }

    /// A tree of files, seen as this user.
    pub fn at(root: impl Into<PathBuf>, uid: u32) -> Self {
        Self { root: root.into(), uid }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> Result<String, Reason> {
        read(&self.path(path))
    }
}

/// What one look brought.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    state: State,
    reason: Option<Reason>,
    value: Option<Value>,
    source: &'static str,
}

impl Finding {
    fn pass(value: impl Into<Value>, source: &'static str) -> Self {
        Self { state: State::Pass, reason: None, value: Some(value.into()), source }
    }

    fn fail(value: impl Into<Value>, source: &'static str) -> Self {
        Self { state: State::Fail, reason: None, value: Some(value.into()), source }
    }

    fn unknown(reason: Reason, source: &'static str) -> Self {
        Self { state: State::Unknown, reason: Some(reason), value: None, source }
    }

    fn not_applicable(value: impl Into<Value>, source: &'static str) -> Self {
        Self { state: State::NotApplicable, reason: None, value: Some(value.into()), source }
    }

    /// A value whose meaning is policy's business.
    fn known(value: Result<Value, Reason>, source: &'static str) -> Self {
        match value {
            Ok(value) => Self::pass(value, source),
            Err(reason) => Self::unknown(reason, source),
        }
    }
}

/// Says why a check is made and how to mend it, for `ztsa posture`.
#[derive(Clone, Copy, Debug)]
pub struct Explanation {
    /// The check's id.
    pub id: &'static str,
    /// What it tells and why that is asked.
    pub why: &'static str,
    /// What to do when it fails.
    pub remedy: &'static str,
}

/// Every check that this version can make.
pub const EXPLANATIONS: [Explanation; 6] = [
    Explanation {
        id: "os.version",
        why: "the name and version of the operating system, to tell whether it still gets security updates",
        remedy: "install a release that still gets updates",
    },
    Explanation {
        id: "os.kernel",
        why: "the kernel's version, to tell whether it has known holes",
        remedy: "install the newest kernel and restart",
    },
    Explanation { id: "os.patch_age", why: "the days since packages were last updated", remedy: "install updates" },
    Explanation {
        id: "disk.root",
        why: "whether the disk of the system is encrypted, so that a lost device shows nothing",
        remedy: "encrypt the disk: LUKS when installing Linux, FileVault on macOS, BitLocker on Windows",
    },
    Explanation {
        id: "disk.home",
        why: "whether the disk of your files is encrypted, so that a lost device shows nothing",
        remedy: "encrypt the disk: LUKS when installing Linux, FileVault on macOS, BitLocker on Windows",
    },
    Explanation {
        id: "disk.swap",
        why: "whether memory that is written to disk is encrypted",
        remedy: "put the swap space on an encrypted disk, or use zram",
    },
];

/// Looks at the system and makes a report of the wanted checks, and no others.
///
/// This blocks for a few milliseconds on Linux; macOS and Windows are asked by their own programs.
pub fn collect(wanted: &[String], sys: &Sys, name: &str, now: UnixTime) -> Report {
    let os = os(sys);
    let mut checks: Vec<Check> = Vec::new();
    for id in wanted.iter().take(64) {
        if checks.iter().all(|check| check.id != *id) {
            let started = Instant::now();
            let finding = look(id, sys, now);
            checks.push(check(id, finding, now, started.elapsed()));
        }
    }
    report(os, checks, name)
}

/// Makes a report of this machine off the runtime's threads; what takes longer than four seconds is unknown.
///
/// # Cancel safety
/// Cancel-safe.
pub async fn collect_within(wanted: &[String], name: &str, now: UnixTime) -> Report {
    let (owned, client) = (wanted.to_vec(), name.to_owned());
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("ztsa-posture".to_owned());
    let started = thread.spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = sender.send(collect(&owned, &Sys::this(), &client, now));
    });
    if started.is_ok()
        && let Ok(Ok(report)) = tokio::time::timeout(PATIENCE, receiver).await
    {
        return report;
    }
    let late = |id: &String| check(id, Finding::unknown(Reason::Timeout, ""), now, PATIENCE);
    report(
        Os { family: std::env::consts::OS.to_owned(), ..Os::default() },
        wanted.iter().take(64).map(late).collect(),
        name,
    )
}

fn report(os: Os, checks: Vec<Check>, name: &str) -> Report {
    let client = ClientInfo { name: name.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    Report { v: 1, id: random_id(), os, privilege: Privilege::User, client, checks }
}

fn look(id: &str, sys: &Sys, now: UnixTime) -> Finding {
    if cfg!(target_os = "linux") {
        linux::look(id, sys, now)
    } else if cfg!(target_os = "macos") {
        macos::look(id, sys, now, &command::run)
    } else if cfg!(target_os = "windows") {
        windows::look(id, &command::run)
    } else {
        Finding::unknown(Reason::Unsupported, "")
    }
}

fn os(sys: &Sys) -> Os {
    if cfg!(target_os = "linux") {
        linux::os(sys)
    } else if cfg!(target_os = "macos") {
        macos::os(sys)
    } else if cfg!(target_os = "windows") {
        windows::os(&command::run)
    } else {
        Os { family: std::env::consts::OS.to_owned(), ..Os::default() }
    }
}

fn check(id: &str, finding: Finding, at: UnixTime, took: Duration) -> Check {
    Check {
        id: id.to_owned(),
        state: finding.state,
        reason: finding.reason,
        value: finding.value,
        source: finding.source.to_owned(),
        assurance: Assurance::SelfReported,
        at,
        ttl: if id.starts_with("disk.") { HOUR } else { DAY },
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Reads a small file; what is not there is told from what may not be read.
fn read(path: &Path) -> Result<String, Reason> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| reason(&error))?;
    file.take(LIMIT).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    String::from_utf8(bytes).map_err(|_| Reason::Parse)
}

fn reason(error: &std::io::Error) -> Reason {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Reason::Absent,
        ErrorKind::PermissionDenied => Reason::Permission,
        ErrorKind::TimedOut => Reason::Timeout,
        _ => Reason::Parse,
    }
}

#[cfg(test)]
mod tests;
