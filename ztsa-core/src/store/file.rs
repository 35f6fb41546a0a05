//! Private files, replaced in one step.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::seal::{self, KEY, Key};

/// The largest record that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// Makes a directory for this user only, with its parents; an existing one is made private.
pub(super) fn private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    make_private(dir, 0o700)
}

/// Reads a file; `None` when there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    make_private(path, 0o600)?;
    let mut content = Vec::new();
    file.take(LIMIT).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Replaces a file in one step: readers see the old or the new content, whole. Room that was taken before is used.
pub(super) fn write(path: &Path, content: &[u8], durable: bool, room: Option<Reserved>) -> io::Result<()> {
    let fitting = room.filter(|room| content.len() <= room.length);
    let temporary = fitting.map_or_else(|| Temporary(temporary(path)), |room| room.temporary);
    write_over(&temporary.0, content, durable)?;
    fs::rename(&temporary.0, path)?;
    if durable { sync_dir(path) } else { Ok(()) }
}

/// Room on the disk beside a file, given back when dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    temporary: Temporary,
    length: usize,
}

/// A file that is removed when it is dropped, unless it was renamed.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Takes room for at least this many bytes, on the disk and not only in its cache. What an ended process left is removed:
/// the caller holds the profile's lock.
pub(super) fn reserve(path: &Path, length: usize) -> io::Result<Reserved> {
    for left in fs::read_dir(path.parent().unwrap_or(path))?.flatten() {
        let (name, own) = (left.file_name(), path.file_name().unwrap_or_default());
        let rest = name.as_encoded_bytes().strip_prefix(own.as_encoded_bytes());
        if rest.is_some_and(|rest| rest.starts_with(b".") && rest.ends_with(b".tmp")) {
            let _ = fs::remove_file(left.path());
        }
    }
    let temporary = Temporary(temporary(path));
    // Tokens grow a little from one refresh to the next; zeros might be left out of the disk.
    let length = length.saturating_mul(2).saturating_add(4096);
    write_over(&temporary.0, &vec![0xa5; length], true)?;
    Ok(Reserved { temporary, length })
}

/// Removes a file; it is no error when there is none.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves a file out of the way, beside itself; the one before it is replaced.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension("unreadable");
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(aside),
    }
}

/// Reads the key file; makes it when asked to. Of two processes that make it at once, both use the same.
pub(super) fn key(path: &Path, make: bool) -> io::Result<Option<Key>> {
    if let Some(key) = read_key(path)? {
        return Ok(Some(key));
    }
    if !make {
        return Ok(None);
    }
    let fresh = seal::random_key().map_err(io::Error::other)?;
    let temporary = temporary(path);
    write_over(&temporary, fresh.as_slice(), true)?;
    let linked = fs::hard_link(&temporary, path);
    let made = match linked {
        Ok(()) => fs::remove_file(&temporary),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && read_key(path)?.is_some() => {
            fs::remove_file(&temporary)
        }
        // A file system without links, or a key file of the wrong length.
        Err(_) => fs::rename(&temporary, path),
    };
    made?;
    sync_dir(path)?;
    read_key(path)
}

fn read_key(path: &Path) -> io::Result<Option<Key>> {
    let Some(content) = read(path)?.map(Zeroizing::new) else { return Ok(None) };
    let mut key = Zeroizing::new([0; KEY]);
    if content.len() != KEY {
        return Ok(None);
    }
    key.copy_from_slice(&content);
    Ok(Some(key))
}

/// Writes a file of our own from its beginning, in the blocks that it has.
fn write_over(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
    if durable { file.sync_all() } else { Ok(()) }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", ztsa_proto::jws::random_id()));
    path.with_file_name(name)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(unix)]
fn make_private(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let now = fs::metadata(path)?.permissions().mode();
    if now & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "was open to other users of this machine; made private");
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}
