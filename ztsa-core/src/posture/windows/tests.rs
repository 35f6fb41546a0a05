use proptest::prelude::*;
use serde_json::json;
use ztsa_proto::posture::{Paths, Product, State};

use super::*;
use crate::posture::command::Call;

const QUERY: &str = "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\r\n    SystemRoot    REG_SZ    C:\\WINDOWS\r\n    CurrentBuild    REG_SZ    26100\r\n    UBR    REG_DWORD    0x122c\r\n    ProductName    REG_SZ    Windows 10 Pro\r\n    DisplayVersion    REG_SZ    24H2\r\n";
const DSREG: &str = "+----+\r\n| Device State |\r\n             AzureAdJoined : YES\r\n          EnterpriseJoined : NO\r\n              DomainJoined : NO\r\n               Device Name : LAPTOP\r\n                TenantName : Example Corp\r\n                    MdmUrl : https://enrollment.manage.microsoft.com/enrollmentserver/discovery.svc\r\n";
const GROUPS: &str = "\"BUILTIN\\Administrators\",\"Alias\",\"S-1-5-32-544\",\"Group used for deny only\"\r\n\"Mandatory Label\\Medium Mandatory Level\",\"Label\",\"S-1-16-8192\",\"\"\r\n";

/// A Windows machine that answers as recorded.
fn machine(call: &Call<'_>) -> Result<String, Reason> {
    let text = match (call.program, call.arguments) {
        (REG, ["query", VERSION_KEY]) => QUERY,
        (REG, ["query", key]) if key.ends_with("Profile") && key.contains("SharedAccess") => {
            "    EnableFirewall    REG_DWORD    0x1\r\n"
        }
        (REG, ["query", r"HKCU\Control Panel\Desktop"]) => {
            "    ScreenSaveActive    REG_SZ    1\r\n    ScreenSaverIsSecure    REG_SZ    1\r\n    ScreenSaveTimeOut    REG_SZ    600\r\n"
        }
        (REG, ["query", IDLE_KEY]) => "    InactivityTimeoutSecs    REG_DWORD    0x12c\r\n",
        (REG, ["query", SECURE_BOOT_KEY]) => "    UEFISecureBootEnabled    REG_DWORD    0x1\r\n",
        (REG, ["query", GUARD_KEY]) => "    Enabled    REG_DWORD    0x0\r\n",
        (REG, ["query", UPDATE_SERVICE]) => "    Start    REG_DWORD    0x3\r\n",
        (REG, ["query", RESTART_KEY]) => {
            "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\WindowsUpdate\\Auto Update\\RebootRequired\r\n"
        }
        (REG, ["query", MACHINE_KEY]) => {
            "    SystemManufacturer    REG_SZ    Microsoft Corporation\r\n    SystemProductName    REG_SZ    Virtual Machine\r\n"
        }
        (REG, ["query", key]) if key.contains("Chrome") => "    version    REG_SZ    131.0.6778.86\r\n",
        (DSREGCMD, _) => DSREG,
        (WHOAMI, _) => GROUPS,
        (TASKLIST, _) => {
            "\"System\",\"4\",\"Services\",\"0\",\"144 K\"\r\n\"CSFalconService.exe\",\"2812\",\"Services\",\"0\",\"53,100 K\"\r\n"
        }
        (TPMTOOL, _) => "\r\n-TPM Present: True\r\n-TPM Version: 2.0\r\n-TPM Manufacturer ID: INTC\r\n",
        (POWERSHELL, [.., script]) if *script == PROTECTION => "1\r\n",
        (POWERSHELL, [.., script]) if *script == UPTIME => "86400\r\n",
        (POWERSHELL, [.., script]) if *script == AUTHORITIES => {
            "BA-78-16-BF-8F-01-CF-EA-41-41-40-DE-5D-AE-22-23-B0-03-61-A3-96-17-7A-9C-B4-10-FF-61-F2-00-15-AD\r\n"
        }
        _ => return Err(Reason::Permission),
    };
    Ok(text.to_owned())
}

