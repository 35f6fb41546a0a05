//! Sealed credentials: AES-256-GCM in files with mode 0600; the wrapping key in the operating system's key store where
//! there is one, else in a key file beside them, else everything in memory.
//!
//! Only the 32-byte wrapping key is in the key store, because some key stores hold little. State that cannot be read
//! any more is put aside and treated as absent, with a note; it never stops a sign-in.

mod file;
mod keyring;
mod memory;
mod seal;

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;
use ztsa_proto::problem::Retry;

use self::{
    keyring::{KeyringEntry, KeyringError},
    memory::Memory,
    seal::{Key, SealError, Wrap},
};
use crate::config::{Config, ConfigError, StoreChoice};

/// How long a key store that did not work is left alone.
const KEYRING_PAUSE: Duration = Duration::from_secs(60);

/// Bytes that are wiped when dropped.
pub type SecretBytes = Zeroizing<Vec<u8>>;

/// What is stored, each in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The device's signing key; it outlives a logout, so that an approved device stays approved.
    Device,
    /// The issuer's tokens.
    Credentials,
    /// The gateway's session token.
    Session,
}

impl Record {
    /// The file's name in the profile's directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Credentials => "credentials",
            Self::Session => "session",
        }
    }
}

/// Where the wrapping key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In the operating system's key store.
    Keyring,
    /// In a 0600 file.
    File,
    /// Nowhere: nothing is written.
    Memory,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyring => "keyring",
            Self::File => "file",
            Self::Memory => "memory",
        })
    }
}

/// The sealed records of one profile; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: Option<PathBuf>,
    choice: StoreChoice,
    entry: KeyringEntry,
    memory: Memory,
    keys: Mutex<Keys>,
    notes: StdMutex<Vec<String>>,
}

#[derive(Default)]
struct Keys {
    keyring: Option<Key>,
    file: Option<Key>,
    writing: Option<StoreKind>,
    /// The key store did not work then; it is not asked again at once, because each time may take three seconds.
    refused: Option<(Instant, KeyringError)>,
    /// Records that could not be opened, and are moved aside before they are written.
    closed: HashSet<Record>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("writing", &self.writing).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of a profile; no key store is asked yet.
    ///
    /// # Errors
    /// The profile's directory cannot be made or is not private.
    pub fn open(config: &Config) -> Result<Self, StoreError> {
        let dir = match config.store {
            StoreChoice::Memory => None,
            _ => config.profile_dir()?,
        };
        if let Some(dir) = &dir {
            file::private_dir(dir).map_err(|source| StoreError::Io { path: dir.clone(), source })?;
        }
        let entry = KeyringEntry::new(&config.profile, dir.as_deref());
        let (memory, keys, notes) = (Memory::default(), Mutex::default(), StdMutex::default());
        Ok(Self { inner: Arc::new(Inner { dir, choice: config.store, entry, memory, keys, notes }) })
    }

    /// The profile's directory; `None` when nothing is written.
    pub fn dir(&self) -> Option<&Path> {
        self.inner.dir.as_deref()
    }

    /// What a person should know about the state: healed files, a key store that did not answer.
    pub fn notes(&self) -> Vec<String> {
        self.inner.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the wrapping key is, or would be put.
    ///
    /// # Errors
    /// The key store was asked for by name and does not work.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn kind(&self) -> Result<StoreKind, StoreError> {
        let mut keys = self.inner.keys.lock().await;
        self.writing(&mut keys).await
    }

