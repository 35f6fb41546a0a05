//! What this device says about itself, in the person's sight and with the person's rights only.
//!
//! Five answers: pass, fail, unknown, not applicable, error. What cannot be seen is unknown, never a default; a missing
//! permission is not a missing file. A check whose meaning is policy's business (a version, an age) passes when its
//! value is known, and policy judges the value.

mod certificate;
mod command;
mod file;
mod finding;
mod ledger;
mod linux;
mod macos;
mod sys;
mod watch;
mod windows;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ztsa_proto::{
    jws::random_id,
    posture::{Assurance, Check, ClientInfo, Os, Privilege, Reason, Report, Wanted, ttl},
    time::UnixTime,
};

pub(crate) use self::certificate::attest;
use self::finding::Finding;
pub use self::{
    certificate::CertificateError,
    ledger::{Ledger, Seen},
    sys::Sys,
    watch::{INTERVAL, Watch},
};

/// How long a collection may take before the rest is reported as unknown.
const PATIENCE: Duration = Duration::from_secs(4);
/// The most checks that one report holds.
const MOST: usize = 64;

/// Looks at the system and makes a report of the wanted checks, and no others.
///
/// This blocks for a few milliseconds on Linux; macOS and Windows are asked by their own programs, each for at most three
/// seconds.
pub fn collect(wanted: &[Wanted], sys: &Sys, name: &str, now: UnixTime) -> Report {
    let (os, checks) = look_at_all(wanted, sys, now, &|_| ());
    report(os, checks, name)
}

/// Looks at each of the wanted checks once, and tells each answer as soon as it is there.
fn look_at_all(wanted: &[Wanted], sys: &Sys, now: UnixTime, told: &(dyn Fn(&Check) + Sync)) -> (Os, Vec<Check>) {
    let os = os(sys);
    let mut asked: Vec<&Wanted> = Vec::new();
    for one in wanted {
        if asked.len() < MOST && asked.iter().all(|known| known.id != one.id) {
            asked.push(one);
        }
    }
    let timed = |wanted: &Wanted| {
        let started = Instant::now();
        let _under_way = UnderWay::begin(&wanted.id);
        let finding = look(wanted, sys, now);
        let check = check(&wanted.id, finding, now, started.elapsed());
        told(&check);
        check
    };
    let checks = if cfg!(target_os = "linux") {
        asked.into_iter().map(timed).collect()
    } else {
        // Their own programs are slow: all at once.
        std::thread::scope(|scope| {
            let running: Vec<_> = asked.iter().map(|wanted| (*wanted, scope.spawn(|| timed(wanted)))).collect();
            let broken = |id: &str| check(id, Finding::error(Reason::Parse, ""), now, Duration::ZERO);
            running.into_iter().map(|(wanted, check)| check.join().unwrap_or_else(|_| broken(&wanted.id))).collect()
        })
    };
    (os, checks)
}

/// The name that the person or the administrator gave this machine, by which a device is recognised in a list.
///
/// `None` where it has none. On macOS and Windows one of their programs is asked: this may block for a moment.
pub fn device_name(sys: &Sys) -> Option<String> {
    let name = if cfg!(target_os = "macos") {
        macos::device_name(sys)
    } else if cfg!(target_os = "windows") {
        windows::device_name(sys)
    } else {
        linux::device_name(sys)
    };
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty() && name != "(none)")
}

/// Makes a report of this machine off the runtime's threads; what takes longer than four seconds is unknown.
///
/// # Cancel safety
/// Cancel-safe.
pub async fn collect_within(wanted: &[Wanted], name: &str, now: UnixTime) -> Report {
    let late = |wanted: &Wanted| check(&wanted.id, Finding::unknown(Reason::Timeout, ""), now, PATIENCE);
    let nothing = || Os { family: std::env::consts::OS.to_owned(), ..Os::default() };
    // what hangs would do so again: no further thread is given to it
    let owned: Vec<Wanted> = wanted.iter().filter(|wanted| !UnderWay::hangs(&wanted.id)).cloned().collect();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("ztsa-posture".to_owned());
    let shared = Arc::clone(&answers);
    let started = thread.spawn(move || {
        let told = |check: &Check| shared.lock().unwrap_or_else(PoisonError::into_inner).push(check.clone());
        // nobody listens any more when it took too long
        let _ = sender.send(look_at_all(&owned, &Sys::this(), now, &told));
    });
    let whole = match started {
        Ok(_) => tokio::time::timeout(PATIENCE, receiver).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    let (os, mut checks) = whole
        .unwrap_or_else(|| (nothing(), std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner))));
    for wanted in wanted.iter().take(MOST) {
        if checks.iter().all(|check| check.id != wanted.id) {
            checks.push(late(wanted));
        }
    }
    report(os, checks, name)
}

/// A look at one thing that has begun. Some never end, as on a file server that is gone.
struct UnderWay(u64);

static UNDER_WAY: Mutex<Vec<(u64, String, Instant)>> = Mutex::new(Vec::new());

impl UnderWay {
    fn begin(id: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::all().push((number, id.to_owned(), Instant::now()));
        Self(number)
    }

    /// Says whether a look at this has not ended for longer than any may take.
    fn hangs(id: &str) -> bool {
        Self::all().iter().any(|(_, known, since)| known == id && since.elapsed() >= PATIENCE)
    }

    fn all() -> MutexGuard<'static, Vec<(u64, String, Instant)>> {
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        Self::all().retain(|(number, ..)| *number != self.0);
    }
}

fn report(os: Os, checks: Vec<Check>, name: &str) -> Report {
    let client = ClientInfo { name: name.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let id = random_id();
    Report { v: 1, id, os, privilege: Privilege::User, client, checks, partial: false, evidence: BTreeMap::new() }
}

fn look(wanted: &Wanted, sys: &Sys, now: UnixTime) -> Finding {
    if wanted.id == "os.eol" {
        // The gateway works it out from the version: its table is newer than this program.
        return Finding::unknown(Reason::Unsupported, "");
    }
    match wanted.id.split_once('.') {
        // The proof is made when the report is signed: see `certificate`.
        Some(("cert", _)) => Finding::unknown(Reason::Absent, "config.toml certificate"),
        Some(("file", _)) => file::look(wanted, sys),
        _ if cfg!(target_os = "linux") => linux::look(wanted, sys, now),
        _ if cfg!(target_os = "macos") => macos::look(wanted, sys, now),
        _ if cfg!(target_os = "windows") => windows::look(wanted, sys),
        _ => Finding::unknown(Reason::Unsupported, ""),
    }
}

fn os(sys: &Sys) -> Os {
    if cfg!(target_os = "linux") {
        linux::os(sys)
    } else if cfg!(target_os = "macos") {
        macos::os(sys)
    } else if cfg!(target_os = "windows") {
        windows::os(sys)
    } else {
        Os { family: std::env::consts::OS.to_owned(), ..Os::default() }
    }
}

fn check(id: &str, finding: Finding, at: UnixTime, took: Duration) -> Check {
    let finding = finding.bounded();
    Check {
        id: id.to_owned(),
        state: finding.state,
        reason: finding.reason,
        value: finding.value,
        source: finding.source.into_owned(),
        assurance: Assurance::SelfReported,
        at,
        ttl: ttl(id),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests;
