//! One refresher among all processes: an operating-system lock on a file. It is released when its holder ends, however
//! it ends, so that no stale lock can remain.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::TokenError;
use crate::store::StoreError;

/// How often a held lock is tried.
const PULSE: Duration = Duration::from_millis(20);

/// Holds the lock until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn acquire(path: &Path, patience: Duration) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Store(StoreError::Io { path: path.to_owned(), source });
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if started.elapsed() >= patience => {
                    return Err(TokenError::Busy { holder: holder(&mut file), seconds: patience.as_secs() });
                }
                Err(TryLockError::WouldBlock) => sleep(PULSE).await,
            }
        }
        // The holder's number is for messages only.
        let _ = file.set_len(0).and_then(|()| write!(file, "pid {}", std::process::id()));
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.take(32).read_to_string(&mut text);
    if text.is_empty() { "unknown".to_owned() } else { text.chars().filter(|c| !c.is_control()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_held_lock_is_waited_for_and_named() {
        let dir = std::env::temp_dir().join(format!("ztsa-lock-{}", ztsa_proto::jws::random_id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("lock");
        let held = Lock::acquire(&path, Duration::ZERO).await.unwrap();
        let busy = Lock::acquire(&path, Duration::from_millis(50)).await.unwrap_err();
        assert!(busy.to_string().contains(&format!("pid {}", std::process::id())), "{busy}");
        drop(held);
        Lock::acquire(&path, Duration::ZERO).await.unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
