//! The checks that this version knows: one table for what is asked, why, for how long it is believed and how it is mended.

/// Describes one check, or one family of checks that a gateway's configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The check's id, such as `disk.root`; of a family its first word, such as `file` for `file.NAME`.
    pub id: &'static str,
    /// The code of the problem when it does not pass.
    pub code: &'static str,
    /// For how many seconds an answer may be believed.
    pub ttl: u64,
    /// What it tells and why that is asked.
    pub why: &'static str,
    /// What to do when it does not pass.
    pub remedy: &'static str,
}

/// Lists the ids that are always in the vocabulary of policies.
pub fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.id)
}

/// Finds the row of an id: its own, or that of its family.
#[must_use]
pub fn describe(id: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.id == id).or_else(|| {
        let (family, name) = family(id)?;
        FAMILIES.iter().find(|known| known.id == family && !name.is_empty())
    })
}

/// Splits the id of a check that a configuration names, such as `file.agent`, into family and name.
#[must_use]
pub fn family(id: &str) -> Option<(&'static str, &str)> {
    let (first, name) = id.split_once('.')?;
    FAMILIES.iter().find(|known| known.id == first).map(|known| (known.id, name))
}

/// For how many seconds an answer to a check may be believed; a check that nobody here knows, for five minutes.
#[must_use]
pub fn ttl(id: &str) -> u64 {
    describe(id).map_or(MINUTES_5, |known| known.ttl)
}

const fn row(id: &'static str, code: &'static str, ttl: u64, why: &'static str, remedy: &'static str) -> Known {
    Known { id, code, ttl, why, remedy }
}

const MINUTES_5: u64 = 300;
const MINUTES_15: u64 = 900;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

const DISK: &str = "posture.disk_encryption";
const LOCK: &str = "posture.screen_lock";
const BROWSER: &str = "posture.browser";
const ENCRYPT: &str = "encrypt the disk: LUKS when installing Linux, FileVault on macOS, BitLocker on Windows";
const LOCKING: &str = "let the screen lock by itself, in the settings of the desktop under privacy or power";
const NEWER: &str = "install the browser's updates and restart it";
const BROWSES: &str = "the version of this browser, to tell whether it has known holes";

/// The checks that need no parameter, by id.
#[rustfmt::skip]
pub static KNOWN: &[Known] = &[
    row("boot.lockdown", "posture.lockdown", DAY, "whether the system's core is protected even from its administrator (kernel lockdown, System Integrity Protection)", "turn on Secure Boot, or start the kernel with lockdown=integrity; on macOS turn System Integrity Protection on"),
    row("boot.lsm", "posture.lsm", HOUR, "whether programs are confined (SELinux, AppArmor, Gatekeeper)", "turn on SELinux in enforcing mode, or AppArmor; on macOS turn Gatekeeper on"),
    row("boot.secure_boot", "posture.secure_boot", DAY, "whether the firmware starts only what is signed", "turn on Secure Boot in the firmware's settings"),
    row("browser.brave", BROWSER, MINUTES_15, BROWSES, NEWER),
    row("browser.chrome", BROWSER, MINUTES_15, BROWSES, NEWER),
    row("browser.chromium", BROWSER, MINUTES_15, BROWSES, NEWER),
    row("browser.edge", BROWSER, MINUTES_15, BROWSES, NEWER),
    row("browser.firefox", BROWSER, MINUTES_15, BROWSES, NEWER),
    row("disk.home", DISK, HOUR, "whether the disk of your files is encrypted, so that a lost device shows nothing", ENCRYPT),
    row("disk.root", DISK, HOUR, "whether the disk of the system is encrypted, so that a lost device shows nothing", ENCRYPT),
    row("disk.swap", DISK, HOUR, "whether memory that is written to disk is encrypted", "put the swap space on an encrypted disk, or use zram"),
    row("edr", "posture.edr", MINUTES_5, "whether a program that watches for attacks is running", "install and start the protection that your organisation uses"),
    row("fw.enabled", "posture.firewall", MINUTES_5, "whether a firewall keeps others from this device", "turn on the firewall: ufw or firewalld on Linux, in the system's settings elsewhere"),
    row("hw.tpm", "posture.tpm", DAY, "whether the device has a chip that keeps keys (TPM 2.0, Secure Enclave)", "turn on the TPM in the firmware's settings, or use a device that has one"),
    row("lock.delay", LOCK, MINUTES_15, "after how many seconds without use the screen locks", LOCKING),
    row("lock.enabled", LOCK, MINUTES_15, "whether the screen locks by itself when you leave", LOCKING),
    row("os.domain", "posture.domain", HOUR, "whether the device belongs to the organisation's directory", "ask your administrator to join this device to the organisation's domain"),
    row("os.eol", "posture.os_eol", DAY, "whether the operating system still gets security updates; the gateway works it out from os.version", "install a release that still gets updates"),
    row("os.kernel", "posture.os_kernel", DAY, "the kernel's version, to tell whether it has known holes", "install the newest kernel and restart"),
    row("os.managed", "posture.managed", HOUR, "whether the organisation manages this device", "enrol this device in your organisation's device management"),
    row("os.patch_age", "posture.patch_age", DAY, "the days since packages were last updated", "install updates"),
    row("os.uptime", "posture.uptime", HOUR, "the seconds since the device was started, to tell whether updates are in use", "restart the device"),
    row("os.version", "posture.os_version", DAY, "the name and version of the operating system, to tell whether it still gets security updates", "install a release that still gets updates"),
    row("updates.auto", "posture.updates", HOUR, "whether security updates install themselves", "turn on automatic updates"),
    row("updates.reboot", "posture.reboot", MINUTES_15, "whether updates wait for a restart", "restart the device"),
    row("user.admin", "posture.admin_rights", MINUTES_15, "whether you work without an administrator's rights", "work as a user without administrator's rights"),
    row("user.root", "posture.admin_rights", MINUTES_15, "whether ztsa runs without the rights of root", "run ztsa as yourself, not as root"),
    row("virt.container", "posture.virtualisation", HOUR, "whether ztsa runs inside a container", "run ztsa on the device itself, not in a container"),
    row("virt.machine", "posture.virtualisation", HOUR, "whether the device is a virtual machine", "use a device that is no virtual machine"),
];

/// The checks that a gateway's configuration names, by the first word of their ids.
#[rustfmt::skip]
pub static FAMILIES: &[Known] = &[
    row("ca", "posture.ca", MINUTES_15, "whether this certificate authority is trusted here, by its SHA-256 thumbprint", "ask your administrator how to install the organisation's certificate authority"),
    row("cert", "posture.certificate", MINUTES_15, "whether you hold a client certificate of the organisation and its key; the key signs the report", "ask your administrator for a client certificate, and name it in config.toml under `certificate`"),
    row("file", "posture.file", MINUTES_15, "whether this file is there, and what it is when the gateway asks for its SHA-256", "ask your administrator for the program or settings that the file belongs to"),
    row("process", "posture.process", MINUTES_5, "whether this program is running", "start the program, or ask your administrator to install it"),
];
