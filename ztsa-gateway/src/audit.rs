//! Writes down every decision, every change and every tunnel: one OCSF event a line, chained and signed, appended to a 0600 file.
//!
//! Recording never waits: a bounded queue feeds one thread. What the disk does not take waits there; what the queue does not
//! take is counted, and the count is a line of the log.

mod chain;
mod checkpoint;
mod event;
mod export;
mod input;
mod log;
mod note;
mod own;
mod queue;
mod record;
mod rotation;
mod stand;
pub mod verify;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use ztsa_net::task::Spawner;
use ztsa_proto::jwk::Jwk;
use ztsa_proto::jws::{Signer as _, SoftwareKey};

use crate::config::{self, WhenFull};
use crate::store::{Store, StoreError};
use export::Export;
use writer::Writer;

pub use export::{ExportState, OtlpError};
pub use input::{About, By, Input, Sheet, VERSION, digest};
pub use record::{Activity, Actor, Entity, Outcome, Record, Traffic};

/// Appends records to the audit log; cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    writer: Arc<Writer>,
    sheets: Arc<input::Sheets>,
    export: Option<Export>,
    when_full: WhenFull,
    public_key: Arc<Jwk>,
}

/// Says how the audit log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Events that wait for the disk.
    pub waiting: usize,
    /// Events lost since the start.
    pub lost: u64,
    /// The number of the last line in the file.
    pub sequence: u64,
    /// Why the disk does not take what waits.
    pub outage: Option<String>,
    /// How the sending to a collector goes, when there is one.
    pub export: Option<ExportState>,
}

/// Says why the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened.
    #[error("the audit log {path} cannot be opened: {cause}. Check that the directory exists and that this user may write there.", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The key that signs it cannot be had.
    #[error(transparent)]
    Key(#[from] StoreError),
    /// The collector cannot be sent anything.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
}

impl Audit {
    /// Opens the log for appending, mode 0600, and starts its writer. Its key is in the store, made at the first start.
    ///
    /// # Errors
    /// The file cannot be opened, or the key cannot be had.
    pub fn open(config: &config::Audit, store: &Store) -> Result<Audit, AuditError> {
        Self::with_key(config, checkpoint::key(store)?)
    }

    fn with_key(config: &config::Audit, key: SoftwareKey) -> Result<Audit, AuditError> {
        let public_key = Arc::new(key.public_key().clone());
        let opened = Writer::open(config, key);
        let writer = opened.map_err(|cause| AuditError::File { path: config.file.clone(), cause })?;
        let export = |settings| {
            export::check_file(&config.file)?;
            Export::new(config, settings, &writer.queue, &writer.written)
        };
        let export = config.otlp.as_ref().map(export).transpose()?;
        let when_full = config.when_full;
        Ok(Audit { writer: Arc::new(writer), sheets: Arc::default(), export, when_full, public_key })
    }

    /// Begins to send what the log has to the collector of the configuration, until the scope of `spawner` begins to end.
    pub fn start(&self, spawner: &Spawner) {
        if let Some(export) = &self.export {
            export.start(spawner);
        }
    }

    /// Records an event; never waits. What the queue cannot take is counted in [`State::lost`] and in the log.
    pub fn record(&self, record: Record) {
        self.writer.queue.push(record, || self.is_behind());
    }

    /// Makes what many decisions share; each file of the log has it once, before the first decision that names it.
    pub fn sheet(&self, about: About, text: &str) -> Sheet {
        self.sheets.sheet(about, text)
    }

    /// Says whether nothing new may be admitted, because no more events can wait and the configuration asks for that.
    pub fn refuses(&self) -> bool {
        self.when_full == WhenFull::Refuse && (self.writer.queue.refuses() || self.is_behind())
    }

    fn is_behind(&self) -> bool {
        self.export.as_ref().is_some_and(Export::is_full)
    }

    /// Says how the log is.
    pub fn state(&self) -> State {
        let fill = self.writer.queue.fill();
        let sequence = self.writer.written.borrow().sequence;
        State {
            waiting: fill.waiting,
            lost: fill.lost,
            sequence,
            outage: fill.outage,
            export: self.export.as_ref().map(Export::state),
        }
    }

    /// How many events were lost since the start, to a full queue or a disk that takes nothing until the end.
    pub fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Gives the public key that checks the log's checkpoints.
    pub fn public_key(&self) -> &Jwk {
        &self.public_key
    }

    /// Waits until everything recorded so far is in the file, or the disk has refused to take it.
    ///
    /// # Cancel safety
    /// Cancel-safe: what is queued is still written.
    pub async fn flush(&self) {
        // the thread ends with the last handle only
        let _ = self.writer.queue.ask().await;
    }
}

/// Checks that the files that `[audit.otlp]` names can be used.
///
/// # Errors
/// One of them cannot.
pub fn check(config: &config::Audit) -> Result<(), OtlpError> {
    config.otlp.as_ref().map_or(Ok(()), |otlp| export::check_file(&config.file).and_then(|()| export::check(otlp)))
}

#[cfg(test)]
mod tests;
