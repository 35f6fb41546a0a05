//! Writes down every decision and every ended tunnel: one OCSF event a line, appended to a 0600 file.
//!
//! Recording never waits: a bounded queue feeds one thread, and what the queue or the disk cannot take is counted.

mod event;
mod input;
mod record;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::AuditFile;
use writer::Writer;

pub use input::{About, By, Input, Sheet, VERSION};
pub use record::{Activity, Actor, Outcome, Record, Traffic};

/// Appends records to the audit log; cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    writer: Writer,
    sheets: Arc<input::Sheets>,
}

/// Says why the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit log {path} cannot be opened: {cause}. Check that the directory exists and that this user may write there.", path = path.display())]
pub struct AuditError {
    path: PathBuf,
    cause: std::io::Error,
}

impl Audit {
    /// Opens the log for appending, mode 0600, and starts its writer.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(file: &AuditFile) -> Result<Audit, AuditError> {
        Writer::open(&file.file)
            .map(|writer| Audit { writer, sheets: Arc::default() })
            .map_err(|cause| AuditError { path: file.file.clone(), cause })
    }

    /// Records an event; never waits. What the queue cannot take is counted in [`Audit::lost`].
    pub fn record(&self, record: Record) {
        self.writer.send(record);
    }

    /// Makes what many decisions share; each file of the log has it once, before the first decision that names it.
    pub fn sheet(&self, about: About, text: &str) -> Sheet {
        self.sheets.sheet(about, text)
    }

    /// How many events were lost since the start, to a full queue or a full disk.
    pub fn lost(&self) -> u64 {
        self.writer.lost()
    }

    /// Waits until everything recorded so far is in the file, or lost.
    ///
    /// # Cancel safety
    /// Cancel-safe: what is queued is still written.
    pub async fn flush(&self) {
        self.writer.flush().await;
    }
}

#[cfg(test)]
mod tests;
