//! Checks files of the audit log: that every line is there, unchanged, once and in order, and signed by the gateway.
//!
//! Files are read once, line by line: memory does not grow with them.

mod report;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use ztsa_proto::jwk::Jwk;

use super::chain::{Broken, Head, Link, Range};
use super::{checkpoint, log, note};

pub use report::{Fault, Finding, Report};

/// The longest line that is read.
const LONGEST: u64 = log::LONGEST;
/// How many findings are kept; the rest are counted.
const KEPT: usize = 1000;

/// Says what files are checked against.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// The gateway's public key, as `ztsa-gateway audit key` prints it.
    pub key: Option<Jwk>,
    /// A checkpoint that was kept elsewhere.
    pub checkpoint: Option<String>,
    /// The files must begin with the first line of the log.
    pub complete: bool,
}

/// Says why files cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The checkpoint that was given is none, or not of this key.
    #[error("the checkpoint that was given does not count: {0}")]
    Checkpoint(String),
}

/// Checks files. They may be given in any order: the numbers of their first lines tell which follows which.
///
/// # Errors
/// A file cannot be read, or the checkpoint is none.
pub fn verify(files: &[PathBuf], against: &Against) -> Result<Report, VerifyError> {
    let wanted = against.checkpoint.as_deref().map(|text| {
        let claims = checkpoint::read(text.trim(), against.key.as_ref());
        claims.map(|claims| claims.head).map_err(|error| VerifyError::Checkpoint(error.to_string()))
    });
    let mut reader =
        Reader { against, wanted: wanted.transpose()?, found: false, last: None, report: Report::default() };
    let mut files: Vec<(u64, &PathBuf)> =
        files.iter().map(|file| Ok((begins(file)?, file))).collect::<Result<_, _>>()?;
    files.sort();
    for (_, file) in &files {
        reader.file(file)?;
    }
    if let Some((_, file)) = files.last() {
        reader.end(file);
    }
    Ok(reader.report)
}

/// The number of a file's first line that has one.
fn begins(path: &Path) -> Result<u64, VerifyError> {
    let failed = |cause| VerifyError::File { path: path.to_owned(), cause };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    for _ in 0..64 {
        let Some(line) = line(&mut file).map_err(failed)? else { break };
        if let Some(link) = Link::trusting(&line.bytes) {
            return Ok(link.head.sequence);
        }
    }
    Ok(u64::MAX)
}

