//! The rows of posture: one for each sort of check (see [`crate::posture::KNOWN`]).

use super::{AFTER, DENIED, Row, row_of};

const fn row(code: &'static str, title: &'static str, remedy: &'static str) -> Row {
    row_of(code, 403, title, AFTER, remedy, DENIED, 5)
}

#[rustfmt::skip]
pub(super) static ROWS: &[Row] = &[
    row("posture.disk_encryption", "This device's disk is not known to be encrypted", "Turn on disk encryption, check it with `ztsa posture`, then try again."),
    row("posture.os_version", "This device's operating system is too old", "Update the operating system, check it with `ztsa posture`, then try again."),
    row("posture.os_kernel", "This device's kernel is too old", "Update the system and restart it, check it with `ztsa posture`, then try again."),
    row("posture.os_eol", "This device's operating system gets no more security updates", "Install a release that still gets updates, check it with `ztsa posture`, then try again."),
    row("posture.patch_age", "This device lacks recent updates", "Install the pending updates, check it with `ztsa posture`, then try again."),
    row("posture.updates", "This device does not update itself", "Turn on automatic updates, check it with `ztsa posture`, then try again."),
    row("posture.reboot", "Updates of this device wait for a restart", "Restart the device, then try again."),
    row("posture.uptime", "This device has not been restarted for too long", "Restart the device, then try again."),
    row("posture.firewall", "This device's firewall is not known to be on", "Turn on the firewall, check it with `ztsa posture`, then try again."),
    row("posture.screen_lock", "This device's screen is not known to lock by itself", "Let the screen lock by itself, check it with `ztsa posture`, then try again."),
    row("posture.secure_boot", "This device is not known to start only what is signed", "Turn on Secure Boot in the firmware's settings, check it with `ztsa posture`, then try again."),
    row("posture.lockdown", "This device's system is not known to be locked down", "Turn on Secure Boot or kernel lockdown, check it with `ztsa posture`, then try again."),
    row("posture.lsm", "This device is not known to confine its programs", "Turn on SELinux, AppArmor or Gatekeeper, check it with `ztsa posture`, then try again."),
    row("posture.tpm", "This device has no chip for keys that could be seen", "Turn on the TPM in the firmware's settings or use a device that has one, then try again."),
    row("posture.edr", "No protection against attacks was seen on this device", "Start the protection that your organisation uses, check it with `ztsa posture`, then try again."),
    row("posture.admin_rights", "You work with more rights on this device than you may", "Work as a user without administrator's rights, check it with `ztsa posture`, then try again."),
    row("posture.managed", "This device is not known to be managed", "Enrol this device in your organisation's device management, then try again."),
    row("posture.domain", "This device is not known to be in the organisation's domain", "Ask your administrator to join this device to the domain, then try again."),
    row("posture.certificate", "This device did not show the client certificate that is wanted", "Name your certificate and its key in config.toml, check it with `ztsa posture`, then try again."),
    row("posture.ca", "This device does not trust the organisation's certificate authority", "Install the certificate authority that your administrator names, check it with `ztsa posture`, then try again."),
    row("posture.file", "A file that is wanted was not seen on this device", "See which one with `ztsa posture`, install what it belongs to, then try again."),
    row("posture.process", "A program that is wanted was not seen running on this device", "See which one with `ztsa posture`, start it, then try again."),
    row("posture.browser", "A browser on this device is too old or was not seen", "Update the browser, check it with `ztsa posture`, then try again."),
    row("posture.virtualisation", "This device is a virtual machine or a container", "Use a device of another sort; see what was seen with `ztsa posture`."),
];
