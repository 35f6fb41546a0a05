//! Proof of possession of the device's key (RFC 9449 DPoP), made by the client and checked by the gateway.

mod htu;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::jwk::{Jwk, JwkError};
use crate::jws::{self, Compact, ES256, Header, JwsError, SignError, Signer};
use crate::name::DeviceId;
use crate::time::UnixTime;

/// Says what a proof is made for.
#[derive(Clone, Copy, Debug)]
pub struct ProofInput<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// The URL of the request; query and fragment are left out of the proof.
    pub url: &'a str,
    /// The token that the request carries, if it carries one.
    pub access_token: Option<&'a str>,
    /// The last nonce that this server gave, if it gave one.
    pub nonce: Option<&'a str>,
    /// The time by the server's clock, as well as the client knows it.
    pub at: UnixTime,
}

/// Makes a proof for one request; each has a fresh `jti` (RFC 9449 section 4.2).
///
/// # Errors
/// [`SignError`] when the key cannot be used.
pub fn proof(signer: &dyn Signer, input: &ProofInput<'_>) -> Result<String, SignError> {
    let claims = Claims {
        jti: jws::random_id(),
        htm: input.method.to_owned(),
        htu: htu::without_query(input.url).to_owned(),
        iat: input.at,
        ath: input.access_token.map(|token| jws::sha256_base64url(token.as_bytes())),
        nonce: input.nonce.map(str::to_owned),
    };
    jws::sign(signer, &Header::es256(TYP).with_jwk(signer.public_key().clone()), &claims)
}

/// Says what a proof must prove.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The method of the request, compared exactly.
    pub method: &'a str,
    /// The URL of the request by the server's configuration, never by the request's `Host`.
    pub url: &'a str,
    /// The token that the request carries: the proof must name its hash. `None` where there is no token yet.
    pub access_token: Option<&'a str>,
    /// The device that the token is bound to (`cnf.jkt`). `None` where any key will do.
    pub device: Option<&'a DeviceId>,
    /// The server's time.
    pub now: UnixTime,
    /// How old a proof may be.
    pub past: Duration,
    /// How far ahead a client's clock may run.
    pub future: Duration,
}

/// Holds what a checked proof proved: this key signed, now, for this request.
///
/// What is left to the caller: that [`Proof::nonce`] is one it gave, and that [`Proof::jti`] was not seen before from
/// this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The device whose key signed.
    pub device: DeviceId,
    /// The key that signed.
    pub key: Jwk,
    /// The proof's own identifier, 1 to 256 bytes.
    pub jti: String,
    /// The nonce that the proof holds, at most 512 bytes.
    pub nonce: Option<String>,
    /// When the client says it made the proof.
    pub issued_at: UnixTime,
}

/// Checks the values of a request's `DPoP` header: everything in RFC 9449 section 4.3 but nonce and replay.
///
/// # Errors
/// [`DpopError`] for the first check that fails; the signature is checked last, because it costs the most.
pub fn check<'h>(headers: impl Iterator<Item = &'h [u8]>, expected: &Expected<'_>) -> Result<Proof, DpopError> {
    let text = only(headers)?;
    let jws = Compact::parse(text).map_err(DpopError::of_parse)?;
    let header = jws.header();
    if !header.is_typ(TYP) {
        return Err(DpopError::Typ);
    }
    if header.alg != ES256 {
        return Err(DpopError::Algorithm);
    }
    let key = header.jwk.clone().ok_or(DpopError::Key)?;
    let claims: Claims = jws.claims().map_err(|_| DpopError::Claims)?;
    let device = key.thumbprint();
    check_claims(&claims, &device, expected)?;
    jws.verify(&key).map_err(|_| DpopError::Signature)?;
    Ok(Proof { device, key, jti: claims.jti, nonce: claims.nonce, issued_at: claims.iat })
}

fn only<'h>(mut headers: impl Iterator<Item = &'h [u8]>) -> Result<&'h str, DpopError> {
    let value = headers.next().ok_or(DpopError::Missing)?;
    if headers.next().is_some() {
        return Err(DpopError::Many);
    }
    if value.len() > LARGEST {
        return Err(DpopError::Malformed(JwsError::TooLarge));
    }
    str::from_utf8(value).map_err(|_| DpopError::Malformed(JwsError::Shape))
}

