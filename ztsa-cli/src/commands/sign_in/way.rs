//! By which flow to sign in: a decision over what is known of this machine.

use std::path::Path;

use ztsa_core::login::Flow;

use crate::env::{self, Environment};

/// What is known before a sign-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is so or not")]
pub(super) struct Facts {
    /// What the person asked for.
    pub(super) asked: Option<Flow>,
    /// Whether somebody looks at a terminal.
    pub(super) attended: bool,
    /// Whether this is an SSH session.
    pub(super) ssh: bool,
    /// Whether this is WSL.
    pub(super) wsl: bool,
    /// Whether this is a container.
    pub(super) container: bool,
    /// Whether a program waits for the bytes of an app on our stdout.
    pub(super) piped: bool,
    /// Whether there is a display.
    pub(super) display: bool,
    /// Whether gateway and issuer offer the browser flow.
    pub(super) browser_offered: bool,
    /// Whether gateway and issuer offer the device flow.
    pub(super) device_offered: bool,
}

impl Facts {
    /// Looks at the environment.
    pub(super) fn of(environment: &Environment) -> Self {
        let exists = |path: &str| Path::new(path).exists();
        Self {
            ssh: environment.has(env::SSH_CONNECTION),
            wsl: environment.has(env::WSL_DISTRO_NAME),
            container: environment.has(env::CONTAINER)
                || environment.has(env::KUBERNETES_SERVICE_HOST)
                || exists("/.dockerenv")
                || exists("/run/.containerenv"),
            display: cfg!(any(target_os = "macos", windows))
                || environment.has(env::DISPLAY)
                || environment.has(env::WAYLAND_DISPLAY),
            ..Self::default()
        }
    }
}

/// Chooses the flow, and says why it is not the browser flow where a person may wonder.
pub(super) fn choose(facts: Facts) -> (Flow, Option<&'static str>) {
    if let Some(flow) = facts.asked {
        return (flow, None);
    }
    let obstacle = match facts {
        Facts { piped: true, .. } => Some("another program runs ztsa"),
        Facts { ssh: true, .. } => Some("this is an SSH session"),
        Facts { wsl: true, .. } => Some("this is WSL"),
        Facts { container: true, .. } => Some("this is a container"),
        Facts { display: false, .. } => Some("there is no display here"),
        Facts { attended: false, .. } => Some("nobody is at a terminal"),
        _ => None,
    };
    let why = match (obstacle, facts.browser_offered, facts.device_offered) {
        // with an obstacle, the only way there is; its address can be opened by hand on this machine
        (None, true, _) | (Some(_), true, false) => return (Flow::Browser, None),
        (None, false, _) => "the browser flow is not offered here",
        (Some(why), _, _) => why,
    };
    (Flow::Device, Some(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_for_a_person_at_this_machine() {
        let desk =
            Facts { attended: true, display: true, browser_offered: true, device_offered: true, ..Facts::default() };
        for (facts, flow, why) in [
            (desk, Flow::Browser, None),
            (Facts { asked: Some(Flow::Device), ..desk }, Flow::Device, None),
            (Facts { asked: Some(Flow::Browser), ssh: true, ..desk }, Flow::Browser, None),
            (Facts { piped: true, ..desk }, Flow::Device, Some("another program runs ztsa")),
            (Facts { ssh: true, ..desk }, Flow::Device, Some("this is an SSH session")),
            (Facts { wsl: true, ..desk }, Flow::Device, Some("this is WSL")),
            (Facts { container: true, ..desk }, Flow::Device, Some("this is a container")),
            (Facts { display: false, ..desk }, Flow::Device, Some("there is no display here")),
            (Facts { attended: false, ..desk }, Flow::Device, Some("nobody is at a terminal")),
            (Facts { browser_offered: false, ..desk }, Flow::Device, Some("the browser flow is not offered here")),
            (Facts { device_offered: false, ..desk }, Flow::Browser, None),
            (Facts { device_offered: false, ssh: true, ..desk }, Flow::Browser, None),
            (Facts { asked: Some(Flow::Device), device_offered: false, ..desk }, Flow::Device, None),
        ] {
            assert_eq!(choose(facts), (flow, why), "{facts:?}");
        }
    }

    #[test]
    fn the_environment_is_read_as_it_is_set() {
        let of = |values: &[(&'static env::Variable, &str)]| Facts::of(&Environment::of(values));
        assert!(of(&[(env::SSH_CONNECTION, "10.0.0.1 5 10.0.0.2 22")]).ssh);
        assert!(of(&[(env::WSL_DISTRO_NAME, "Debian")]).wsl);
        assert!(
            of(&[(env::KUBERNETES_SERVICE_HOST, "10.96.0.1")]).container && of(&[(env::CONTAINER, "podman")]).container
        );
        assert!(of(&[(env::DISPLAY, ":0")]).display && of(&[(env::WAYLAND_DISPLAY, "wayland-0")]).display);
        assert!(!of(&[]).ssh && !of(&[]).wsl);
    }
}
