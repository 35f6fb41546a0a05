//! The administrator's socket: one JSON object a line each way, over a Unix socket that only the gateway's own user can open.
//!
//! ```text
//! {"op":"risk.set","user":"alice","score":90,"reason":"lost laptop","for":"1h"}
//! {"ok":true,"user":"https://idp.example|alice","score":90,"tunnels":{"ended":2,"suspended":0,"restored":0}}
//! {"op":"devices.block","device":"nobody"}
//! {"ok":false,"error":"no device is known as \"nobody\"","hint":"list them with `ztsa-gateway devices list`"}
//! ```

mod answer;
pub mod call;
pub mod request;
mod view;

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use ztsa_net::task::{Scope, Spawner};

use crate::engine::Engine;
use crate::reload::Reload;

/// A request is one line of at most this many bytes.
const MAX_LINE: u64 = 64 * 1024;

/// How long a connection may be silent, and how long it may take to read an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// How many connections are answered at a time.
const MAX_CONNECTIONS: usize = 32;

/// How long accepting pauses when it fails for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest path that a Unix socket can have, on Linux; other systems have less.
const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Says why the administrator's socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The path is longer than a Unix socket's can be.
    #[error(
        "the path of the administrator's socket is {length} bytes long and may be at most {MAX_PATH}: {}. Set [admin] socket to a shorter one, such as /run/ztsa/admin.sock.",
        .path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// A gateway answers there already.
    #[error("another gateway answers at {}. Stop it, or set [admin] socket to another path.", .0.display())]
    Taken(PathBuf),
    /// Something that is no socket stands in the way.
    #[error("{} is there and is no socket. Move it away, or set [admin] socket to another path.", .0.display())]
    NotASocket(PathBuf),
    /// The operating system refuses.
    #[error("the administrator's socket {} cannot be opened: {source}. Check that the directory exists and that this user may write there.", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Answers administrators; dropping it closes the socket and removes its file.
#[derive(Debug)]
pub struct Admin {
    path: PathBuf,
    scope: Option<Scope>,
}

impl Admin {
    /// Opens the socket, mode 0600, and starts to answer on it.
    ///
    /// # Errors
    /// The path is too long, taken, or cannot be written.
    ///
    /// # Security
    /// Only the user that runs the gateway, and root, are answered: the socket's mode says so, and each peer is asked.
    pub fn spawn(path: &Path, engine: Engine, reload: Reload) -> Result<Self, AdminError> {
        let listener = bind(path)?;
        let scope = Scope::new();
        let spawner = scope.spawner();
        scope.spawn(accept(listener, engine, reload, spawner));
        Ok(Self { path: path.to_owned(), scope: Some(scope) })
    }

    /// Gives the path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops accepting and lets the answers under way finish; says whether all did in time.
    ///
    /// # Cancel safety
    /// Dropping the future ends what is under way.
    pub async fn shutdown(mut self, grace: Duration) -> bool {
        match self.scope.take() {
            Some(scope) => scope.drain(grace).await,
            None => true,
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // a file that is gone already needs no removing
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> Result<UnixListener, AdminError> {
    let length = path.as_os_str().len();
    if length > MAX_PATH {
        return Err(AdminError::TooLong { path: path.to_owned(), length });
    }
    let fail = |source| AdminError::Io { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(AdminError::NotASocket(path.to_owned())),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(AdminError::Taken(path.to_owned()));
        }
        // left behind by a gateway that was killed
        Ok(_) => std::fs::remove_file(path).map_err(fail)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, engine: Engine, reload: Reload, spawner: Spawner) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = spawner.ending() => return,
        };
        match accepted {
            Ok((stream, _)) if is_ours(&stream) => {
                let (engine, reload) = (engine.clone(), reload.clone());
                spawner.spawn(async move {
                    if let Err(error) = converse(stream, &engine, &reload).await {
                        tracing::debug!(%error, "an administrator's connection ended");
                    }
                    drop(slot);
                });
            }
            Ok(_) => tracing::warn!("another user tried to open the administrator's socket"),
            Err(error) => {
                tracing::warn!(%error, "the administrator's socket cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse(stream: UnixStream, engine: &Engine, reload: &Reload) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut read).take(MAX_LINE);
        let length = tokio::time::timeout(SILENCE, limited.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        // from here on it is counted how long it takes until the last byte has moved
        let arrived = Instant::now();
        let whole = line.ends_with(b"\n") || (length as u64) < MAX_LINE;
        let mut answer = if whole { answered(engine, reload, line, arrived).await } else { answer::too_long() };
        answer.push(b'\n');
        tokio::time::timeout(SILENCE, write.write_all(&answer)).await??;
        if !whole {
            return Ok(());
        }
    }
}

/// Answers on a thread of its own: reading policies or judging thousands of tunnels takes a while.
async fn answered(engine: &Engine, reload: &Reload, line: Vec<u8>, arrived: Instant) -> Vec<u8> {
    let (engine, reload) = (engine.clone(), reload.clone());
    let store = engine.store().clone();
    let answer = tokio::task::spawn_blocking(move || answer::answer(&engine, &reload, &line, arrived)).await;
    // the tunnels know already; the next start must know, too
    if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(5), store.flush()).await {
        tracing::warn!(%error, "an administrator's order holds now, but is not on disk yet");
    }
    answer.unwrap_or_else(|_| answer::failed())
}

#[cfg(test)]
mod tests;
