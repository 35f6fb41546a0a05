//! What signs: a trait that a TPM or a secure enclave can stand behind, and a key in memory.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::jwk::Jwk;
use crate::secret::Secret;

/// Signs with ES256 without showing its private key.
pub trait Signer: Send + Sync {
    /// Shows the public key.
    fn public_key(&self) -> &Jwk;

    /// Signs a message: ECDSA on P-256 over SHA-256, r and s of 32 bytes each.
    ///
    /// # Errors
    /// [`SignError::Refused`] when the key store does not sign.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;

    /// Gives the same key for another thread, where signing takes long or may hang (a TPM); `None` where it is done at
    /// once.
    fn elsewhere(&self) -> Option<Box<dyn Signer>> {
        None
    }
}

/// Tells why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The stored key does not read as a P-256 key.
    #[error("the stored device key is damaged or not a P-256 key: remove it and sign in again to make a new one")]
    Key,
    /// The key store or the cryptographic library refused.
    #[error("the device key could not be used to sign")]
    Refused,
    /// The hardware that held the key does not have it any more.
    #[error("the device key cannot sign any more: {reason}")]
    Gone {
        /// What happened to it.
        reason: String,
    },
    /// The hardware that holds the key cannot be used now.
    #[error("the device key cannot be used now: {reason}")]
    Unavailable {
        /// What is in the way, and what to do.
        reason: String,
    },
    /// What should be signed does not write as JSON.
    #[error("what should be signed does not write as JSON")]
    Json,
}

/// Keeps a P-256 key in memory.
pub struct SoftwareKey {
    pair: EcdsaKeyPair,
    public: Jwk,
    pkcs8: Secret<Vec<u8>>,
}

impl SoftwareKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`SignError::Refused`] when the cryptographic library refuses.
    pub fn generate() -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SignError::Refused)?;
        let document = pair.to_pkcs8v1().map_err(|_| SignError::Refused)?;
        Self::new(pair, document.as_ref())
    }

    /// Reads a key that [`SoftwareKey::to_pkcs8`] wrote (RFC 5208).
    ///
    /// # Errors
    /// [`SignError::Key`] when the bytes are not a P-256 key.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, SignError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).map_err(|_| SignError::Key)?;
        Self::new(pair, bytes)
    }

    /// Writes the private key, to be sealed.
    #[must_use]
    pub fn to_pkcs8(&self) -> Secret<Vec<u8>> {
        self.pkcs8.clone()
    }

    fn new(pair: EcdsaKeyPair, pkcs8: &[u8]) -> Result<Self, SignError> {
        let public = Jwk::from_point(pair.public_key().as_ref()).map_err(|_| SignError::Key)?;
        Ok(Self { pair, public, pkcs8: Secret::new(pkcs8.to_vec()) })
    }
}

impl Signer for SoftwareKey {
    fn public_key(&self) -> &Jwk {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| SignError::Refused)?;
        signature.as_ref().try_into().map_err(|_| SignError::Refused)
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SoftwareKey({})", self.public.thumbprint())
    }
}
