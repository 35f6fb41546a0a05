//! What the programs of macOS answer; `None` is an answer that is not known here.

use ztsa_proto::time::UnixTime;

use super::{CSRUTIL, DSCONFIGAD, FDESETUP, FIREWALL, Finding, ID, PROFILES, SPCTL, SYSCTL, UPDATES};
use crate::posture::finding::Lock;

/// `fdesetup status`: on while it is still encrypting is not yet encrypted.
pub(super) fn file_vault(text: &str) -> Option<Finding> {
    let text = text.trim();
    if text.starts_with("FileVault is Off") {
        Some(Finding::fail("filevault off", FDESETUP))
    } else if !text.starts_with("FileVault is On") {
        None
    } else if text.contains("Encryption in progress") {
        Some(Finding::fail("filevault encrypting", FDESETUP))
    } else if text.contains("Decryption in progress") {
        Some(Finding::fail("filevault decrypting", FDESETUP))
    } else {
        Some(Finding::pass("filevault", FDESETUP))
    }
}

/// `sysctl -n vm.swapusage`: `total = 1024.00M  used = 1.00M  free = 1023.00M  (encrypted)`.
pub(super) fn swap(text: &str) -> Option<Finding> {
    let encrypted = text.contains("(encrypted)");
    let value = if encrypted { "encrypted" } else { "none visible" };
    text.contains("total =").then(|| Finding::of(encrypted, value, SYSCTL))
}

/// `Firewall is enabled. (State = 1)`; 2 blocks everything.
pub(super) fn firewall(text: &str) -> Option<Finding> {
    let (_, state) = text.split_once("(State = ")?;
    match state.split_once(')')?.0 {
        "0" => Some(Finding::fail("off", FIREWALL)),
        "1" => Some(Finding::pass("on", FIREWALL)),
        "2" => Some(Finding::pass("blocks all", FIREWALL)),
        _ => None,
    }
}

/// `screenLock delay is 300 seconds`, `screenLock delay is immediate`, `screenLock is off`.
pub(super) fn screen_lock(text: &str) -> Option<Lock> {
    let (_, said) = text.split_once("screenLock ")?;
    let said = said.trim();
    if said.starts_with("is off") {
        return Some(Lock::Off);
    }
    let delay = said.strip_prefix("delay is ")?;
    let seconds = if delay.starts_with("immediate") { 0 } else { delay.split_whitespace().next()?.parse().ok()? };
    Some(Lock::After(seconds))
}

/// `System Integrity Protection status: enabled.`
pub(super) fn system_integrity(text: &str) -> Option<Finding> {
    let (_, status) = text.split_once("System Integrity Protection status: ")?;
    match status.split(['.', '\n', ' ']).next()? {
        "enabled" => Some(Finding::pass("sip", CSRUTIL)),
        "disabled" => Some(Finding::fail("sip off", CSRUTIL)),
        // `unknown (Custom Configuration)`: partly off.
        "unknown" => Some(Finding::fail("sip partly off", CSRUTIL)),
        _ => None,
    }
}

/// `assessments enabled`.
pub(super) fn gatekeeper(text: &str) -> Option<Finding> {
    match text.trim() {
        "assessments enabled" => Some(Finding::pass("gatekeeper", SPCTL)),
        "assessments disabled" => Some(Finding::fail("gatekeeper off", SPCTL)),
        _ => None,
    }
}

/// `profiles status -type enrollment`: `MDM enrollment: Yes (User Approved)`.
pub(super) fn enrolled(text: &str) -> Option<Finding> {
    let said = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
    let enrolled = said("MDM enrollment:")?;
    if !enrolled.starts_with("Yes") {
        return enrolled.starts_with("No").then(|| Finding::fail("not enrolled", PROFILES));
    }
    let dep = said("Enrolled via DEP:").is_some_and(|said| said.starts_with("Yes"));
    let approved = enrolled.contains("User Approved");
    let value = if dep {
        "mdm by device enrolment"
    } else if approved {
        "mdm, user approved"
    } else {
        "mdm"
    };
    Some(Finding::pass(value, PROFILES))
}

/// `dsconfigad -show` says nothing at all on a Mac that has not joined.
pub(super) fn joined(text: &str) -> Option<Finding> {
    if text.trim().is_empty() {
        return Some(Finding::fail("not joined", DSCONFIGAD));
    }
    let line = text.lines().find(|line| line.trim_start().starts_with("Active Directory Domain"))?;
    let domain = line.split_once('=')?.1.trim();
    (!domain.is_empty()).then(|| Finding::pass(domain.chars().take(100).collect::<String>(), DSCONFIGAD))
}

/// The keys of automatic updates: one that is absent is not known to be on.
pub(super) fn automatic(plist: &str) -> Option<Finding> {
    let keys = ["AutomaticCheckEnabled", "CriticalUpdateInstall"];
    let said = keys.map(|key| plist_bool(plist, key));
    if said.contains(&Some(false)) {
        return Some(Finding::fail("off", UPDATES));
    }
    if !plist.contains("<plist") {
        return None;
    }
    let all = said.iter().all(Option::is_some);
    Some(if all {
        Finding::pass("on", UPDATES)
    } else {
        Finding::unknown(ztsa_proto::posture::Reason::Absent, UPDATES)
    })
}

/// `id -Gn`: the names of the person's groups.
pub(super) fn administrator(text: &str) -> Option<Finding> {
    let mut groups = text.split_whitespace().peekable();
    groups.peek()?;
    let admin = groups.any(|group| group == "admin");
    Some(Finding::of(!admin, if admin { "admin" } else { "none" }, ID))
}

/// `{ sec = 1795300000, usec = 0 } Sun Nov 22 06:26:40 2026`: the seconds since then.
pub(super) fn seconds_since(text: &str, now: UnixTime) -> Option<u64> {
    let (_, rest) = text.split_once("sec = ")?;
    let started: u64 = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some(now.since(UnixTime(started)).as_secs())
}

/// The identifiers of system extensions that are active, from `systemextensionsctl list`.
pub(super) fn extensions(text: &str) -> Vec<String> {
    let active = text.lines().filter(|line| line.contains("[activated enabled]"));
    let identifiers = active.flat_map(|line| line.split_whitespace().filter(|word| word.matches('.').count() >= 2));
    identifiers.take(64).map(|word| word.trim_matches(['(', ')']).to_owned()).collect()
}

/// `SHA-256 hash: ABCD..` of `security find-certificate -Z`.
pub(super) fn thumbprint(line: &str) -> Option<&str> {
    line.strip_prefix("SHA-256 hash: ").map(str::trim)
}

/// The string of a key in an XML property list's dictionary.
pub(super) fn plist_string(plist: &str, key: &str) -> Option<String> {
    let (_, rest) = plist.split_once(&format!("<key>{key}</key>"))?;
    let rest = rest.trim_start().strip_prefix("<string>")?;
    let (value, _) = rest.split_once("</string>")?;
    Some(value.chars().filter(|c| !c.is_control()).take(64).collect())
}

/// The truth value of a key in an XML property list's dictionary.
fn plist_bool(plist: &str, key: &str) -> Option<bool> {
    let (_, rest) = plist.split_once(&format!("<key>{key}</key>"))?;
    match rest.trim_start() {
        rest if rest.starts_with("<true/>") => Some(true),
        rest if rest.starts_with("<false/>") => Some(false),
        _ => None,
    }
}
