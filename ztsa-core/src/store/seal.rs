//! The sealed form: `ztsa1`, which key, nonce, AES-256-GCM of the content. The record's name is authenticated too, so
//! that one record cannot be put in another's place.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use zeroize::Zeroizing;

use super::SecretBytes;

/// A wrapping key.
pub(super) type Key = Zeroizing<[u8; KEY]>;

/// The length of a wrapping key in bytes.
pub(super) const KEY: usize = 32;
/// By how many bytes a sealed record is longer than its content.
pub(super) const OVERHEAD: usize = HEAD + NONCE_LEN + 16;
const FAMILY: &[u8; 4] = b"ztsa";
const MAGIC: &[u8; 5] = b"ztsa1";
const HEAD: usize = MAGIC.len() + 1;

/// Where the key is that seals a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrap {
    Keyring,
    Tpm,
    File,
}

impl Wrap {
    fn byte(self) -> u8 {
        match self {
            Self::Keyring => b'k',
            Self::Tpm => b't',
            Self::File => b'f',
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    #[error("it is not a sealed record")]
    Form,
    #[error("it is of a newer version")]
    Newer,
    #[error("its seal is broken")]
    Broken,
    #[error("no randomness")]
    Randomness,
}

pub(super) fn random_key() -> Result<Key, SealError> {
    let mut key = Zeroizing::new([0; KEY]);
    rand::fill(key.as_mut_slice()).map_err(|_| SealError::Randomness)?;
    Ok(key)
}

pub(super) fn wrap_of(sealed: &[u8]) -> Result<Wrap, SealError> {
    let version = sealed.strip_prefix(FAMILY).and_then(|rest| rest.first());
    if version.is_some_and(|version| (b'2'..=b'9').contains(version)) {
        return Err(SealError::Newer);
    }
    let kind = sealed.strip_prefix(MAGIC).and_then(|rest| rest.first()).ok_or(SealError::Form)?;
    [Wrap::Keyring, Wrap::Tpm, Wrap::File].into_iter().find(|wrap| wrap.byte() == *kind).ok_or(SealError::Form)
}

pub(super) fn seal(key: &Key, wrap: Wrap, name: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| SealError::Randomness)?;
    let mut content = Zeroizing::new(plain.to_vec());
    let tag = cipher(key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(wrap, name), content.as_mut_slice())
        .map_err(|_| SealError::Broken)?;
    let mut sealed = MAGIC.to_vec();
    sealed.push(wrap.byte());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&content);
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

pub(super) fn open(key: &Key, name: &str, sealed: &[u8]) -> Result<SecretBytes, SealError> {
    let wrap = wrap_of(sealed)?;
    let (nonce, content) =
        sealed.get(HEAD..).and_then(|rest| rest.split_at_checked(NONCE_LEN)).ok_or(SealError::Form)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Form)?;
    let mut content = Zeroizing::new(content.to_vec());
    let length = cipher(key)?.open_in_place(nonce, aad(wrap, name), &mut content).map_err(|_| SealError::Broken)?.len();
    content.truncate(length);
    Ok(content)
}

fn cipher(key: &Key) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key.as_slice()).map(LessSafeKey::new).map_err(|_| SealError::Broken)
}

fn aad(wrap: Wrap, name: &str) -> Aad<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(wrap.byte());
    bytes.extend_from_slice(name.as_bytes());
    Aad::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(plain in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let key = random_key().unwrap();
            let sealed = seal(&key, Wrap::File, "session", &plain).unwrap();
            prop_assert_eq!(wrap_of(&sealed), Ok(Wrap::File));
            let opened = open(&key, "session", &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), plain.as_slice());
            prop_assert_eq!(open(&key, "credentials", &sealed), Err(SealError::Broken));
            prop_assert_eq!(open(&random_key().unwrap(), "session", &sealed), Err(SealError::Broken));
        }

        #[test]
        fn a_changed_byte_breaks_the_seal(at in 0usize..60, bit in 0u8..8) {
            let key = random_key().unwrap();
            let mut sealed = seal(&key, Wrap::Keyring, "session", b"twenty-two bytes, long").unwrap();
            let at = at % sealed.len();
            sealed[at] ^= 1 << bit;
            prop_assert!(open(&key, "session", &sealed).is_err());
        }

        #[test]
        fn no_file_is_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = open(&random_key().unwrap(), "session", &bytes);
        }
    }
}
