//! Opening the sign-in page in a browser, best effort: the URL has been printed before.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::env::{self, Environment};

/// Whether a browser on this machine would be seen by the person who typed the command.
pub(crate) fn has_display(environment: &Environment) -> bool {
    if environment.has(env::SSH_CONNECTION) || environment.has(env::CI) {
        return false;
    }
    cfg!(any(target_os = "macos", windows))
        || environment.has(env::DISPLAY)
        || environment.has(env::WAYLAND_DISPLAY)
        || environment.has(env::WSL_DISTRO_NAME)
}

/// Starts the first opener that exists and does not wait for it; says whether one was started.
pub(crate) fn open(url: &str, environment: &Environment) -> bool {
    // Only what came from an issuer as a web address is handed to another program.
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return false;
    }
    openers(environment).iter().any(|(program, args)| start(program, args, url))
}

fn openers(environment: &Environment) -> Vec<(OsString, Vec<&'static str>)> {
    let mut openers = Vec::new();
    if let Some(browser) = environment.get(env::BROWSER) {
        openers.push((browser.to_owned(), Vec::new()));
    }
    if environment.has(env::WSL_DISTRO_NAME) {
        openers.push(("wslview".into(), Vec::new()));
        openers.push(("explorer.exe".into(), Vec::new()));
    }
    if cfg!(target_os = "macos") {
        openers.push(("open".into(), Vec::new()));
    } else if cfg!(windows) {
        openers.push(("rundll32".into(), vec!["url.dll,FileProtocolHandler"]));
    } else {
        openers.push(("xdg-open".into(), Vec::new()));
    }
    openers
}

fn start(program: &OsString, args: &[&str], url: &str) -> bool {
    let mut command = Command::new(program);
    command.args(args).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    // Ctrl-C in our terminal must not end the person's browser.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let Ok(mut child) = command.spawn() else { return false };
    // Collects the opener when it ends; the browser itself may live for hours.
    std::thread::spawn(move || child.wait());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_browser_is_local_only_where_a_display_is() {
        for (values, expected) in [
            (&[][..], false),
            (&[(env::DISPLAY, ":0")], true),
            (&[(env::WAYLAND_DISPLAY, "wayland-0")], true),
            (&[(env::DISPLAY, ":0"), (env::SSH_CONNECTION, "10.0.0.1 5 10.0.0.2 22")], false),
            (&[(env::DISPLAY, ":0"), (env::CI, "true")], false),
        ] {
            assert_eq!(has_display(&Environment::of(values)), expected, "{values:?}");
        }
    }

    #[test]
    fn only_web_addresses_are_opened() {
        let environment = Environment::of(&[(env::BROWSER, "true")]);
        assert!(!open("file:///etc/passwd", &environment));
        assert!(!open("--help", &environment));
        assert!(open("https://idp.example.com/device", &environment));
    }
}
