//! The device key: P-256, in hardware where there is some that this user may use, else sealed in the store.
//!
//! A key in hardware cannot be copied, so that what is bound to it (the session, and the sign-in at an issuer that takes
//! DPoP) is useless on any other machine. A key that was once made stays, whatever the machine gets later: it is what an
//! administrator has approved.

mod record;

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use ztsa_proto::{
    jwk::Jwk,
    jws::{SignError, Signer, SoftwareKey},
};

use crate::{
    apart::{self, Apart},
    store::SecretBytes,
    tpm::{Tpm, TpmError},
};

/// How long hardware may take to make a key; some TPMs need seconds.
const MAKING: Duration = Duration::from_secs(15);

/// What can hold a device key so that it cannot be taken out.
///
/// [`Tpm`] is one. Two more are meant to stand here, each of which needs its own machine to be built and tried on:
///
/// - The Secure Enclave: `SecKeyCreateRandomKey` with `kSecAttrTokenIDSecureEnclave`; the handle is the key's application
///   tag, signing is `SecKeyCreateSignature` with `ecdsaSignatureDigestX962SHA256`, whose DER becomes r and s of 32 bytes
///   each. The program has to be signed with a keychain entitlement.
/// - Windows CNG: `NCryptCreatePersistedKey` with `NCRYPT_ECDSA_P256_ALGORITHM` in the Microsoft Platform Crypto
///   Provider; the handle is the key's name, `NCryptSignHash` gives r and s as they are wanted.
///
/// All calls may block for long, and are made on threads of their own that are left behind after some seconds: an
/// implementation needs no limit of time, and must not rely on its calls coming to an end one after the other.
pub trait Hardware: Send + Sync + fmt::Debug {
    /// Names the kind, as it is written beside the key: `tpm2`.
    fn kind(&self) -> &'static str;

    /// Names it for people, with its place.
    fn name(&self) -> String;

    /// Says whether this user may use it, in an instant.
    ///
    /// # Errors
    /// Why not.
    fn usable(&self) -> Result<(), HardwareError>;

    /// Makes a key that signs ES256 and cannot be taken out.
    ///
    /// # Errors
    /// Why it did not.
    fn make(&self) -> Result<HardwareKey, HardwareError>;

    /// Signs a SHA-256 digest: r and s of 32 bytes each.
    ///
    /// # Errors
    /// [`HardwareError`] with `gone` when the hardware no longer has the key, or is not the one that made it.
    fn sign(&self, key: &HardwareKey, digest: &[u8; 32]) -> Result<[u8; 64], HardwareError>;
}

/// A key in hardware: what finds it again there, and its public part.
#[derive(Clone, Debug)]
pub struct HardwareKey {
    /// What finds it again; worth nothing without the hardware.
    pub handle: Vec<u8>,
    /// The public part.
    pub public: Jwk,
}

/// Why hardware did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct HardwareError {
    /// What happened, for people.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
    /// Whether the key is gone for good.
    pub gone: bool,
    /// Whether there is no such hardware at all, which is no reason to tell anybody.
    pub absent: bool,
}

impl From<TpmError> for HardwareError {
    fn from(error: TpmError) -> Self {
        let gone = matches!(error, TpmError::OtherKey { .. });
        let absent = matches!(error, TpmError::Absent { .. });
        Self { reason: error.to_string(), hint: error.hint(), gone, absent }
    }
}

impl HardwareError {
    fn of_apart(name: &str, apart: &Apart) -> Self {
        let reason = format!("{name}: {apart}");
        Self { reason, hint: "try again, or set ZTSA_TPM=off".to_owned(), gone: false, absent: false }
    }
}

impl Hardware for Tpm {
    fn kind(&self) -> &'static str {
        "tpm2"
    }

    fn name(&self) -> String {
        format!("TPM 2.0 at {}", self.place())
    }

    fn usable(&self) -> Result<(), HardwareError> {
        Ok(Self::usable(self)?)
    }

    fn make(&self) -> Result<HardwareKey, HardwareError> {
        let failed = |reason: &str| HardwareError {
            reason: format!("{}: {reason}", self.name()),
            hint: "try again".to_owned(),
            gone: false,
            absent: false,
        };
        let mut label = [0; 32];
        rand::fill(&mut label).map_err(|_| failed("no randomness"))?;
        let point = self.signing_key(&label)?;
        let public =
            Jwk::from_point(&[&[4][..], &point].concat()).map_err(|_| failed("its key is not on the curve"))?;
        // one signature now shows whether it will work later
        let sample = digest(&SHA256, &label);
        let signature = self.sign(&label, &point, sample.as_ref().try_into().map_err(|_| failed("no digest"))?)?;
        public.verify(&label, &signature).map_err(|_| failed("its signature is not right"))?;
        Ok(HardwareKey { handle: label.to_vec(), public })
    }

    fn sign(&self, key: &HardwareKey, digest: &[u8; 32]) -> Result<[u8; 64], HardwareError> {
        let garbled = || TpmError::OtherKey { place: self.place().clone() };
        let label = key.handle.as_slice().try_into().map_err(|_| garbled())?;
        // without the first byte, which only says that both coordinates follow
        let point = key.public.point().split_at(1).1.try_into().map_err(|_| garbled())?;
        Ok(Self::sign(self, label, point, digest)?)
    }
}