#[test]
fn a_machine_is_described_by_what_its_programs_say() {
    let sys = Sys::at("/nowhere", 0, &[]).with_programs(machine);
    for (id, state, value) in [
        ("disk.root", State::Pass, json!("bitlocker")),
        ("fw.enabled", State::Pass, json!("on")),
        ("lock.enabled", State::Pass, json!("after 300 s")),
        ("lock.delay", State::Pass, json!(300)),
        ("boot.secure_boot", State::Pass, json!("on")),
        ("boot.lockdown", State::Fail, json!("hvci off")),
        ("hw.tpm", State::Pass, json!(2)),
        ("os.managed", State::Pass, json!("https://enrollment.manage.microsoft.com/enrollmentserver/discovery.svc")),
        ("os.domain", State::Pass, json!("Example Corp")),
        ("os.kernel", State::Pass, json!("26100.4652")),
        ("os.uptime", State::Pass, json!(86_400)),
        ("updates.auto", State::Pass, json!("service on")),
        ("updates.reboot", State::Fail, json!("restart wanted")),
        ("user.admin", State::Fail, json!("Administrators")),
        ("user.root", State::Pass, json!("no")),
        ("virt.machine", State::Fail, json!("Virtual Machine")),
        ("browser.chrome", State::Pass, json!("131.0.6778.86")),
    ] {
        let found = look(&Wanted::from(id), &sys);
        assert_eq!((found.state, found.value), (state, Some(value)), "{id}");
    }
    let products = vec![Product { name: "falcon".to_owned(), processes: vec!["CSFalconService".to_owned()] }];
    assert_eq!(look(&Wanted { products, ..Wanted::from("edr") }, &sys).value, Some(json!("falcon")));
    let path = Paths { windows: Some(r"C:\Program Files\Agent\agent.exe".to_owned()), ..Paths::default() };
    assert_eq!(look(&Wanted { path, ..Wanted::from("process.agent") }, &sys).state, State::Fail);
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
    assert_eq!(look(&Wanted { sha256: Some(digest), ..Wanted::from("ca.corp") }, &sys).state, State::Pass);
}

#[test]
fn recorded_output_is_read() {
    assert_eq!(
        version(QUERY),
        Some(json!({ "id": "windows", "version": "11", "release": "24H2", "build": "26100.4652" }))
    );
    for (text, state) in [
        ("2\r\n", Some(State::Fail)),
        ("3\r\n", Some(State::Fail)),
        ("5\r\n", Some(State::Fail)),
        ("\r\n", Some(State::Unknown)),
        ("wat", None),
    ] {
        assert_eq!(bit_locker(text).map(|found| found.state), state, "{text}");
    }
    assert_eq!(firewall(&[Some(1), Some(0), None]).state, State::Fail);
    assert_eq!(firewall(&[Some(1), None]).state, State::Unknown);
    assert_eq!(firewall(&[]).state, State::Unknown);
    assert_eq!(lock_seconds("    ScreenSaveActive    REG_SZ    0\r\n"), Some(Lock::Off));
    assert_eq!(lock_seconds(""), None);
    assert_eq!(automatic(Some(4), None, None).state, State::Fail);
    assert_eq!(automatic(Some(3), Some(1), None).state, State::Fail);
    assert_eq!(automatic(Some(2), None, Some(4)).state, State::Pass);
    assert_eq!(automatic(None, None, None).state, State::Unknown);
    let workgroup = "AzureAdJoined : NO\r\n DomainJoined : NO\r\n DomainName : WORKGROUP\r\n";
    assert_eq!(joined(workgroup).unwrap().state, State::Fail, "a workgroup is no domain");
    assert_eq!(managed(workgroup).unwrap().state, State::Fail);
    assert_eq!(elevated(&GROUPS.replace("S-1-16-8192", "S-1-16-12288")).unwrap().state, State::Fail);
    assert_eq!(tpm("-TPM Present: False\r\n").unwrap().state, State::Fail);
}

#[test]
fn a_program_that_may_not_run_is_unknown() {
    let sys = Sys::at("/nowhere", 0, &[]).with_programs(|_| Err(Reason::Permission));
    for id in ztsa_proto::posture::known().filter(|id| *id != "virt.container") {
        let found = look(&Wanted::from(id), &sys);
        assert!(matches!(found.state, State::Unknown | State::NotApplicable), "{id}: {found:?}");
    }
}

proptest! {
    #[test]
    fn no_output_is_too_much(text in "\\PC{0,200}") {
        for parse in [bit_locker, administrator, elevated, joined, managed, tpm, maker] {
            let _ = parse(&text);
        }
        let _ = (version(&text), build(&text), lock_seconds(&text), processes(&text).count(), dword(&text, "a"));
    }
}
