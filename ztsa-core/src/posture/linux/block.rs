//! Whether what is on a block device is encrypted: from the device down to everything that it lies on.
//!
//! Everything below must be encrypted; one plain half of a mirror shows it all. Encryption by the drive itself (OPAL) and
//! by a cloud's volume cannot be seen from here.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ztsa_proto::posture::Reason;

use super::{Sys, mount::Mount};
use crate::posture::{read, reason};

/// How deep devices may lie on each other.
const DEPTH: u32 = 16;

/// What is known of what is under a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// All of it is encrypted; the kinds.
    Encrypted(String),
    /// Some of it is not, as far as can be seen.
    Plain,
    /// It cannot be told.
    Unknown(Reason),
    /// There is no disk under it; what there is instead.
    None(String),
}

impl Disk {
    /// Both lie under the same thing: plain counts most, then unknown.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Plain, _) | (_, Self::Plain) => Self::Plain,
            (Self::Unknown(reason), _) | (_, Self::Unknown(reason)) => Self::Unknown(reason),
            (Self::None(_), known) | (known, Self::None(_)) => known,
            (Self::Encrypted(one), Self::Encrypted(two)) if one == two => Self::Encrypted(one),
            (Self::Encrypted(one), Self::Encrypted(two)) => Self::Encrypted(format!("{one}+{two}")),
        }
    }
}

/// Looks under a mount.
pub(super) fn under(sys: &Sys, mount: &Mount) -> Disk {
    match mount.kind.as_str() {
        "zfs" | "bcachefs" => Disk::Unknown(Reason::Unsupported),
        "ecryptfs" | "fuse.gocryptfs" | "fuse.encfs" | "fuse.cryfs" => Disk::Encrypted(mount.kind.clone()),
        "btrfs" => btrfs(sys, &mount.source),
        kind if mount.major == 0 => match kind {
            "overlay" | "tmpfs" | "ramfs" | "rootfs" | "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "virtiofs"
            | "ceph" => Disk::None(mount.kind.clone()),
            _ if mount.source.starts_with("/dev/") => named(sys, &mount.source),
            _ => Disk::Unknown(Reason::Unsupported),
        },
        _ => device(&sys.path(&format!("/sys/dev/block/{}:{}", mount.major, mount.minor)), DEPTH),
    }
}

/// Looks under a device that is known by its path.
pub(super) fn named(sys: &Sys, path: &str) -> Disk {
    match kernel_name(sys, path) {
        Ok(name) => device(&sys.path(&format!("/sys/class/block/{name}")), DEPTH),
        Err(reason) => Disk::Unknown(reason),
    }
}

/// btrfs has no device number of its own and may lie on several devices.
fn btrfs(sys: &Sys, source: &str) -> Disk {
    let name = match kernel_name(sys, source) {
        Ok(name) => name,
        Err(reason) => return Disk::Unknown(reason),
    };
    let all = fs::read_dir(sys.path("/sys/fs/btrfs")).into_iter().flatten().flatten().find_map(|volume| {
        let names: Vec<String> = names(&volume.path().join("devices")).unwrap_or_default();
        names.contains(&name).then_some(names)
    });
    let devices = all.unwrap_or_else(|| vec![name]);
    let disks = devices.iter().map(|name| device(&sys.path(&format!("/sys/class/block/{name}")), DEPTH));
    disks.reduce(Disk::and).unwrap_or(Disk::Unknown(Reason::Parse))
}

/// The kernel's name of `/dev/sda1`, `/dev/mapper/NAME` or a link under `/dev/disk`.
fn kernel_name(sys: &Sys, path: &str) -> Result<String, Reason> {
    let wanted = path.strip_prefix("/dev/").ok_or(Reason::Unsupported)?;
    if let Some(mapped) = wanted.strip_prefix("mapper/") {
        let blocks = sys.path("/sys/class/block");
        let all = names(&blocks).map_err(|error| reason(&error))?;
        let found = all.into_iter().find(|name| {
            name.starts_with("dm-") && read(&blocks.join(name).join("dm/name")).is_ok_and(|text| text.trim() == mapped)
        });
        return found.ok_or(Reason::Absent);
    }
    let linked = fs::read_link(sys.path(path)).ok();
    let name = linked.as_deref().unwrap_or(Path::new(wanted)).file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or(Reason::Parse)
}

/// Looks under a device by its directory in sysfs.
fn device(dir: &Path, depth: u32) -> Disk {
    let dir = match fs::canonicalize(dir) {
        Ok(dir) if depth > 0 => dir,
        Ok(_) => return Disk::Unknown(Reason::Parse),
        Err(error) => return Disk::Unknown(reason(&error)),
    };
    match read(&dir.join("dm/uuid")) {
        Ok(uuid) => {
            if let Some(kind) = crypt(uuid.trim()) {
                return Disk::Encrypted(kind);
            }
        }
        Err(Reason::Absent) => {}
        Err(reason) => return Disk::Unknown(reason),
    }
    let disk = match fs::metadata(dir.join("partition")) {
        Ok(_) => dir.parent().map_or_else(|| dir.clone(), PathBuf::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => dir,
        Err(error) => return Disk::Unknown(reason(&error)),
    };
    let below = match names(&disk.join("slaves")) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Disk::Unknown(reason(&error)),
    };
    let disks = below.iter().map(|name| device(&disk.join("slaves").join(name), depth - 1));
    disks.reduce(Disk::and).unwrap_or_else(|| bottom(&disk))
}

/// A device that lies on no other.
fn bottom(disk: &Path) -> Disk {
    let name = disk.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is = |kind: &str| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if is("zram") {
        return match read(&disk.join("backing_dev")) {
            Ok(text) if text.trim() == "none" => Disk::None("zram".to_owned()),
            Err(Reason::Absent) => Disk::None("zram".to_owned()),
            _ => Disk::Unknown(Reason::Unsupported),
        };
    }
    if is("ram") {
        return Disk::None("ram".to_owned());
    }
    let elsewhere = is("loop") || is("nbd") || is("rbd") || disk.join("loop").exists();
    if elsewhere { Disk::Unknown(Reason::Unsupported) } else { Disk::Plain }
}

/// The kind of encryption in a device mapper's uuid. Verity and integrity are of dm-crypt's family and encrypt nothing.
fn crypt(uuid: &str) -> Option<String> {
    let kind = uuid.strip_prefix("CRYPT-")?.split('-').next()?;
    match kind {
        "VERITY" | "INTEGRITY" | "SUBDEV" | "" => None,
        kind => Some(kind.chars().take(16).collect::<String>().to_ascii_lowercase()),
    }
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
