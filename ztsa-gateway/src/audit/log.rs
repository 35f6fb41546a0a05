//! The file that lines are appended to: 0600, and continued where it ended.
//!
//! Where it ended is the word of its `note`; what stands there instead is never gone on from as if the gateway had written it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde_json::Value;
use ztsa_proto::jws::{Signer as _, SoftwareKey};

use super::chain::{Head, Link};
use super::checkpoint;
use super::note::{self, Note};
use super::own::Own;
use super::stand::{Stand, stand};

/// How often it is looked whether somebody moved the file away.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The longest line that is looked for at the end of a file.
pub(super) const LONGEST: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    file: File,
    note: Option<Note>,
    /// What the note is sealed with.
    key: hmac::Key,
    /// The end of the last whole line.
    size: u64,
    /// When the first line of the file was written, in milliseconds since 1970.
    began: Option<u64>,
    /// A line may have been cut, in something that is no file and cannot be cut back.
    torn: bool,
    /// When the name of the file was last compared with what is open.
    looked: Instant,
}

/// A log that was opened: where it stands, and what was found to be wrong with it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) log: Log,
    pub(super) head: Head,
    pub(super) wrong: Vec<Own>,
}

impl Log {
    /// Opens or creates the file, finds where its chain stands, and cuts off a line that is not whole. What the gateway did not
    /// write is moved away.
    pub(super) fn open(path: &Path, signing: &SoftwareKey) -> std::io::Result<Opened> {
        let mut file = append_to(path)?;
        let key = note::key(signing);
        let opened = |file, note, size, began| Log {
            path: path.to_owned(),
            file,
            note,
            key: key.clone(),
            size,
            began,
            torn: false,
            looked: Instant::now(),
        };
        if !file.metadata()?.is_file() {
            return Ok(Opened { log: opened(file, None, 0, None), head: Head::new(), wrong: Vec::new() });
        }
        // before anything is looked at or cut off
        let note = Note::open(path, &key)?;
        let (mut size, fragment, end) = tail(&mut file)?;
        if !fragment.is_empty() {
            file.set_len(size)?;
        }
        let mut began = first(&mut file)?;
        let signed = |link: &Link| {
            let claims = link.checkpoint.as_deref().map(|text| checkpoint::read(text, Some(signing.public_key())));
            claims.and_then(Result::ok).is_some_and(|claims| link.before() == claims.head)
        };
        let Stand { head, mut wrong, replaced } = stand(&end, note.read(), signed);
        if replaced {
            let aside = aside(path, head.sequence);
            std::fs::rename(path, &aside)?;
            (file, size, began) = (append_to(path)?, 0, None);
            wrong.push(Own::Replaced(head.sequence, aside));
        }
        if !fragment.is_empty() {
            wrong.push(Own::Cut(fragment));
        }
        // it was put aside at an earlier start, which did not come to say so
        let before = aside(path, head.sequence);
        if size == 0 && !replaced && before.exists() {
            wrong.push(Own::Replaced(head.sequence, before));
        }
        let log = opened(file, Some(note), size, began);
        // what is wrong is wrong until a line says so: the first that is written notes where it stands
        if wrong.is_empty() {
            log.note(&head);
        }
        Ok(Opened { log, head, wrong })
    }

    /// Goes on in a new file when somebody moved the old one away; says whether it does.
    pub(super) fn renew(&mut self) -> std::io::Result<bool> {
        // not for every tunnel that ends: a rotated file is noticed within a second
        if self.looked.elapsed() < LOOK {
            return Ok(false);
        }
        let moved = self.moved();
        if moved {
            self.begin()?;
        }
        self.looked = Instant::now();
        Ok(moved)
    }

    /// Appends whole lines, all or none of them; `head` is where the chain stands with them.
    pub(super) fn append(&mut self, lines: &[u8], head: &Head, now: u64) -> std::io::Result<()> {
        if self.note.is_none() {
            if self.torn {
                self.file.write_all(b"\n")?;
            }
            self.torn = true;
            self.file.write_all(lines)?;
            self.torn = false;
            return Ok(());
        }
        // somebody may have emptied it
        self.size = self.file.metadata()?.len();
        if self.size == 0 {
            self.began = None;
        }
        if let Err(cause) = self.file.write_all(lines) {
            self.file.set_len(self.size)?;
            return Err(cause);
        }
        self.size = self.size.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        self.began.get_or_insert(now);
        self.note(head);
        Ok(())
    }

    /// Waits until everything is on the disk itself.
    pub(super) fn sync(&self) {
        if let Some(note) = &self.note
            && let Err(cause) = self.file.sync_data().and_then(|()| note.sync())
        {
            tracing::warn!(path = %self.path.display(), %cause, "the audit log is written, but not known to be on the disk");
        }
    }

    /// Goes on in a new file of the same name.
    pub(super) fn begin(&mut self) -> std::io::Result<()> {
        let file = append_to(&self.path)?;
        let about = file.metadata()?;
        // the note stays the same file
        self.note = match self.note.take().filter(|_| about.is_file()) {
            None if about.is_file() => Some(Note::open(&self.path, &self.key)?),
            note => note,
        };
        (self.file, self.size, self.began) = (file, about.len(), None);
        Ok(())
    }

    /// The file's size in bytes; `None` when it is no file.
    pub(super) fn size(&self) -> Option<u64> {
        self.note.is_some().then_some(self.size)
    }

    /// When its first line was written.
    pub(super) fn began(&self) -> Option<u64> {
        self.began
    }

    fn note(&self, head: &Head) {
        if let Some(note) = &self.note {
            note.write(head);
        }
    }

    /// Says whether somebody moved the file away, as log rotation does.
    fn moved(&self) -> bool {
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) => open.ino() != named.ino() || open.dev() != named.dev(),
            (_, Err(_)) => true,
            (Err(_), Ok(_)) => false,
        }
    }
}

/// Names what a file is moved to that the gateway did not write: no pattern for the log's own files finds it.
fn aside(path: &Path, sequence: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".replaced-{sequence:012}"));
    PathBuf::from(name)
}

/// The end of the last whole line, what follows it, and the whole lines before; the first of these may lack its beginning.
fn tail(file: &mut File) -> std::io::Result<(u64, Vec<u8>, Vec<u8>)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(2 * LONGEST);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let Some(newline) = end.iter().rposition(|byte| *byte == b'\n') else {
        // not one whole line in all of it
        return Ok((from, end, Vec::new()));
    };
    let fragment = end.split_off(newline + 1);
    let size = length.saturating_sub(u64::try_from(fragment.len()).unwrap_or(u64::MAX));
    Ok((size, fragment, end))
}

/// When the first line was written.
fn first(file: &mut File) -> std::io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(0))?;
    let mut line = Vec::new();
    std::io::BufRead::read_until(&mut std::io::BufReader::new((&*file).take(LONGEST)), b'\n', &mut line)?;
    let line: Option<Value> = serde_json::from_slice(&line).ok();
    Ok(line.and_then(|line| line.pointer("/metadata/logged_time").or(line.get("time"))?.as_u64()))
}

fn append_to(path: &Path) -> std::io::Result<File> {
    let open = |read: bool| OpenOptions::new().read(read).append(true).create(true).mode(0o600).open(path);
    // what is no file may be for writing only
    open(true).or_else(|_| open(false))
}
