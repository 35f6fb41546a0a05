//! Signed JSON in its compact form (RFC 7515), signed and checked with ES256 only.

mod key;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::jwk::{Jwk, JwkError, Members};
use crate::name;

pub use key::{SignError, Signer, SoftwareKey};

/// Signs claims under a header and gives the compact form.
///
/// The header says `alg` and `typ` itself; see [`Header::es256`].
///
/// # Errors
/// [`SignError`] when the header or claims are no JSON object or the key cannot be used.
pub fn sign(signer: &dyn Signer, header: &impl Serialize, claims: &impl Serialize) -> Result<String, SignError> {
    let mut message = encode(header)?;
    message.push('.');
    message.push_str(&encode(claims)?);
    let signature = signer.sign(message.as_bytes())?;
    message.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut message);
    Ok(message)
}

fn encode(part: &impl Serialize) -> Result<String, SignError> {
    serde_json::to_vec(part).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| SignError::Json)
}

/// Makes an identifier of 128 random bits in base64url, 22 characters.
#[must_use]
pub fn random_id() -> String {
    name::random_text()
}

/// Hashes bytes with SHA-256 and writes the digest in base64url, 43 characters.
#[must_use]
pub fn sha256_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

/// Holds what this crate uses of a JOSE header.
///
/// A header with `crit` never becomes one: no extension is understood here, so RFC 7515 section 4.1.11 says to refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// What sort of object this is, such as `dpop+jwt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
    /// The algorithm of the signature.
    pub alg: String,
    /// Which key of a set signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The key that signed it, when it travels along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwk: Option<Jwk>,
}

impl Header {
    /// Makes the header of an ES256 signature.
    #[must_use]
    pub fn es256(typ: &str) -> Self {
        Self { typ: Some(typ.to_owned()), alg: ES256.to_owned(), kid: None, jwk: None }
    }

    /// Adds the public key.
    #[must_use]
    pub fn with_jwk(self, jwk: Jwk) -> Self {
        Self { jwk: Some(jwk), ..self }
    }

    /// Adds the key's name in its set.
    #[must_use]
    pub fn with_kid(self, kid: &str) -> Self {
        Self { kid: Some(kid.to_owned()), ..self }
    }

    /// Whether `typ` says this media type: case is ignored, and so is the prefix `application/` (RFC 7515 section 4.1.9).
    #[must_use]
    pub fn is_typ(&self, typ: &str) -> bool {
        self.typ.as_deref().is_some_and(|own| {
            let (prefix, rest) = own.split_at_checked(APPLICATION.len()).unwrap_or(("", own));
            let bare = if prefix.eq_ignore_ascii_case(APPLICATION) { rest } else { own };
            bare.eq_ignore_ascii_case(typ)
        })
    }
}

#[derive(Deserialize)]
struct RawHeader {
    typ: Option<String>,
    alg: String,
    kid: Option<String>,
    jwk: Option<Members>,
    crit: Option<serde_json::Value>,
}

/// Holds a compact JWS that was taken apart; until [`Compact::verify`] nothing in it is proved.
#[derive(Clone, Debug)]
pub struct Compact<'a> {
    signed: &'a str,
    header: Header,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes a compact JWS apart and reads its header.
    ///
    /// # Errors
    /// [`JwsError`] when it is over 64 KiB, does not have three parts of unpadded base64url, has a header that is
    /// no JSON object with `alg`, holds a bad or private `jwk`, or demands an extension with `crit`.
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        if text.len() > LARGEST {
            return Err(JwsError::TooLarge);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::Shape)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Shape)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Shape);
        let raw: RawHeader = object(&decode(header)?).ok_or(JwsError::Header)?;
        if raw.crit.is_some() {
            return Err(JwsError::Critical);
        }
        let jwk = raw.jwk.map(|members| members.check()).transpose().map_err(JwsError::Key)?;
        Ok(Self {
            signed,
            header: Header { typ: raw.typ, alg: raw.alg, kid: raw.kid, jwk },
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }

    /// Shows the header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the claims, which must be a JSON object.
    ///
    /// # Errors
    /// [`JwsError::Claims`] when they do not read as `T`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, JwsError> {
        object(&self.payload).ok_or(JwsError::Claims)
    }

    /// Checks that this key signed it with ES256.
    ///
    /// # Errors
    /// [`JwsError::Algorithm`] for any other `alg`, [`JwsError::Key`] for a signature that does not match.
    pub fn verify(&self, key: &Jwk) -> Result<(), JwsError> {
        if self.header.alg != ES256 {
            return Err(JwsError::Algorithm);
        }
        key.verify(self.signed.as_bytes(), &self.signature).map_err(JwsError::Key)
    }
}

/// Reads a JSON object; a derived `Deserialize` alone would take an array for a struct as well.
fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
    (first == Some(&b'{')).then(|| serde_json::from_slice(json).ok()).flatten()
}

/// Tells why a compact JWS was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// It is over 64 KiB.
    #[error("it is larger than 64 KiB")]
    TooLarge,
    /// It does not consist of three base64url parts.
    #[error("it is not three parts of base64url with dots between")]
    Shape,
    /// The header does not read.
    #[error("its header is not a JSON object with \"alg\"")]
    Header,
    /// The header demands an extension.
    #[error("its header demands an extension with \"crit\", and none is supported")]
    Critical,
    /// The algorithm is not ES256.
    #[error("it is not signed with ES256")]
    Algorithm,
    /// The claims do not read.
    #[error("its claims are missing, or not of the right sort")]
    Claims,
    /// The key in the header, or the signature, is not accepted.
    #[error(transparent)]
    Key(JwkError),
}

/// The one algorithm (RFC 7518 section 3.4).
pub const ES256: &str = "ES256";
const APPLICATION: &str = "application/";
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests;
