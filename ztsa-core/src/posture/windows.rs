//! Windows, by its own programs, as a user without administrator's rights. The parsers are tested on recorded output; the
//! whole is not tested on that system.

mod parse;

use serde_json::Value;
use ztsa_proto::posture::{Os, Reason, Wanted};

use self::parse::{
    administrator, automatic, bit_locker, build, dword, elevated, firewall, joined, lock_seconds, maker, managed,
    processes, tpm, value, version,
};
use super::{Finding, Sys, file::same_digest, finding::Lock};

const REG: &str = r"C:\Windows\System32\reg.exe";
const POWERSHELL: &str = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
const WHOAMI: &str = r"C:\Windows\System32\whoami.exe";
const DSREGCMD: &str = r"C:\Windows\System32\dsregcmd.exe";
const TASKLIST: &str = r"C:\Windows\System32\tasklist.exe";
const TPMTOOL: &str = r"C:\Windows\System32\tpmtool.exe";
const HOSTNAME: &str = r"C:\Windows\System32\hostname.exe";

const VERSION_KEY: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
const FIREWALL_KEYS: [&str; 2] = [
    // What the organisation sets stands above the machine's own choice.
    r"HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall",
    r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy",
];
const SCREEN_KEYS: [&str; 2] =
    [r"HKCU\Software\Policies\Microsoft\Windows\Control Panel\Desktop", r"HKCU\Control Panel\Desktop"];
const IDLE_KEY: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System";
const SECURE_BOOT_KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot\State";
const UPDATE_KEY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU";
const UPDATE_SERVICE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\wuauserv";
const RESTART_KEY: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update";
const MACHINE_KEY: &str = r"HKLM\HARDWARE\DESCRIPTION\System\BIOS";
const GUARD_KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\DeviceGuard\Scenarios\HypervisorEnforcedCodeIntegrity";
/// The Shell's view of BitLocker, which a user may read.
const PROTECTION: &str = "(New-Object -ComObject Shell.Application).NameSpace('C:').Self.ExtendedProperty('System.Volume.BitLockerProtection')";
const UPTIME: &str = "[int64]((Get-Date) - (Get-CimInstance Win32_OperatingSystem).LastBootUpTime).TotalSeconds";
const PATCHED: &str =
    "[int64]((Get-Date) - (Get-HotFix | Where-Object InstalledOn | Sort-Object InstalledOn)[-1].InstalledOn).TotalDays";
const AUTHORITIES: &str = "Get-ChildItem Cert:\\LocalMachine\\Root,Cert:\\CurrentUser\\Root | ForEach-Object { [BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($_.RawData)) }";

pub(super) fn look(wanted: &Wanted, sys: &Sys) -> Finding {
    let id = wanted.id.as_str();
    match id.split_once('.').unwrap_or((id, "")) {
        ("os", "version") => {
            Finding::known(query(sys, VERSION_KEY).and_then(|text| version(&text).ok_or(Reason::Parse)), VERSION_KEY)
        }
        ("os", "kernel") => {
            let build = query(sys, VERSION_KEY).and_then(|text| build(&text).ok_or(Reason::Parse));
            Finding::known(build.map(Value::from), VERSION_KEY)
        }
        ("os", "patch_age") => number(sys, PATCHED),
        ("os", "uptime") => number(sys, UPTIME),
        ("os", "managed") => ask(sys, DSREGCMD, &["/status"], managed),
        ("os", "domain") => ask(sys, DSREGCMD, &["/status"], joined),
        // The page file lies on the system's volume unless moved, and its key is not readable by users everywhere.
        ("disk", "root" | "home") => ask(sys, POWERSHELL, &shell(PROTECTION), bit_locker),
        ("fw", "enabled") => walls(sys),
        ("lock", name) => lock(sys, name),
        ("boot", "secure_boot") => flag(sys, SECURE_BOOT_KEY, "UEFISecureBootEnabled", "on", "off"),
        ("boot", "lockdown") => flag(sys, GUARD_KEY, "Enabled", "hvci", "hvci off"),
        ("hw", "tpm") => ask(sys, TPMTOOL, &["getdeviceinformation"], tpm),
        ("updates", "auto") => updates(sys),
        ("updates", "reboot") => restart(sys),
        ("user", "admin") => ask(sys, WHOAMI, &["/groups", "/fo", "csv", "/nh"], administrator),
        ("user", "root") => ask(sys, WHOAMI, &["/groups", "/fo", "csv", "/nh"], elevated),
        ("virt", "machine") => ask(sys, REG, &["query", MACHINE_KEY], maker),
        ("virt", "container") => Finding::not_applicable("no containers", ""),
        ("browser", name) => browser(sys, name),
        ("process", _) => process(wanted, sys),
        ("edr", "") => protection(wanted, sys),
        ("ca", _) => authority(wanted, sys),
        _ => Finding::unknown(Reason::Unsupported, ""),
    }
}

