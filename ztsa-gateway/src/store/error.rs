//! What can go wrong with the store.

use std::path::{Path, PathBuf};

use crate::config::StoreUrl;

/// Says why the store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or created.
    #[error("the store {path} cannot be opened: {cause}. Check that the directory exists and that this user may write there.", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Another gateway runs on the same file.
    #[error("the store {path} is held by another gateway. Stop it, or give this one a store of its own.", path = path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is not a ztsa store: {cause}. Move it away, or name another file in [store].", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        cause: String,
    },
    /// A newer version wrote it.
    #[error("the store {path} was written by a newer ztsa-gateway (schema {found}; this one knows {known}). Update this gateway.", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema in the file.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// A write failed; it is tried again.
    #[error("the store cannot be written: {0}. Free the disk or mend the file; the gateway tries again by itself.")]
    Write(String),
    /// A key of the gateway's own cannot be made.
    #[error("a key of the gateway cannot be made: {0}")]
    Key(String),
}

impl StoreError {
    pub(super) fn read(url: &StoreUrl, cause: &rusqlite::Error) -> StoreError {
        let path = match url {
            StoreUrl::Sqlite(path) => path.clone(),
            StoreUrl::Memory => PathBuf::from(":memory:"),
        };
        StoreError::sqlite(&path, cause)
    }

    pub(super) fn sqlite(path: &Path, cause: &rusqlite::Error) -> StoreError {
        let path = path.to_owned();
        let text = cause.to_string();
        match cause.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                StoreError::Foreign { path, cause: text }
            }
            Some(_) => StoreError::Open { path, cause: text },
            None => StoreError::Foreign { path, cause: text },
        }
    }
}

/// Says why a word means no one person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindUserError {
    /// Nobody of that name has signed in here.
    #[error("nobody called {0:?} has signed in here yet")]
    Unknown(String),
    /// Several people are called that.
    #[error("{word:?} means several people; name one of: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        word: String,
        /// Whom it may mean, as `ISSUER|SUBJECT`.
        candidates: Vec<String>,
    },
}
