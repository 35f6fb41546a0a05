//! Sealed credentials: AES-256-GCM in files with mode 0600; the wrapping key in the operating system's key store where
//! there is one, else computed by the TPM where there is one, else in a key file beside them, else everything in memory.
//!
//! Only the 32-byte wrapping key is in the key store, because some key stores hold little. State that cannot be read
//! any more is put aside and treated as absent, with a note; it never stops a sign-in. What cannot be written is kept in
//! memory, and written as soon as it can be.

mod error;
mod file;
mod keyring;
mod keys;
mod memory;
mod seal;

use std::{
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use zeroize::Zeroizing;

pub use self::{error::StoreError, keyring::KeyringError};
use self::{
    file::Reserved,
    keys::{Keys, Unwrapped},
    memory::Memory,
    seal::{SealError, Wrap},
};
use crate::{
    config::{Config, StoreChoice},
    workload,
};

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
    /// Computed by the TPM from a 0600 file.
    Tpm,
    /// In a 0600 file.
    File,
    /// Nowhere: nothing is written.
    Memory,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyring => "keyring",
            Self::Tpm => "file, sealed by the TPM",
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
    keys: Keys,
    memory: Memory,
    notes: Mutex<Vec<String>>,
}

/// Room on the disk for a record that is about to be saved.
#[derive(Debug)]
pub(crate) struct Room(Option<Reserved>);

impl Store {
    /// Opens the store of a profile; no key store and no TPM is asked yet.
    ///
    /// A directory that cannot be made because nothing can be written there is no error: everything is in memory then.
    ///
    /// # Errors
    /// The profile's directory is not one, or is somebody else's.
    pub fn open(config: &Config) -> Result<Self, StoreError> {
        let wanted = match config.store {
            StoreChoice::Memory => None,
            _ => config.profile_dir()?.map(|dir| match &config.workload {
                Some(job) => dir.join(workload::folder(job)),
                None => dir,
            }),
        };
        let mut notes = Vec::new();
        let dir = match wanted {
            Some(dir) => match file::private_dir(&dir) {
                Ok(()) => Some(dir),
                Err(error) if is_read_only(&error, &dir) => {
                    notes.push(format!("nothing is kept after this command: {}: {error}", dir.display()));
                    None
                }
                Err(source) => return Err(StoreError::Io { path: dir, source }),
            },
            None => None,
        };
        let keys = Keys::new(config, dir.clone());
        let inner = Inner { dir, keys, memory: Memory::default(), notes: Mutex::default() };
        let store = Self { inner: Arc::new(inner) };
        for note in notes {
            store.note(note);
        }
        Ok(store)
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
        self.inner.keys.kind().await
    }

    /// Why the wrapping key is not in a better place, where somebody would wonder.
    pub async fn reason(&self) -> Option<String> {
        self.inner.keys.reason().await
    }

