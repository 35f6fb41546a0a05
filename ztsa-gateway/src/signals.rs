//! Shared signals (OpenID SSF 1.0, CAEP 1.0, RISC 1.0): what other systems tell of people, devices and sessions, applied by
//! the engine; and what this gateway tells them.
//!
//! A token is judged by pure functions ([`receiver`]); HTTP is a thin shell around them. Nothing here is on the data path.

mod bearer;
mod keys;
mod ledger;
pub mod receiver;
pub mod transmitter;
mod web;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use ztsa_net::task::Spawner;
use ztsa_proto::secret::Secret;

use crate::config::{Config, signals as settings};
use crate::engine::Engine;
use crate::store::StoreError;
use receiver::Receivers;
use transmitter::Transmitter;
use web::Web;

/// Where a transmitter pushes to, before its name.
pub const PUSH_PATH: &str = "/ztsa/v1/signals/";

/// Listens to others and tells them; a clone is another handle.
#[derive(Clone, Debug)]
pub struct Signals {
    receivers: Receivers,
    transmitter: Option<Transmitter>,
}

/// Says why signals cannot be listened to or told.
#[derive(Debug, thiserror::Error)]
pub enum SignalsError {
    /// A file that a table names cannot be used.
    #[error("[signals] `{name}`: {path}: {cause}", path = path.display())]
    File {
        /// The table's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The HTTP client cannot be built.
    #[error("[signals] `{name}`: its HTTP client cannot be built: {cause}")]
    Client {
        /// The table's name.
        name: String,
        /// What is wrong.
        cause: String,
    },
    /// The signing key cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing key in the store does not read.
    #[error("the key that signs signals does not read: {0}. Restore the store from a backup, or start with a new one.")]
    Key(String),
}

impl Signals {
    /// Reads the credentials and keys that the configuration names, and what was kept of streams. Nobody is asked yet.
    ///
    /// Blocks on the disk: call it while starting.
    ///
    /// # Errors
    /// A file or a key cannot be used.
    pub fn new(config: &Config, engine: &Engine) -> Result<Self, SignalsError> {
        let receivers = Receivers::new(config, engine)?;
        let told = !config.signals.receivers.is_empty();
        let transmitter = told.then(|| Transmitter::new(config, engine)).transpose()?;
        Ok(Self { receivers, transmitter })
    }

    /// Makes the endpoints: where others push to, and where our own streams are managed and polled.
    pub fn router(&self) -> Router {
        let router = receiver::push::router(&self.receivers);
        match &self.transmitter {
            Some(transmitter) => router.merge(transmitter::endpoint::router(transmitter)),
            None => router,
        }
    }

    /// Starts what keeps streams alive, polls, and delivers, in the scope of `spawner`.
    pub fn start(&self, spawner: &Spawner) {
        self.receivers.start(spawner);
        if let Some(transmitter) = &self.transmitter {
            transmitter.start(spawner);
        }
    }

    /// Gives what listens to others.
    pub fn receivers(&self) -> &Receivers {
        &self.receivers
    }
}

/// Reads the files that `[signals]` names, as a start does.
///
/// # Errors
/// One of them cannot be used.
pub fn check(settings: &settings::Signals) -> Result<(), SignalsError> {
    for one in &settings.transmitters {
        for path in [&one.push_token_file, &one.api_token_file].into_iter().flatten() {
            credential(&one.name, path)?;
        }
        one.keys_file.as_deref().map(|path| receiver::key_file(&one.name, path)).transpose()?;
        Web::new(&one.name, one.ca_file.as_deref(), one.private)?;
    }
    for one in &settings.receivers {
        for path in [&one.token_file, &one.push_token_file].into_iter().flatten() {
            credential(&one.name, path)?;
        }
        Web::new(&one.name, one.ca_file.as_deref(), one.private)?;
    }
    Ok(())
}

/// Reads a credential from a file, without the line's end.
fn credential(name: &str, path: &Path) -> Result<Arc<Secret<String>>, SignalsError> {
    let error = |cause: String| SignalsError::File { name: name.to_owned(), path: path.to_owned(), cause };
    let text = std::fs::read_to_string(path).map_err(|cause| error(format!("cannot be read: {cause}")))?;
    let text = Secret::new(text);
    let word = text.expose().trim();
    if word.len() < SHORTEST || !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(error(format!("must hold one word of at least {SHORTEST} visible ASCII characters")));
    }
    Ok(Arc::new(Secret::new(word.to_owned())))
}

/// The shortest credential: 16 characters of base64url are 96 bits.
const SHORTEST: usize = 16;

#[cfg(test)]
mod tests;
