//! A person's machine: the `ztsa` command in a home folder of its own.

use std::path::PathBuf;
use std::process::Command;

use crate::binary::{command, ours};
use crate::folder::Folder;
use crate::gateway::Gateway;
use crate::process::{Process, finish};

/// A home folder with nothing in it but what `ztsa` puts there.
pub struct Home {
    folder: Folder,
    ca: PathBuf,
}

impl Home {
    /// A home whose owner has signed in at a gateway of [`Gateway::dev`].
    pub fn signed_in(gateway: &Gateway) -> Self {
        let home = Self::new(gateway);
        finish(home.ztsa(&["login", "--device", "--no-open"]).arg(&gateway.url)).ok();
        home
    }

    /// A home whose owner knows a gateway and has not signed in.
    pub fn new(gateway: &Gateway) -> Self {
        Self { folder: Folder::new("home"), ca: gateway.ca.clone() }
    }

    /// Returns a command that runs in this home, with `ztsa` in its PATH.
    pub fn command(&self, program: &str) -> Command {
        let mut command = command(program);
        let bin = ours("ztsa").parent().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display()))
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.join("config"))
            .env("XDG_STATE_HOME", self.folder.join("state"))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .env("XDG_DATA_HOME", self.folder.join("data"))
            .env("XDG_RUNTIME_DIR", self.folder.join("runtime"))
            .env("ZTSA_CONFIG_DIR", self.folder.join("config/ztsa"))
            .env("ZTSA_STATE_DIR", self.folder.join("state/ztsa"))
            .env("ZTSA_STORE", "file")
            .env("ZTSA_TPM", "off")
            .env("ZTSA_CA_FILE", &self.ca)
            .current_dir(self.folder.path());
        command
    }

    /// Returns a `ztsa` command with these arguments.
    pub fn ztsa(&self, arguments: &[&str]) -> Command {
        let mut ztsa = self.command(ours("ztsa").to_str().unwrap());
        ztsa.args(arguments);
        ztsa
    }

    /// Starts a `ztsa` command that stays.
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start("ztsa", &self.folder, &mut self.ztsa(arguments))
    }

    /// Starts a line of shell at a terminal of 120 columns and 40 lines, on which can be typed.
    pub fn at_terminal(&self, line: &str) -> Process {
        let mut script = self.command("script");
        let line = format!("stty columns 120 rows 40; {line}");
        script.env("TERM", "xterm").args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        Process::typed("terminal", &self.folder, &mut script)
    }

    /// Starts `ztsa proxy` on a free port; returns it with its address.
    pub fn proxy(&self) -> (Process, String) {
        let mut proxy = self.start(&["proxy", "--listen", "127.0.0.1:0", "--json"]);
        let ready = proxy.line("\"ready\"");
        (proxy, address(&ready))
    }

    /// Starts `ztsa connect APP` on a free port; returns it with its address.
    pub fn forward(&self, app: &str) -> (Process, String) {
        let mut forward = self.start(&["connect", app, "--listen", "127.0.0.1:0", "--json"]);
        let ready = forward.line("\"ready\"");
        (forward, address(&ready))
    }

    /// Loses the gateway's session, as a machine does that was off for long: the next command renews it at the issuer.
    pub fn lose_session(&self) {
        std::fs::remove_file(self.folder.join("state/ztsa/profiles/default/session")).unwrap();
    }

    /// A file or folder in this home.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// Finds the local address in what tells that a port is ready.
pub fn address(ready: &str) -> String {
    let at = ready.find("127.0.0.1:").unwrap_or_else(|| panic!("no local address in {ready}"));
    ready[at..].chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect()
}
