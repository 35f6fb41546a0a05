use proptest::prelude::*;
use ztsa_proto::posture::{Paths, Product, State};

use super::*;

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

/// A Mac that answers as recorded.
fn mac(call: &Call<'_>) -> Result<String, Reason> {
    let text = match (call.program, call.arguments) {
        (FDESETUP, _) => "FileVault is On.\n",
        (FIREWALL, _) => "Firewall is enabled. (State = 1)\n",
        (SYSADMINCTL, _) if call.stderr => {
            "2026-11-22 10:00:00.000 sysadminctl[812:8151] screenLock delay is 300 seconds\n"
        }
        (CSRUTIL, _) => "System Integrity Protection status: enabled.\n",
        (SPCTL, _) => "assessments enabled\n",
        (PROFILES, _) => {
            "Enrolled via DEP: Yes\nMDM enrollment: Yes (User Approved)\nMDM server: https://mdm.example/\n"
        }
        (DSCONFIGAD, _) => "\n",
        (ID, _) => "staff everyone localaccounts _appserverusr admin\n",
        (PS, _) => "/sbin/launchd\n/Applications/Agent.app/Contents/MacOS/agent\n/Library/CS/falcond\n",
        (EXTENSIONS, _) => {
            "1 extension(s)\n--- com.apple.system_extension.endpoint_security\nenabled\tactive\tteamID\tbundleID (version)\tname\t[state]\n*\t*\tX9E956P446\tcom.crowdstrike.falcon.Agent (7.1/190.01)\tFalconSensor\t[activated enabled]\n"
        }
        (SECURITY, _) => {
            "SHA-256 hash: BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD\nSHA-1 hash: AA\nkeychain: \"/Library/Keychains/System.keychain\"\n"
        }
        (SYSCTL, ["-n", "vm.swapusage"]) => "total = 2048.00M  used = 1.00M  free = 2047.00M  (encrypted)\n",
        (SYSCTL, ["-n", "kern.boottime"]) => "{ sec = 1795300000, usec = 0 } Sun Nov 22 06:26:40 2026\n",
        (SYSCTL, ["-n", "hw.optional.arm64"]) => "1\n",
        (SYSCTL, ["-n", "kern.hv_vmm_present"]) => "0\n",
        (SYSCTL, ["-n", "kern.osrelease"]) => "24.6.0\n",
        (PLUTIL, _) => {
            "<plist version=\"1.0\"><dict><key>AutomaticCheckEnabled</key>\n<true/><key>CriticalUpdateInstall</key><true/></dict></plist>"
        }
        _ => return Err(Reason::Absent),
    };
    Ok(text.to_owned())
}

#[test]
fn a_mac_is_described_by_what_its_programs_say() {
    let sys = Sys::at("/nowhere", 501, &[]).with_programs(mac);
    let now = UnixTime(1_795_300_060);
    for (id, state, value) in [
        ("disk.root", State::Pass, json!("filevault")),
        ("disk.swap", State::Pass, json!("encrypted")),
        ("fw.enabled", State::Pass, json!("on")),
        ("lock.enabled", State::Pass, json!("after 300 s")),
        ("lock.delay", State::Pass, json!(300)),
        ("boot.lockdown", State::Pass, json!("sip")),
        ("boot.lsm", State::Pass, json!("gatekeeper")),
        ("hw.tpm", State::Pass, json!("secure enclave")),
        ("os.managed", State::Pass, json!("mdm by device enrolment")),
        ("os.domain", State::Fail, json!("not joined")),
        ("os.kernel", State::Pass, json!("24.6.0")),
        ("os.uptime", State::Pass, json!(60)),
        ("updates.auto", State::Pass, json!("on")),
        ("user.admin", State::Fail, json!("admin")),
        ("user.root", State::Pass, json!("no")),
        ("virt.machine", State::Pass, json!("none")),
        ("browser.firefox", State::NotApplicable, json!("not installed")),
    ] {
        let found = look(&Wanted::from(id), &sys, now);
        assert_eq!((found.state, found.value), (state, Some(value)), "{id}");
    }
    let path = |path: &str| Paths { macos: Some(path.to_owned()), ..Paths::default() };
    let agent = |at| Wanted { path: path(at), ..Wanted::from("process.agent") };
    assert_eq!(look(&agent("/Applications/Agent.app/Contents/MacOS/agent"), &sys, now).state, State::Pass);
    assert_eq!(look(&agent("/opt/agent"), &sys, now).state, State::Fail);
    let products = |process: &str| vec![Product { name: "p".to_owned(), processes: vec![process.to_owned()] }];
    for (process, state) in
        [("falcond", State::Pass), ("com.crowdstrike.falcon.Agent", State::Pass), ("x", State::Fail)]
    {
        let found = look(&Wanted { products: products(process), ..Wanted::from("edr") }, &sys, now);
        assert_eq!(found.state, state, "{process}");
    }
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
    assert_eq!(look(&Wanted { sha256: Some(digest), ..Wanted::from("ca.corp") }, &sys, now).state, State::Pass);
}

