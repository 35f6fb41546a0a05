//! Opening the sign-in page in a browser, best effort: the URL has been printed before.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::env::{self, Environment};

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

    #[test]
    fn only_web_addresses_are_opened() {
        let environment = Environment::of(&[(env::BROWSER, "true")]);
        assert!(!open("file:///etc/passwd", &environment));
        assert!(!open("--help", &environment));
        assert!(open("https://idp.example.com/device", &environment));
    }
}
