//! macOS, by its own programs and property lists. The parsers are tested on recorded output; the whole is not tested on
//! that system.

mod parse;

use serde_json::{Value, json};
use ztsa_proto::{
    posture::{Os, Reason, Wanted},
    time::UnixTime,
};

use self::parse::{
    administrator, automatic, enrolled, extensions, file_vault, firewall, gatekeeper, joined, plist_string,
    screen_lock, seconds_since, swap, system_integrity, thumbprint,
};
use super::{Finding, Sys, command::Call, finding::Lock, sys::reason};

const VERSION: &str = "/System/Library/CoreServices/SystemVersion.plist";
const FDESETUP: &str = "/usr/bin/fdesetup";
const SYSCTL: &str = "/usr/sbin/sysctl";
const HISTORY: &str = "/Library/Receipts/InstallHistory.plist";
const FIREWALL: &str = "/usr/libexec/ApplicationFirewall/socketfilterfw";
const SYSADMINCTL: &str = "/usr/sbin/sysadminctl";
const PLUTIL: &str = "/usr/bin/plutil";
const UPDATES: &str = "/Library/Preferences/com.apple.SoftwareUpdate.plist";
const CSRUTIL: &str = "/usr/bin/csrutil";
const SPCTL: &str = "/usr/sbin/spctl";
const PROFILES: &str = "/usr/bin/profiles";
const DSCONFIGAD: &str = "/usr/sbin/dsconfigad";
const SCUTIL: &str = "/usr/sbin/scutil";
const ID: &str = "/usr/bin/id";
const PS: &str = "/bin/ps";
const EXTENSIONS: &str = "/usr/bin/systemextensionsctl";
const SECURITY: &str = "/usr/bin/security";
const KEYCHAIN: &str = "/Library/Keychains/System.keychain";
const DAY: u64 = 86_400;

pub(super) fn device_name(sys: &Sys) -> Option<String> {
    sys.run(SCUTIL, &["--get", "ComputerName"]).ok()
}

pub(super) fn look(wanted: &Wanted, sys: &Sys, now: UnixTime) -> Finding {
    let id = wanted.id.as_str();
    match id.split_once('.').unwrap_or((id, "")) {
        ("os", "version") => {
            Finding::known(sys.read(VERSION).and_then(|text| version(&text).ok_or(Reason::Parse)), VERSION)
        }
        ("os", "kernel") => Finding::known(sysctl(sys, "kern.osrelease").map(|text| text.trim().into()), SYSCTL),
        ("os", "patch_age") => patch_age(sys, now),
        ("os", "uptime") => {
            let text = sysctl(sys, "kern.boottime");
            Finding::known(
                text.and_then(|text| seconds_since(&text, now).ok_or(Reason::Parse)).map(Value::from),
                SYSCTL,
            )
        }
        ("os", "managed") => ask(sys, PROFILES, &["status", "-type", "enrollment"], enrolled),
        ("os", "domain") => ask(sys, DSCONFIGAD, &["-show"], joined),
        // FileVault covers the one volume that both lie on.
        ("disk", "root" | "home") => ask(sys, FDESETUP, &["status"], file_vault),
        ("disk", "swap") => ask(sys, SYSCTL, &["-n", "vm.swapusage"], swap),
        ("fw", "enabled") => ask(sys, FIREWALL, &["--getglobalstate"], firewall),
        ("lock", name) => lock(sys, name),
        ("boot", "lockdown") => ask(sys, CSRUTIL, &["status"], system_integrity),
        ("boot", "lsm") => ask(sys, SPCTL, &["--status"], gatekeeper),
        // `bputil` and `nvram` tell this to root alone.
        ("boot", "secure_boot") => Finding::unknown(Reason::Permission, "bputil"),
        ("hw", "tpm") => secure_enclave(sys),
        ("updates", "auto") => ask(sys, PLUTIL, &["-convert", "xml1", "-o", "-", UPDATES], automatic),
        ("user", "admin") => ask(sys, ID, &["-Gn"], administrator),
        ("user", "root") => Finding::of(sys.uid() != 0, if sys.uid() == 0 { "root" } else { "no" }, "geteuid"),
        ("virt", "machine") => virtual_machine(sys),
        ("virt", "container") => Finding::not_applicable("no containers", ""),
        ("browser", name) => browser(sys, name),
        ("process", _) => process(wanted, sys),
        ("edr", "") => protection(wanted, sys),
        ("ca", _) => authority(wanted, sys),
        _ => Finding::unknown(Reason::Unsupported, ""),
    }
}

pub(super) fn os(sys: &Sys) -> Os {
    let version = sys.read(VERSION).ok().and_then(|text| plist_string(&text, "ProductVersion"));
    Os {
        family: "macos".to_owned(),
        id: "macos".to_owned(),
        version: version.unwrap_or_default(),
        kernel: String::new(),
    }
}

fn version(plist: &str) -> Option<Value> {
    let version = plist_string(plist, "ProductVersion")?;
    let build = plist_string(plist, "ProductBuildVersion");
    Some(json!({ "id": "macos", "version": version, "build": build }))
}

/// Asks a program and reads its answer; an answer that the parser does not know is unknown.
fn ask(sys: &Sys, program: &'static str, arguments: &[&str], parse: fn(&str) -> Option<Finding>) -> Finding {
    match sys.run(program, arguments) {
        Ok(text) => parse(&text).unwrap_or_else(|| Finding::unknown(Reason::Parse, program)),
        Err(reason) => Finding::unknown(reason, program),
    }
}

