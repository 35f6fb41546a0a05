//! Linux, by its own files; nothing here needs root.

mod account;
mod apt;
mod block;
mod boot;
mod browser;
mod disk;
mod firewall;
mod machine;
mod mount;
mod process;
mod screen;
mod trust;
mod update;

use std::path::Path;

use serde_json::json;
use ztsa_proto::{
    posture::{Os, Reason, Wanted},
    time::UnixTime,
};

use super::{Finding, Sys};

const RELEASE: &str = "/etc/os-release";
const HOSTNAME: &str = "/proc/sys/kernel/hostname";
const KERNEL: &str = "/proc/sys/kernel/osrelease";

pub(super) fn look(wanted: &Wanted, sys: &Sys, now: UnixTime) -> Finding {
    let id = wanted.id.as_str();
    match id.split_once('.').unwrap_or((id, "")) {
        ("boot", "secure_boot") => boot::secure_boot(sys, std::env::consts::ARCH),
        ("boot", "lockdown") => boot::lockdown(sys),
        ("boot", "lsm") => boot::lsm(sys),
        ("browser", name) => browser::version(sys, name),
        ("ca", _) => trust::authority(wanted, sys),
        ("disk", "root") => disk::of(sys, "/"),
        ("disk", "home") => disk::home(sys),
        ("disk", "swap") => disk::swap(sys),
        ("edr", "") => process::protection(wanted, sys),
        ("fw", "enabled") => firewall::enabled(sys),
        ("hw", "tpm") => boot::tpm(sys),
        ("lock", "enabled") => screen::locks(sys),
        ("lock", "delay") => screen::delay(sys),
        ("os", "version") => version(sys),
        ("os", "kernel") => Finding::known(sys.read(KERNEL).map(|text| text.trim().into()), KERNEL),
        ("os", "patch_age") => update::patch_age(sys, now),
        ("os", "uptime") => machine::uptime(sys),
        ("os", "domain") => account::domain(sys),
        ("os", "managed") => account::managed(sys),
        ("process", _) => process::running(wanted, sys),
        ("updates", "auto") => update::automatic(sys),
        ("updates", "reboot") => update::reboot(sys),
        ("user", "admin") => account::administrator(sys),
        ("user", "root") => account::root(sys),
        ("virt", "machine") => machine::virtual_machine(sys),
        ("virt", "container") => machine::container(sys),
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

pub(super) fn device_name(sys: &Sys) -> Option<String> {
    sys.read(HOSTNAME).ok()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Release {
    id: String,
    like: String,
    version: String,
    name: String,
}

impl Release {
    /// Whether it is one of these distributions, or made from one.
    fn is(&self, families: &[&str]) -> bool {
        families.iter().any(|family| self.id == *family || self.like.split_whitespace().any(|like| like == *family))
    }
}

/// Where a container sees its host's os-release: as systemd and flatpak give it, or below the host's whole tree (Toolbx).
const HOSTS: [&str; 3] = ["/run/host/os-release", "/run/host/etc/os-release", "/run/host/usr/lib/os-release"];

/// Inside a container that knows its host, the host counts.
fn release(sys: &Sys) -> Result<Release, Reason> {
    released(sys).map(|(release, _)| release).map_err(|(reason, _)| reason)
}

/// The release, and the file that says so.
fn released(sys: &Sys) -> Result<(Release, &'static str), (Reason, &'static str)> {
    for path in HOSTS.into_iter().chain([RELEASE, "/usr/lib/os-release"]) {
        match sys.read(path) {
            Ok(text) => return parse_release(&text).map(|release| (release, path)).ok_or((Reason::Parse, path)),
            Err(Reason::Absent) => {}
            Err(reason) => return Err((reason, path)),
        }
    }
    Err((Reason::Absent, RELEASE))
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
            "ID_LIKE" => release.like = value,
            "VERSION_ID" => release.version = value,
            "BUILD_ID" if release.version.is_empty() => release.version = value,
            "PRETTY_NAME" => release.name = value,
            _ => {}
        }
    }
    (!release.id.is_empty()).then_some(release)
}

fn version(sys: &Sys) -> Finding {
    let (Release { id, version, name, .. }, source) = match released(sys) {
        Ok(found) => found,
        Err((reason, source)) => return Finding::unknown(reason, source),
    };
    let cut = |text: String| text.chars().take(60).collect::<String>();
    Finding::pass(json!({ "id": cut(id), "version": cut(version), "name": cut(name) }), source)
}

/// The home directory of the user that is looked for, from the local accounts.
fn home(sys: &Sys) -> Result<Option<String>, Reason> {
    let accounts = sys.read("/etc/passwd")?;
    let uid = sys.uid().to_string();
    let own = accounts.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()? == uid).then(|| fields.nth(2))?.map(str::to_owned)
    });
    Ok(own.filter(|path| path.starts_with('/')))
}

/// The person's home directory, for who watches what lies in it.
pub(super) fn home_of(sys: &Sys) -> Option<String> {
    home(sys).ok().flatten()
}

/// The processes that the wanted checks look for, for who waits for their end.
pub(super) fn pids_of(wanted: &[Wanted], sys: &Sys) -> Vec<u32> {
    process::pids(sys, wanted)
}

/// Whether systemd runs a service now: its control group is there as long as one of its processes is.
fn runs(sys: &Sys, service: &str) -> Result<bool, Reason> {
    const ROOTS: [&str; 2] = ["/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice"];
    let mut hidden = Reason::Absent;
    for root in ROOTS {
        match sys.exists(root) {
            Ok(true) => return sys.exists(&format!("{root}/{service}")),
            Ok(false) => {}
            Err(reason) => hidden = reason,
        }
    }
    Err(hidden)
}

/// Whether systemd starts a unit by itself, by the links that `systemctl enable` makes, and those that `systemctl mask` does.
fn is_enabled(sys: &Sys, target: &str, unit: &str) -> Result<bool, Reason> {
    let nothing =
        |root| std::fs::read_link(sys.path(&format!("{root}/{unit}"))).is_ok_and(|to| to == Path::new("/dev/null"));
    if ["/etc/systemd/system", "/run/systemd/system"].into_iter().any(nothing) {
        return Ok(false);
    }
    let mut found = Ok(false);
    for root in ["/etc/systemd/system", "/usr/lib/systemd/system"] {
        match sys.exists(&format!("{root}/{target}.wants/{unit}")) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(reason) => found = Err(reason),
        }
    }
    found
}

#[cfg(test)]
mod tests;