    /// Reads a record; `None` when there is none, or none that can be read any more.
    ///
    /// # Errors
    /// The file cannot be read, was written by a newer version, or is sealed with a key that the key store or the TPM does
    /// not give out now.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn load(&self, record: Record) -> Result<Option<SecretBytes>, StoreError> {
        let Some(dir) = &self.inner.dir else { return Ok(self.inner.memory.load(record)) };
        let path = dir.join(record.name());
        let sealed = blocking(&path, file::read).await?;
        if let Some(unsaved) = self.inner.memory.unsaved(record, sealed.as_deref()) {
            // What another command wrote meanwhile counts; else this is tried again with each use.
            let _still_unsaved = self.write(record, &unsaved, None).await;
            return Ok(Some(unsaved));
        }
        let Some(sealed) = sealed else { return Ok(None) };
        let wrap = match seal::wrap_of(&sealed) {
            Ok(wrap) => wrap,
            Err(SealError::Newer) => return Err(StoreError::Newer { path }),
            Err(error) => return self.heal(&path, &error.to_string()).await,
        };
        let key = match self.inner.keys.unwrap(wrap, record).await? {
            Unwrapped::Key(key) => key,
            Unwrapped::Lost(why) => {
                self.note(format!("{} {why}; sign in again", path.display()));
                return Ok(None);
            }
        };
        match (seal::open(&key, record.name(), &sealed), wrap) {
            (Ok(plain), _) => Ok(Some(plain)),
            (Err(_), Wrap::Tpm) => self.heal(&path, "another TPM sealed it, or this one before it was cleared").await,
            (Err(error), _) => self.heal(&path, &error.to_string()).await,
        }
    }

    /// Writes a record, replacing the old one in one step. What was saved is there after a power cut, except for
    /// [`Record::Session`], which can always be had again. What cannot be written is kept in memory, and is written with
    /// the next use that finds room.
    ///
    /// # Errors
    /// The file cannot be written (a full disk), or the key store was asked for by name and does not work.
    ///
    /// # Cancel safety
    /// When the future is dropped, either the old or the new record is there, whole.
    pub async fn save(&self, record: Record, plain: &[u8]) -> Result<(), StoreError> {
        self.save_into(Room(None), record, plain).await
    }

    /// Takes room on the disk for a record that will come, before something is used up for it.
    ///
    /// # Errors
    /// There is no room. On a disk that nothing can be written to there is none to take, and no error.
    pub(crate) async fn room(&self, record: Record, length: usize) -> Result<Room, StoreError> {
        let Some(dir) = &self.inner.dir else { return Ok(Room(None)) };
        match blocking(&dir.join(record.name()), move |path| file::reserve(path, length + seal::OVERHEAD)).await {
            Ok(reserved) => Ok(Room(Some(reserved))),
            Err(error) if error.is_read_only() => Ok(Room(None)),
            Err(error) => Err(error),
        }
    }

    /// Writes a record as [`Store::save`] does, into the room that was taken for it.
    pub(crate) async fn save_into(&self, room: Room, record: Record, plain: &[u8]) -> Result<(), StoreError> {
        let written = self.write(record, plain, room.0).await;
        let Err(error) = written else { return Ok(()) };
        let path = self.inner.dir.as_ref().map(|dir| dir.join(record.name())).unwrap_or_default();
        let there = blocking(&path, file::read).await.ok().flatten();
        self.inner.memory.keep_unsaved(record, plain, there.as_deref());
        if !error.is_read_only() {
            return Err(error);
        }
        self.note(format!("{} is not kept after this command: {error}", record.name()));
        Ok(())
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

    async fn write(&self, record: Record, plain: &[u8], room: Option<Reserved>) -> Result<(), StoreError> {
        let Some(dir) = &self.inner.dir else {
            self.inner.memory.save(record, plain);
            return Ok(());
        };
        let path = dir.join(record.name());
        let (wrap, key) = self.inner.keys.wrap().await?;
        let sealed = seal::seal(&key, wrap, record.name(), plain).map_err(|_| StoreError::Seal)?;
        if self.inner.keys.is_closed(record).await {
            blocking(&path, file::put_aside).await?;
        }
        let durable = record != Record::Session;
        blocking(&path, move |path| file::write(path, &sealed, durable, room)).await?;
        self.inner.memory.remove(record);
        Ok(())
    }

    async fn heal(&self, path: &Path, why: &str) -> Result<Option<SecretBytes>, StoreError> {
        match blocking(path, file::put_aside).await {
            Ok(aside) => {
                self.note(format!(
                    "{} could not be read ({why}); it was put aside as {}",
                    path.display(),
                    aside.display()
                ));
            }
            Err(_) => self.note(format!("{} could not be read ({why})", path.display())),
        }
        Ok(None)
    }

    fn note(&self, text: String) {
        tracing::warn!("{text}");
        let mut notes = self.inner.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&text) {
            notes.push(text);
        }
    }
}

/// Whether a directory cannot be made because nothing may be written where it would be.
fn is_read_only(error: &std::io::Error, dir: &Path) -> bool {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => true,
        // What is there and denied is somebody else's, and that can be mended.
        ErrorKind::PermissionDenied => !dir.exists() && !dir.ancestors().nth(2).is_some_and(Path::exists),
        _ => false,
    }
}

/// Reads a plain file; `None` when there is none.
pub(crate) fn read_plain(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    file::read(path)
}

/// Replaces a plain file in one step.
pub(crate) fn write_plain(path: &Path, content: &[u8], durable: bool) -> std::io::Result<()> {
    file::write(path, content, durable, None)
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

#[cfg(test)]
mod tests;
