//! Reading the files again while the gateway runs: what can change, and what needs a restart.

use super::error::ConfigError;
use super::{Config, rule};

/// Holds a configuration that was read again, and what became of it.
#[derive(Clone, Debug)]
pub struct Reread {
    /// What runs from now on.
    pub config: Config,
    /// The keys that differ and hold from now on.
    pub changed: Vec<&'static str>,
    /// The keys that differ and hold after a restart only.
    pub restart: Vec<&'static str>,
}

/// Names what is asked of devices among the keys that need a restart.
pub const POSTURE: &str = "[posture]";

impl Config {
    /// Reads the same files again. What cannot change while the gateway runs stays as it is, and is named.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reread(&self) -> Result<Reread, ConfigError> {
        let mut wanted = Config::load(&self.raw.path)?;
        for path in &self.raw.added {
            let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::unreadable(path, &cause))?;
            wanted.add(&text, path)?;
        }
        self.turned_into(wanted)
    }

    fn turned_into(&self, wanted: Config) -> Result<Reread, ConfigError> {
        let mut restart = Vec::new();
        let mut stays = |same: bool, key| {
            if !same {
                restart.push(key);
            }
        };
        stays(wanted.public_url == self.public_url, "public_url");
        stays(wanted.listen == self.listen, "listen");
        stays(wanted.store == self.store, "[store] url");
        stays(wanted.audit == self.audit, "[audit]");
        stays(wanted.admin == self.admin, "[admin] socket");
        stays(wanted.metrics == self.metrics, "[metrics] listen");
        stays(wanted.signals == self.signals, "[signals]");
        stays(wanted.posture == self.posture, POSTURE);
        let mut config = wanted;
        if config.public_url != self.public_url {
            // what issuers are asked for follows from it
            config.raw.public_url = Some(self.public_url.clone());
            config = rule::check(config.raw)?;
        }
        config.listen.clone_from(&self.listen);
        config.store.clone_from(&self.store);
        config.audit.clone_from(&self.audit);
        config.admin.clone_from(&self.admin);
        config.metrics = self.metrics;
        config.signals.clone_from(&self.signals);
        config.posture.clone_from(&self.posture);
        let changed = self.differences(&config);
        Ok(Reread { config, changed, restart })
    }

    /// Names the keys that can change while the gateway runs and that differ.
    fn differences(&self, other: &Config) -> Vec<&'static str> {
        [
            ("[[app]]", self.apps == other.apps),
            ("[[issuer]]", self.issuers == other.issuers),
            ("[[workload]]", self.workloads == other.workloads),
            ("[policy] dir", self.policy == other.policy),
            ("[risk]", self.risk == other.risk),
            ("[session]", self.session == other.session),
            ("[limits]", self.limits == other.limits),
            ("[tls]", self.tls == other.tls),
            ("classic_connect", self.classic_connect == other.classic_connect),
        ]
        .into_iter()
        .filter(|(_, same)| !same)
        .map(|(key, _)| key)
        .collect()
    }

    /// Lists the identifiers of all whose tokens are accepted: issuers, and platforms of workloads.
    pub fn identifiers(&self) -> impl Iterator<Item = &str> {
        let issuers = self.issuers.iter().map(|issuer| issuer.issuer.as_str());
        issuers.chain(self.workloads.iter().map(|workload| workload.issuer.as_str()))
    }
}
