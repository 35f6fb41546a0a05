//! Describes a client before it is made.

use std::path::PathBuf;

use super::{BuildError, Client};
use crate::config::{Config, ConfigError, Proxy, StoreChoice, Workload};

/// Describes a client; [`Builder::build`] makes it.
///
/// # Defaults
/// Those of [`Config::new`]: Mozilla's roots, nothing kept on disk, the profile `default`.
#[derive(Debug)]
pub struct Builder {
    config: Result<Config, BuildError>,
}

impl Builder {
    pub(super) fn new(gateway: &str) -> Self {
        Self { config: Config::new(gateway).map_err(BuildError::Config) }
    }

    /// Keeps the device key, the sign-in and the session in this directory, shared with every process that uses it.
    #[must_use]
    pub fn state_dir(self, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        self.with(|config| Ok(Config { state: Some(dir), ..config }))
    }

    /// Chooses where the wrapping key of the credentials is kept.
    #[must_use]
    pub fn store(self, store: StoreChoice) -> Self {
        self.with(|config| Ok(Config { store, ..config }))
    }

    /// Works for a job: its session comes from the token that its platform signs for it, and nobody signs in.
    #[must_use]
    pub fn workload(self, workload: Workload) -> Self {
        self.with(|config| Ok(Config { workload: Some(workload), ..config }))
    }

    /// Trusts the certificates in this PEM text, besides the public ones.
    #[must_use]
    pub fn ca_pem(self, pem: &[u8]) -> Self {
        self.with(|config| {
            let roots = config.roots.clone().with_pem(pem)?;
            Ok(Config { roots, ..config })
        })
    }

    /// Uses the profile of this name: another gateway, or another person.
    #[must_use]
    pub fn profile(self, name: impl Into<String>) -> Self {
        let profile = name.into();
        self.with(|config| Ok(Config { profile, ..config }))
    }

    /// Chooses the way out to the network.
    #[must_use]
    pub fn proxy(self, proxy: Proxy) -> Self {
        self.with(|config| Ok(Config { proxy, ..config }))
    }

    /// Says what the program calls itself, in posture reports and in `User-Agent`.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with(|config| Ok(Config { name, ..config }))
    }

    /// Makes the client; asks nobody on the network.
    ///
    /// # Errors
    /// [`BuildError`]: the first thing that was wrong.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn build(self) -> Result<Client, BuildError> {
        let config = self.config?;
        if config.state.is_none() && config.store == StoreChoice::File {
            return Err(ConfigError::Store { given: "file, without a state directory".to_owned() }.into());
        }
        Client::open(config).await
    }

    fn with(self, change: impl FnOnce(Config) -> Result<Config, BuildError>) -> Self {
        Self { config: self.config.and_then(change) }
    }
}
