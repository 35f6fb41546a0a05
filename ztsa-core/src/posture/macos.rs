//! macOS, by its own programs and property lists. The parsers are tested on recorded output; the whole is not tested on
//! that system.

use serde_json::{Value, json};
use ztsa_proto::{
    posture::{Os, Reason},
    time::UnixTime,
};

use super::{Finding, Sys};

const VERSION: &str = "/System/Library/CoreServices/SystemVersion.plist";
const FDESETUP: &str = "/usr/bin/fdesetup";
const SYSCTL: &str = "/usr/sbin/sysctl";
const HISTORY: &str = "/Library/Receipts/InstallHistory.plist";

type Run<'r> = &'r dyn Fn(&str, &[&str]) -> Result<String, Reason>;

pub(super) fn look(id: &str, sys: &Sys, now: UnixTime, run: Run<'_>) -> Finding {
    match id {
        "os.version" => Finding::known(sys.read(VERSION).and_then(|text| version(&text).ok_or(Reason::Parse)), VERSION),
        "os.kernel" => Finding::known(run(SYSCTL, &["-n", "kern.osrelease"]).map(|text| text.trim().into()), SYSCTL),
        "os.patch_age" => patch_age(sys, now),
        "disk.root" | "disk.home" => match run(FDESETUP, &["status"]) {
            Ok(text) => file_vault(&text),
            Err(reason) => Finding::unknown(reason, FDESETUP),
        },
        "disk.swap" => match run(SYSCTL, &["-n", "vm.swapusage"]) {
            Ok(text) => swap(&text),
            Err(reason) => Finding::unknown(reason, SYSCTL),
        },
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

/// `fdesetup status`: on while it is still encrypting is not yet encrypted.
fn file_vault(text: &str) -> Finding {
    let text = text.trim();
    if text.starts_with("FileVault is Off") {
        Finding::fail("filevault off", FDESETUP)
    } else if text.starts_with("FileVault is On") && text.contains("Encryption in progress") {
        Finding::fail("filevault encrypting", FDESETUP)
    } else if text.starts_with("FileVault is On") {
        Finding::pass("filevault", FDESETUP)
    } else {
        Finding::unknown(Reason::Parse, FDESETUP)
    }
}

/// `sysctl -n vm.swapusage`: `total = 1024.00M  used = 1.00M  free = 1023.00M  (encrypted)`.
fn swap(text: &str) -> Finding {
    if !text.contains("total =") {
        Finding::unknown(Reason::Parse, SYSCTL)
    } else if text.contains("(encrypted)") {
        Finding::pass("encrypted", SYSCTL)
    } else {
        Finding::fail("none visible", SYSCTL)
    }
}

/// The list of installations is rewritten at each; its time is that of the last.
fn patch_age(sys: &Sys, now: UnixTime) -> Finding {
    match std::fs::metadata(sys.path(HISTORY)).and_then(|found| found.modified()) {
        Ok(time) => Finding::pass(now.since(time.into()).as_secs() / super::DAY, HISTORY),
        Err(error) => Finding::unknown(super::reason(&error), HISTORY),
    }
}

/// The string of a key in an XML property list's dictionary.
fn plist_string(plist: &str, key: &str) -> Option<String> {
    let (_, rest) = plist.split_once(&format!("<key>{key}</key>"))?;
    let rest = rest.trim_start().strip_prefix("<string>")?;
    let (value, _) = rest.split_once("</string>")?;
    Some(value.chars().filter(|c| !c.is_control()).take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ztsa_proto::posture::State;

    const PLIST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0">
<dict>
	<key>BuildID</key>
	<string>F4D5F8C2</string>
	<key>ProductBuildVersion</key>
	<string>24G84</string>
	<key>ProductName</key>
	<string>macOS</string>
	<key>ProductVersion</key>
	<string>15.6</string>
</dict>
</plist>"#;

    #[test]
    fn recorded_output_is_read() {
        assert_eq!(version(PLIST), Some(json!({ "id": "macos", "version": "15.6", "build": "24G84" })));
        for (text, state) in [
            ("FileVault is On.\n", State::Pass),
            ("FileVault is Off.\n", State::Fail),
            ("FileVault is On.\nEncryption in progress: Percent completed = 27\n", State::Fail),
            ("FileVault is Off, but will be enabled after the next restart.\n", State::Fail),
            ("fdesetup: unknown\n", State::Unknown),
            ("", State::Unknown),
        ] {
            assert_eq!(file_vault(text).state, state, "{text}");
        }
        for (text, state) in [
            ("total = 2048.00M  used = 1.00M  free = 2047.00M  (encrypted)", State::Pass),
            ("total = 2048.00M  used = 1.00M  free = 2047.00M", State::Fail),
            ("", State::Unknown),
        ] {
            assert_eq!(swap(text).state, state, "{text}");
        }
    }

    #[test]
    fn a_program_that_may_not_run_is_unknown() {
        let run = |_: &str, _: &[&str]| Err(Reason::Permission);
        let sys = Sys::at("/nowhere", 0);
        for id in ["os.version", "os.kernel", "os.patch_age", "disk.root", "disk.home", "disk.swap", "x.other"] {
            assert_eq!(look(id, &sys, UnixTime(0), &run).state, State::Unknown, "{id}");
        }
    }

    proptest! {
        #[test]
        fn no_output_is_too_much(text in "\\PC{0,200}") {
            let _ = (file_vault(&text), swap(&text), version(&text));
        }
    }
}
