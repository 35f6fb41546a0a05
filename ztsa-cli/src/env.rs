//! The one table of environment variables that the command reads, and the only place that reads them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// One environment variable: its name and what it means, in words for the manual.
#[derive(Debug)]
pub(crate) struct Variable {
    /// The name as it stands in the environment.
    pub(crate) name: &'static str,
    /// What it does, one line.
    pub(crate) means: &'static str,
}

macro_rules! variables {
    ($($constant:ident = $name:literal, $means:literal;)*) => {
        $(
            #[doc = $means]
            pub(crate) const $constant: &Variable = &Variable { name: $name, means: $means };
        )*
        /// Every variable, in the order in which the manual lists them.
        pub(crate) const ALL: &[&Variable] = &[$($constant),*];
    };
}

variables! {
    PROFILE = "ZTSA_PROFILE", "The profile to use, like --profile.";
    GATEWAY = "ZTSA_GATEWAY", "The gateway's URL, like --gateway.";
    CA_FILE = "ZTSA_CA_FILE", "A PEM file with extra root certificates, like --ca-file.";
    STORE = "ZTSA_STORE", "Where credentials are kept: auto, keyring, file or memory, like --store.";
    TPM = "ZTSA_TPM", "Which TPM holds the device key: auto, off, or its device file.";
    WORKLOAD = "ZTSA_WORKLOAD", "Where a job's own token is, in place of a sign-in: github, env:NAME or a file.";
    CONFIG_DIR = "ZTSA_CONFIG_DIR", "The directory of config.toml, like --config-dir.";
    STATE_DIR = "ZTSA_STATE_DIR", "The directory of credentials and profiles, like --state-dir.";
    LOG = "ZTSA_LOG", "What to log on stderr, for instance info or ztsa_core=debug.";
    NO_COLOR = "NO_COLOR", "Any value turns colour off.";
    BROWSER = "BROWSER", "The program that opens the sign-in page.";
    SSH_CONNECTION = "SSH_CONNECTION", "Set by sshd: the browser is elsewhere, so login uses the device flow.";
    DISPLAY = "DISPLAY", "Set where an X display exists: login can open a browser.";
    WAYLAND_DISPLAY = "WAYLAND_DISPLAY", "Set where a Wayland display exists: login can open a browser.";
    WSL_DISTRO_NAME = "WSL_DISTRO_NAME", "Set inside WSL: login uses the device flow; --browser opens by wslview.";
    CONTAINER = "container", "Set by podman and systemd-nspawn: login uses the device flow.";
    KUBERNETES_SERVICE_HOST = "KUBERNETES_SERVICE_HOST", "Set in a pod: login uses the device flow.";
    ACTIONS_URL = "ACTIONS_ID_TOKEN_REQUEST_URL", "Set by GitHub Actions: where a job's token is asked for.";
    ACTIONS_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "Set by GitHub Actions: what it is asked for with.";
    CI = "CI", "Set by build services: ztsa never waits for a person.";
    TERM = "TERM", "The terminal's kind; dumb turns colour and progress off.";
}

/// A snapshot of the variables of [`ALL`], taken once at the start.
#[derive(Debug, Default, Clone)]
pub(crate) struct Environment(BTreeMap<&'static str, OsString>);

impl Environment {
    /// Reads the process's environment.
    pub(crate) fn read() -> Self {
        Self(ALL.iter().filter_map(|v| Some((v.name, std::env::var_os(v.name)?))).collect())
    }

    /// Makes a snapshot from given values, for tests.
    #[cfg(test)]
    pub(crate) fn of(values: &[(&'static Variable, &str)]) -> Self {
        Self(values.iter().map(|(v, value)| (v.name, OsString::from(value))).collect())
    }

    /// The variable's value, where it is set and not empty.
    pub(crate) fn get(&self, variable: &Variable) -> Option<&OsStr> {
        self.0.get(variable.name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The variable's value as text, where it is set, not empty and UTF-8.
    pub(crate) fn text(&self, variable: &Variable) -> Option<&str> {
        self.get(variable).and_then(OsStr::to_str)
    }

    /// The value of a variable that the person has named; it is not part of the snapshot.
    #[expect(clippy::unused_self, reason = "whoever reads the environment has been given it")]
    pub(crate) fn named(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// Whether the variable is set to anything but the empty string.
    pub(crate) fn has(&self, variable: &Variable) -> bool {
        self.get(variable).is_some()
    }
}
