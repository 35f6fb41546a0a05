//! What stands beside the log as `FILE.head`: its last line's number and hash, so that a chain goes on in a new file too, and
//! lines taken from the end of the old one are missed.
//!
//! It is sealed (HMAC-SHA-256) with a key that comes from the signing key: whoever can write the file can put an older one back,
//! and say nothing of their own.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use ztsa_proto::jws::SoftwareKey;

use super::chain::{Head, hex};

/// How long another gateway that ends may still hold the log.
const HELD: Duration = Duration::from_secs(3);
/// The length of what it holds: always the same, so that a full disk takes it too.
const LENGTH: usize = 256;
/// What the key is for.
const PURPOSE: &[u8] = b"ztsa audit log head";

#[derive(Debug)]
pub(super) struct Note {
    file: File,
    key: hmac::Key,
}

/// What the note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// There was none.
    Nothing,
    /// Something that this gateway did not write.
    Foreign,
    /// Where the chain stood.
    Head(Head),
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    head: Head,
    mac: String,
}

/// Makes the key of the notes from that of the signatures.
pub(super) fn key(signing: &SoftwareKey) -> hmac::Key {
    let from = hmac::Key::new(hmac::HMAC_SHA256, signing.to_pkcs8().expose());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&from, PURPOSE).as_ref())
}

/// Names the note of a log.
pub(super) fn of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".head");
    PathBuf::from(name)
}

/// Reads where the chain of a log stands by the word of its note, whoever wrote that.
pub(super) fn trusting(path: &Path) -> Option<Head> {
    serde_json::from_slice(&text(&File::open(of(path)).ok()?)?).ok()
}

impl Note {
    /// Opens the note and takes it: two chains in one file would be none.
    pub(super) fn open(path: &Path, key: &hmac::Key) -> std::io::Result<Note> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(of(path))?;
        let asked = Instant::now();
        while let Err(TryLockError::WouldBlock) = file.try_lock() {
            // one that is about to end writes its last lines
            if asked.elapsed() > HELD {
                return Err(std::io::Error::other("another gateway writes to it"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Note { file, key: key.clone() })
    }

    /// Reads where the chain stood.
    pub(super) fn read(&self) -> Noted {
        let Some(text) = text(&self.file) else { return Noted::Foreign };
        if text.is_empty() {
            return Noted::Nothing;
        }
        match serde_json::from_slice::<Sealed>(&text) {
            Ok(Sealed { head, mac }) if self.is_own(&head, &mac) => Noted::Head(head),
            _ => Noted::Foreign,
        }
    }

    /// Notes where the chain stands. What cannot be written is made good by the next.
    pub(super) fn write(&self, head: &Head) {
        let mac = hex(hmac::sign(&self.key, &bytes(head)).as_ref());
        let text = serde_json::to_string(&Sealed { head: head.clone(), mac }).unwrap_or_default();
        let text = format!("{text:<width$}\n", width = LENGTH - 1);
        if let Err(cause) = self.file.write_all_at(text.as_bytes(), 0) {
            tracing::debug!(%cause, "the head of the audit log's chain is not noted");
        }
    }

    /// Waits until it is on the disk itself.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn is_own(&self, head: &Head, mac: &str) -> bool {
        // a wrong one tells nothing: whoever can write it can make neither
        hex(hmac::sign(&self.key, &bytes(head)).as_ref()) == mac
    }
}

fn bytes(head: &Head) -> Vec<u8> {
    serde_json::to_vec(head).unwrap_or_default()
}

fn text(file: &File) -> Option<Vec<u8>> {
    let mut text = vec![0; LENGTH];
    let count = file.read_at(&mut text, 0).ok()?;
    text.truncate(count);
    text.truncate(text.trim_ascii_end().len());
    Some(text)
}
