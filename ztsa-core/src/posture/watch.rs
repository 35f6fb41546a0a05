//! Waits until something that was asked for may have changed, so that a change for the worse is told at once.
//!
//! A watch only says that it is time to look again. What cannot be watched is looked at again anyway, once a minute.

#[cfg(target_os = "linux")]
mod linux;

use std::path::PathBuf;
use std::time::Duration;

use ztsa_proto::posture::Wanted;

use crate::config::ClientCertificate;

/// How often everything is looked at again, whatever the watch says.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Waits for changes of what a gateway asks for.
#[derive(Debug)]
pub struct Watch {
    #[cfg(target_os = "linux")]
    inner: linux::Watch,
}

impl Watch {
    /// Watches what the wanted checks look at, as far as this system lets it. Needs a running runtime.
    #[must_use]
    pub fn new(wanted: &[Wanted], certificate: Option<&ClientCertificate>) -> Self {
        let files = certificate.map(|certificate| [certificate.chain.clone(), certificate.key.clone()]);
        let files: Vec<PathBuf> = files.into_iter().flatten().collect();
        #[cfg(target_os = "linux")]
        return Self { inner: linux::Watch::new(wanted, &files) };
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (wanted, files);
            Self {}
        }
    }

    /// Waits until something changed.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn changed(&mut self) {
        #[cfg(target_os = "linux")]
        self.inner.changed().await;
        #[cfg(not(target_os = "linux"))]
        std::future::pending::<()>().await;
    }
}
