//! How the system is kept up to date.

use ztsa_proto::{posture::Reason, time::UnixTime};

use super::{Finding, Sys, apt, is_enabled, release};
use crate::posture::sys::reason;

const DAY: u64 = 86_400;
const TIMERS: &str = "timers.target";
/// What package managers write when they install something; to fetch the lists of what there is updates nothing.
const PACKAGES: [&str; 7] = [
    "/var/lib/dpkg/status",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/pacman/local",
    "/lib/apk/db/installed",
    "/sysroot/ostree/repo/refs",
];

/// The days since packages were last changed: evidence of updates, not proof.
pub(super) fn patch_age(sys: &Sys, now: UnixTime) -> Finding {
    let mut newest: Option<(UnixTime, &'static str)> = None;
    let mut hidden = Reason::Absent;
    for path in PACKAGES {
        match std::fs::metadata(sys.path(path)).and_then(|found| found.modified()) {
            // An image's files have no date of their own (ostree writes 0 or 1).
            Ok(time) if UnixTime::from(time) <= UnixTime(1) => {}
            Ok(time) => newest = newest.max(Some((UnixTime::from(time), path))),
            Err(error) if reason(&error) == Reason::Absent => {}
            Err(error) => hidden = reason(&error),
        }
    }
    match newest {
        Some((time, source)) => Finding::pass(now.since(time).as_secs() / DAY, source),
        None => Finding::unknown(hidden, "package database"),
    }
}

/// Whether updates install themselves, by the tool of the distribution.
pub(super) fn automatic(sys: &Sys) -> Finding {
    let release = match release(sys) {
        Ok(release) => release,
        Err(reason) => return Finding::unknown(reason, super::RELEASE),
    };
    if sys.exists("/etc/rpm-ostreed.conf") == Ok(true) {
        return ostree(sys);
    }
    if release.is(&["debian", "ubuntu"]) {
        return unattended(sys);
    }
    if release.is(&["fedora", "rhel", "centos"]) {
        return dnf(sys);
    }
    if release.is(&["suse", "opensuse"]) {
        return timer(sys, "transactional-update.timer");
    }
    Finding::unknown(Reason::Unsupported, super::RELEASE)
}

/// apt: what it is told to do by itself, and whether it does.
fn unattended(sys: &Sys) -> Finding {
    let settings = match apt::settings(sys) {
        Ok(settings) => settings,
        Err(reason) => return Finding::unknown(reason, apt::PARTS),
    };
    let said = |name| apt::last(&settings, name);
    match (said("apt::periodic::enable"), said("apt::periodic::unattended-upgrade")) {
        (_, None) => Finding::fail("unattended-upgrades not set", apt::PARTS),
        (_, Some("0" | "")) => Finding::fail("unattended-upgrades off", apt::PARTS),
        (Some("0"), _) => Finding::fail("apt's daily work off", apt::PARTS),
        _ => unattended_runs(sys),
    }
}

/// The setting stays when the package is removed, and does nothing where nothing starts it.
fn unattended_runs(sys: &Sys) -> Finding {
    const PROGRAM: &str = "/usr/bin/unattended-upgrade";
    const TIMER: &str = "apt-daily-upgrade.timer";
    match (sys.exists(PROGRAM), is_enabled(sys, TIMERS, TIMER)) {
        (Ok(true), Ok(true)) => Finding::pass("unattended-upgrades", apt::PARTS),
        (Ok(false), _) => Finding::fail("unattended-upgrades not installed", PROGRAM),
        (Err(reason), _) => Finding::unknown(reason, PROGRAM),
        (_, Err(reason)) => Finding::unknown(reason, TIMER),
        (Ok(true), Ok(false)) => match sys.exists("/run/systemd/system") {
            Ok(true) => Finding::fail("apt-daily-upgrade.timer off", TIMER),
            // Something else may start it.
            Ok(false) => Finding::unknown(Reason::Unsupported, TIMER),
            Err(reason) => Finding::unknown(reason, TIMER),
        },
    }
}

fn dnf(sys: &Sys) -> Finding {
    let timers = ["dnf5-automatic.timer", "dnf-automatic.timer", "dnf-automatic-install.timer"];
    let mut hidden = None;
    for name in timers {
        match is_enabled(sys, TIMERS, name) {
            Ok(true) if name == "dnf-automatic-install.timer" => return Finding::pass("dnf-automatic-install", name),
            Ok(true) => return dnf_applies(sys, name),
            Ok(false) => {}
            Err(reason) => hidden = Some(reason),
        }
    }
    match hidden {
        Some(reason) => Finding::unknown(reason, "systemd timers"),
        None => Finding::fail("dnf-automatic off", "systemd timers"),
    }
}

fn dnf_applies(sys: &Sys, timer: &'static str) -> Finding {
    const FILES: [&str; 2] = ["/etc/dnf/automatic.conf", "/etc/dnf/dnf5-plugins/automatic.conf"];
    for file in FILES {
        match sys.read(file) {
            Ok(text) => {
                let applies = ini_setting(&text, "apply_updates").is_some_and(|value| is_true(&value));
                return Finding::of(
                    applies,
                    if applies { "dnf-automatic" } else { "dnf-automatic only downloads" },
                    file,
                );
            }
            Err(Reason::Absent) => {}
            Err(reason) => return Finding::unknown(reason, file),
        }
    }
    Finding::unknown(Reason::Absent, timer)
}

fn ostree(sys: &Sys) -> Finding {
    const FILE: &str = "/etc/rpm-ostreed.conf";
    let policy = match sys.read(FILE) {
        Ok(text) => ini_setting(&text, "AutomaticUpdatePolicy").unwrap_or_default(),
        Err(reason) => return Finding::unknown(reason, FILE),
    };
    let timer = is_enabled(sys, TIMERS, "rpm-ostreed-automatic.timer");
    match (policy.as_str(), timer) {
        ("stage" | "apply", Ok(true)) => Finding::pass(format!("rpm-ostree {policy}"), FILE),
        ("stage" | "apply", Err(reason)) => Finding::unknown(reason, "systemd timers"),
        _ => Finding::fail("rpm-ostree not automatic", FILE),
    }
}

fn timer(sys: &Sys, name: &'static str) -> Finding {
    match is_enabled(sys, TIMERS, name) {
        Ok(on) => Finding::of(on, if on { name } else { "no timer for updates" }, "systemd timers"),
        Err(reason) => Finding::unknown(reason, "systemd timers"),
    }
}

/// The value of a key anywhere in an ini file; a comment is none.
pub(super) fn ini_setting(text: &str, key: &str) -> Option<String> {
    let value = |line: &str| {
        let (name, value) = line.trim().split_once('=')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    text.lines().filter_map(value).next_back()
}

pub(super) fn is_true(value: &str) -> bool {
    ["yes", "true", "on", "1"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Whether updates wait for a restart. Only Debian's family says so with a file, and only where a package writes it; the
/// others would have to be asked at length.
pub(super) fn reboot(sys: &Sys) -> Finding {
    const FLAG: &str = "/run/reboot-required";
    const WRITERS: [&str; 2] =
        ["/etc/kernel/postinst.d/unattended-upgrades", "/usr/share/update-notifier/notify-reboot-required"];
    match release(sys) {
        Ok(release) if release.is(&["debian", "ubuntu"]) => match sys.exists(FLAG) {
            Ok(true) => Finding::fail("restart wanted", FLAG),
            Ok(false) if WRITERS.iter().any(|file| sys.exists(file) == Ok(true)) => Finding::pass("none", FLAG),
            Ok(false) => Finding::unknown(Reason::Unsupported, FLAG),
            Err(reason) => Finding::unknown(reason, FLAG),
        },
        Ok(_) => Finding::unknown(Reason::Unsupported, FLAG),
        Err(reason) => Finding::unknown(reason, super::RELEASE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn settings_are_read_and_the_last_word_counts() {
        assert_eq!(
            ini_setting("[commands]\n# apply_updates = no\napply_updates = yes\n", "apply_updates").as_deref(),
            Some("yes")
        );
    }

    proptest! {
        #[test]
        fn no_setting_is_too_much(text in "\\PC{0,200}", key in "[a-z:]{0,8}") {
            let _ = ini_setting(&text, &key).map(|value| is_true(&value));
        }
    }
}
