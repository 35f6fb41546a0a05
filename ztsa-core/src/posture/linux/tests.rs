mod checks;

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::Value;
use ztsa_proto::posture::State;

use super::*;
use crate::http::script::TempDir;

const MOUNTS: &str = "/proc/self/mountinfo";
const SWAPS: &str = "/proc/swaps";

/// A tree of files that stands for a machine.
struct Machine(TempDir);

impl Machine {
    fn new(mountinfo: &str) -> Self {
        let machine = Self(TempDir::new());
        machine.file(MOUNTS, mountinfo);
        machine.file(SWAPS, "Filename\tType\tSize\tUsed\tPriority\n");
        machine.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n");
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn file(&self, path: &str, content: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A block device with its links, as sysfs has them: on these slaves, with this device mapper name and uuid.
    fn device(&self, number: &str, name: &str, slaves: &[&str], mapped: Option<(&str, &str)>) -> &Self {
        let home = format!("/sys/devices/virtual/block/{name}");
        fs::create_dir_all(self.path(&format!("{home}/slaves"))).unwrap();
        for slave in slaves {
            self.link(&format!("{home}/slaves/{slave}"), &format!("../../{slave}"));
        }
        if let Some((label, uuid)) = mapped {
            self.file(&format!("{home}/dm/name"), &format!("{label}\n"))
                .file(&format!("{home}/dm/uuid"), &format!("{uuid}\n"));
        }
        self.link(&format!("/sys/dev/block/{number}"), &format!("../../devices/virtual/block/{name}"));
        self.link(&format!("/sys/class/block/{name}"), &format!("../../devices/virtual/block/{name}"))
    }

    /// A partition, inside its disk's directory.
    fn partition(&self, number: &str, disk: &str, name: &str) -> &Self {
        let home = format!("../../devices/virtual/block/{disk}/{name}");
        self.file(&format!("/sys/devices/virtual/block/{disk}/{name}/partition"), "1\n");
        self.link(&format!("/sys/devices/virtual/block/{name}"), &format!("{disk}/{name}"));
        self.link(&format!("/sys/dev/block/{number}"), &home).link(&format!("/sys/class/block/{name}"), &home)
    }

    fn link(&self, at: &str, to: &str) -> &Self {
        let at = self.path(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(Path::new(to), at).unwrap();
        self
    }

    fn look(&self, id: &str) -> Finding {
        look(&Wanted::from(id), &self.sys(), UnixTime(2_000_000_000))
    }

    fn sys(&self) -> Sys {
        Sys::at(self.0.path(), 1000, &[1000])
    }

    fn is(&self, id: &str, state: State, value: &str) {
        let finding = self.look(id);
        let seen = finding.value.as_ref().and_then(Value::as_str).unwrap_or_default();
        let reason = finding.reason.map(|reason| reason.to_string()).unwrap_or_default();
        assert_eq!((finding.state, format!("{seen}{reason}").as_str()), (state, value), "{id}");
    }
}

fn on(number: &str, kind: &str, source: &str) -> Machine {
    Machine::new(&format!("22 1 {number} / / rw,relatime shared:1 - {kind} {source} rw\n"))
}

#[test]
fn lvm_on_luks_is_encrypted() {
    let machine = on("253:1", "ext4", "/dev/mapper/vg-root");
    machine.device("8:0", "sda", &[], None).partition("8:2", "sda", "sda2");
    machine.device("253:0", "dm-0", &["sda2"], Some(("luks", "CRYPT-LUKS2-5f2c-luks")));
    machine.device("253:1", "dm-1", &["dm-0"], Some(("vg-root", "LVM-abc")));
    machine.device("253:2", "dm-2", &["dm-0"], Some(("vg-swap", "LVM-def")));
    machine
        .file(SWAPS, "Filename Type Size Used Priority\n/dev/mapper/vg-swap partition 1 0 -2\n/swap.img file 1 0 -3\n");
    machine.is("disk.root", State::Pass, "luks2");
    machine.is("disk.home", State::Pass, "luks2");
    machine.is("disk.swap", State::Pass, "luks2");
}

#[test]
fn a_plain_partition_is_not() {
    let machine = on("8:1", "ext4", "/dev/sda1");
    machine.device("8:0", "sda", &[], None).partition("8:1", "sda", "sda1");
    machine.file(SWAPS, "Filename Type Size Used Priority\n/dev/sda1 partition 1 0 -2\n");
    machine.is("disk.root", State::Fail, "none visible");
    machine.is("disk.swap", State::Fail, "none visible");
}

#[test]
fn half_a_mirror_in_the_clear_shows_everything() {
    for (second, state, value) in
        [("CRYPT-LUKS1-b", State::Pass, "luks2+luks1"), ("LVM-x", State::Fail, "none visible")]
    {
        let machine = on("9:0", "xfs", "/dev/md0");
        machine.device("8:0", "sda", &[], None).device("8:16", "sdb", &[], None);
        machine.device("253:0", "dm-0", &["sda"], Some(("a", "CRYPT-LUKS2-a")));
        machine.device("253:1", "dm-1", &["sdb"], Some(("b", second)));
        machine.device("9:0", "md0", &["dm-0", "dm-1"], None);
        machine.is("disk.root", state, value);
    }
}

#[test]
fn a_partition_of_a_mirror_is_looked_under_its_mirror() {
    let machine = on("259:3", "ext4", "/dev/md0p1");
    machine.device("8:0", "sda", &[], None);
    machine.device("253:0", "dm-0", &["sda"], Some(("a", "CRYPT-LUKS2-a")));
    machine.device("9:0", "md0", &["dm-0"], None).partition("259:3", "md0", "md0p1");
    machine.is("disk.root", State::Pass, "luks2");
}

#[test]
fn btrfs_is_judged_by_all_its_devices() {
    let machine = on("0:30", "btrfs", "/dev/mapper/one");
    machine.device("8:0", "sda", &[], None).device("8:16", "sdb", &[], None);
    machine.device("253:0", "dm-0", &["sda"], Some(("one", "CRYPT-LUKS2-a")));
    machine.is("disk.root", State::Pass, "luks2");
    machine.link("/sys/fs/btrfs/1234/devices/dm-0", "../../../../devices/virtual/block/dm-0");
    machine.is("disk.root", State::Pass, "luks2");
    machine.link("/sys/fs/btrfs/1234/devices/sdb", "../../../../devices/virtual/block/sdb");
    machine.is("disk.root", State::Fail, "none visible");
}

#[test]
fn verity_and_integrity_encrypt_nothing() {
    for uuid in ["CRYPT-VERITY-a-root", "CRYPT-INTEGRITY-b"] {
        let machine = on("253:0", "ext4", "/dev/mapper/root");
        machine.device("8:0", "sda", &[], None).device("253:0", "dm-0", &["sda"], Some(("root", uuid)));
        machine.is("disk.root", State::Fail, "none visible");
    }
}

#[test]
fn other_encryption_has_its_name() {
    for (uuid, value) in [
        ("CRYPT-PLAIN-x", "plain"),
        ("CRYPT-BITLK-x", "bitlk"),
        ("CRYPT-LUKS1-x", "luks1"),
        ("CRYPT-TCRYPT-x", "tcrypt"),
    ] {
        let machine = on("253:0", "ext4", "/dev/mapper/root");
        machine.device("8:0", "sda", &[], None).device("253:0", "dm-0", &["sda"], Some(("root", uuid)));
        machine.is("disk.root", State::Pass, value);
    }
}

#[test]
fn where_there_is_no_disk_the_question_does_not_arise() {
    for (kind, source) in [("overlay", "overlay"), ("tmpfs", "tmpfs"), ("nfs4", "server:/export"), ("virtiofs", "root")]
    {
        on("0:40", kind, source).is("disk.root", State::NotApplicable, kind);
    }
}

#[test]
fn what_cannot_be_told_is_unknown() {
    on("0:41", "zfs", "rpool/root").is("disk.root", State::Unknown, "unsupported");
    on("8:1", "ext4", "/dev/sda1").is("disk.root", State::Unknown, "absent");
    for remote in ["nbd0", "rbd0"] {
        let machine = on("43:0", "ext4", &format!("/dev/{remote}"));
        machine.device("43:0", remote, &[], None);
        machine.is("disk.root", State::Unknown, "unsupported");
    }
    let machine = on("230:1", "ext4", "/dev/zd0p1");
    machine.device("230:0", "zd0", &[], None).partition("230:1", "zd0", "zd0p1");
    machine.is("disk.root", State::Unknown, "unsupported");
    Machine::new("").is("disk.root", State::Unknown, "parse");
    let machine = on("9:0", "xfs", "/dev/md0");
    machine.device("9:0", "md0", &["md0"], None);
    machine.is("disk.root", State::Unknown, "parse");
}

#[test]
fn a_file_used_as_a_disk_lies_on_the_disk_of_the_file() {
    let machine =
        Machine::new("1 0 253:0 / /data rw - ext4 /dev/mapper/data rw\n2 1 7:0 / / rw - ext4 /dev/loop0 rw\n");
    machine.device("8:0", "sda", &[], None).device("253:0", "dm-0", &["sda"], Some(("data", "CRYPT-LUKS2-a")));
    machine.device("7:0", "loop0", &[], None);
    machine.is("disk.root", State::Unknown, "unsupported");
    let backing = "/sys/devices/virtual/block/loop0/loop/backing_file";
    machine.file(backing, "/data/image\n");
    machine.is("disk.root", State::Pass, "luks2");
    machine.file(backing, "/data/image (deleted)\n");
    machine.is("disk.root", State::Unknown, "unsupported");
    machine.file(backing, "/image\n");
    machine.is("disk.root", State::Unknown, "parse");
}

#[test]
fn a_home_in_an_encrypted_file_is_encrypted() {
    // systemd-homed: LUKS in a file in /home
    let machine = Machine::new(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 253:3 / /home/alice rw - btrfs /dev/mapper/home-alice rw\n",
    );
    machine.device("8:0", "sda", &[], None).partition("8:1", "sda", "sda1").device("7:0", "loop0", &[], None);
    machine.device("253:3", "dm-3", &["loop0"], Some(("home-alice", "CRYPT-LUKS2-b")));
    machine.is("disk.root", State::Fail, "none visible");
    machine.is("disk.home", State::Pass, "luks2");
    for kind in ["ecryptfs", "fuse.gocryptfs", "fuse.encfs", "fuse.cryfs"] {
        let machine =
            Machine::new(&format!("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:70 / /home/alice rw - {kind} x rw\n"));
        machine.is("disk.home", State::Pass, kind);
    }
}

#[test]
fn an_image_of_the_system_counts_by_the_disk_below() {
    let machine =
        Machine::new("1 0 0:30 / / ro - overlay composefs ro\n2 1 253:0 / /sysroot rw - xfs /dev/mapper/root rw\n");
    machine.device("8:0", "sda", &[], None).device("253:0", "dm-0", &["sda"], Some(("root", "CRYPT-LUKS2-a")));
    machine.is("disk.root", State::Pass, "luks2");
}

type Program = fn(&crate::posture::command::Call<'_>) -> Result<String, Reason>;

#[test]
fn file_systems_of_many_disks_count_by_all_of_them() {
    let machine = on("0:42", "bcachefs", "/dev/mapper/one:/dev/sdb");
    machine.device("8:0", "sda", &[], None).device("8:16", "sdb", &[], None);
    machine.device("253:0", "dm-0", &["sda"], Some(("one", "CRYPT-LUKS2-a")));
    machine.is("disk.root", State::Unknown, "unsupported");
    machine.device("253:1", "dm-1", &["sdb"], Some(("two", "CRYPT-LUKS2-b")));
    machine.file(MOUNTS, "22 1 0:42 / / rw - bcachefs /dev/mapper/one:/dev/mapper/two rw\n");
    machine.is("disk.root", State::Pass, "luks2");
    machine.file(MOUNTS, "22 1 0:41 / / rw - zfs rpool/ROOT/debian rw\n");
    let native: Program =
        |call| if call.program == "/sbin/zfs" { Ok("aes-256-gcm\n".to_owned()) } else { Err(Reason::Absent) };
    let below: Program = |call| match call.arguments.first() {
        Some(&"get") => Ok("off\n".to_owned()),
        _ => Ok("rpool\t1G\n  mirror-0\t1G\n    /dev/mapper/one\t-\n    /dev/mapper/two\t-\n".to_owned()),
    };
    let plain: Program = |call| match call.arguments.first() {
        Some(&"get") => Ok("off\n".to_owned()),
        _ => Ok("rpool\t1G\n  /dev/mapper/one\t-\n  /dev/sdb\t-\n".to_owned()),
    };
    for (run, state, value) in
        [(native, State::Pass, "zfs aes-256-gcm"), (below, State::Pass, "luks2"), (plain, State::Fail, "none visible")]
    {
        let found = disk::of(&machine.sys().with_programs(run), "/");
        assert_eq!((found.state, found.value), (state, Some(json!(value))));
    }
}

#[test]
fn swap_is_judged_by_every_area() {
    let machine = on("253:0", "ext4", "/dev/mapper/root");
    machine.device("8:0", "sda", &[], None).device("253:0", "dm-0", &["sda"], Some(("root", "CRYPT-LUKS2-a")));
    machine.is("disk.swap", State::NotApplicable, "no swap");
    machine.device("251:0", "zram0", &[], None).file("/sys/devices/virtual/block/zram0/backing_dev", "none\n");
    machine.file(SWAPS, "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n");
    machine.is("disk.swap", State::NotApplicable, "zram");
    machine.file(SWAPS, "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n/dev/sda partition 1 0 -2\n");
    machine.is("disk.swap", State::Fail, "none visible");
    machine.file("/sys/devices/virtual/block/zram0/backing_dev", "/dev/sda\n");
    machine.file(SWAPS, "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n");
    machine.is("disk.swap", State::Fail, "none visible");
    fs::remove_file(machine.path(SWAPS)).unwrap();
    machine.is("disk.swap", State::Unknown, "absent");
}

#[test]
fn home_is_where_the_account_says() {
    let machine = Machine::new("1 0 8:0 / / rw - ext4 /dev/sda rw\n2 1 253:0 / /home rw - ext4 /dev/mapper/home rw\n");
    machine.device("8:0", "sda", &[], None).device("253:0", "dm-0", &["sda"], Some(("home", "CRYPT-LUKS2-a")));
    machine.is("disk.root", State::Fail, "none visible");
    machine.is("disk.home", State::Pass, "luks2");
    machine.file("/etc/passwd", "alice:x:1000:1000::/srv/alice:/bin/sh\n");
    machine.is("disk.home", State::Fail, "none visible");
    machine.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    machine.is("disk.home", State::Unknown, "absent");
}

#[test]
fn the_system_s_version_is_a_value() {
    let machine = on("8:0", "ext4", "/dev/sda");
    machine.is("os.version", State::Unknown, "absent");
    machine.file("/usr/lib/os-release", "ID=arch\nBUILD_ID=rolling\n");
    assert_eq!(machine.look("os.version").value.unwrap()["version"], "rolling");
    machine.file(RELEASE, "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n");
    assert_eq!(
        machine.look("os.version").value.unwrap(),
        json!({"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"})
    );
    machine.file(KERNEL, "6.1.0-31-amd64\n");
    machine.is("os.kernel", State::Pass, "6.1.0-31-amd64");
    assert_eq!(machine.look("os.version").source, RELEASE);
    for (id, path) in [("coreos", HOSTS[2]), ("nixos", HOSTS[1]), ("fedora", HOSTS[0])] {
        machine.file(path, &format!("ID={id}\nVERSION_ID=43\n"));
        assert_eq!(os(&machine.sys()).id, id, "inside a toolbox the host counts");
        assert_eq!(machine.look("os.version").source, path);
    }
    machine.file("/run/host/os-release", "nonsense");
    machine.is("os.version", State::Unknown, "parse");
}

#[test]
fn the_age_of_the_last_update_is_in_days() {
    let machine = on("8:0", "ext4", "/dev/sda");
    machine.is("os.patch_age", State::Unknown, "absent");
    let changed = |path: &str, seconds| {
        let file = fs::File::options().write(true).open(machine.file(path, "").path(path)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    };
    changed("/usr/lib/sysimage/rpm/rpmdb.sqlite", 1);
    machine.is("os.patch_age", State::Unknown, "absent");
    changed("/var/lib/dpkg/status", 2_000_000_000 - 10 * 86_400 - 5);
    assert_eq!(machine.look("os.patch_age").value, Some(json!(10)));
    machine.file("/var/lib/apt/lists/lock", "");
    assert_eq!(machine.look("os.patch_age").value, Some(json!(10)), "lists that were fetched are no update");
    changed("/var/lib/rpm/rpmdb.sqlite", 2_000_000_000 - 3 * 86_400);
    assert_eq!(machine.look("os.patch_age").value, Some(json!(3)), "the newest counts");
}
