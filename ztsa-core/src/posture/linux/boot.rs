//! What the machine starts, and how far the running system is closed.

use ztsa_proto::posture::Reason;

use super::{Finding, Sys, machine};

const FIRMWARE: &str = "/sys/firmware/efi";
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SETUP_MODE: &str = "/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const SELINUX: &str = "/sys/fs/selinux/enforce";
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
const TPMS: &str = "/sys/class/tpm";

/// Whether the firmware starts only what is signed. A virtual machine or a board without UEFI has no such question.
pub(super) fn secure_boot(sys: &Sys, arch: &str) -> Finding {
    match sys.exists(FIRMWARE) {
        Ok(true) => {}
        Ok(false) => {
            let is_pc = matches!(arch, "x86_64" | "x86") && machine::hints(sys).is_ok_and(|hints| hints.is_empty());
            let value = "not UEFI";
            return if is_pc { Finding::fail(value, FIRMWARE) } else { Finding::not_applicable(value, FIRMWARE) };
        }
        Err(reason) => return Finding::unknown(reason, FIRMWARE),
    }
    match (variable(sys, SECURE_BOOT), variable(sys, SETUP_MODE)) {
        (Ok(1), Ok(0) | Err(Reason::Absent)) => Finding::pass("on", SECURE_BOOT),
        (Ok(1), Ok(_)) => Finding::fail("setup mode", SETUP_MODE),
        (Ok(1), Err(reason)) => Finding::unknown(reason, SETUP_MODE),
        (Ok(_), _) => Finding::fail("off", SECURE_BOOT),
        (Err(reason), _) => Finding::unknown(reason, SECURE_BOOT),
    }
}

/// A variable of one byte: four bytes of attributes stand before it.
fn variable(sys: &Sys, path: &str) -> Result<u8, Reason> {
    use std::io::Read as _;
    let file = crate::posture::sys::open(&sys.path(path))?;
    let mut bytes = Vec::new();
    file.take(16).read_to_end(&mut bytes).map_err(|error| crate::posture::sys::reason(&error))?;
    match bytes.as_slice() {
        [_, _, _, _, value] => Ok(*value),
        _ => Err(Reason::Parse),
    }
}

/// Whether the kernel is closed even to root: `none [integrity] confidentiality`.
pub(super) fn lockdown(sys: &Sys) -> Finding {
    match sys.read(LOCKDOWN) {
        Ok(text) => match bracketed(&text) {
            Some("none") => Finding::fail("none", LOCKDOWN),
            Some(mode) => Finding::pass(mode, LOCKDOWN),
            None => Finding::unknown(Reason::Parse, LOCKDOWN),
        },
        Err(reason) => Finding::unknown(reason, LOCKDOWN),
    }
}

fn bracketed(text: &str) -> Option<&str> {
    let (mode, _) = text.split_once('[')?.1.split_once(']')?;
    (1..=32).contains(&mode.len()).then_some(mode)
}

/// Whether SELinux or AppArmor confines programs.
pub(super) fn lsm(sys: &Sys) -> Finding {
    match sys.read(SELINUX).as_deref().map(str::trim) {
        Ok("1") => return Finding::pass("selinux", SELINUX),
        Ok("0") => return Finding::fail("selinux permissive", SELINUX),
        Ok(_) => return Finding::unknown(Reason::Parse, SELINUX),
        Err(Reason::Absent) => {}
        Err(reason) => return Finding::unknown(*reason, SELINUX),
    }
    match sys.read(APPARMOR).as_deref().map(str::trim) {
        Ok("Y") => Finding::pass("apparmor", APPARMOR),
        Ok("N") => Finding::fail("apparmor off", APPARMOR),
        Ok(_) => Finding::unknown(Reason::Parse, APPARMOR),
        Err(reason) => Finding::unknown(*reason, APPARMOR),
    }
}

/// Whether there is a TPM, and of which version.
pub(super) fn tpm(sys: &Sys) -> Finding {
    match sys.names(TPMS) {
        Ok(names) => match names.first() {
            Some(name) => {
                let file = format!("{TPMS}/{name}/tpm_version_major");
                match sys.read(&file).map(|text| text.trim().parse::<u8>()) {
                    Ok(Ok(version)) => Finding::of(version >= 2, version, file),
                    Ok(Err(_)) => Finding::unknown(Reason::Parse, file),
                    Err(reason) => Finding::unknown(reason, file),
                }
            }
            None => Finding::fail("none", TPMS),
        },
        Err(reason) => Finding::unknown(reason, TPMS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_mode_is_too_much(text in "\\PC{0,100}", mode in "[a-z]{1,20}") {
            let _ = bracketed(&text);
            let line = format!("none [{mode}] x\n");
            prop_assert_eq!(bracketed(&line), Some(mode.as_str()));
        }
    }
}