    /// Reads a record; `None` when there is none, or none that can be read any more.
    ///
    /// # Errors
    /// The file cannot be read, or it is sealed with a key that the key store does not give out now.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn load(&self, record: Record) -> Result<Option<SecretBytes>, StoreError> {
        let Some(dir) = &self.inner.dir else { return Ok(self.inner.memory.load(record)) };
        let path = dir.join(record.name());
        let sealed = blocking(&path, file::read).await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let mut keys = self.inner.keys.lock().await;
        let wrap = match seal::wrap_of(&sealed) {
            Ok(wrap) => wrap,
            Err(error) => return self.heal(&path, error).await,
        };
        let key = match wrap {
            Wrap::File => self.file_key(&mut keys, dir, false).await?,
            Wrap::Keyring => match self.keyring_key(&mut keys).await {
                Ok(key) => key,
                Err(_) if self.inner.choice == StoreChoice::File => None,
                Err(source) => return Err(StoreError::Locked { source }),
            },
        };
        let Some(key) = key else {
            self.note(format!("{} is sealed with a key that is not there any more; sign in again", path.display()));
            keys.closed.insert(record);
            return Ok(None);
        };
        match seal::open(&key, record.name(), &sealed) {
            Ok(plain) => Ok(Some(plain)),
            Err(error) => self.heal(&path, error).await,
        }
    }

    /// Writes a record, replacing the old one in one step. What was saved is there after a power cut, except for
    /// [`Record::Session`], which can always be had again.
    ///
    /// # Errors
    /// The file cannot be written (a full disk), or the key store was asked for by name and does not work.
    ///
    /// # Cancel safety
    /// When the future is dropped, either the old or the new record is there, whole.
    pub async fn save(&self, record: Record, plain: &[u8]) -> Result<(), StoreError> {
        let Some(dir) = &self.inner.dir else {
            self.inner.memory.save(record, plain);
            return Ok(());
        };
        let path = dir.join(record.name());
        let mut keys = self.inner.keys.lock().await;
        let (wrap, key) = match self.writing(&mut keys).await? {
            StoreKind::Keyring => (Wrap::Keyring, keys.keyring.clone()),
            StoreKind::File | StoreKind::Memory => (Wrap::File, self.file_key(&mut keys, dir, true).await?),
        };
        let key = key.ok_or(StoreError::Seal)?;
        let sealed = seal::seal(&key, wrap, record.name(), plain).map_err(|_| StoreError::Seal)?;
        if keys.closed.remove(&record) {
            blocking(&path, file::put_aside).await?;
        }
        let durable = record != Record::Session;
        blocking(&path, move |path| file::write(path, &sealed, durable)).await
    }

    /// Removes a record; it is no error when there is none.
    ///
    /// # Errors
    /// The file cannot be removed.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn remove(&self, record: Record) -> Result<(), StoreError> {
        self.inner.memory.remove(record);
        match &self.inner.dir {
            Some(dir) => blocking(&dir.join(record.name()), file::remove).await,
            None => Ok(()),
        }
    }

    /// Decides once where the wrapping key of new records is, and makes it.
    async fn writing(&self, keys: &mut Keys) -> Result<StoreKind, StoreError> {
        let Some(dir) = &self.inner.dir else { return Ok(StoreKind::Memory) };
        if let Some(kind) = keys.writing {
            return Ok(kind);
        }
        let kind = match self.inner.choice {
            StoreChoice::Memory => StoreKind::Memory,
            StoreChoice::File => StoreKind::File,
            StoreChoice::Auto if self.sealed_by_file(dir).await? => StoreKind::File,
            StoreChoice::Auto => match self.make_keyring_key(keys).await {
                Ok(()) => StoreKind::Keyring,
                Err(error) => {
                    tracing::debug!(%error, "no key store; the wrapping key is kept in a file");
                    StoreKind::File
                }
            },
            StoreChoice::Keyring => {
                let made = self.make_keyring_key(keys).await;
                made.map(|()| StoreKind::Keyring).map_err(|source| StoreError::Locked { source })?
            }
        };
        keys.writing = Some(kind);
        Ok(kind)
    }

    async fn sealed_by_file(&self, dir: &Path) -> Result<bool, StoreError> {
        for record in [Record::Device, Record::Credentials] {
            if let Some(sealed) = blocking(&dir.join(record.name()), file::read).await? {
                return Ok(seal::wrap_of(&sealed) == Ok(Wrap::File));
            }
        }
        Ok(false)
    }

    async fn keyring_key(&self, keys: &mut Keys) -> Result<Option<Key>, KeyringError> {
        if let Some((since, error)) = &keys.refused
            && since.elapsed() < KEYRING_PAUSE
        {
            return Err(error.clone());
        }
        if keys.keyring.is_none() {
            let loaded = self.inner.entry.load().await;
            keys.refused = loaded.as_ref().err().map(|error| (Instant::now(), error.clone()));
            keys.keyring = loaded?;
        }
        Ok(keys.keyring.clone())
    }

    /// Reads the key, or makes one and reads it back: some key stores take everything and keep nothing.
    async fn make_keyring_key(&self, keys: &mut Keys) -> Result<(), KeyringError> {
        if self.keyring_key(keys).await?.is_none() {
            let key = seal::random_key().map_err(|_| KeyringError::Refused("no randomness".to_owned()))?;
            self.inner.entry.save(&key).await?;
            let kept = self.inner.entry.load().await?;
            keys.keyring = Some(kept.ok_or_else(|| KeyringError::Refused("it did not keep the key".to_owned()))?);
        }
        Ok(())
    }

    async fn file_key(&self, keys: &mut Keys, dir: &Path, make: bool) -> Result<Option<Key>, StoreError> {
        if keys.file.is_none() {
            keys.file = blocking(&dir.join("key"), move |path| file::key(path, make)).await?;
        }
        Ok(keys.file.clone())
    }

    async fn heal(&self, path: &Path, error: SealError) -> Result<Option<SecretBytes>, StoreError> {
        let aside = blocking(path, file::put_aside).await?;
        self.note(format!("{} could not be read ({error}); it was put aside as {}", path.display(), aside.display()));
        Ok(None)
    }

    fn note(&self, text: String) {
        tracing::warn!("{text}");
        self.inner.notes.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// Reads a plain file; `None` when there is none.
pub(crate) fn read_plain(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    file::read(path)
}

/// Replaces a plain file in one step.
pub(crate) fn write_plain(path: &Path, content: &[u8], durable: bool) -> std::io::Result<()> {
    file::write(path, content, durable)
}

/// Runs file work off the runtime's threads; it is finished even if the future is dropped.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let owned = path.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&owned)).await;
    let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|source| StoreError::Io { path: path.to_owned(), source })
}

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The profile's name is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The key store does not give the wrapping key out.
    #[error("the operating system's key store holds the key of the credentials and does not give it out: {source}")]
    Locked {
        /// What it said.
        source: KeyringError,
    },
    /// Sealing failed, which needs randomness and nothing else.
    #[error("the credentials could not be sealed")]
    Seal,
}

impl StoreError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Locked { .. } => Retry::After { seconds: None },
            _ => Retry::Never,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Config(error) => error.hint(),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "make room on the disk".to_owned()
            }
            Self::Io { path, .. } => format!("check who owns {} and its permissions", path.display()),
            Self::Locked { .. } => {
                "unlock the key store and try again, or keep the key in a file: `ZTSA_STORE=file ztsa login`".to_owned()
            }
            Self::Seal => "try again".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
