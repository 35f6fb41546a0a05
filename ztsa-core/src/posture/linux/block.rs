//! Whether what is on a block device is encrypted: from the device down to everything that it lies on.
//!
//! Everything below must be encrypted; one plain half of a mirror shows it all. Encryption by the drive itself (OPAL) and
//! by a cloud's volume cannot be seen from here.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ztsa_proto::posture::Reason;

use super::{
    Sys,
    mount::{self, Mount},
};
use crate::posture::sys::{names, read, reason};

/// How deep devices may lie on each other.
const DEPTH: u32 = 16;
/// The longest of these files of the kernel, in bytes.
const LIMIT: u64 = 8 * 1024;
const ZFS: [&str; 2] = ["/usr/sbin/zfs", "/sbin/zfs"];
const ZPOOL: [&str; 2] = ["/usr/sbin/zpool", "/sbin/zpool"];

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

    /// Where native encryption would not be visible, a plain disk below says nothing.
    fn or_invisible(self) -> Self {
        match self {
            Self::Plain => Self::Unknown(Reason::Unsupported),
            other => other,
        }
    }
}

/// A walk through a system's devices; a file that is used as a device leads back to the mounts.
#[derive(Clone, Copy)]
pub(super) struct Walk<'s> {
    sys: &'s Sys,
    mounts: &'s [Mount],
    depth: u32,
}

impl<'s> Walk<'s> {
    pub(super) fn new(sys: &'s Sys, mounts: &'s [Mount]) -> Self {
        Self { sys, mounts, depth: DEPTH }
    }

    fn deeper(self) -> Option<Self> {
        Some(Self { depth: self.depth.checked_sub(1).filter(|depth| *depth > 0)?, ..self })
    }

    /// Looks under a mount.
    pub(super) fn under(self, mount: &Mount) -> Disk {
        match mount.kind.as_str() {
            "zfs" => self.zfs(&mount.source),
            "bcachefs" => self.bcachefs(&mount.source),
            "ecryptfs" | "fuse.gocryptfs" | "fuse.encfs" | "fuse.cryfs" => Disk::Encrypted(mount.kind.clone()),
            "btrfs" => self.btrfs(&mount.source),
            // An image of the system over the disk that holds it (composefs, ostree).
            "overlay" if mount.point == "/" => match mount::at(self.mounts, "/sysroot") {
                Some(below) if below.kind != "overlay" => self.under(below),
                _ => Disk::None(mount.kind.clone()),
            },
            kind if mount.major == 0 => match kind {
                "overlay" | "tmpfs" | "ramfs" | "rootfs" | "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "virtiofs"
                | "ceph" => Disk::None(mount.kind.clone()),
                _ if mount.source.starts_with("/dev/") => self.named(&mount.source),
                _ => Disk::Unknown(Reason::Unsupported),
            },
            _ => self.device(&self.sys.path(&format!("/sys/dev/block/{}:{}", mount.major, mount.minor))),
        }
    }

    /// Looks under a device that is known by its path.
    pub(super) fn named(self, path: &str) -> Disk {
        match self.kernel_name(path) {
            Ok(name) => self.device(&self.sys.path(&format!("/sys/class/block/{name}"))),
            Err(reason) => Disk::Unknown(reason),
        }
    }

    /// btrfs has no device number of its own and may lie on several devices.
    fn btrfs(self, source: &str) -> Disk {
        let name = match self.kernel_name(source) {
            Ok(name) => name,
            Err(reason) => return Disk::Unknown(reason),
        };
        let all = fs::read_dir(self.sys.path("/sys/fs/btrfs")).into_iter().flatten().flatten().find_map(|volume| {
            let names: Vec<String> = names(&volume.path().join("devices")).unwrap_or_default();
            names.contains(&name).then_some(names)
        });
        let devices = all.unwrap_or_else(|| vec![name]);
        let disks = devices.iter().map(|name| self.device(&self.sys.path(&format!("/sys/class/block/{name}"))));
        disks.reduce(Disk::and).unwrap_or(Disk::Unknown(Reason::Parse))
    }

    /// bcachefs names all its devices; its own encryption cannot be seen without root.
    fn bcachefs(self, source: &str) -> Disk {
        let disks = source.split(':').take(64).map(|path| self.named(path));
        disks.reduce(Disk::and).unwrap_or(Disk::Unknown(Reason::Parse)).or_invisible()
    }