struct Reader<'a> {
    against: &'a Against,
    /// Where the chain stood at the checkpoint that was given.
    wanted: Option<Head>,
    found: bool,
    last: Option<Head>,
    report: Report,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path) -> Result<(), VerifyError> {
        let failed = |cause| VerifyError::File { path: path.to_owned(), cause };
        let mut file = BufReader::with_capacity(256 * 1024, File::open(path).map_err(failed)?);
        let mut number = 0;
        while let Some(line) = line(&mut file).map_err(failed)? {
            number += 1;
            self.report.bytes = self.report.bytes.saturating_add(line.length);
            let at = (path, number);
            if line.whole {
                self.line(at, &line.bytes);
            } else {
                self.find(at, None, Fault::Cut);
            }
        }
        self.report.files += 1;
        Ok(())
    }

    fn line(&mut self, at: (&Path, u64), bytes: &[u8]) {
        let link = match Link::read(bytes) {
            Ok(link) => link,
            Err(broken) => {
                let stated = Link::trusting(bytes).map(|link| link.head);
                let fault = if broken == Broken::Changed { Fault::Changed } else { Fault::Foreign };
                self.find(at, stated.as_ref().map(|head| head.sequence), fault);
                // what follows is judged by what the line says of itself, so that one change is one finding
                let next = |last: &Head| last.sequence.checked_add(1);
                let follows = |head: &Head| self.last.as_ref().is_none_or(|last| Some(head.sequence) == next(last));
                if let Some(head) = stated.filter(follows) {
                    self.last = Some(head);
                }
                return;
            }
        };
        self.report.lines += 1;
        if let Some(fault) = self.follows(&link) {
            self.find(at, Some(link.head.sequence), fault);
        }
        if let Some(signed) = &link.checkpoint {
            self.signed(at, signed, &link);
        }
        if self.report.first.is_none() {
            self.report.first = Some(link.head.sequence);
        }
        self.told(at, &link);
        self.found |= self.wanted.as_ref() == Some(&link.head);
        // a line that comes again leaves the chain where it was
        if self.last.as_ref().is_none_or(|last| link.head.chain != last.chain || link.head.sequence > last.sequence) {
            self.report.last = Some(link.head.sequence);
            self.last = Some(link.head);
        }
    }

    /// Counts what the log itself says that is wrong with it.
    fn told(&mut self, at: (&Path, u64), link: &Link) {
        if matches!(link.code.as_str(), "lost" | "cut" | "missing" | "unvouched" | "unnoted" | "replaced") {
            self.report.losses += 1;
        }
        if link.code == "replaced" {
            self.find(at, Some(link.head.sequence), Fault::Replaced);
        }
        if let Some(Range { from, to }) = link.unvouched {
            // the last checkpoint's own line is vouched for by its signature
            let from = self.report.signed_to.map_or(from, |signed| from.max(signed.saturating_add(2)));
            if from <= to {
                self.find(at, Some(link.head.sequence), Fault::Unvouched { from, to });
            }
        }
    }

    /// Says what is wrong with a line's place.
    fn follows(&self, link: &Link) -> Option<Fault> {
        let (head, start) = (&link.head, Head::new());
        let Some(last) = &self.last else {
            let missing = self.against.complete && head.sequence > 1;
            let gap = Fault::Gap { from: 1, to: head.sequence.saturating_sub(1) };
            let unlinked = head.sequence == 1 && link.previous != start.hash;
            return missing.then_some(gap).or(unlinked.then_some(Fault::Unlinked));
        };
        if head.chain != last.chain {
            return Some(Fault::OtherChain);
        }
        match head.sequence.checked_sub(last.sequence) {
            Some(1) if link.previous == last.hash => None,
            Some(1) => Some(Fault::Unlinked),
            None | Some(0) => Some(Fault::Again { after: last.sequence }),
            Some(_) => Some(Fault::Gap { from: last.sequence + 1, to: head.sequence - 1 }),
        }
    }

    fn signed(&mut self, at: (&Path, u64), signed: &str, link: &Link) {
        let claims = match checkpoint::read(signed, self.against.key.as_ref()) {
            Ok(claims) => claims,
            Err(error) => return self.find(at, Some(link.head.sequence), Fault::Signature(error.to_string())),
        };
        if link.before() != claims.head {
            return self.find(at, Some(link.head.sequence), Fault::Signature("it was made for other lines".to_owned()));
        }
        self.report.checkpoints += 1;
        self.report.signed_to = Some(claims.head.sequence);
    }

    /// Looks at what must have followed the last line.
    fn end(&mut self, path: &Path) {
        let noted = note::trusting(path);
        let last = self.last.clone();
        if let (Some(noted), Some(last)) = (noted, &last)
            && noted.chain == last.chain
            && noted.sequence > last.sequence
        {
            self.find((path, 0), None, Fault::Gap { from: last.sequence.saturating_add(1), to: noted.sequence });
        }
        if self.report.lines == 0 && self.report.faults == 0 {
            self.find((path, 0), None, Fault::Empty);
        }
        let other = self.report.findings.iter().any(|finding| matches!(finding.fault, Fault::Signature(_)));
        if self.against.key.is_some() && self.report.lines > 0 && self.report.checkpoints == 0 && !other {
            self.find((path, 0), None, Fault::Unsigned);
        }
        let Some(wanted) = self.wanted.take().filter(|_| !self.found) else { return };
        let before = self.report.first.is_some_and(|first| wanted.sequence < first);
        let fault =
            if before { Fault::CheckpointBefore(wanted.sequence) } else { Fault::CheckpointMissing(wanted.sequence) };
        self.find((path, 0), None, fault);
    }

    fn find(&mut self, (file, line): (&Path, u64), sequence: Option<u64>, fault: Fault) {
        self.report.faults += 1;
        if self.report.findings.len() < KEPT {
            self.report.findings.push(Finding { file: file.to_owned(), line, sequence, fault });
        }
    }
}

struct Read {
    bytes: Vec<u8>,
    /// What it takes in the file, its newline included.
    length: u64,
    /// It ends with a newline.
    whole: bool,
}

/// Reads the next line, without its newline; of one that is longer than any of the log's only the beginning is kept.
fn line(from: &mut BufReader<File>) -> std::io::Result<Option<Read>> {
    let mut bytes = Vec::new();
    let count = from.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
    if count == 0 {
        return Ok(None);
    }
    let mut length = u64::try_from(count).unwrap_or(u64::MAX);
    let mut whole = bytes.last() == Some(&b'\n');
    if whole {
        bytes.pop();
    } else if length == LONGEST {
        let rest = from.skip_until(b'\n')?;
        length = length.saturating_add(u64::try_from(rest).unwrap_or(u64::MAX));
        whole = true;
    }
    Ok(Some(Read { bytes, length, whole }))
}

#[cfg(test)]
mod tests;
