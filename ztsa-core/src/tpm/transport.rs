//! How commands reach a TPM: the kernel's device file, or a software TPM's socket. Both carry the same bytes.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
};

use super::{
    TpmError,
    codec::{HEAD, LARGEST},
};
use crate::config::TpmPlace;

/// Carries one command to a TPM and its answer back; blocks meanwhile.
pub(super) trait Transport: Send {
    /// Sends a command and waits for the answer.
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

impl Transport for File {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        exchange(self, command)
    }
}

#[cfg(unix)]
impl Transport for std::os::unix::net::UnixStream {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        exchange(self, command)
    }
}

/// Opens a TPM.
pub(super) fn open(place: &TpmPlace) -> Result<Box<dyn Transport>, TpmError> {
    let failed = |error: io::Error| TpmError::from_io(place, &error);
    match place {
        TpmPlace::Device(path) => {
            let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
            // Opened, a plain file would take commands for its content.
            if file.metadata().map_err(failed)?.is_file() {
                return Err(TpmError::Garbled { place: place.clone() });
            }
            Ok(Box::new(file))
        }
        TpmPlace::Socket(path) => socket(path).map_err(failed),
    }
}

#[cfg(unix)]
fn socket(path: &std::path::Path) -> io::Result<Box<dyn Transport>> {
    /// How long a software TPM may take: it serves one program after the other.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    let stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(Box::new(stream))
}

#[cfg(not(unix))]
fn socket(_path: &std::path::Path) -> io::Result<Box<dyn Transport>> {
    Err(ErrorKind::Unsupported.into())
}

/// The kernel wants a command in one write and gives an answer in one read; a socket may give it in pieces.
fn exchange(stream: &mut (impl Read + Write), command: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(command)?;
    let mut buffer = vec![0; LARGEST];
    let (mut filled, mut wanted) = (0, HEAD);
    while filled < wanted {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        match stream.read(rest) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if let Some(length) = buffer.get(2..6).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
            && filled >= HEAD
        {
            wanted = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if !(HEAD..=LARGEST).contains(&wanted) {
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}
