//! What the collector has, noted beside the log.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The length of the note: always the same, so that a full disk takes it too.
const LENGTH: usize = 96;

#[derive(Debug)]
pub(super) struct Cursor {
    file: Option<File>,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    chain: String,
    sequence: u64,
}

impl Cursor {
    pub(super) fn open(log: &Path) -> Self {
        // what is no file, such as a pipe, is not read again either
        let regular = std::fs::metadata(log).is_ok_and(|about| about.is_file());
        let open = || {
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(super::noted(log)).inspect_err(
                |cause| tracing::warn!(%cause, "what the collector has is not noted: after a restart it gets it again"),
            )
        };
        Self { file: regular.then(open).and_then(Result::ok) }
    }

    /// The number of the last line that the collector has of this chain; 0 when it has none.
    pub(super) fn read(log: &Path, chain: &str) -> u64 {
        let text = std::fs::read(super::noted(log)).unwrap_or_default();
        let noted: Option<Noted> = serde_json::from_slice(text.trim_ascii_end()).ok();
        noted.filter(|noted| noted.chain == chain).map_or(0, |noted| noted.sequence)
    }

    pub(super) fn write(&mut self, chain: &str, sequence: u64) {
        let Some(file) = &self.file else { return };
        let text = serde_json::to_string(&Noted { chain: chain.to_owned(), sequence }).unwrap_or_default();
        let text = format!("{text:<width$}\n", width = LENGTH - 1);
        if let Err(cause) = file.write_all_at(text.as_bytes(), 0) {
            tracing::debug!(%cause, "what the collector has is not noted");
        }
    }
}
