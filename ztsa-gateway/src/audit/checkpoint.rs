//! Checkpoints: where the chain stands, signed with a key of the gateway's own (ES256, RFC 7515).
//!
//! Whoever can write the file can make a chain of their own; they cannot sign it. A checkpoint that was copied elsewhere also
//! shows that everything before it is still there.

use serde::{Deserialize, Serialize};
use ztsa_proto::jwk::Jwk;
use ztsa_proto::jws::{self, Compact, Header, JwsError, SignError, Signer as _, SoftwareKey};

use super::chain::Head;
use crate::store::{Store, StoreError};

/// The name of the signing key in the store.
const KEY: &str = "audit-signing-es256";
/// The `typ` of a checkpoint.
const TYP: &str = "ztsa-audit-checkpoint+jwt";

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Where the chain stood: the line before the checkpoint's own.
    #[serde(flatten)]
    pub(super) head: Head,
    /// When, in seconds since 1970.
    pub(super) iat: u64,
}

/// Why a checkpoint does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CheckpointError {
    #[error("it is no checkpoint of an audit log")]
    Sort,
    #[error("its signature is not of this key: {0}")]
    Signature(#[from] JwsError),
}

/// Gives the gateway's own key for this, made at the first start.
pub(super) fn key(store: &Store) -> Result<SoftwareKey, StoreError> {
    let bytes = store.secret_key(KEY, || SoftwareKey::generate().map(|key| key.to_pkcs8()))?;
    SoftwareKey::from_pkcs8(bytes.expose()).map_err(|cause| StoreError::Key(cause.to_string()))
}

/// Signs where the chain stands.
pub(super) fn sign(key: &SoftwareKey, head: &Head, seconds: u64) -> Result<String, SignError> {
    let header = Header::es256(TYP).with_kid(key.public_key().thumbprint().as_ref());
    jws::sign(key, &header, &Claims { head: head.clone(), iat: seconds })
}

/// Reads a checkpoint, and checks its signature where there is a key.
pub(super) fn read(text: &str, key: Option<&Jwk>) -> Result<Claims, CheckpointError> {
    let jws = Compact::parse(text)?;
    if !jws.header().is_typ(TYP) {
        return Err(CheckpointError::Sort);
    }
    if let Some(key) = key {
        jws.verify(key)?;
    }
    Ok(jws.claims()?)
}
