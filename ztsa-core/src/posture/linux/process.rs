//! Which programs run. A name is easily forged; the file behind it is seen only for one's own processes.

use std::path::Path;

use ztsa_proto::posture::{Reason, Wanted};

use super::{Finding, Sys};
use crate::posture::sys::{names, read, reason};

const PROC: &str = "/proc";
/// The kernel cuts a process's name to this many bytes.
const NAME: usize = 15;
/// The most processes that are looked at; on a machine with more, what was not found is unknown.
const MOST: usize = 50_000;
const LIMIT: u64 = 4_096;

/// One process.
struct Process {
    pid: String,
    name: String,
}

/// All processes that may be seen.
struct Processes {
    all: Vec<Process>,
    /// Why some may be hidden.
    hidden: Option<Reason>,
}

fn processes(sys: &Sys) -> Result<Processes, Reason> {
    let root = sys.path(PROC);
    let numbers = names(&root).map_err(|error| reason(&error))?;
    let mut numbers = numbers.into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let mut all = Vec::new();
    for pid in numbers.by_ref().take(MOST) {
        // One that ended meanwhile does not run.
        if let Ok(name) = read(&root.join(&pid).join("comm"), LIMIT) {
            all.push(Process { name: name.trim_end_matches('\n').to_owned(), pid });
        }
    }
    // With `hidepid`, others' processes are not there or not readable: the first process of all shows it.
    let hidden = match sys.read("/proc/1/comm") {
        Ok(_) => numbers.next().map(|_| Reason::Unsupported),
        Err(_) => Some(Reason::Permission),
    };
    Ok(Processes { all, hidden })
}

/// Whether one of the products that the gateway names is running.
pub(super) fn protection(wanted: &Wanted, sys: &Sys) -> Finding {
    if wanted.products.is_empty() {
        return Finding::not_applicable("the gateway names none", PROC);
    }
    let seen = match processes(sys) {
        Ok(seen) => seen,
        Err(reason) => return Finding::unknown(reason, PROC),
    };
    let runs = |name: &String| seen.all.iter().any(|process| is_named(&process.name, name));
    match wanted.products.iter().find(|product| product.processes.iter().any(runs)) {
        Some(product) => Finding::pass(product.name.as_str(), "/proc/PID/comm"),
        None => absent(&seen, "none of them runs"),
    }
}

/// Whether a program runs, by its path. That of others' processes cannot be read: their name and first argument count then,
/// and the value says so.
pub(super) fn running(wanted: &Wanted, sys: &Sys) -> Finding {
    let Some(path) = wanted.path.on("linux") else { return Finding::not_applicable("no path for Linux", "") };
    let Some((_, file)) = path.rsplit_once('/').filter(|(_, file)| path.starts_with('/') && !file.is_empty()) else {
        return Finding::error(Reason::Parse, PROC);
    };
    let seen = match processes(sys) {
        Ok(seen) => seen,
        Err(reason) => return Finding::unknown(reason, PROC),
    };
    let mut by_name = false;
    for process in &seen.all {
        let dir = sys.path(PROC).join(&process.pid);
        match std::fs::read_link(dir.join("exe")) {
            Ok(exe) if exe.to_str() == Some(path) => return Finding::pass("path", "/proc/PID/exe"),
            Err(_) if is_named(&process.name, file) => {
                let line = read(&dir.join("cmdline"), LIMIT).unwrap_or_default();
                by_name |= line.split('\0').next() == Some(path);
            }
            Ok(_) | Err(_) => {}
        }
    }
    if by_name { Finding::pass("name", "/proc/PID/cmdline") } else { absent(&seen, "not running") }
}

/// The numbers of the processes that answer one of these checks.
pub(super) fn pids(sys: &Sys, wanted: &[Wanted]) -> Vec<u32> {
    let mut names: Vec<&str> = Vec::new();
    for wanted in wanted {
        match wanted.id.split_once('.') {
            Some(("process", _)) => names.extend(wanted.path.on("linux").and_then(|path| path.rsplit('/').next())),
            None if wanted.id == "edr" => {
                names.extend(wanted.products.iter().flat_map(|product| &product.processes).map(String::as_str));
            }
            _ => {}
        }
    }
    let Ok(seen) = (if names.is_empty() { Err(Reason::Absent) } else { processes(sys) }) else { return Vec::new() };
    let wanted = seen.all.iter().filter(|process| names.iter().any(|name| is_named(&process.name, name)));
    wanted.filter_map(|process| process.pid.parse().ok()).collect()
}

fn absent(seen: &Processes, value: &str) -> Finding {
    match seen.hidden {
        Some(reason) => Finding::unknown(reason, PROC),
        None => Finding::fail(value, PROC),
    }
}

/// Which of these programs the person runs; `None` when none does or it is not known. What others run is theirs.
pub(super) fn own<'n>(sys: &Sys, wanted: &[&'n str]) -> Option<&'n str> {
    let seen = processes(sys).ok()?;
    let is_own = |pid: &str| owner(&sys.path(PROC).join(pid)) == Some(sys.uid());
    let runs = |name: &str| seen.all.iter().any(|process| is_named(&process.name, name) && is_own(&process.pid));
    wanted.iter().copied().find(|name| runs(name))
}

/// Whose process it is, by its directory.
#[cfg(unix)]
fn owner(dir: &Path) -> Option<u32> {
    std::fs::metadata(dir).ok().map(|found| std::os::unix::fs::MetadataExt::uid(&found))
}

#[cfg(not(unix))]
fn owner(_: &Path) -> Option<u32> {
    None
}

/// Compares with what the kernel kept of a name.
fn is_named(kept: &str, name: &str) -> bool {
    let cut = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= NAME).last().unwrap_or(0);
    !kept.is_empty() && (kept == name || (name.len() > NAME && name.get(..cut) == Some(kept)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_compared_as_the_kernel_cuts_them() {
        assert!(is_named("falcon-sensor", "falcon-sensor"));
        assert!(is_named("sentinelone-age", "sentinelone-agent"));
        assert!(!is_named("sentinelone", "sentinelone-agent"));
        assert!(!is_named("", ""));
        assert!(!is_named("falcon-sensor-x", "falcon-sensor"));
    }

    proptest! {
        #[test]
        fn no_name_is_too_much(kept in "\\PC{0,20}", name in "\\PC{0,40}") {
            let _ = is_named(&kept, &name);
        }
    }
}
