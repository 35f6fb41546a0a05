//! What a client is told from outside: which gateway, which roots, where its state lives.

mod tpm;
mod workload;

use std::{path::PathBuf, time::Duration};

use url::{Host, Url};
use zeroize::Zeroizing;
use ztsa_net::{clock::Clock, tls::Roots};

pub use self::{
    tpm::{TpmChoice, TpmPlace},
    workload::{Workload, WorkloadName},
};

/// Everything a client needs to know before it starts; the library reads no environment and no home directory.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateway's public URL, without a trailing path separator's meaning: see [`Config::resource`].
    pub gateway: Url,
    /// Certificate roots for the gateway and the issuer.
    pub roots: Roots,
    /// The state directory (`$XDG_STATE_HOME/ztsa`); `None` keeps everything in memory.
    pub state: Option<PathBuf>,
    /// Where the wrapping key of the credentials is kept.
    pub store: StoreChoice,
    /// Which TPM holds the device key, if any.
    pub tpm: TpmChoice,
    /// The job that uses this client, in place of a person: where the token is that its platform signs for it.
    pub workload: Option<Workload>,
    /// The profile's name: `[A-Za-z0-9._-]`, at most 64 characters, not starting with a dot.
    pub profile: String,
    /// The way out to the network.
    pub proxy: Proxy,
    /// The clock that decisions are made by.
    pub clock: Clock,
    /// Limits of time for requests.
    pub timeouts: Timeouts,
    /// What this client calls itself in posture reports and in `User-Agent`.
    pub name: String,
    /// The client certificate to show to a gateway that asks for one.
    pub certificate: Option<ClientCertificate>,
}

/// Names a client certificate and its private key, both PEM files; it is shown in posture reports, never in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, then those that lead to its authority.
    pub chain: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
}

impl Config {
    /// Makes a configuration for a gateway, given as `gw.example.com` or `https://gw.example.com`.
    ///
    /// # Defaults
    /// Mozilla's roots, no state directory, store `Auto`, the machine's TPM, profile `default`, system proxy, system clock,
    /// no client certificate.
    ///
    /// # Errors
    /// Says what is wrong with the URL and what is wanted.
    pub fn new(gateway: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            gateway: parse_gateway(gateway)?,
            roots: Roots::mozilla(),
            state: None,
            store: StoreChoice::Auto,
            tpm: TpmChoice::Auto,
            workload: None,
            profile: "default".to_owned(),
            proxy: Proxy::System,
            clock: Clock::system(),
            timeouts: Timeouts::default(),
            name: "ztsa".to_owned(),
            certificate: None,
        })
    }

    /// The gateway's identifier as RFC 9728's `resource` has it: its URL without a trailing slash.
    pub fn resource(&self) -> String {
        without_slash(self.gateway.as_str()).to_owned()
    }

    /// The directory of this profile's state, when there is a state directory.
    ///
    /// # Errors
    /// The profile's name cannot be a directory's name.
    pub fn profile_dir(&self) -> Result<Option<PathBuf>, ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let named = !self.profile.is_empty() && self.profile.len() <= 64 && !self.profile.starts_with('.');
        if !named || !self.profile.chars().all(plain) {
            return Err(ConfigError::Profile { name: self.profile.clone() });
        }
        Ok(self.state.as_ref().map(|state| state.join("profiles").join(&self.profile)))
    }
}

/// Where the wrapping key of the credentials is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreChoice {
    /// The operating system's key store where it works, else a file, sealed by the TPM where there is one.
    #[default]
    Auto,
    /// The operating system's key store, or an error.
    Keyring,
    /// A key file with mode 0600 beside the credentials, worth nothing without the TPM where there is one.
    File,
    /// Nothing is written; the login ends with the process.
    Memory,
}

impl std::str::FromStr for StoreChoice {
    type Err = ConfigError;
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "auto" => Ok(Self::Auto),
            "keyring" => Ok(Self::Keyring),
            "file" => Ok(Self::File),
            "memory" => Ok(Self::Memory),
            other => Err(ConfigError::Store { given: other.to_owned() }),
        }
    }
}

/// The way out to the network; loopback addresses are always reached directly.
#[derive(Clone, Debug, Default)]
pub enum Proxy {
    /// What the system says (`HTTPS_PROXY`, `NO_PROXY`, system settings).
    #[default]
    System,
    /// No proxy.
    Direct,
    /// This proxy (`http://`, `https://` or `socks5h://`), but not for the hosts in `except` (the form of `NO_PROXY`).
    Through {
        /// The proxy's URL; it may carry a password.
        url: Zeroizing<String>,
        /// Hosts that are reached directly.
        except: String,
    },
}

