//! Whether root, home and swap are encrypted.

use ztsa_proto::posture::Reason;

use super::{
    Finding, Sys,
    block::{Disk, Walk},
    mount::{self, mounts, swaps},
};

const MOUNTS: &str = "/proc/self/mountinfo";
const SWAPS: &str = "/proc/swaps";

/// Looks under the file system that a path is on.
pub(super) fn of(sys: &Sys, path: &str) -> Finding {
    let table = match sys.read_up_to(MOUNTS, mount::LARGEST) {
        Ok(text) => mounts(&text),
        Err(reason) => return Finding::unknown(reason, MOUNTS),
    };
    match mount::of(&table, path) {
        Some(mount) => judge(Walk::new(sys, &table).under(mount)),
        None => Finding::unknown(Reason::Parse, MOUNTS),
    }
}

/// Looks under the person's own directory. What is encrypted by itself (fscrypt) needs no encrypted disk. An account that
/// is not one of the local ones (systemd-homed, SSSD) may live anywhere.
pub(super) fn home(sys: &Sys) -> Finding {
    match super::home(sys) {
        Ok(Some(home)) => {
            let found = of(sys, &home);
            if is_encrypted(&sys.path(&home)) { by_itself(found) } else { found }
        }
        Ok(None) => Finding::unknown(Reason::Absent, "/etc/passwd"),
        Err(reason) => Finding::unknown(reason, "/etc/passwd"),
    }
}

/// What the disk below says counts where it is encrypted too.
fn by_itself(below: Finding) -> Finding {
    match below.state {
        ztsa_proto::posture::State::Pass => below,
        _ => Finding::pass("fscrypt", "statx STATX_ATTR_ENCRYPTED"),
    }
}

/// Whether the file system encrypts this directory (ext4, f2fs, ubifs).
#[cfg(target_os = "linux")]
fn is_encrypted(path: &std::path::Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let seen = statx(CWD, path, AtFlags::empty(), StatxFlags::empty());
    seen.is_ok_and(|seen| seen.stx_attributes.contains(StatxAttributes::ENCRYPTED))
}

#[cfg(not(target_os = "linux"))]
fn is_encrypted(_: &std::path::Path) -> bool {
    false
}

/// Judges every area that memory is written to.
pub(super) fn swap(sys: &Sys) -> Finding {
    let (text, table) = match (sys.read(SWAPS), sys.read_up_to(MOUNTS, mount::LARGEST)) {
        (Ok(text), Ok(table)) => (text, mounts(&table)),
        (Err(reason), _) => return Finding::unknown(reason, SWAPS),
        (_, Err(reason)) => return Finding::unknown(reason, MOUNTS),
    };
    let Some(areas) = swaps(&text) else { return Finding::unknown(Reason::Parse, SWAPS) };
    if areas.is_empty() {
        return Finding::not_applicable("no swap", SWAPS);
    }
    let walk = Walk::new(sys, &table);
    let disks = areas.iter().map(|area| {
        let mount = area.is_file.then(|| mount::of(&table, &area.path));
        match mount {
            Some(mount) => mount.map_or(Disk::Unknown(Reason::Parse), |mount| walk.under(mount)),
            None => walk.named(&area.path),
        }
    });
    judge(disks.reduce(Disk::and).unwrap_or(Disk::Unknown(Reason::Parse)))
}

fn judge(disk: Disk) -> Finding {
    const SOURCE: &str = "sysfs dm/uuid";
    match disk {
        Disk::Encrypted(kind) if kind.starts_with("zfs") => Finding::pass(kind, "zfs get encryption"),
        Disk::Encrypted(kind) => Finding::pass(kind, SOURCE),
        Disk::Plain => Finding::fail("none visible", SOURCE),
        Disk::Unknown(reason) => Finding::unknown(reason, SOURCE),
        Disk::None(kind) => Finding::not_applicable(kind, MOUNTS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_is_encrypted_by_itself_needs_no_encrypted_disk() {
        for below in [Finding::fail("none visible", "x"), Finding::unknown(Reason::Unsupported, "x")] {
            assert_eq!(by_itself(below).value.unwrap(), "fscrypt");
        }
        assert_eq!(by_itself(Finding::pass("luks2", "x")).value.unwrap(), "luks2");
        assert!(!is_encrypted(std::path::Path::new("/no/such/home")));
    }
}
