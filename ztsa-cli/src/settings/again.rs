//! What has to be typed again, so that a command in a hint means the same profile and gateway as the one that failed.

use std::path::PathBuf;

use super::{Settings, Source};

/// The options of this command line that hold for the next one too, and that nothing else remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Again {
    profile: Option<String>,
    gateway: Option<String>,
    ca_file: Option<PathBuf>,
}

impl Again {
    /// Collects them.
    pub(crate) fn of(settings: &Settings) -> Self {
        let flagged = |source: &Source| matches!(source, Source::Flag(_));
        let gateway = settings.gateway.as_ref().filter(|gateway| flagged(&gateway.source));
        let roots = settings.roots.as_ref().filter(|roots| flagged(&roots.source));
        Self {
            profile: flagged(&settings.profile.source).then(|| settings.profile.value.clone()),
            gateway: gateway.map(|gateway| gateway.value.clone()),
            ca_file: roots.map(|roots| roots.value.path.clone()),
        }
    }

    /// What is left of them once a login has remembered gateway and certificates.
    pub(crate) fn after_login(&self) -> Self {
        Self { profile: self.profile.clone(), ..Self::default() }
    }

    /// Completes the commands of a hint: those in backticks, and a hint that is a command itself.
    pub(crate) fn exact(&self, text: &str) -> String {
        if *self == Self::default() {
            return text.to_owned();
        }
        let mut exact = String::new();
        let mut rest = text;
        let mut begins = true;
        while let Some(at) = rest.find("ztsa ") {
            let (before, command) = rest.split_at(at);
            exact.push_str(before);
            let quoted = before.ends_with('`') || (begins && before.is_empty());
            let name = command.get("ztsa ".len()..).unwrap_or_default();
            let end = name.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            exact.push_str("ztsa ");
            exact.push_str(name);
            if quoted && !name.is_empty() {
                exact.push_str(&self.options(name, after));
            }
            rest = after;
            begins = false;
        }
        exact.push_str(rest);
        exact
    }

    fn options(&self, command: &str, after: &str) -> String {
        let mut options = String::new();
        let login = command == "login";
        match &self.gateway {
            Some(gateway) if login && !after.trim_start().starts_with("https://") => {
                options = format!(" {}", shell(gateway));
            }
            Some(gateway) if !login => options = format!(" --gateway {}", shell(gateway)),
            _ => {}
        }
        if let Some(profile) = &self.profile {
            options = format!("{options} --profile {}", shell(profile));
        }
        if let Some(file) = &self.ca_file {
            options = format!("{options} --ca-file {}", shell(&file.display().to_string()));
        }
        options
    }
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_in_a_hint_means_the_same_profile_and_gateway() {
        let work = Again { profile: Some("work".into()), ..Again::default() };
        let first = Again {
            profile: Some("work".into()),
            gateway: Some("https://gw".into()),
            ca_file: Some("/my ca.pem".into()),
        };
        for (again, text, exact) in [
            (&Again::default(), "run `ztsa login`", "run `ztsa login`"),
            (&work, "run `ztsa login`", "run `ztsa login --profile work`"),
            (&work, "the other way: `ztsa login --browser`", "the other way: `ztsa login --profile work --browser`"),
            (
                &work,
                "see `ztsa apps`, or `ztsa why db`",
                "see `ztsa apps --profile work`, or `ztsa why --profile work db`",
            ),
            (&work, "ztsa login https://gw.example.com", "ztsa login --profile work https://gw.example.com"),
            (&work, "update ztsa or ask", "update ztsa or ask"),
            (&work, "see `ztsa ssh-config`", "see `ztsa ssh-config --profile work`"),
            (
                &first,
                "run `ztsa login --device`",
                "run `ztsa login https://gw --profile work --ca-file '/my ca.pem' --device`",
            ),
            (&first, "run `ztsa login https://x`", "run `ztsa login --profile work --ca-file '/my ca.pem' https://x`"),
            (&first, "ztsa apps", "ztsa apps --gateway https://gw --profile work --ca-file '/my ca.pem'"),
            (&work, "", ""),
        ] {
            assert_eq!(again.exact(text), exact, "{text}");
        }
    }
}