/// Limits of time for requests.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For name resolution, TCP and TLS.
    pub connect: Duration,
    /// For a whole request with its answer.
    pub request: Duration,
    /// For the wait until another process has renewed the session.
    pub lock: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), request: Duration::from_secs(20), lock: Duration::from_secs(30) }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not a URL.
    #[error("`{given}` is not a gateway's URL: {reason}; give it as https://gw.example.com")]
    Gateway {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a profile's name.
    #[error(
        "`{name}` cannot be a profile's name: use letters, digits, `.`, `_` and `-`, at most 64, not starting with a dot"
    )]
    Profile {
        /// What was given.
        name: String,
    },
    /// Not a store's name.
    #[error("`{given}` is not a store: use auto, keyring, file or memory")]
    Store {
        /// What was given.
        given: String,
    },
    /// Not where a job's token is.
    #[error("`{given}` is not where a job's token is: use github, env:NAME, or the path of a file")]
    Workload {
        /// What was given, or the beginning of what looks like the token itself.
        given: String,
    },
    /// A variable that a job's token should come from is not set.
    #[error("the variable {name} is not set")]
    WorkloadVariable {
        /// The variable's name.
        name: String,
    },
    /// Not a TPM's place.
    #[error("`{given}` is not a TPM: use auto, off, or the absolute path of its device")]
    Tpm {
        /// What was given.
        given: String,
    },
}

impl ConfigError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Gateway { .. } => "ztsa login https://gw.example.com".to_owned(),
            Self::Profile { .. } => "choose another name with --profile".to_owned(),
            Self::Store { .. } => "set ZTSA_STORE to auto, keyring, file or memory".to_owned(),
            Self::Workload { .. } => "name where the token is, not the token: --workload env:NAME".to_owned(),
            Self::WorkloadVariable { name } if name.starts_with("ACTIONS_ID_TOKEN_") => {
                "give the workflow `permissions: id-token: write`".to_owned()
            }
            Self::WorkloadVariable { name } => format!("let the platform put the job's token into {name}"),
            Self::Tpm { .. } => "set ZTSA_TPM to auto, off or /dev/tpmrm0".to_owned(),
        }
    }
}

/// Whether a URL's host is this machine's loopback, for which plain HTTP is let through and no proxy is used.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

/// A URL's text without one trailing slash: `https://gw` and `https://gw/` are the same identifier.
pub fn without_slash(url: &str) -> &str {
    url.strip_suffix('/').unwrap_or(url)
}

fn parse_gateway(given: &str) -> Result<Url, ConfigError> {
    let refuse = |reason: &str| ConfigError::Gateway { given: given.to_owned(), reason: reason.to_owned() };
    let given = given.trim();
    let text = if given.contains("://") { given.to_owned() } else { format!("https://{given}") };
    let url = Url::parse(&text).map_err(|error| refuse(&error.to_string()))?;
    if url.host().is_none() {
        return Err(refuse("it names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it must not hold a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it must not have a query or a fragment"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(refuse("plain http is only allowed on loopback")),
        _ => Err(refuse("it must begin with https://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_url_or_a_host() {
        for (given, resource) in [
            ("gw.example.com", "https://gw.example.com"),
            ("gw.example.com:8443", "https://gw.example.com:8443"),
            ("https://gw.example.com/", "https://gw.example.com"),
            ("https://gw.example.com/ztsa", "https://gw.example.com/ztsa"),
            ("http://127.0.0.1:4180", "http://127.0.0.1:4180"),
        ] {
            assert_eq!(Config::new(given).unwrap().resource(), resource, "{given}");
        }
    }

    #[test]
    fn a_wrong_gateway_says_why() {
        for (given, said) in [
            ("http://gw.example.com", "only allowed on loopback"),
            ("https://alice:secret@gw", "user name"),
            ("https://gw/?a=b", "query"),
            ("ftp://gw", "must begin with https"),
            ("https://", "host"),
            ("", "host"),
        ] {
            let error = Config::new(given).unwrap_err().to_string();
            assert!(error.contains(said), "{given}: {error}");
        }
    }

    #[test]
    fn a_profile_cannot_leave_its_directory() {
        let mut config = Config::new("gw").unwrap();
        config.state = Some("/s".into());
        assert_eq!(config.profile_dir().unwrap(), Some("/s/profiles/default".into()));
        for name in ["", "..", "a/b", ".hidden", "a\0", &"x".repeat(65)] {
            config.profile = name.to_owned();
            assert!(config.profile_dir().is_err(), "{name}");
        }
    }

    #[test]
    fn loopback_is_seen_in_every_form() {
        for (url, is) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://app.localhost.", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), is, "{url}");
        }
    }
}