pub(super) fn device_name(sys: &Sys) -> Option<String> {
    sys.run(HOSTNAME, &[]).ok()
}

pub(super) fn os(sys: &Sys) -> Os {
    let text = query(sys, VERSION_KEY).unwrap_or_default();
    let version = value(&text, "DisplayVersion").unwrap_or_default().to_owned();
    Os { family: "windows".to_owned(), id: "windows".to_owned(), version, kernel: build(&text).unwrap_or_default() }
}

/// A key of the registry. One that is not there ends the program as one that may not be read does.
fn query(sys: &Sys, key: &str) -> Result<String, Reason> {
    sys.run(REG, &["query", key])
}

fn shell(script: &str) -> [&str; 4] {
    ["-NoProfile", "-NonInteractive", "-Command", script]
}

fn ask(sys: &Sys, program: &'static str, arguments: &[&str], parse: fn(&str) -> Option<Finding>) -> Finding {
    match sys.run(program, arguments) {
        Ok(text) => parse(&text).unwrap_or_else(|| Finding::unknown(Reason::Parse, program)),
        Err(reason) => Finding::unknown(reason, program),
    }
}

/// A script that answers with a number.
fn number(sys: &Sys, script: &str) -> Finding {
    let text = sys.run(POWERSHELL, &shell(script));
    let number = text.and_then(|text| text.trim().parse::<u64>().map_err(|_| Reason::Parse));
    Finding::known(number.map(Value::from), POWERSHELL)
}

/// A value of the registry that is 1 or 0.
fn flag(sys: &Sys, key: &'static str, name: &str, on: &'static str, off: &'static str) -> Finding {
    match query(sys, key).map(|text| dword(&text, name)) {
        Ok(Some(number)) => Finding::of(number == 1, if number == 1 { on } else { off }, key),
        Ok(None) => Finding::unknown(Reason::Absent, key),
        Err(reason) => Finding::unknown(reason, key),
    }
}

/// Every profile's firewall must be on; what the organisation set counts most.
fn walls(sys: &Sys) -> Finding {
    let mut profiles = Vec::new();
    for (name, policy) in
        [("StandardProfile", "PrivateProfile"), ("PublicProfile", "PublicProfile"), ("DomainProfile", "DomainProfile")]
    {
        let [above, own] = FIREWALL_KEYS;
        let of = |root: &str, name: &str| {
            query(sys, &format!(r"{root}\{name}")).ok().and_then(|text| dword(&text, "EnableFirewall"))
        };
        profiles.push(of(above, policy).or_else(|| of(above, name)).or_else(|| of(own, name)));
    }
    firewall(&profiles)
}

fn lock(sys: &Sys, name: &str) -> Finding {
    let idle = query(sys, IDLE_KEY).ok().and_then(|text| dword(&text, "InactivityTimeoutSecs"));
    let screens = SCREEN_KEYS.map(|key| query(sys, key));
    let seconds = screens.iter().flatten().find_map(|text| lock_seconds(text));
    let said = match (idle.filter(|seconds| *seconds > 0).map(u64::from), seconds) {
        (Some(one), Some(Lock::After(other))) => Some(Lock::After(one.min(other))),
        (Some(one), _) => Some(Lock::After(one)),
        (None, said) => said,
    };
    let [_, source] = SCREEN_KEYS;
    match (said, name) {
        (Some(Lock::After(seconds)), "delay") => Finding::pass(seconds, source),
        (Some(Lock::After(seconds)), _) => Finding::pass(format!("after {seconds} s"), source),
        (Some(Lock::Off), _) => Finding::fail("lock off", source),
        (None, _) => Finding::unknown(screens.into_iter().find_map(Result::err).unwrap_or(Reason::Absent), source),
    }
}

