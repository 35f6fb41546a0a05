//! The certificate that the public door shows: read at the start, and again when it was renewed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use ztsa_net::tls::{self, TlsError};

use crate::config::Tls;

/// The application protocols offered, in order of preference.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Says why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file of the certificate or of its key cannot be read.
    #[error("[tls] {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("[tls]: {0}")]
    Tls(#[from] TlsError),
}

impl CertificateError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "the file must be there and readable by the user that runs the gateway",
            Self::Tls(_) => {
                "cert is a PEM chain, the gateway's own certificate first; key is the private key of that certificate"
            }
        }
    }
}

/// Holds the certificate in use; a clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct Certificate {
    current: Arc<ArcSwap<ServerConfig>>,
}

impl Certificate {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn open(files: &Tls) -> Result<Self, CertificateError> {
        Ok(Self { current: Arc::new(ArcSwap::new(read(files)?)) })
    }

    /// Gives what new connections are accepted with.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Accepts new connections with another certificate; those that are there keep theirs.
    pub fn adopt(&self, renewed: Arc<ServerConfig>) {
        self.current.store(renewed);
    }
}

/// Reads certificate and key, and makes sure that they fit each other.
///
/// # Errors
/// [`CertificateError`].
pub fn read(files: &Tls) -> Result<Arc<ServerConfig>, CertificateError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| CertificateError::File { path: path.to_owned(), source });
    Ok(tls::server_config(&read(&files.cert)?, &read(&files.key)?, &ALPN)?)
}