type Parser = fn(&str) -> Option<Finding>;

#[test]
fn recorded_output_is_read() {
    assert_eq!(version(PLIST), Some(json!({ "id": "macos", "version": "15.6", "build": "24G84" })));
    for (parse, text, state) in [
        (file_vault as Parser, "FileVault is Off.\n", Some(State::Fail)),
        (file_vault, "FileVault is On.\nEncryption in progress: Percent completed = 27\n", Some(State::Fail)),
        (file_vault, "FileVault is Off, but will be enabled after the next restart.\n", Some(State::Fail)),
        (file_vault, "fdesetup: unknown\n", None),
        (swap, "total = 2048.00M  used = 1.00M  free = 2047.00M", Some(State::Fail)),
        (firewall, "Firewall is disabled. (State = 0)", Some(State::Fail)),
        (firewall, "Firewall is set to block all non-essential incoming connections. (State = 2)", Some(State::Pass)),
        (system_integrity, "System Integrity Protection status: disabled.", Some(State::Fail)),
        (system_integrity, "System Integrity Protection status: unknown (Custom Configuration).", Some(State::Fail)),
        (gatekeeper, "assessments disabled", Some(State::Fail)),
        (enrolled, "Enrolled via DEP: No\nMDM enrollment: No\n", Some(State::Fail)),
        (joined, "Active Directory Forest = corp.example\nActive Directory Domain = corp.example\n", Some(State::Pass)),
        (automatic, "<plist><key>CriticalUpdateInstall</key><false/></plist>", Some(State::Fail)),
        (automatic, "<plist><key>AutomaticCheckEnabled</key><true/></plist>", Some(State::Unknown)),
        (administrator, "staff everyone", Some(State::Pass)),
    ] {
        assert_eq!(parse(text).map(|found| found.state), state, "{text}");
        assert_eq!(
            parse("what?").filter(|found| found.state == State::Pass && text != "staff everyone"),
            None,
            "{text}"
        );
    }
    for (text, seconds) in [
        ("x screenLock delay is immediate", Some(Lock::After(0))),
        ("x screenLock is off", Some(Lock::Off)),
        ("x screenLock delay is ages", None),
        ("", None),
    ] {
        assert_eq!(screen_lock(text), seconds, "{text}");
    }
}

#[test]
fn a_program_that_may_not_run_is_unknown() {
    let sys = Sys::at("/nowhere", 501, &[]).with_programs(|_| Err(Reason::Permission));
    for id in ztsa_proto::posture::known().filter(|id| !matches!(*id, "user.root" | "virt.container")) {
        let found = look(&Wanted::from(id), &sys, UnixTime(0));
        assert!(matches!(found.state, State::Unknown | State::NotApplicable), "{id}: {found:?}");
    }
}

proptest! {
    #[test]
    fn no_output_is_too_much(text in "\\PC{0,200}") {
        for parse in [file_vault, swap, firewall, system_integrity, gatekeeper, enrolled, joined, automatic, administrator] {
            let _ = parse(&text);
        }
        let _ = (version(&text), screen_lock(&text), seconds_since(&text, UnixTime(0)), extensions(&text), thumbprint(&text));
    }
}