/// Security Center says that all is well with the service disabled: the service is asked too.
fn updates(sys: &Sys) -> Finding {
    let start = query(sys, UPDATE_SERVICE).map(|text| dword(&text, "Start"));
    match start {
        Ok(start) => {
            let policy = query(sys, UPDATE_KEY).unwrap_or_default();
            automatic(start, dword(&policy, "NoAutoUpdate"), dword(&policy, "AUOptions"))
        }
        Err(reason) => Finding::unknown(reason, UPDATE_SERVICE),
    }
}

fn restart(sys: &Sys) -> Finding {
    match query(sys, RESTART_KEY) {
        Ok(text) => {
            let waits = text.lines().any(|line| line.trim_end().ends_with(r"\RebootRequired"));
            Finding::of(!waits, if waits { "restart wanted" } else { "none" }, RESTART_KEY)
        }
        Err(reason) => Finding::unknown(reason, RESTART_KEY),
    }
}

fn browser(sys: &Sys, name: &str) -> Finding {
    let (key, entry) = match name {
        "firefox" => (r"HKLM\SOFTWARE\Mozilla\Mozilla Firefox", "CurrentVersion"),
        "chrome" => (r"HKCU\Software\Google\Chrome\BLBeacon", "version"),
        "chromium" => (r"HKCU\Software\Chromium\BLBeacon", "version"),
        "edge" => (r"HKCU\Software\Microsoft\Edge\BLBeacon", "version"),
        "brave" => (r"HKCU\Software\BraveSoftware\Brave-Browser\BLBeacon", "version"),
        _ => return Finding::unknown(Reason::Unsupported, ""),
    };
    let text = query(sys, key);
    Finding::known(text.and_then(|text| value(&text, entry).map(Value::from).ok_or(Reason::Parse)), key)
}

fn process(wanted: &Wanted, sys: &Sys) -> Finding {
    let Some(path) = wanted.path.on("windows") else { return Finding::not_applicable("no path for Windows", "") };
    let name = path.rsplit('\\').next().unwrap_or(path);
    match tasks(sys) {
        Ok(text) if processes(&text).any(|process| process.eq_ignore_ascii_case(name)) => {
            Finding::pass("name", TASKLIST)
        }
        Ok(_) => Finding::fail("not running", TASKLIST),
        Err(reason) => Finding::unknown(reason, TASKLIST),
    }
}

fn protection(wanted: &Wanted, sys: &Sys) -> Finding {
    if wanted.products.is_empty() {
        return Finding::not_applicable("the gateway names none", TASKLIST);
    }
    let text = match tasks(sys) {
        Ok(text) => text,
        Err(reason) => return Finding::unknown(reason, TASKLIST),
    };
    let runs = |name: &String| {
        processes(&text)
            .any(|process| process.eq_ignore_ascii_case(name) || process.eq_ignore_ascii_case(&format!("{name}.exe")))
    };
    match wanted.products.iter().find(|product| product.processes.iter().any(runs)) {
        Some(product) => Finding::pass(product.name.as_str(), TASKLIST),
        None => Finding::fail("none of them runs", TASKLIST),
    }
}

fn tasks(sys: &Sys) -> Result<String, Reason> {
    sys.run(TASKLIST, &["/fo", "csv", "/nh"])
}

fn authority(wanted: &Wanted, sys: &Sys) -> Finding {
    let Some(digest) = wanted.sha256.as_deref() else { return Finding::error(Reason::Parse, "") };
    match sys.run(POWERSHELL, &shell(AUTHORITIES)) {
        Ok(text) => {
            let found = text.lines().any(|line| same_digest(line.trim(), digest));
            Finding::of(found, if found { "trusted" } else { "not in the store" }, POWERSHELL)
        }
        Err(reason) => Finding::unknown(reason, POWERSHELL),
    }
}

#[cfg(test)]
mod tests;