    /// zfs says by its own program whether a dataset is encrypted; else the pool's devices count.
    fn zfs(self, dataset: &str) -> Disk {
        let ask = |programs: [&str; 2], arguments: &[&str]| {
            let mut answers = programs.iter().map(|program| self.sys.run(program, arguments));
            let first = answers.next().unwrap_or(Err(Reason::Absent));
            first.or_else(|reason| answers.next().unwrap_or(Err(reason)))
        };
        match ask(ZFS, &["get", "-H", "-o", "value", "encryption", "--", dataset]).as_deref().map(str::trim) {
            Err(_) => Disk::Unknown(Reason::Unsupported),
            Ok("off") => {
                let pool = dataset.split('/').next().unwrap_or_default();
                match ask(ZPOOL, &["list", "-H", "-v", "-P", "--", pool]) {
                    Ok(text) => self.pool(&text),
                    Err(reason) => Disk::Unknown(reason),
                }
            }
            Ok("" | "-") => Disk::Unknown(Reason::Parse),
            Ok(cipher) => Disk::Encrypted(format!("zfs {}", cipher.chars().take(32).collect::<String>())),
        }
    }

    /// The devices of a pool: the lines of `zpool list -v -P` that begin with a path.
    fn pool(self, text: &str) -> Disk {
        let paths =
            text.lines().filter_map(|line| line.split_whitespace().next()).filter(|path| path.starts_with("/dev/"));
        paths.take(256).map(|path| self.named(path)).reduce(Disk::and).unwrap_or(Disk::Unknown(Reason::Parse))
    }

    /// The kernel's name of `/dev/sda1`, `/dev/mapper/NAME` or a link under `/dev/disk`.
    fn kernel_name(self, path: &str) -> Result<String, Reason> {
        let wanted = path.strip_prefix("/dev/").ok_or(Reason::Unsupported)?;
        if let Some(mapped) = wanted.strip_prefix("mapper/") {
            let blocks = self.sys.path("/sys/class/block");
            let all = names(&blocks).map_err(|error| reason(&error))?;
            let is =
                |name: &str| read(&blocks.join(name).join("dm/name"), LIMIT).is_ok_and(|text| text.trim() == mapped);
            let found = all.into_iter().find(|name| name.starts_with("dm-") && is(name));
            return found.ok_or(Reason::Absent);
        }
        let linked = fs::read_link(self.sys.path(path)).ok();
        let name = linked.as_deref().unwrap_or(Path::new(wanted)).file_name().and_then(|name| name.to_str());
        name.map(str::to_owned).ok_or(Reason::Parse)
    }

    /// Looks under a device by its directory in sysfs.
    fn device(self, dir: &Path) -> Disk {
        let (dir, walk) = match (fs::canonicalize(dir), self.deeper()) {
            (Ok(dir), Some(walk)) => (dir, walk),
            (Ok(_), None) => return Disk::Unknown(Reason::Parse),
            (Err(error), _) => return Disk::Unknown(reason(&error)),
        };
        match read(&dir.join("dm/uuid"), LIMIT) {
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
        let disks = below.iter().map(|name| walk.device(&disk.join("slaves").join(name)));
        disks.reduce(Disk::and).unwrap_or_else(|| walk.bottom(&disk))
    }

    /// A device that lies on no other.
    fn bottom(self, disk: &Path) -> Disk {
        let name = disk.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is =
            |kind: &str| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if is("zram") {
            return match read(&disk.join("backing_dev"), LIMIT) {
                Ok(text) if text.trim() == "none" => Disk::None("zram".to_owned()),
                Err(Reason::Absent) => Disk::None("zram".to_owned()),
                Ok(text) => self.named(text.trim()),
                Err(reason) => Disk::Unknown(reason),
            };
        }
        if is("ram") {
            return Disk::None("ram".to_owned());
        }
        // Something else knows what is below: a network's other end, or zfs.
        if is("nbd") || is("rbd") || is("zd") {
            return Disk::Unknown(Reason::Unsupported);
        }
        match read(&disk.join("loop/backing_file"), LIMIT) {
            // The file lies on another file system, as long as it has not been removed.
            Ok(file) => match mount::of(self.mounts, file.trim_end_matches('\n')) {
                Some(mount) if file.starts_with('/') && !file.trim_end().ends_with(" (deleted)") => self.under(mount),
                _ => Disk::Unknown(Reason::Unsupported),
            },
            Err(Reason::Absent) if is("loop") => Disk::Unknown(Reason::Unsupported),
            Err(Reason::Absent) => Disk::Plain,
            Err(reason) => Disk::Unknown(reason),
        }
    }
}

/// The kind of encryption in a device mapper's uuid. Verity and integrity are of dm-crypt's family and encrypt nothing.
fn crypt(uuid: &str) -> Option<String> {
    let kind = uuid.strip_prefix("CRYPT-")?.split('-').next()?;
    match kind {
        "VERITY" | "INTEGRITY" | "SUBDEV" | "" => None,
        kind => Some(kind.chars().take(16).collect::<String>().to_ascii_lowercase()),
    }
}
