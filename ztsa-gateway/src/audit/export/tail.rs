//! Reads the log's files in the order of their lines, also across rotation.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::audit::chain::Link;
use crate::audit::rotation;

#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    after: u64,
    open: Option<BufReader<File>>,
    partial: Vec<u8>,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) sequence: u64,
    pub(super) bytes: Vec<u8>,
}

impl Tail {
    /// Begins behind a line.
    pub(super) fn new(path: &Path, after: u64) -> Self {
        Self { path: path.to_owned(), after, open: None, partial: Vec::new() }
    }

    /// The number of the last line that was read.
    pub(super) fn after(&self) -> u64 {
        self.after
    }

    /// Leaves out what is not behind a line.
    pub(super) fn skip(&mut self, after: u64) {
        self.after = self.after.max(after);
    }

    /// Reads the lines that are there, at most so many.
    pub(super) fn read(&mut self, most: usize) -> std::io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        while lines.len() < most {
            if self.open.is_none() && !self.next()? {
                break;
            }
            let Some(open) = &mut self.open else { break };
            open.read_until(b'\n', &mut self.partial)?;
            if self.partial.last() == Some(&b'\n') {
                let mut bytes = std::mem::take(&mut self.partial);
                bytes.pop();
                let sequence = Link::trusting(&bytes).map(|link| link.head.sequence);
                if let Some(sequence) = sequence.filter(|sequence| *sequence > self.after) {
                    self.after = sequence;
                    lines.push(Line { sequence, bytes });
                }
                continue;
            }
            if !self.turn()? {
                break;
            }
        }
        Ok(lines)
    }

    /// At the end of a file: goes on in the next one, or says that there is none yet.
    pub(super) fn turn(&mut self) -> std::io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let about = open.get_ref().metadata()?;
        let named = std::fs::metadata(&self.path).ok();
        if named.as_ref().is_some_and(|named| named.ino() == about.ino() && named.dev() == about.dev()) {
            // emptied, as by `copytruncate`
            if about.len() < open.stream_position()? {
                open.seek(SeekFrom::Start(0))?;
                self.partial.clear();
                return Ok(true);
            }
            return Ok(false);
        }
        if named.is_none() {
            return Ok(false);
        }
        // it was moved away: what follows is in another one
        let Some(following) = self.following(Some(about.ino()))? else { return Ok(false) };
        // since that one has a line nothing more comes here, but something may have after the end was reached
        if let Some(open) = &mut self.open
            && !open.fill_buf()?.is_empty()
        {
            return Ok(true);
        }
        self.partial.clear();
        self.open = Some(following);
        Ok(true)
    }

    /// Opens the file that holds the next line; says whether there is one.
    fn next(&mut self) -> std::io::Result<bool> {
        self.open = self.following(None)?;
        Ok(self.open.is_some())
    }

    /// Opens the file that holds the next line, but for the one that was read to its end.
    fn following(&self, done: Option<u64>) -> std::io::Result<Option<BufReader<File>>> {
        let mut files: Vec<(u64, PathBuf)> = Vec::new();
        for path in rotation::rotated(&self.path).into_iter().chain([self.path.clone()]) {
            if let Some(first) = first(&path)? {
                files.push((first, path));
            }
        }
        files.sort();
        let at = files.iter().rposition(|(first, _)| *first <= self.after.saturating_add(1)).unwrap_or(0);
        for (_, path) in files.into_iter().skip(at) {
            let file = File::open(&path)?;
            if Some(file.metadata()?.ino()) != done {
                return Ok(Some(BufReader::with_capacity(256 * 1024, file)));
            }
        }
        Ok(None)
    }
}

/// The number of a file's first line that has one; `None` for no file, or one without a line.
fn first(path: &Path) -> std::io::Result<Option<u64>> {
    let file = match File::open(path) {
        Ok(file) if file.metadata()?.is_file() => file,
        Ok(_) => return Ok(None),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    for line in BufReader::new(file).split(b'\n').take(64) {
        if let Some(link) = Link::trusting(&line?) {
            return Ok(Some(link.head.sequence));
        }
    }
    Ok(None)
}
