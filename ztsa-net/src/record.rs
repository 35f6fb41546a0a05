//! Protection of TLS 1.3 records (RFC 8446 section 5), without a socket.
//!
//! rustls makes the keys, in a handshake of its own; this seals and opens records with them in the buffers that the socket
//! writes and reads, which saves the copies that a general library cannot (docs/reference/performance.md).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

mod message;

pub(crate) use message::{KEY_UPDATE, Message, Messages};

/// Most bytes of content in one record (section 5.1).
pub(crate) const PLAINTEXT_MAX: usize = 1 << 14;
/// Bytes before the protected part of a record: type, version, length.
const HEADER: usize = 5;
/// Bytes of the tag that all of TLS 1.3's ciphers end with.
const TAG: usize = 16;
/// Bytes that a record has beside its content, without padding: header, content type, tag.
pub(crate) const OVERHEAD: usize = HEADER + 1 + TAG;
/// Most bytes of a record's protected part (section 5.2).
const CIPHERTEXT_MAX: usize = PLAINTEXT_MAX + 256;
/// Most bytes of a whole record.
pub(crate) const RECORD_MAX: usize = HEADER + CIPHERTEXT_MAX;
/// `legacy_record_version` of every protected record.
const VERSION: [u8; 2] = [3, 3];

/// Content types (section 5.1). Every protected record looks like application data from outside.
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const DATA: u8 = 23;

/// Why what a peer sent, or the keys for it, cannot be used. None of these is ever recovered from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A record is not what was sealed with this key at this place of the stream.
    #[error("a TLS record does not bear its seal")]
    Forged,
    /// A record is longer than any may be.
    #[error("a TLS record is longer than any may be")]
    Overflow,
    /// A record or message of a kind that has no place here.
    #[error("a TLS {0} has no place here")]
    Unexpected(&'static str),
    /// A message that cannot be read.
    #[error("a TLS {0} cannot be read")]
    Malformed(&'static str),
    /// A message holds a value that it may not hold.
    #[error("a TLS {0} holds a value that it may not")]
    Illegal(&'static str),
    /// More of something than a peer in its senses sends.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// The peer has ended the connection with an alert other than close_notify.
    #[error("the peer ended TLS with alert {0} (RFC 8446 section 6)")]
    Alert(u8),
    /// The keys cannot be used.
    #[error("the keys of a TLS connection cannot be used: {0}")]
    Keys(String),
}

impl RecordError {
    /// The alert that tells the peer (section 6.2); none where it has told us.
    pub(crate) fn alert(&self) -> Option<u8> {
        match self {
            Self::Forged => Some(20),
            Self::Overflow => Some(22),
            Self::Unexpected(_) | Self::TooMany(_) => Some(10),
            Self::Malformed(_) => Some(50),
            Self::Illegal(_) => Some(47),
            Self::Keys(_) => Some(80),
            Self::Alert(_) => None,
        }
    }
}

/// A key of one direction, and how many records it has protected.
struct Key {
    cipher: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Key {
    fn new(secrets: &ConnectionTrafficSecrets, sequence: u64) -> Result<Self, RecordError> {
        let wrong = |what: &str| RecordError::Keys(what.to_owned());
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(wrong("the cipher is not known")),
        };
        let iv = iv.as_ref().try_into().map_err(|_| wrong("the IV has the wrong length"))?;
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| wrong("the key has the wrong length"))?;
        Ok(Self { cipher: LessSafeKey::new(key), iv, sequence })
    }

    /// The nonce of the next record (section 5.3): no two records of a key share one, as the number only grows.
    fn nonce(&mut self) -> Result<Nonce, RecordError> {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(self.sequence.to_le_bytes()) {
            *byte ^= number;
        }
        let next = self.sequence.checked_add(1);
        self.sequence = next.ok_or_else(|| RecordError::Keys("all numbers are used up".into()))?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Seals records with the key of the sending direction.
pub(crate) struct Sealer(Key);

impl Sealer {
    /// Begins with the record of number `sequence`.
    pub(crate) fn new(secrets: &ConnectionTrafficSecrets, sequence: u64) -> Result<Self, RecordError> {
        Key::new(secrets, sequence).map(Self)
    }

    /// Counts the records that this key has sealed.
    pub(crate) fn sealed(&self) -> u64 {
        self.0.sequence
    }

    /// Seals `content`, of at most [`PLAINTEXT_MAX`] bytes, into the beginning of `target`, which holds [`OVERHEAD`] bytes
    /// more, and returns the length of the record.
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8], target: &mut [u8]) -> Result<usize, RecordError> {
        let wrong = || RecordError::Keys("a record does not fit its buffer".into());
        let length = content.len() + OVERHEAD;
        let (head, body) =
            target.get_mut(..length).and_then(|record| record.split_at_mut_checked(HEADER)).ok_or_else(wrong)?;
        let (sealed, end) = body.split_at_mut_checked(content.len()).ok_or_else(wrong)?;
        let [high, low] = u16::try_from(length - HEADER).map_err(|_| wrong())?.to_be_bytes();
        let header = [DATA, VERSION[0], VERSION[1], high, low];
        head.copy_from_slice(&header);
        let nonce = self.0.nonce()?;
        let done = self.0.cipher.seal_out_of_place_scatter(nonce, Aad::from(header), content, sealed, &[kind], end);
        done.map_err(|_| wrong())?;
        Ok(length)
    }
}

/// Opens records with the key of the receiving direction.
pub(crate) struct Opener(Key);

impl Opener {
    /// Begins with the record of number `sequence`.
    pub(crate) fn new(secrets: &ConnectionTrafficSecrets, sequence: u64) -> Result<Self, RecordError> {
        Key::new(secrets, sequence).map(Self)
    }

    /// Opens a whole record in place; returns its content type and the content, which lies behind the header.
    ///
    /// # Errors
    /// [`RecordError::Forged`], and then nothing of the record may be used.
    pub(crate) fn open(&mut self, record: &mut [u8]) -> Result<(u8, std::ops::Range<usize>), RecordError> {
        let Some((header, body)) = record.split_first_chunk_mut::<HEADER>() else { return Err(RecordError::Forged) };
        let nonce = self.0.nonce()?;
        let inner = self.0.cipher.open_in_place(nonce, Aad::from(*header), body).map_err(|_| RecordError::Forged)?;
        // section 5.4: padding counts, too
        if inner.len() > PLAINTEXT_MAX + 1 {
            return Err(RecordError::Overflow);
        }
        // zeros behind the type are padding, and there is a type in every record
        let Some(last) = inner.iter().rposition(|byte| *byte != 0) else {
            return Err(RecordError::Unexpected("record without a type"));
        };
        let kind = inner.get(last).copied().unwrap_or_default();
        Ok((kind, HEADER..HEADER + last))
    }
}

/// Returns the length of the record that `bytes` begin with, once they hold its header. It may be longer than they are.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let Some((&[kind, _, _, high, low], _)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
    // a change_cipher_spec may come until the handshake is over, which it is (section 5)
    if kind != DATA {
        return Err(RecordError::Unexpected("record that is not protected"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    match length {
        // shorter than type and tag: it can bear no seal
        0..=TAG => Err(RecordError::Forged),
        _ if length > CIPHERTEXT_MAX => Err(RecordError::Overflow),
        _ => Ok(Some(HEADER + length)),
    }
}

/// Tells whether a whole record of a handshake is an alert: as such, or protected, which no other message is as short as.
pub(crate) fn is_alert(record: &[u8]) -> bool {
    match record.first() {
        Some(&ALERT) => true,
        Some(&DATA) => record.len() <= OVERHEAD + 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
