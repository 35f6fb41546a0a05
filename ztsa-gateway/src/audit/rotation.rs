//! When the log goes on in a new file, what the old one is called, and how many stay.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ztsa_proto::time::UnixTime;

use super::chain::Head;
use super::log::Log;
use crate::config::Rotate;

/// Says whether the log goes on in a new file once so many bytes are appended.
pub(super) fn is_due(rotate: &Rotate, log: &Log, more: usize, now: u64) -> bool {
    let Some(size) = log.size().filter(|size| *size > 0) else { return false };
    let full = size.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)) >= rotate.size;
    let old =
        rotate.age.zip(log.began()).is_some_and(|(age, began)| Duration::from_millis(now.saturating_sub(began)) >= age);
    full || old
}

/// Moves the file away under a name that sorts by time, and goes on in a new one.
///
/// # Errors
/// It cannot be moved, or no new one can be made: the old one goes on.
pub(super) fn rotate(rotate: &Rotate, log: &mut Log, head: &Head, now: u64) -> std::io::Result<PathBuf> {
    let name = name(&log.path, now, head.sequence);
    std::fs::rename(&log.path, &name)?;
    if let Err(cause) = log.begin() {
        // as if nothing had been tried
        std::fs::rename(&name, &log.path)?;
        return Err(cause);
    }
    if let Some(keep) = rotate.keep {
        for old in surplus(&log.path, keep) {
            match std::fs::remove_file(&old) {
                Ok(()) => {
                    tracing::info!(file = %old.display(), "an old file of the audit log is deleted, as configured");
                }
                Err(cause) => tracing::warn!(file = %old.display(), %cause, "an old file of the audit log stays"),
            }
        }
    }
    Ok(name)
}

/// `audit.ndjson` becomes `audit-20261122T193015Z-000000012345.ndjson`: when, and the number of its last line.
fn name(path: &Path, now: u64, sequence: u64) -> PathBuf {
    let time = UnixTime(now / 1000).rfc3339().replace(['-', ':'], "");
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{time}-{sequence:012}{extension}"))
}

/// Lists the files that were moved away, the oldest first.
pub(super) fn rotated(path: &Path) -> Vec<PathBuf> {
    let (stem, extension) = parts(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let number = |name: &str| -> Option<u64> {
        let middle = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?;
        let (time, number) = middle.split_once('-')?;
        let stamp = time.len() == 16 && time.ends_with('Z') && number.len() >= 12;
        stamp.then(|| number.parse().ok()).flatten()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| Some((number(entry.file_name().to_str()?)?, entry.path()))).collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn surplus(path: &Path, keep: usize) -> Vec<PathBuf> {
    let mut files = rotated(path);
    files.truncate(files.len().saturating_sub(keep));
    files
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let extension = text(path.extension()).map(|extension| format!(".{extension}")).unwrap_or_default();
    (text(path.file_stem()).unwrap_or_default(), extension)
}