/// The device key; cheap to clone.
#[derive(Clone)]
pub struct DeviceKey {
    kept: Kept,
}

#[derive(Clone)]
enum Kept {
    Software(Arc<SoftwareKey>),
    Hardware { hardware: Arc<dyn Hardware>, key: Arc<HardwareKey> },
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.public_key().thumbprint())
    }
}

impl DeviceKey {
    /// Makes a key in memory.
    ///
    /// # Errors
    /// The cryptographic library refuses.
    pub fn software() -> Result<Self, SignError> {
        Ok(Self { kept: Kept::Software(Arc::new(SoftwareKey::generate()?)) })
    }

    /// Makes a key in hardware.
    ///
    /// # Errors
    /// See [`HardwareError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn make(hardware: Arc<dyn Hardware>) -> Result<Self, HardwareError> {
        let (name, maker) = (hardware.name(), Arc::clone(&hardware));
        let made = apart::run("ztsa-device-key", MAKING, move || maker.make()).await;
        let key = made.map_err(|apart| HardwareError::of_apart(&name, &apart))??;
        Ok(Self { kept: Kept::Hardware { hardware, key: Arc::new(key) } })
    }

    /// Reads what [`DeviceKey::record`] wrote; `hardware` is what this machine has.
    ///
    /// # Errors
    /// The record is damaged, or its hardware is turned off.
    pub fn read(record: &[u8], hardware: Option<&Arc<dyn Hardware>>) -> Result<Self, SignError> {
        if record.first() != Some(&b'{') {
            return Ok(Self { kept: Kept::Software(Arc::new(SoftwareKey::from_pkcs8(record)?)) });
        }
        let (kind, key) = record::read(record).ok_or(SignError::Key)?;
        let Some(hardware) = hardware.filter(|hardware| hardware.kind() == kind) else {
            let reason = format!("it is in this machine's {kind}, which is turned off (ZTSA_TPM)");
            return Err(SignError::Unavailable { reason });
        };
        Ok(Self { kept: Kept::Hardware { hardware: Arc::clone(hardware), key: Arc::new(key) } })
    }

    /// Writes the key, to be sealed: the private key, or what finds it again in the hardware.
    pub fn record(&self) -> SecretBytes {
        match &self.kept {
            Kept::Software(key) => SecretBytes::new(key.to_pkcs8().expose().clone()),
            Kept::Hardware { hardware, key } => record::write(hardware.kind(), key),
        }
    }

    /// Names the hardware that holds the key; `None` for a key in the store.
    pub fn hardware(&self) -> Option<String> {
        match &self.kept {
            Kept::Software(_) => None,
            Kept::Hardware { hardware, .. } => Some(hardware.name()),
        }
    }

    /// Says whether the key is gone for good: the hardware was cleared, or is another machine's.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn is_gone(&self) -> bool {
        let signed = apart::sign(self, |key| key.sign(b"ztsa: is the key there?")).await;
        matches!(signed, Err(SignError::Gone { .. }))
    }
}

impl Signer for DeviceKey {
    fn public_key(&self) -> &Jwk {
        match &self.kept {
            Kept::Software(key) => key.public_key(),
            Kept::Hardware { key, .. } => &key.public,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let (hardware, key) = match &self.kept {
            Kept::Software(key) => return key.sign(message),
            Kept::Hardware { hardware, key } => (hardware, key),
        };
        let digest = digest(&SHA256, message).as_ref().try_into().map_err(|_| SignError::Refused)?;
        hardware.sign(key, &digest).map_err(|error| match error {
            HardwareError { gone: true, reason, .. } => SignError::Gone { reason },
            HardwareError { reason, hint, .. } => SignError::Unavailable { reason: format!("{reason}; {hint}") },
        })
    }

    fn elsewhere(&self) -> Option<Box<dyn Signer>> {
        match &self.kept {
            Kept::Software(_) => None,
            Kept::Hardware { .. } => Some(Box::new(self.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
