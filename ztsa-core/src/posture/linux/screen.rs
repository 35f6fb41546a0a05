//! Whether the screen locks by itself: the session's desktop is asked in its own way.

use ztsa_proto::posture::{Reason, State};

use super::{
    Finding, Sys, home, process,
    update::{ini_setting, is_true},
};
use crate::posture::command::Call;

const SESSIONS: &str = "/run/systemd/sessions";
const GSETTINGS: &str = "/usr/bin/gsettings";
/// Programs that lock the screen where no desktop does; xscreensaver does not unless it is told to.
const LOCKERS: [&str; 6] = ["swayidle", "hypridle", "xss-lock", "xautolock", "light-locker", "xfce4-screensaver"];

/// Whether the screen locks by itself.
pub(super) fn locks(sys: &Sys) -> Finding {
    look(sys).unwrap_or_else(|finding| finding).0
}

/// After how many seconds it does.
pub(super) fn delay(sys: &Sys) -> Finding {
    let Screen(found, seconds) = look(sys).unwrap_or_else(|finding| finding);
    match (found.state, seconds) {
        (State::Pass, Some(seconds)) => Finding::pass(seconds, found.source),
        (State::Pass, None) => Finding::unknown(Reason::Unsupported, found.source),
        _ => found,
    }
}

/// What was found, and after how many seconds the screen locks.
struct Screen(Finding, Option<u64>);

impl From<Finding> for Screen {
    fn from(finding: Finding) -> Self {
        Self(finding, None)
    }
}

fn look(sys: &Sys) -> Result<Screen, Screen> {
    let desktop = match desktop(sys) {
        Ok(Some(desktop)) => desktop.to_ascii_lowercase(),
        Ok(None) => return Err(Finding::not_applicable("no graphical session", SESSIONS).into()),
        Err(reason) => return Err(Finding::unknown(reason, SESSIONS).into()),
    };
    let is = |names: &[&str]| desktop.split([':', ';', '-']).any(|part| names.contains(&part));
    Ok(if is(&["gnome", "ubuntu", "budgie", "unity", "pop"]) {
        gnome(sys, "org.gnome.desktop")
    } else if is(&["cinnamon"]) {
        gnome(sys, "org.cinnamon.desktop")
    } else if is(&["kde", "plasma", "plasmawayland", "plasmax11"]) {
        plasma(sys)
    } else {
        match process::own(sys, &LOCKERS) {
            Some(name) => Finding::pass(name, "/proc/PID/comm").into(),
            None => Finding::unknown(Reason::Unsupported, SESSIONS).into(),
        }
    })
}

/// The desktop of the person's session at a screen, when there is one; its name may be empty. On a console (`tty`) logind does
/// not see what `startx` and its like put there, so that such a session counts as one without a desktop's name.
fn desktop(sys: &Sys) -> Result<Option<String>, Reason> {
    let (mut hidden, mut console) = (None, false);
    for name in sys.names(SESSIONS)?.iter().filter(|name| !name.contains('.')).take(100) {
        match sys.read(&format!("{SESSIONS}/{name}")) {
            Ok(text) => {
                if let Some(desktop) = graphical(&text, sys.uid()) {
                    return Ok(Some(desktop));
                }
                console |= is_console(&text, sys.uid());
            }
            Err(Reason::Absent) => {}
            Err(reason) => hidden = Some(reason),
        }
    }
    hidden.map_or_else(|| Ok(console.then(String::new)), Err)
}

/// The desktop of a session file of logind, when it is this user's and has a screen.
fn graphical(text: &str, uid: u32) -> Option<String> {
    (is_own(text, uid) && says(text, "TYPE", &["x11", "wayland", "mir"]))
        .then(|| ini_setting(text, "DESKTOP").unwrap_or_default())
}

/// Whether it is this user's session on a console of this machine, and not by network.
fn is_console(text: &str, uid: u32) -> bool {
    let seat = ini_setting(text, "SEAT").is_some_and(|seat| !seat.is_empty());
    is_own(text, uid) && seat && says(text, "TYPE", &["tty"])
}

fn is_own(text: &str, uid: u32) -> bool {
    says(text, "UID", &[&uid.to_string()]) && says(text, "CLASS", &["user"])
}

fn says(text: &str, key: &str, wanted: &[&str]) -> bool {
    ini_setting(text, key).is_some_and(|value| wanted.contains(&value.as_str()))
}

/// GNOME and its kin: `gsettings` knows the person's choice, the administrator's and the default.
fn gnome(sys: &Sys, schema: &str) -> Screen {
    let home = match home(sys) {
        Ok(Some(home)) => home,
        Ok(None) => return Finding::unknown(Reason::Absent, "/etc/passwd").into(),
        Err(reason) => return Finding::unknown(reason, "/etc/passwd").into(),
    };
    let runtime = format!("/run/user/{}", sys.uid());
    let ask = |name: &str| {
        let schema = format!("{schema}.{name}");
        let environment = [("HOME", home.as_str()), ("XDG_RUNTIME_DIR", runtime.as_str())];
        let arguments = ["list-recursively", schema.as_str()];
        sys.ask(&Call { program: GSETTINGS, arguments: &arguments, environment: &environment, stderr: false })
    };
    match (ask("screensaver"), ask("session")) {
        (Ok(screensaver), Ok(session)) => idle(&screensaver, &session),
        (Err(reason), _) | (_, Err(reason)) => Finding::unknown(reason, GSETTINGS).into(),
    }
}

