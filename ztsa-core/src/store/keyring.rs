//! The operating system's key store: Secret Service, macOS Keychain, Windows Credential Manager.
//!
//! It may be absent, locked, or never answer. So each call runs on a thread of its own, is given three seconds, and is
//! left behind when it takes longer: neither the runtime nor the process waits for it.

use std::{path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;
use ztsa_proto::jws::sha256_base64url;

use super::seal::{KEY, Key};
use crate::apart::{self, Apart};

/// How long a key store may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the key store gave no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// It did not answer in time.
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// There is none.
    #[error("there is none: {0}")]
    Absent(String),
    /// It is locked or refused.
    #[error("{0}")]
    Refused(String),
}

/// The place of one profile's wrapping key.
#[derive(Clone, Debug)]
pub(super) struct KeyringEntry {
    account: String,
}

impl KeyringEntry {
    /// Names the entry after the profile; two state directories do not share a key.
    pub(super) fn new(profile: &str, dir: Option<&Path>) -> Self {
        let place = dir.map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()));
        let digest = sha256_base64url(place.unwrap_or_default().as_os_str().as_encoded_bytes());
        Self { account: format!("{profile} ({})", digest.get(..8).unwrap_or_default()) }
    }

    /// Reads the key; `None` when there is no entry.
    pub(super) async fn load(&self) -> Result<Option<Key>, KeyringError> {
        let account = self.account.clone();
        let text = bounded(move || os::load(&account)).await?;
        let Some(text) = text else { return Ok(None) };
        let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| KeyringError::Refused("its entry for ztsa is not a key".to_owned()))?;
        let mut key = Zeroizing::new([0; KEY]);
        if bytes.len() != KEY {
            return Err(KeyringError::Refused("its entry for ztsa is not a key".to_owned()));
        }
        key.copy_from_slice(&bytes);
        Ok(Some(key))
    }

    /// Writes the key.
    pub(super) async fn save(&self, key: &Key) -> Result<(), KeyringError> {
        let (account, text) = (self.account.clone(), Zeroizing::new(STANDARD.encode(key.as_slice())));
        bounded(move || os::save(&account, &text)).await
    }
}

/// Runs a call apart, and leaves it behind when it takes too long.
async fn bounded<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    match apart::run("ztsa-keyring", PATIENCE, work).await {
        Ok(done) => done,
        Err(Apart::Silent(_)) => Err(KeyringError::Silent),
        Err(failed @ Apart::Failed(_)) => Err(KeyringError::Absent(failed.to_string())),
    }
}

#[cfg(feature = "secret-service")]
mod os {
    use keyring::{Entry, Error};
    use zeroize::Zeroizing;

    use super::KeyringError;

    const SERVICE: &str = "ztsa";

    pub(super) fn load(account: &str) -> Result<Option<Zeroizing<String>>, KeyringError> {
        match entry(account)?.get_password() {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    pub(super) fn save(account: &str, text: &str) -> Result<(), KeyringError> {
        entry(account)?.set_password(text).map_err(|error| refused(&error))
    }

    fn entry(account: &str) -> Result<Entry, KeyringError> {
        if let Err(error) = Entry::store_status() {
            return Err(KeyringError::Absent(error.to_string()));
        }
        Entry::new(SERVICE, account).map_err(|error| refused(&error))
    }

    fn refused(error: &Error) -> KeyringError {
        match error {
            Error::NoDefaultStore => KeyringError::Absent(error.to_string()),
            other => KeyringError::Refused(other.to_string()),
        }
    }
}

#[cfg(not(feature = "secret-service"))]
mod os {
    use zeroize::Zeroizing;

    use super::KeyringError;

    const ABSENT: &str = "ztsa was built without it";

    pub(super) fn load(_account: &str) -> Result<Option<Zeroizing<String>>, KeyringError> {
        Err(KeyringError::Absent(ABSENT.to_owned()))
    }

    pub(super) fn save(_account: &str, _text: &str) -> Result<(), KeyringError> {
        Err(KeyringError::Absent(ABSENT.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_store_that_never_answers_is_left_behind() {
        let answer = bounded(|| {
            loop {
                std::thread::park();
            }
        });
        assert_eq!(answer.await, Err::<(), _>(KeyringError::Silent));
    }

    #[tokio::test]
    async fn a_key_store_client_that_panics_is_none() {
        let answer: Result<(), _> = bounded(|| panic!("Cannot start a runtime from within a runtime")).await;
        assert!(matches!(answer, Err(KeyringError::Absent(_))));
    }

    #[test]
    fn two_directories_have_two_entries() {
        let entry = |dir: &str| KeyringEntry::new("default", Some(Path::new(dir))).account;
        assert_ne!(entry("/a"), entry("/b"));
        assert_eq!(entry("/a"), entry("/a"));
        assert!(entry("/a").starts_with("default ("));
    }
}
