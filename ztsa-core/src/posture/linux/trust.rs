//! Which certificate authorities programs trust here.

use ztsa_proto::posture::{Reason, Wanted};

use super::{Finding, Sys};
use crate::posture::file::{same_digest, thumbprints};

/// Where distributions put the authorities in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The longest bundle, in bytes.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Whether the authority with this thumbprint is in the system's bundle.
pub(super) fn authority(wanted: &Wanted, sys: &Sys) -> Finding {
    let Some(digest) = wanted.sha256.as_deref() else { return Finding::error(Reason::Parse, "") };
    let mut hidden = Reason::Absent;
    for bundle in BUNDLES {
        match sys.read_up_to(bundle, LIMIT) {
            Ok(text) => {
                let found = thumbprints(&text).any(|print| same_digest(&print, digest));
                return Finding::of(found, if found { "trusted" } else { "not in the bundle" }, bundle);
            }
            Err(Reason::Absent) => {}
            Err(reason) => hidden = reason,
        }
    }
    Finding::unknown(hidden, "the system's certificate authorities")
}
