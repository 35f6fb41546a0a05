//! What the programs of Windows answer; `None` is an answer that is not known here.

use serde_json::{Value, json};
use ztsa_proto::posture::Reason;

use super::{DSREGCMD, FIREWALL_KEYS, Finding, MACHINE_KEY, POWERSHELL, TPMTOOL, UPDATE_SERVICE, WHOAMI};
use crate::posture::finding::Lock;

/// `ProductName` says 10 on 11: the build tells.
pub(super) fn version(text: &str) -> Option<Value> {
    let number: u32 = value(text, "CurrentBuild")?.parse().ok()?;
    let name = if number >= 22_000 { "11" } else { "10" };
    Some(json!({ "id": "windows", "version": name, "release": value(text, "DisplayVersion"), "build": build(text)? }))
}

/// `26100.4652`: build and update revision.
pub(super) fn build(text: &str) -> Option<String> {
    let build = value(text, "CurrentBuild")?;
    let revision = dword(text, "UBR");
    Some(revision.map_or_else(|| build.to_owned(), |revision| format!("{build}.{revision}")))
}

/// `    CurrentBuild    REG_SZ    26100`
pub(super) fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let found = words.next()? == name && words.next()?.starts_with("REG_");
        words.next().filter(|_| found)
    })
}

/// `    UBR    REG_DWORD    0x122c`
pub(super) fn dword(text: &str, name: &str) -> Option<u32> {
    u32::from_str_radix(value(text, name)?.strip_prefix("0x")?, 16).ok()
}

/// `System.Volume.BitLockerProtection`: 1 on, 2 off, 3 encrypting, 4 decrypting, 5 suspended, 6 locked on, 8 waiting.
pub(super) fn bit_locker(text: &str) -> Option<Finding> {
    match text.trim() {
        "1" | "6" => Some(Finding::pass("bitlocker", POWERSHELL)),
        "2" => Some(Finding::fail("bitlocker off", POWERSHELL)),
        "3" | "8" => Some(Finding::fail("bitlocker encrypting", POWERSHELL)),
        "4" => Some(Finding::fail("bitlocker decrypting", POWERSHELL)),
        "5" => Some(Finding::fail("bitlocker suspended", POWERSHELL)),
        "" | "0" => Some(Finding::unknown(Reason::Absent, POWERSHELL)),
        _ => None,
    }
}

/// One profile that is off is enough; one that says nothing is unknown.
pub(super) fn firewall(profiles: &[Option<u32>]) -> Finding {
    let [_, source] = FIREWALL_KEYS;
    if profiles.contains(&Some(0)) {
        Finding::fail("off for a profile", source)
    } else if !profiles.is_empty() && profiles.iter().all(|profile| *profile == Some(1)) {
        Finding::pass("on", source)
    } else {
        Finding::unknown(Reason::Absent, source)
    }
}

/// After how many seconds a screen saver locks.
pub(super) fn lock_seconds(text: &str) -> Option<Lock> {
    let (active, secure) = (value(text, "ScreenSaveActive")?, value(text, "ScreenSaverIsSecure"));
    let seconds = value(text, "ScreenSaveTimeOut").and_then(|seconds| seconds.parse::<u64>().ok());
    let on = seconds.filter(|seconds| active == "1" && secure == Some("1") && *seconds > 0);
    Some(on.map_or(Lock::Off, Lock::After))
}

/// By the service's start (4 is disabled) and the organisation's choice (2 only tells, 3 downloads, 4 installs).
pub(super) fn automatic(start: Option<u32>, off: Option<u32>, option: Option<u32>) -> Finding {
    match (start, off, option) {
        (Some(4), ..) => Finding::fail("the update service is disabled", UPDATE_SERVICE),
        (_, Some(1), _) => Finding::fail("off by policy", UPDATE_SERVICE),
        (_, _, Some(2 | 3)) => Finding::fail("does not install by itself", UPDATE_SERVICE),
        (Some(_), _, Some(4)) => Finding::pass("installs by policy", UPDATE_SERVICE),
        (Some(_), _, None) => Finding::pass("service on", UPDATE_SERVICE),
        _ => Finding::unknown(Reason::Absent, UPDATE_SERVICE),
    }
}

/// `whoami /groups /fo csv`: membership of Administrators, even where it is not in force.
pub(super) fn administrator(text: &str) -> Option<Finding> {
    let admin = text.contains("\"S-1-5-32-544\"");
    text.contains("\"S-1-").then(|| Finding::of(!admin, if admin { "Administrators" } else { "none" }, WHOAMI))
}

/// A high or system integrity level is what root is elsewhere.
pub(super) fn elevated(text: &str) -> Option<Finding> {
    let elevated = ["\"S-1-16-12288\"", "\"S-1-16-16384\""].iter().any(|level| text.contains(level));
    text.contains("\"S-1-16-").then(|| Finding::of(!elevated, if elevated { "elevated" } else { "no" }, WHOAMI))
}

/// The answer of `dsregcmd /status` to a key.
fn said<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(" : ")?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// By the joining, not by a name: a workgroup has one too.
pub(super) fn joined(text: &str) -> Option<Finding> {
    match (said(text, "DomainJoined")?, said(text, "AzureAdJoined")) {
        ("YES", _) => Some(Finding::pass(cut(said(text, "DomainName").unwrap_or("joined")), DSREGCMD)),
        (_, Some("YES")) => Some(Finding::pass(cut(said(text, "TenantName").unwrap_or("Entra ID")), DSREGCMD)),
        ("NO", _) => Some(Finding::fail("not joined", DSREGCMD)),
        _ => None,
    }
}

pub(super) fn managed(text: &str) -> Option<Finding> {
    said(text, "AzureAdJoined")?;
    Some(match said(text, "MdmUrl").filter(|url| url.starts_with("https://")) {
        Some(url) => Finding::pass(cut(url), DSREGCMD),
        None => Finding::fail("no mdm", DSREGCMD),
    })
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

/// `-TPM Present: True`, `-TPM Version: 2.0`.
pub(super) fn tpm(text: &str) -> Option<Finding> {
    let said = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
    match said("-TPM Present:")? {
        "True" => {
            let version: u8 = said("-TPM Version:")?.split('.').next()?.parse().ok()?;
            Some(Finding::of(version >= 2, version, TPMTOOL))
        }
        "False" => Some(Finding::fail("none", TPMTOOL)),
        _ => None,
    }
}

/// The names of the machine's maker and model.
pub(super) fn maker(text: &str) -> Option<Finding> {
    const MACHINES: [&str; 7] = ["Virtual Machine", "VMware", "VirtualBox", "QEMU", "KVM", "Xen", "Parallels"];
    let line = |key: &str| text.lines().find(|line| line.split_whitespace().next() == Some(key));
    let (maker, product) = (line("SystemManufacturer")?, line("SystemProductName")?);
    let found = MACHINES.into_iter().find(|name| maker.contains(name) || product.contains(name));
    Some(Finding::of(found.is_none(), found.unwrap_or("none"), MACHINE_KEY))
}

/// The names of the processes in `tasklist /fo csv /nh`.
pub(super) fn processes(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix('"')?.split('"').next())
}