/// `org.gnome.desktop.session idle-delay uint32 300`: no idleness, no lock.
fn idle(screensaver: &str, session: &str) -> Screen {
    let number = |text: &str, key| setting(text, key).and_then(|value| value.parse::<u64>().ok());
    let (locks, idle) = (setting(screensaver, "lock-enabled"), number(session, "idle-delay"));
    match (locks, idle) {
        (Some("true"), Some(0)) => Finding::fail("the screen never blanks", GSETTINGS).into(),
        (Some("true"), Some(idle)) => {
            let seconds = idle.saturating_add(number(screensaver, "lock-delay").unwrap_or(0));
            Screen(Finding::pass(format!("after {seconds} s"), GSETTINGS), Some(seconds))
        }
        (Some("false"), _) => Finding::fail("lock off", GSETTINGS).into(),
        _ => Finding::unknown(Reason::Parse, GSETTINGS).into(),
    }
}

/// The value of a key in `SCHEMA KEY [TYPE] VALUE`.
fn setting<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let found = words.nth(1)? == key;
        words.last().filter(|_| found)
    })
}

/// KDE keeps only what was changed: without a word of it there is no knowing.
fn plasma(sys: &Sys) -> Screen {
    const FILE: &str = ".config/kscreenlockerrc";
    let home = match home(sys) {
        Ok(Some(home)) => home,
        Ok(None) => return Finding::unknown(Reason::Absent, "/etc/passwd").into(),
        Err(reason) => return Finding::unknown(reason, "/etc/passwd").into(),
    };
    let own = sys.read(&format!("{home}/{FILE}"));
    let text = match own.or_else(|reason| sys.read("/etc/xdg/kscreenlockerrc").map_err(|_| reason)) {
        Ok(text) => text,
        Err(reason) => return Finding::unknown(reason, FILE).into(),
    };
    match ini_setting(&text, "Autolock") {
        Some(value) if !is_true(&value) => Finding::fail("lock off", FILE).into(),
        Some(_) => {
            let minutes = ini_setting(&text, "Timeout").and_then(|value| value.parse::<u64>().ok());
            let seconds = minutes.map(|minutes| minutes.saturating_mul(60));
            let value = seconds.map_or_else(|| "on".to_owned(), |seconds| format!("after {seconds} s"));
            Screen(Finding::pass(value, FILE), seconds)
        }
        None => Finding::unknown(Reason::Absent, FILE).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gnome_says_whether_and_when() {
        let session = |seconds: u32| {
            format!(
                "org.gnome.desktop.session idle-delay uint32 {seconds}\norg.gnome.desktop.session session-name 'gnome'\n"
            )
        };
        let screensaver = |on: bool| {
            format!(
                "org.gnome.desktop.screensaver lock-delay uint32 30\norg.gnome.desktop.screensaver lock-enabled {on}\n"
            )
        };
        let seen = |on, seconds| {
            let Screen(finding, delay) = idle(&screensaver(on), &session(seconds));
            (finding.state, delay)
        };
        assert_eq!(seen(true, 300), (State::Pass, Some(330)));
        assert_eq!(seen(true, 0), (State::Fail, None));
        assert_eq!(seen(false, 300), (State::Fail, None));
        assert_eq!(idle("No such schema", "").0.state, State::Unknown);
    }

    #[test]
    fn a_session_is_the_person_s_and_has_a_screen() {
        let text = "# private data\nUID=1000\nUSER=alice\nACTIVE=1\nTYPE=wayland\nCLASS=user\nDESKTOP=gnome\n";
        assert_eq!(graphical(text, 1000).as_deref(), Some("gnome"));
        assert_eq!(graphical(text, 1001), None);
        assert_eq!(graphical(&text.replace("wayland", "tty"), 1000), None);
        assert_eq!(graphical(&text.replace("CLASS=user", "CLASS=greeter"), 1000), None);
        let console = "UID=1000\nTYPE=tty\nCLASS=user\nSEAT=seat0\nTTY=tty1\n";
        assert!(is_console(console, 1000) && !is_console(console, 1001));
        assert!(!is_console(&console.replace("SEAT=seat0\n", "REMOTE=1\n"), 1000), "by network");
    }

    proptest! {
        #[test]
        fn no_answer_is_too_much(one in "\\PC{0,200}", two in "\\PC{0,200}") {
            let _ = (idle(&one, &two), graphical(&one, 0));
        }
    }
}
