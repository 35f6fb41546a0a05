//! Asking a running gateway: the other end of the administrator's socket, for the command line.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::request::Request;

/// How long an answer may take: reading many policies and ending many tunnels takes a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer is one line of at most this many bytes.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Says why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No gateway listens there.
    #[error("no gateway answers at {}: {source}", .socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or the answer is not one.
    #[error("the gateway at {} gave no proper answer: {source}", .socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The gateway refuses.
    #[error("{error}")]
    Refused {
        /// What is wrong.
        error: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// Sends one request and gives the members of its answer.
///
/// # Errors
/// There is no gateway, it does not answer properly, or it refuses.
pub fn call(socket: &Path, request: &Request) -> Result<Map<String, Value>, CallError> {
    let unreachable = |source| CallError::Unreachable { socket: socket.to_owned(), source };
    let broken = |source| CallError::Broken { socket: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let mut line = serde_json::to_vec(request).map_err(|error| broken(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(broken)?;
    let mut answer = Vec::new();
    BufReader::new(stream).take(MAX_ANSWER).read_until(b'\n', &mut answer).map_err(broken)?;
    let mut answer: Map<String, Value> = serde_json::from_slice(&answer).map_err(|error| broken(error.into()))?;
    if answer.remove("ok") == Some(Value::Bool(true)) {
        return Ok(answer);
    }
    let text = |member: &str| answer.get(member).and_then(Value::as_str).map(str::to_owned);
    let error = text("error").unwrap_or_else(|| "the gateway refused without a reason".to_owned());
    Err(CallError::Refused { error, hint: text("hint") })
}
