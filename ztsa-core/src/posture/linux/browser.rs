//! The version of a browser: its own file, else the package's.

use std::io::{BufReader, Read as _};

use ztsa_proto::posture::Reason;

use super::{Finding, Sys, update::ini_setting};
use crate::posture::sys::{open, reason};

const DPKG: &str = "/var/lib/dpkg/status";
const PACMAN: &str = "/var/lib/pacman/local";
const RPM: &str = "/usr/bin/rpm";
/// The longest list of packages, in bytes.
const LIMIT: u64 = 32 * 1024 * 1024;
/// Firefox keeps its version beside itself, wherever it was installed.
const FIREFOX: [&str; 5] = [
    "/usr/lib/firefox/application.ini",
    "/usr/lib64/firefox/application.ini",
    "/usr/lib/firefox-esr/application.ini",
    "/opt/firefox/application.ini",
    "/snap/firefox/current/usr/lib/firefox/application.ini",
];

/// The names of a browser's packages: Debian's and Red Hat's, then those of Arch's users.
fn packages(browser: &str) -> &'static [&'static str] {
    match browser {
        "firefox" => &["firefox", "firefox-esr"],
        "chrome" => &["google-chrome-stable", "google-chrome"],
        "chromium" => &["chromium", "chromium-browser"],
        "edge" => &["microsoft-edge-stable", "microsoft-edge-stable-bin"],
        "brave" => &["brave-browser", "brave-bin"],
        _ => &[],
    }
}

/// Where a browser lies that no package manager of the distribution knows: as a snap or a flatpak.
fn bundles(browser: &str) -> &'static [&'static str] {
    match browser {
        "firefox" => &["/snap/firefox", "/var/lib/snapd/snap/firefox", "/var/lib/flatpak/app/org.mozilla.firefox"],
        "chrome" => &["/var/lib/flatpak/app/com.google.Chrome"],
        "chromium" => &["/snap/chromium", "/var/lib/snapd/snap/chromium", "/var/lib/flatpak/app/org.chromium.Chromium"],
        "edge" => &["/var/lib/flatpak/app/com.microsoft.Edge"],
        "brave" => &["/snap/brave", "/var/lib/snapd/snap/brave", "/var/lib/flatpak/app/com.brave.Browser"],
        _ => &[],
    }
}

pub(super) fn version(sys: &Sys, browser: &str) -> Finding {
    let names = packages(browser);
    if names.is_empty() {
        return Finding::unknown(Reason::Unsupported, "");
    }
    if browser == "firefox"
        && let Some((file, version)) = FIREFOX.iter().find_map(|file| {
            let text = sys.read(file).ok()?;
            Some((*file, ini_setting(&text, "Version")?))
        })
    {
        return Finding::pass(cut(&version), file);
    }
    match sys.exists(DPKG) {
        Ok(true) => {
            let found = open(&sys.path(DPKG)).and_then(|file| installed(BufReader::new(file.take(LIMIT)), names));
            return answer(sys, browser, found, DPKG);
        }
        Ok(false) => {}
        Err(reason) => return Finding::unknown(reason, DPKG),
    }
    if let Ok(all) = sys.names(PACMAN) {
        let found = all.iter().find_map(|dir| names.iter().find_map(|name| pacman(dir, name)));
        return answer(sys, browser, Ok(found), PACMAN);
    }
    let asked =
        |name: &&str| sys.run(RPM, &["-q", "--qf", "%{VERSION}\\n", name]).map(|text| text.lines().next().map(cut));
    match names.iter().map(asked).reduce(Result::or) {
        Some(Ok(found)) => answer(sys, browser, Ok(found), RPM),
        // rpm ends alike when there is no such package and when it cannot look.
        Some(Err(Reason::Absent)) | None => Finding::unknown(Reason::Unsupported, RPM),
        Some(Err(_)) => Finding::unknown(Reason::Absent, RPM),
    }
}

fn answer(sys: &Sys, browser: &str, found: Result<Option<String>, Reason>, source: &'static str) -> Finding {
    match found {
        Ok(Some(version)) => return Finding::pass(version, source),
        Ok(None) => {}
        Err(reason) => return Finding::unknown(reason, source),
    }
    for place in bundles(browser) {
        match sys.exists(place) {
            Ok(true) => return Finding::unknown(Reason::Unsupported, *place),
            Ok(false) => {}
            Err(reason) => return Finding::unknown(reason, *place),
        }
    }
    Finding::not_applicable("not installed", source)
}

/// The version of the first of these packages that is installed, in dpkg's list.
fn installed(list: impl std::io::BufRead, names: &[&str]) -> Result<Option<String>, Reason> {
    let (mut wanted, mut there) = (false, false);
    for line in list.split(b'\n') {
        let line = line.map_err(|error| reason(&error))?;
        if line.is_empty() {
            (wanted, there) = (false, false);
        } else if let Some(name) = line.strip_prefix(b"Package: ") {
            wanted = names.iter().any(|known| known.as_bytes() == name);
        } else if wanted && line.starts_with(b"Status: ") {
            there = line.ends_with(b" installed");
        } else if wanted
            && there
            && let Some(version) = line.strip_prefix(b"Version: ")
            && !is_empty(version)
        {
            return Ok(Some(cut(&String::from_utf8_lossy(version))));
        }
    }
    Ok(None)
}

/// Whether Ubuntu's package of this version holds nothing: it only has the snap installed. Later ones say `snap`, the first of
/// chromium-browser were 1:85.0.
fn is_empty(version: &[u8]) -> bool {
    version.windows(4).any(|part| part == b"snap") || version.starts_with(b"1:85.0.")
}

/// `firefox-133.0-1` without `firefox-`.
fn pacman(dir: &str, name: &str) -> Option<String> {
    let version = dir.strip_prefix(name)?.strip_prefix('-')?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| cut(version))
}

/// The version without an epoch and without what the distribution adds.
fn cut(version: &str) -> String {
    let version = version.trim();
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.split(['-', '+', '~']).next().unwrap_or_default().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_version_is_that_of_the_package() {
        let list = "Package: firefox\nStatus: deinstall ok config-files\nVersion: 1:1.0\n\nPackage: google-chrome-stable\nStatus: install ok installed\nArchitecture: amd64\nVersion: 131.0.6778.85-1\n\nPackage: firefox-esr\nStatus: install ok installed\nVersion: 128.5.0esr-1~deb12u1\n";
        let of = |browser| installed(list.as_bytes(), packages(browser)).unwrap();
        assert_eq!(of("chrome").as_deref(), Some("131.0.6778.85"));
        assert_eq!(of("firefox").as_deref(), Some("128.5.0esr"), "what was removed is not installed");
        assert_eq!(of("edge"), None);
        for version in ["1:1snap1-0ubuntu2", "2:1snap1-0ubuntu2", "1:85.0.4183.83-0ubuntu2.22.04.1"] {
            let list = format!("Package: chromium-browser\nStatus: install ok installed\nVersion: {version}\n");
            assert_eq!(installed(list.as_bytes(), packages("chromium")), Ok(None), "{version}");
        }
        assert_eq!(pacman("firefox-133.0-1", "firefox").as_deref(), Some("133.0"));
        assert_eq!(pacman("firefox-i18n-de-133.0-1", "firefox"), None);
    }

    proptest! {
        #[test]
        fn no_list_is_too_much(text in "\\PC{0,300}") {
            let _ = (installed(text.as_bytes(), packages("firefox")), pacman(&text, "firefox"), cut(&text));
        }
    }
}
