//! The file that lines are appended to: 0600, and continued where it ended.
//!
//! Beside it stands `FILE.head`: the last line's number and hash, so that a chain goes on in a new file too, and lines taken
//! from the end of the old one are missed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::chain::{Head, Link};
use super::own::Own;

/// How often it is looked whether somebody moved the file away.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The longest line that is looked for at the end of a file.
pub(super) const LONGEST: u64 = 4 * 1024 * 1024;
/// How long another gateway that ends may still hold the log.
const HELD: Duration = Duration::from_secs(3);
/// The length of what `FILE.head` holds: always the same, so that a full disk takes it too.
const HEAD: usize = 192;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    file: File,
    note: Option<File>,
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
    /// Opens or creates the file, finds where its chain stands, and cuts off a line that is not whole.
    pub(super) fn open(path: &Path) -> std::io::Result<Opened> {
        let mut file = append_to(path)?;
        let mut wrong = Vec::new();
        let opened = |file, note, size, began| Log {
            path: path.to_owned(),
            file,
            note,
            size,
            began,
            torn: false,
            looked: Instant::now(),
        };
        if !file.metadata()?.is_file() {
            return Ok(Opened { log: opened(file, None, 0, None), head: Head::new(), wrong });
        }
        // before anything is looked at or cut off
        let note = open_note(path)?;
        let (size, fragment, last) = tail(&mut file)?;
        if !fragment.is_empty() {
            file.set_len(size)?;
            wrong.push(Own::Cut(fragment));
        }
        let began = first(&mut file)?;
        let noted = read_head(&note);
        let head = stand(last.as_deref(), noted, &mut wrong);
        let log = opened(file, Some(note), size, began);
        log.note(&head);
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
        if self.note.is_some()
            && let Err(cause) = self.file.sync_data()
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
            None if about.is_file() => Some(open_note(&self.path)?),
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

    /// Notes where the chain stands. A note that cannot be written is made good by the next.
    fn note(&self, head: &Head) {
        let Some(note) = &self.note else { return };
        let text = serde_json::to_string(head).unwrap_or_default();
        let text = format!("{text:<width$}\n", width = HEAD - 1);
        if let Err(cause) = note.write_all_at(text.as_bytes(), 0) {
            tracing::debug!(%cause, "the head of the audit log's chain is not noted");
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

/// Names the file that the head of a log's chain is noted in.
pub(super) fn note_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".head");
    PathBuf::from(name)
}

/// Reads what is noted of a chain's head.
pub(super) fn read_head(note: &File) -> Option<Head> {
    let mut text = [0; HEAD];
    let count = note.read_at(&mut text, 0).ok()?;
    serde_json::from_slice(text.get(..count)?.trim_ascii_end()).ok()
}

/// Decides where the chain goes on.
fn stand(last: Option<&[u8]>, noted: Option<Head>, wrong: &mut Vec<Own>) -> Head {
    let line = last.and_then(Link::trusting).map(|link| link.head);
    match (line, noted) {
        (None, None) => Head::new(),
        // moved away meanwhile, or a log of an older version: what was noted goes on
        (None, Some(noted)) => noted,
        (Some(line), None) => line,
        (Some(line), Some(noted)) if line.chain != noted.chain => line,
        (Some(line), Some(noted)) => match line.sequence.cmp(&noted.sequence) {
            // the gateway ended between the two
            std::cmp::Ordering::Greater => line,
            // should the line's own word be another, the next line shows it
            std::cmp::Ordering::Equal => noted,
            std::cmp::Ordering::Less => {
                wrong.push(Own::Missing(line.sequence, noted.sequence));
                noted
            }
        },
    }
}

/// The end of the last whole line, what follows it, and that line.
fn tail(file: &mut File) -> std::io::Result<(u64, Vec<u8>, Option<Vec<u8>>)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(2 * LONGEST);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let Some(newline) = end.iter().rposition(|byte| *byte == b'\n') else {
        // not one whole line in all of it
        return Ok((from, end, None));
    };
    let fragment = end.split_off(newline + 1);
    end.pop();
    let last = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    let size = length.saturating_sub(u64::try_from(fragment.len()).unwrap_or(u64::MAX));
    Ok((size, fragment, Some(end.split_off(last))))
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

/// Opens the note and takes it: two chains in one file would be none.
fn open_note(path: &Path) -> std::io::Result<File> {
    let note =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(note_of(path))?;
    let asked = Instant::now();
    while let Err(TryLockError::WouldBlock) = note.try_lock() {
        // one that is about to end writes its last lines
        if asked.elapsed() > HELD {
            return Err(std::io::Error::other("another gateway writes to it"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(note)
}
