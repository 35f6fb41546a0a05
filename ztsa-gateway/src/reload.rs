//! Reading everything again while the gateway runs: `gateway.toml`, the policies, the certificate.
//!
//! All of it is read and checked first; when anything is wrong, nothing changes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::authn::{Authn, AuthnSetupError, Trust};
use crate::certificate::{self, Certificate, CertificateError};
use crate::config::{ConfigError, Reread};
use crate::engine::{Changed, Engine};
use crate::lookup::{Lookup, LookupError};
use crate::policy::PolicyError;
use crate::stranger::Strangers;

/// Reads everything again; a clone is another handle to the same gateway.
#[derive(Debug, Clone)]
pub struct Reload {
    /// What decides.
    pub engine: Engine,
    /// What knows the issuers.
    pub authn: Arc<Authn>,
    /// What the public door shows.
    pub certificate: Certificate,
    /// What connections may cost before anybody has authenticated.
    pub strangers: Strangers,
    /// Held while one reads.
    pub turn: Arc<Mutex<()>>,
}

/// Says what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The apps there are now.
    pub apps: usize,
    /// The issuers there are now.
    pub issuers: usize,
    /// The policies there are now.
    pub policies: usize,
    /// The keys that changed.
    pub changed: Vec<&'static str>,
    /// The keys that changed in the file and hold after a restart only.
    pub restart: Vec<&'static str>,
    /// The sessions that ended with their issuer.
    pub sessions: usize,
    /// The live tunnels that changed.
    pub tunnels: Changed,
}

/// Says what is wrong; all stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration has a mistake.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A file of an issuer cannot be used.
    #[error(transparent)]
    Authn(#[from] AuthnSetupError),
    /// A file that `[risk]` names cannot be used.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The policies have mistakes.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Reload {
    /// Reads everything again. Live tunnels are judged by it when this returns: those whose app is gone, has moved, or may
    /// no longer be opened have ended.
    ///
    /// Blocks on the disk, and judges every tunnel: never on a thread that carries bytes.
    ///
    /// # Errors
    /// [`ReloadError`]; all stays as it was.
    pub fn run(&self) -> Result<Reloaded, ReloadError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.read().inspect_err(|error| self.engine.reload_refused(&error.to_string()))
    }

    fn read(&self) -> Result<Reloaded, ReloadError> {
        let Reread { config, changed, restart } = self.engine.config().reread()?;
        let certificate = certificate::read(&config.tls)?;
        let trust = Trust::new(&config)?;
        let lookup = Lookup::read(&config.risk)?;
        let (apps, issuers) = (config.apps.len(), config.issuers.len());
        let limits = config.limits;
        // the last that can fail, and the first that holds
        let adopted = self.engine.adopt(config, &changed, &restart)?;
        self.engine.look_up_in(lookup);
        self.authn.adopt(trust);
        self.certificate.adopt(certificate);
        self.strangers.limit(limits);
        let (sessions, tunnels) = self.engine.settle(&adopted);
        Ok(Reloaded { apps, issuers, policies: adopted.policies, changed, restart, sessions, tunnels })
    }
}

#[cfg(test)]
pub(crate) mod tests;
