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

/// How often a held lock is tried: at once in the beginning, then so that two hundred who wait cost nothing.
const PULSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

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
        let (started, mut pulse) = (Instant::now(), PULSE.0);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if started.elapsed() >= patience => {
                    return Err(TokenError::Busy { holder: holder(&mut file), seconds: patience.as_secs() });
                }
                Err(TryLockError::WouldBlock) => {
                    sleep(pulse).await;
                    pulse = (pulse * 2).min(PULSE.1);
                }
            }
        }
        // Who holds it is for messages only: the system knows when it has ended.
        let holder = Holder::this();
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{} {}", holder.pid, holder.started));
        Ok(Self { _file: file })
    }
}

/// A process: its number, and when it began, because numbers come again.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    /// In ticks since the machine began; 0 where the system does not say.
    started: u64,
}

impl Holder {
    fn this() -> Self {
        let pid = std::process::id();
        Self { pid, started: stat(pid).map_or(0, |(_, started)| started) }
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        Some(Self { pid: words.next()?.parse().ok()?, started: words.next()?.parse().ok()? })
    }

    /// Names it, and says when it cannot go on by itself.
    fn describe(&self) -> String {
        let pid = self.pid;
        match stat(pid) {
            Some((_, started)) if started != self.started => "another one than its file says".to_owned(),
            Some(('T' | 't', _)) => format!("pid {pid}, which is suspended: `kill -CONT {pid}` lets it go on"),
            _ => format!("pid {pid}"),
        }
    }
}

/// A process's state and start (proc(5), fields 3 and 22 of `stat`).
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name in parentheses may hold anything
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.take(64).read_to_string(&mut text);
    Holder::read(&text).map_or_else(|| "unknown".to_owned(), |holder| holder.describe())
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

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_suspended_holder_is_named_and_a_killed_one_leaves_nothing() {
        use rustix::process::{Pid, Signal, kill_process};
        let dir = std::env::temp_dir().join(format!("ztsa-lock-{}", ztsa_proto::jws::random_id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("lock");
        // another program that holds the same kind of lock
        let mut holder =
            std::process::Command::new("flock").args(["--no-fork"]).arg(&path).args(["sleep", "60"]).spawn().unwrap();
        let pid = holder.id();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while Lock::acquire(&path, Duration::ZERO).await.is_ok() {
            assert!(std::time::Instant::now() < deadline);
            sleep(Duration::from_millis(5)).await;
        }
        let (_, started) = stat(pid).unwrap();
        std::fs::write(&path, format!("{pid} {started}\n")).unwrap();
        let busy = async || Lock::acquire(&path, Duration::from_millis(30)).await.unwrap_err().to_string();
        assert!(busy().await.contains(&format!("(pid {pid})")), "{}", busy().await);
        kill_process(Pid::from_child(&holder), Signal::STOP).unwrap();
        while stat(pid).unwrap().0 != 'T' {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(busy().await.contains(&format!("kill -CONT {pid}")), "{}", busy().await);
        // the number of a process that began at another time is another process
        std::fs::write(&path, format!("{pid} {}\n", started + 1)).unwrap();
        assert!(!busy().await.contains(&pid.to_string()), "{}", busy().await);
        holder.kill().unwrap();
        holder.wait().unwrap();
        Lock::acquire(&path, Duration::from_secs(5)).await.unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
