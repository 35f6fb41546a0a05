//! Windows, by its own programs, as a user without administrator's rights. The parsers are tested on recorded output; the
//! whole is not tested on that system.

use serde_json::{Value, json};
use ztsa_proto::posture::{Os, Reason};

use super::Finding;

const REG: &str = r"C:\Windows\System32\reg.exe";
const POWERSHELL: &str = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
const VERSION_KEY: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
/// The Shell's view of BitLocker, which a user may read.
const PROTECTION: &str = "(New-Object -ComObject Shell.Application).NameSpace('C:').Self.ExtendedProperty('System.Volume.BitLockerProtection')";

type Run<'r> = &'r dyn Fn(&str, &[&str]) -> Result<String, Reason>;

pub(super) fn look(id: &str, run: Run<'_>) -> Finding {
    match id {
        "os.version" => Finding::known(registry(run).and_then(|text| version(&text).ok_or(Reason::Parse)), VERSION_KEY),
        "os.kernel" => Finding::known(
            registry(run).and_then(|text| build(&text).ok_or(Reason::Parse)).map(Value::from),
            VERSION_KEY,
        ),
        // The page file lies on the system's volume unless moved, and its key is not readable by users everywhere.
        "disk.root" | "disk.home" => {
            match run(POWERSHELL, &["-NoProfile", "-NonInteractive", "-Command", PROTECTION]) {
                Ok(text) => bit_locker(&text),
                Err(reason) => Finding::unknown(reason, POWERSHELL),
            }
        }
        _ => Finding::unknown(Reason::Unsupported, ""),
    }
}

pub(super) fn os(run: Run<'_>) -> Os {
    let text = registry(run).unwrap_or_default();
    let version = value(&text, "DisplayVersion").unwrap_or_default().to_owned();
    Os { family: "windows".to_owned(), id: "windows".to_owned(), version, kernel: build(&text).unwrap_or_default() }
}

fn registry(run: Run<'_>) -> Result<String, Reason> {
    run(REG, &["query", VERSION_KEY])
}

/// `ProductName` says 10 on 11: the build tells.
fn version(text: &str) -> Option<Value> {
    let number: u32 = value(text, "CurrentBuild")?.parse().ok()?;
    let name = if number >= 22_000 { "11" } else { "10" };
    Some(json!({ "id": "windows", "version": name, "release": value(text, "DisplayVersion"), "build": build(text)? }))
}

/// `26100.4652`: build and update revision.
fn build(text: &str) -> Option<String> {
    let build = value(text, "CurrentBuild")?;
    let revision = value(text, "UBR").and_then(|hex| u32::from_str_radix(hex.strip_prefix("0x")?, 16).ok());
    Some(revision.map_or_else(|| build.to_owned(), |revision| format!("{build}.{revision}")))
}

/// `    CurrentBuild    REG_SZ    26100`
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let found = words.next()? == name && words.next()?.starts_with("REG_");
        words.next().filter(|_| found)
    })
}

/// `System.Volume.BitLockerProtection`: 1 on, 2 off, 3 encrypting, 4 decrypting, 5 suspended, 6 locked on, 8 waiting.
fn bit_locker(text: &str) -> Finding {
    match text.trim() {
        "1" | "6" => Finding::pass("bitlocker", POWERSHELL),
        "2" => Finding::fail("bitlocker off", POWERSHELL),
        "3" | "8" => Finding::fail("bitlocker encrypting", POWERSHELL),
        "4" => Finding::fail("bitlocker decrypting", POWERSHELL),
        "5" => Finding::fail("bitlocker suspended", POWERSHELL),
        "" | "0" => Finding::unknown(Reason::Absent, POWERSHELL),
        _ => Finding::unknown(Reason::Parse, POWERSHELL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ztsa_proto::posture::State;

    const QUERY: &str = "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\r\n    SystemRoot    REG_SZ    C:\\WINDOWS\r\n    CurrentBuild    REG_SZ    26100\r\n    UBR    REG_DWORD    0x122c\r\n    ProductName    REG_SZ    Windows 10 Pro\r\n    DisplayVersion    REG_SZ    24H2\r\n";

    #[test]
    fn recorded_output_is_read() {
        assert_eq!(
            version(QUERY),
            Some(json!({ "id": "windows", "version": "11", "release": "24H2", "build": "26100.4652" }))
        );
        for (text, state) in [
            ("1\r\n", State::Pass),
            ("2\r\n", State::Fail),
            ("3\r\n", State::Fail),
            ("5\r\n", State::Fail),
            ("\r\n", State::Unknown),
            ("wat", State::Unknown),
        ] {
            assert_eq!(bit_locker(text).state, state, "{text}");
        }
    }

    #[test]
    fn a_program_that_may_not_run_is_unknown() {
        let run = |_: &str, _: &[&str]| Err(Reason::Permission);
        for id in ["os.version", "os.kernel", "os.patch_age", "disk.root", "disk.home", "disk.swap", "x.other"] {
            assert_eq!(look(id, &run).state, State::Unknown, "{id}");
        }
    }

    proptest! {
        #[test]
        fn no_output_is_too_much(text in "\\PC{0,200}") {
            let _ = (version(&text), build(&text), bit_locker(&text));
        }
    }
}
