//! What every connection of a proxy shares.

use std::net::SocketAddr;

use ztsa_proto::secret::Secret;

use super::event::Reporter;

/// What every connection of a proxy shares.
pub(crate) struct Desk<D> {
    /// Opens apps.
    pub(crate) dial: D,
    /// Tells what happens.
    pub(crate) reporter: Reporter,
    /// What clients must know, where one is wanted.
    pub(crate) password: Option<Secret<String>>,
    /// The address to print in scripts and pages.
    pub(crate) address: SocketAddr,
}
