//! Linux, by its own files; nothing here needs root.

mod block;
mod mount;

use serde_json::{Value, json};
use ztsa_proto::{
    posture::{Os, Reason},
    time::UnixTime,
};

use self::{
    block::Disk,
    mount::{mounts, swaps},
};
use super::{Finding, Sys};

const RELEASE: &str = "/etc/os-release";
const KERNEL: &str = "/proc/sys/kernel/osrelease";
const MOUNTS: &str = "/proc/self/mountinfo";
const SWAPS: &str = "/proc/swaps";
/// What package managers write when they update.
const PACKAGES: [&str; 8] = [
    "/var/lib/dpkg/status",
    "/var/lib/apt/lists",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/pacman/local",
    "/lib/apk/db/installed",
    "/sysroot/ostree/repo/refs",
];

pub(super) fn look(id: &str, sys: &Sys, now: UnixTime) -> Finding {
    match id {
        "os.version" => Finding::known(version(sys), RELEASE),
        "os.kernel" => Finding::known(sys.read(KERNEL).map(|text| text.trim().into()), KERNEL),
        "os.patch_age" => patch_age(sys, now),
        "disk.root" => disk(sys, "/"),
        "disk.home" => match home(sys) {
            Ok(home) => disk(sys, &home),
            Err(reason) => Finding::unknown(reason, "/etc/passwd"),
        },
        "disk.swap" => swap(sys),
        _ => Finding::unknown(Reason::Unsupported, ""),
    }
}

pub(super) fn os(sys: &Sys) -> Os {
    let release = release(sys).unwrap_or_default();
    Os {
        family: "linux".to_owned(),
        id: release.id,
        version: release.version,
        kernel: sys.read(KERNEL).map(|text| text.trim().to_owned()).unwrap_or_default(),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Release {
    id: String,
    version: String,
    name: String,
}

/// Inside a container that knows its host, the host counts.
fn release(sys: &Sys) -> Result<Release, Reason> {
    let host = sys.read("/run/host/os-release");
    let text = host.or_else(|_| sys.read(RELEASE)).or_else(|reason| match reason {
        Reason::Absent => sys.read("/usr/lib/os-release"),
        other => Err(other),
    })?;
    parse_release(&text).ok_or(Reason::Parse)
}

/// Reads os-release(5).
fn parse_release(text: &str) -> Option<Release> {
    let mut release = Release::default();
    for line in text.lines() {
        let Some((name, value)) = line.trim().split_once('=') else { continue };
        let value = value.trim();
        let quoted = ['"', '\''].into_iter().find_map(|q| value.strip_prefix(q)?.strip_suffix(q));
        let value = quoted.unwrap_or(value).replace('\\', "");
        match name {
            "ID" => release.id = value,
            "VERSION_ID" => release.version = value,
            "BUILD_ID" if release.version.is_empty() => release.version = value,
            "PRETTY_NAME" => release.name = value,
            _ => {}
        }
    }
    (!release.id.is_empty()).then_some(release)
}

fn version(sys: &Sys) -> Result<Value, Reason> {
    let Release { id, version, name } = release(sys)?;
    let cut = |text: String| text.chars().take(200).collect::<String>();
    Ok(json!({ "id": cut(id), "version": cut(version), "name": cut(name) }))
}

fn patch_age(sys: &Sys, now: UnixTime) -> Finding {
    let mut newest: Option<(UnixTime, &'static str)> = None;
    let mut hidden = Reason::Absent;
    for path in PACKAGES {
        match std::fs::metadata(sys.path(path)).and_then(|found| found.modified()) {
            Ok(time) => newest = newest.max(Some((UnixTime::from(time), path))),
            Err(error) if super::reason(&error) == Reason::Absent => {}
            Err(error) => hidden = super::reason(&error),
        }
    }
    match newest {
        Some((time, source)) => Finding::pass(now.since(time).as_secs() / super::DAY, source),
        None => Finding::unknown(hidden, "package database"),
    }
}

/// The home directory of the user that is looked for, from the local accounts; `/home` for others.
fn home(sys: &Sys) -> Result<String, Reason> {
    let accounts = sys.read("/etc/passwd")?;
    let uid = sys.uid.to_string();
    let own = accounts.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()? == uid).then(|| fields.nth(2))?.map(str::to_owned)
    });
    Ok(own.filter(|path| path.starts_with('/')).unwrap_or_else(|| "/home".to_owned()))
}

fn disk(sys: &Sys, path: &str) -> Finding {
    let table = match sys.read(MOUNTS) {
        Ok(text) => mounts(&text),
        Err(reason) => return Finding::unknown(reason, MOUNTS),
    };
    match mount::of(&table, path) {
        Some(mount) => judge(block::under(sys, mount)),
        None => Finding::unknown(Reason::Parse, MOUNTS),
    }
}

fn swap(sys: &Sys) -> Finding {
    let (text, table) = match (sys.read(SWAPS), sys.read(MOUNTS)) {
        (Ok(text), Ok(table)) => (text, mounts(&table)),
        (Err(reason), _) => return Finding::unknown(reason, SWAPS),
        (_, Err(reason)) => return Finding::unknown(reason, MOUNTS),
    };
    let Some(areas) = swaps(&text) else { return Finding::unknown(Reason::Parse, SWAPS) };
    if areas.is_empty() {
        return Finding::not_applicable("no swap", SWAPS);
    }
    let disks = areas.iter().map(|area| {
        let mount = area.is_file.then(|| mount::of(&table, &area.path));
        match mount {
            Some(mount) => mount.map_or(Disk::Unknown(Reason::Parse), |mount| block::under(sys, mount)),
            None => block::named(sys, &area.path),
        }
    });
    judge(disks.reduce(Disk::and).unwrap_or(Disk::Unknown(Reason::Parse)))
}

fn judge(disk: Disk) -> Finding {
    const SOURCE: &str = "sysfs dm/uuid";
    match disk {
        Disk::Encrypted(kind) => Finding::pass(kind, SOURCE),
        Disk::Plain => Finding::fail("none visible", SOURCE),
        Disk::Unknown(reason) => Finding::unknown(reason, SOURCE),
        Disk::None(kind) => Finding::not_applicable(kind, MOUNTS),
    }
}

#[cfg(test)]
mod tests;