fn sysctl(sys: &Sys, name: &str) -> Result<String, Reason> {
    sys.run(SYSCTL, &["-n", name])
}

/// The list of installations is rewritten at each; its time is that of the last.
fn patch_age(sys: &Sys, now: UnixTime) -> Finding {
    match std::fs::metadata(sys.path(HISTORY)).and_then(|found| found.modified()) {
        Ok(time) => Finding::pass(now.since(time.into()).as_secs() / DAY, HISTORY),
        Err(error) => Finding::unknown(reason(&error), HISTORY),
    }
}

/// `sysadminctl` answers on its standard error.
fn lock(sys: &Sys, name: &str) -> Finding {
    let call = Call { program: SYSADMINCTL, arguments: &["-screenLock", "status"], stderr: true, ..Call::default() };
    let seconds = match sys.ask(&call) {
        Ok(text) => screen_lock(&text),
        Err(reason) => return Finding::unknown(reason, SYSADMINCTL),
    };
    match (seconds, name) {
        (Some(Lock::After(seconds)), "delay") => Finding::pass(seconds, SYSADMINCTL),
        (Some(Lock::After(seconds)), _) => Finding::pass(format!("after {seconds} s"), SYSADMINCTL),
        (Some(Lock::Off), _) => Finding::fail("lock off", SYSADMINCTL),
        (None, _) => Finding::unknown(Reason::Parse, SYSADMINCTL),
    }
}

/// Every Mac with Apple silicon has one; of the others it cannot be told without root.
fn secure_enclave(sys: &Sys) -> Finding {
    match sysctl(sys, "hw.optional.arm64").as_deref().map(str::trim) {
        Ok("1") => Finding::pass("secure enclave", SYSCTL),
        Ok(_) => Finding::unknown(Reason::Unsupported, SYSCTL),
        Err(reason) => Finding::unknown(*reason, SYSCTL),
    }
}

fn virtual_machine(sys: &Sys) -> Finding {
    match sysctl(sys, "kern.hv_vmm_present").as_deref().map(str::trim) {
        Ok("0") => Finding::pass("none", SYSCTL),
        Ok("1") => Finding::fail("hypervisor", SYSCTL),
        Ok(_) => Finding::unknown(Reason::Parse, SYSCTL),
        Err(reason) => Finding::unknown(*reason, SYSCTL),
    }
}

fn browser(sys: &Sys, name: &str) -> Finding {
    let app = match name {
        "firefox" => "Firefox",
        "chrome" => "Google Chrome",
        "chromium" => "Chromium",
        "edge" => "Microsoft Edge",
        "brave" => "Brave Browser",
        _ => return Finding::unknown(Reason::Unsupported, ""),
    };
    let file = format!("/Applications/{app}.app/Contents/Info.plist");
    match sys.exists(&file) {
        Ok(true) => {}
        Ok(false) => return Finding::not_applicable("not installed", file),
        Err(reason) => return Finding::unknown(reason, file),
    }
    let text = sys.run(PLUTIL, &["-convert", "xml1", "-o", "-", &file]);
    let version =
        text.and_then(|text| plist_string(&text, "CFBundleShortVersionString").ok_or(Reason::Parse)).map(Value::from);
    Finding::known(version, file)
}

fn process(wanted: &Wanted, sys: &Sys) -> Finding {
    let Some(path) = wanted.path.on("macos") else { return Finding::not_applicable("no path for macOS", "") };
    match sys.run(PS, &["-axo", "comm="]) {
        Ok(text) if text.lines().any(|line| line.trim() == path) => Finding::pass("path", PS),
        Ok(_) => Finding::fail("not running", PS),
        Err(reason) => Finding::unknown(reason, PS),
    }
}

/// A product counts by a running process or by a system extension that is active.
fn protection(wanted: &Wanted, sys: &Sys) -> Finding {
    if wanted.products.is_empty() {
        return Finding::not_applicable("the gateway names none", PS);
    }
    let processes = sys.run(PS, &["-axo", "comm="]);
    let active = sys.run(EXTENSIONS, &["list"]).map(|text| extensions(&text)).unwrap_or_default();
    let runs = |name: &String| {
        let is = |line: &str| line.trim().rsplit('/').next() == Some(name);
        processes.as_ref().is_ok_and(|text| text.lines().any(is)) || active.contains(name)
    };
    match wanted.products.iter().find(|product| product.processes.iter().any(runs)) {
        Some(product) => Finding::pass(product.name.as_str(), PS),
        None => match processes {
            Ok(_) => Finding::fail("none of them runs", PS),
            Err(reason) => Finding::unknown(reason, PS),
        },
    }
}

fn authority(wanted: &Wanted, sys: &Sys) -> Finding {
    let Some(digest) = wanted.sha256.as_deref() else { return Finding::error(Reason::Parse, "") };
    match sys.run(SECURITY, &["find-certificate", "-a", "-Z", KEYCHAIN]) {
        Ok(text) => {
            let found = text.lines().filter_map(thumbprint).any(|print| super::file::same_digest(print, digest));
            Finding::of(found, if found { "trusted" } else { "not in the keychain" }, KEYCHAIN)
        }
        Err(reason) => Finding::unknown(reason, KEYCHAIN),
    }
}

#[cfg(test)]
mod tests;
