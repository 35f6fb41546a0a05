//! Why state could not be read or written, and what to do about it.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use ztsa_proto::problem::Retry;

use super::KeyringError;
use crate::{config::ConfigError, tpm::TpmError};

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
        source: io::Error,
    },
    /// A file was written by a newer version.
    #[error("{} was written by a newer ztsa than this one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The key store was asked for by name, and cannot be used.
    #[error("the operating system's key store cannot be used: {source}")]
    NoKeyring {
        /// What it said.
        source: KeyringError,
    },
    /// The key store does not give the wrapping key out.
    #[error("the operating system's key store holds the key of the credentials and does not give it out: {source}")]
    Locked {
        /// What it said.
        source: KeyringError,
    },
    /// The TPM does not unseal.
    #[error("the credentials are sealed by the TPM, and it does not unseal them: {source}")]
    Tpm {
        /// What it said.
        source: TpmError,
    },
    /// The TPM that sealed is turned off.
    #[error("the credentials are sealed by the TPM, which is turned off")]
    TpmOff,
    /// Sealing failed, which needs randomness and nothing else.
    #[error("the credentials could not be sealed")]
    Seal,
}

impl StoreError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Locked { .. } => Retry::After { seconds: None },
            Self::Tpm { source } if source.is_temporary() => Retry::After { seconds: None },
            _ => Retry::Never,
        }
    }

    /// Whether nothing can be written where the state is, now or later.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::ReadOnlyFilesystem)
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Config(error) => error.hint(),
            Self::Io { source, .. }
                if matches!(
                    source.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
                ) =>
            {
                "make room on the disk; what was there before is untouched".to_owned()
            }
            Self::Io { path, .. } => owner(path),
            Self::Newer { .. } => "update ztsa, or use another --profile or --state-dir".to_owned(),
            Self::NoKeyring { .. } => "start and unlock the key store, or set ZTSA_STORE=auto".to_owned(),
            Self::Locked { .. } => {
                "unlock the key store and try again, or keep the key in a file: `ZTSA_STORE=file ztsa login`".to_owned()
            }
            Self::Tpm { source } => source.hint(),
            Self::TpmOff => "set ZTSA_TPM as it was at the sign-in, or sign in again: `ztsa login`".to_owned(),
            Self::Seal => "try again".to_owned(),
        }
    }
}

/// Says whose the nearest thing is that exists, when it is not this user's.
#[cfg(unix)]
fn owner(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let me = rustix::process::geteuid().as_raw();
    let there = path.ancestors().find_map(|place| Some((place, place.metadata().ok()?.uid())));
    match there {
        Some((place, uid)) if uid != me => {
            let whose = if uid == 0 { "root (by a command under sudo?)".to_owned() } else { format!("user {uid}") };
            format!("{} belongs to {whose}: `sudo chown -R {me} {}`", place.display(), place.display())
        }
        _ => format!("check who owns {} and its permissions", path.display()),
    }
}

#[cfg(not(unix))]
fn owner(path: &Path) -> String {
    format!("check who owns {} and its permissions", path.display())
}