fn check_claims(claims: &Claims, device: &DeviceId, expected: &Expected<'_>) -> Result<(), DpopError> {
    let nonce_fits = claims.nonce.as_ref().is_none_or(|nonce| nonce.len() <= LONGEST_NONCE);
    if claims.jti.is_empty() || claims.jti.len() > LONGEST_JTI || !nonce_fits {
        return Err(DpopError::Claims);
    }
    if claims.htm != expected.method {
        return Err(DpopError::Method);
    }
    if !htu::same(&claims.htu, expected.url) {
        return Err(DpopError::Url);
    }
    if claims.iat < expected.now.minus(expected.past) {
        return Err(DpopError::Old { by: expected.now.since(claims.iat) });
    }
    if claims.iat > expected.now.plus(expected.future) {
        return Err(DpopError::Early { by: claims.iat.since(expected.now) });
    }
    if let Some(token) = expected.access_token {
        let hash = jws::sha256_base64url(token.as_bytes());
        if claims.ath.as_deref() != Some(&*hash) {
            return Err(DpopError::Token);
        }
    }
    if expected.device.is_some_and(|bound| bound != device) {
        return Err(DpopError::Device);
    }
    Ok(())
}

/// Tells why a proof was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DpopError {
    /// The request has no `DPoP` header.
    #[error("the request has no DPoP header")]
    Missing,
    /// The request has more than one `DPoP` header.
    #[error("the request has more than one DPoP header")]
    Many,
    /// The header's value is no JWS, or over 8 KiB.
    #[error("the proof is malformed: {0}")]
    Malformed(#[source] JwsError),
    /// `typ` is not `dpop+jwt`.
    #[error("the proof's \"typ\" is not \"dpop+jwt\"")]
    Typ,
    /// `alg` is not ES256.
    #[error("the proof is not signed with ES256")]
    Algorithm,
    /// `jwk` is missing or no public P-256 key.
    #[error("the proof does not hold a public P-256 key as \"jwk\"")]
    Key,
    /// `jwk` holds a private key.
    #[error("the proof holds a private key: the device key is no longer secret and must be replaced")]
    PrivateKey,
    /// The signature does not match.
    #[error("the proof's signature does not match its key")]
    Signature,
    /// A claim is missing or not of the right sort.
    #[error("the proof lacks one of the claims \"jti\", \"htm\", \"htu\", \"iat\", or one is not of the right sort")]
    Claims,
    /// `htm` is another method.
    #[error("the proof was made for another method")]
    Method,
    /// `htu` is another URL.
    #[error("the proof was made for another URL")]
    Url,
    /// `iat` is too long ago.
    #[error("the proof was made {} seconds ago by the device's clock: check that the clock is right", .by.as_secs())]
    Old {
        /// How long ago.
        by: Duration,
    },
    /// `iat` lies too far in the future.
    #[error("the proof comes from {} seconds in the future: check that the device's clock is right", .by.as_secs())]
    Early {
        /// How far ahead.
        by: Duration,
    },
    /// `ath` is missing or not the hash of the token.
    #[error("the proof was made for another token")]
    Token,
    /// The key is not the one that the token is bound to.
    #[error("the proof is signed by another device than the token was given to")]
    Device,
}

impl DpopError {
    /// Whether a right clock would have made the difference.
    #[must_use]
    pub const fn is_clock(&self) -> bool {
        matches!(self, Self::Old { .. } | Self::Early { .. })
    }

    fn of_parse(error: JwsError) -> Self {
        match error {
            JwsError::Key(JwkError::Private) => Self::PrivateKey,
            JwsError::Key(_) => Self::Key,
            error => Self::Malformed(error),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

/// The value of `typ` (RFC 9449 section 4.2).
pub const TYP: &str = "dpop+jwt";
const LARGEST: usize = 8 * 1024;
const LONGEST_JTI: usize = 256;
const LONGEST_NONCE: usize = 512;

#[cfg(test)]
mod tests;
