//! Which wrapping key seals and opens a record, and where it comes from.

use std::{collections::HashSet, fmt, path::PathBuf, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::{
    KeyringError, Record, StoreError, StoreKind, blocking, file,
    keyring::KeyringEntry,
    seal::{self, Key, Wrap},
};
use crate::{
    apart,
    config::{Config, StoreChoice},
    tpm::{Label, Tpm, TpmError},
};

/// The file beside the records that says why the key store is not used.
const REASON: &str = "store-reason";
/// The most characters of it that are shown.
const REASON_LENGTH: usize = 400;
/// How long a key store that did not work is left alone.
const PAUSE: Duration = Duration::from_secs(60);
/// How long the TPM may take.
const TPM_PATIENCE: Duration = Duration::from_secs(10);
/// The label of the TPM's key that wrapping keys are computed with; what differs between profiles is the key file.
const LABEL: &Label = b"ztsa: wrapping key, version 1   ";

/// Finds and makes the wrapping keys of one profile.
pub(super) struct Keys {
    dir: Option<PathBuf>,
    choice: StoreChoice,
    entry: KeyringEntry,
    tpm: Option<Tpm>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keyring: Option<Key>,
    file: Option<Key>,
    tpm: Option<Key>,
    writing: Option<StoreKind>,
    /// Why `writing` is not better.
    reason: Option<String>,
    /// The reason is new, and not kept yet for later processes.
    untold: bool,
    /// The key store did not work then; it is not asked again at once, because each time may take three seconds.
    refused: Option<(Instant, KeyringError)>,
    /// Records that could not be opened, and are moved aside before they are written.
    closed: HashSet<Record>,
}

/// The key of a record.
pub(super) enum Unwrapped {
    Key(Key),
    /// It is not to be had any more, in words that follow the file's name.
    Lost(&'static str),
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("dir", &self.dir).field("choice", &self.choice).finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) fn new(config: &Config, dir: Option<PathBuf>) -> Self {
        let entry = KeyringEntry::new(&config.profile, dir.as_deref());
        let tpm = config.tpm.place().map(Tpm::new);
        Self { dir, choice: config.store, entry, tpm, known: Mutex::default() }
    }

    pub(super) async fn kind(&self) -> Result<StoreKind, StoreError> {
        self.writing(&mut *self.known.lock().await).await
    }

    pub(super) async fn reason(&self) -> Option<String> {
        self.known.lock().await.reason.clone()
    }

    /// Forgets that a record could not be opened; says whether it was so.
    pub(super) async fn is_closed(&self, record: Record) -> bool {
        self.known.lock().await.closed.remove(&record)
    }

    /// Gives the key of new records.
    pub(super) async fn wrap(&self) -> Result<(Wrap, Key), StoreError> {
        let mut known = self.known.lock().await;
        let kind = self.writing(&mut known).await?;
        if std::mem::take(&mut known.untold) {
            self.tell(known.reason.as_deref().unwrap_or_default()).await;
        }
        let (wrap, key) = match kind {
            StoreKind::Keyring => (Wrap::Keyring, known.keyring.clone()),
            StoreKind::Tpm => (Wrap::Tpm, self.tpm_key(&mut known, true).await?),
            StoreKind::File | StoreKind::Memory => (Wrap::File, self.file_key(&mut known, true).await?),
        };
        Ok((wrap, key.ok_or(StoreError::Seal)?))
    }

    /// Gives the key of a record that is there.
    pub(super) async fn unwrap(&self, wrap: Wrap, record: Record) -> Result<Unwrapped, StoreError> {
        let mut known = self.known.lock().await;
        let key = match wrap {
            Wrap::File => self.file_key(&mut known, false).await?,
            Wrap::Tpm => match self.tpm_key(&mut known, false).await {
                Err(StoreError::Tpm { source: TpmError::Absent { .. } }) => None,
                key => key?,
            },
            Wrap::Keyring => match self.keyring_key(&mut known).await {
                Ok(key) => key,
                Err(_) if self.choice == StoreChoice::File => None,
                Err(source) => return Err(StoreError::Locked { source }),
            },
        };
        if let Some(key) = key {
            return Ok(Unwrapped::Key(key));
        }
        known.closed.insert(record);
        Ok(Unwrapped::Lost(match wrap {
            Wrap::Keyring => "is sealed with a key that the operating system's key store does not have any more",
            Wrap::Tpm => "is sealed by a TPM that this machine does not have",
            Wrap::File => "is sealed with a key that is not there any more",
        }))
    }

    /// Decides once where the wrapping key of new records is, and makes it.
    async fn writing(&self, known: &mut Known) -> Result<StoreKind, StoreError> {
        if self.dir.is_none() {
            return Ok(StoreKind::Memory);
        }
        if let Some(kind) = known.writing {
            return Ok(kind);
        }
        let kind = match self.choice {
            StoreChoice::Memory => StoreKind::Memory,
            StoreChoice::File => self.in_file(known).await?,
            StoreChoice::Auto => match self.sealed_before().await? {
                Some(kind @ (StoreKind::File | StoreKind::Tpm)) => {
                    known.reason = Some(self.told().await.unwrap_or_else(|| "as at the sign-in".to_owned()));
                    kind
                }
                _ => match self.make_keyring_key(known).await {
                    Ok(()) => StoreKind::Keyring,
                    Err(error) => {
                        tracing::debug!(%error, "no key store; the wrapping key is kept in a file");
                        let kind = self.in_file(known).await?;
                        let why = known.reason.take().map(|why| format!("; {why}")).unwrap_or_default();
                        known.reason = Some(format!("no key store of the operating system: {error}{why}"));
                        known.untold = true;
                        kind
                    }
                },
            },
            StoreChoice::Keyring => {
                let made = self.make_keyring_key(known).await;
                made.map(|()| StoreKind::Keyring).map_err(|source| StoreError::NoKeyring { source })?
            }
        };
        known.writing = Some(kind);
        Ok(kind)
    }

    /// Chooses between the TPM and a plain key file. A profile that has a plain one stays with it.
    async fn in_file(&self, known: &mut Known) -> Result<StoreKind, StoreError> {
        if let Some(kind @ (StoreKind::File | StoreKind::Tpm)) = self.sealed_before().await? {
            return Ok(kind);
        }
        match self.tpm_key(known, true).await {
            Ok(_) => Ok(StoreKind::Tpm),
            Err(StoreError::TpmOff) => Ok(StoreKind::File),
            Err(StoreError::Tpm { source }) => {
                if !matches!(source, TpmError::Absent { .. }) {
                    known.reason = Some(format!("not sealed by the TPM: {source}; {}", source.hint()));
                }
                Ok(StoreKind::File)
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps why the key store is not used, so that later processes can say it. Only words are lost when that fails.
    pub(super) async fn tell(&self, reason: &str) {
        let Some(dir) = &self.dir else { return };
        let reason = reason.to_owned();
        let kept = blocking(&dir.join(REASON), move |path| file::write(path, reason.as_bytes(), false, None)).await;
        if let Err(error) = kept {
            tracing::debug!(%error, "the reason is not kept");
        }
    }

    /// The reason that an earlier process kept.
    async fn told(&self) -> Option<String> {
        let text = blocking(&self.dir.as_ref()?.join(REASON), file::read).await.ok()??;
        let text: String =
            String::from_utf8(text).ok()?.chars().filter(|c| !c.is_control()).take(REASON_LENGTH).collect();
        (!text.is_empty()).then_some(text)
    }

    /// How the records that are there are sealed.
    async fn sealed_before(&self) -> Result<Option<StoreKind>, StoreError> {
        let Some(dir) = &self.dir else { return Ok(None) };
        for record in [Record::Device, Record::Credentials] {
            if let Some(sealed) = blocking(&dir.join(record.name()), file::read).await? {
                return Ok(seal::wrap_of(&sealed).ok().map(|wrap| match wrap {
                    Wrap::Keyring => StoreKind::Keyring,
                    Wrap::Tpm => StoreKind::Tpm,
                    Wrap::File => StoreKind::File,
                }));
            }
        }
        Ok(None)
    }

    async fn keyring_key(&self, known: &mut Known) -> Result<Option<Key>, KeyringError> {
        if let Some((since, error)) = &known.refused
            && since.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        if known.keyring.is_none() {
            let loaded = self.entry.load().await;
            known.refused = loaded.as_ref().err().map(|error| (Instant::now(), error.clone()));
            known.keyring = loaded?;
        }
        Ok(known.keyring.clone())
    }

    /// Reads the key, or makes one and reads it back: some key stores take everything and keep nothing.
    async fn make_keyring_key(&self, known: &mut Known) -> Result<(), KeyringError> {
        if self.keyring_key(known).await?.is_none() {
            let key = seal::random_key().map_err(|_| KeyringError::Refused("no randomness".to_owned()))?;
            self.entry.save(&key).await?;
            let kept = self.entry.load().await?;
            known.keyring = Some(kept.ok_or_else(|| KeyringError::Refused("it did not keep the key".to_owned()))?);
        }
        Ok(())
    }

    async fn file_key(&self, known: &mut Known, make: bool) -> Result<Option<Key>, StoreError> {
        let Some(dir) = &self.dir else { return Ok(None) };
        if known.file.is_none() {
            known.file = blocking(&dir.join("key"), move |path| file::key(path, make)).await?;
        }
        Ok(known.file.clone())
    }

    /// Computes the key from the key file, which is worth nothing without the TPM.
    async fn tpm_key(&self, known: &mut Known, make: bool) -> Result<Option<Key>, StoreError> {
        let Some(tpm) = self.tpm.clone() else { return Err(StoreError::TpmOff) };
        if known.tpm.is_none() {
            tpm.usable().map_err(|source| StoreError::Tpm { source })?;
            let Some(seed) = self.file_key(known, make).await? else { return Ok(None) };
            let place = tpm.place().clone();
            let computed = apart::run("ztsa-tpm", TPM_PATIENCE, move || tpm.derive(LABEL, &seed)).await;
            let computed = computed.unwrap_or(Err(TpmError::Silent { place }));
            known.tpm = Some(computed.map_err(|source| StoreError::Tpm { source })?);
        }
        Ok(known.tpm.clone())
    }
}
