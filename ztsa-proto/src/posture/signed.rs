//! A report as a JWS: signed by the key that also signs the device's proofs.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::jwk::Jwk;
use crate::jws::{self, Compact, Header, JwsError, SignError, Signer};
use crate::name::DeviceId;
use crate::time::UnixTime;

/// Signs a report for one gateway; it holds for five minutes.
///
/// # Errors
/// [`SignError`] when the key cannot be used.
pub fn sign(
    signer: &dyn Signer,
    report: &Report,
    audience: &str,
    nonce: Option<&str>,
    now: UnixTime,
) -> Result<String, SignError> {
    let key = signer.public_key();
    let device = key.thumbprint();
    let claims = Claims {
        iss: device.clone(),
        sub: device,
        aud: audience.to_owned(),
        iat: now,
        exp: now.plus(LIFETIME),
        jti: jws::random_id(),
        eat_nonce: nonce.map(str::to_owned),
        report: report.clone(),
    };
    jws::sign(signer, &Header::es256(TYP).with_jwk(key.clone()), &claims)
}

/// Says what a signed report must show.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The gateway's public URL.
    pub audience: &'a str,
    /// The device that must have signed.
    pub device: &'a DeviceId,
    /// The gateway's time.
    pub now: UnixTime,
    /// How far the device's clock may be off, either way.
    pub skew: Duration,
}

/// Holds a report whose signature, device, audience, time and size were checked.
///
/// Left to the caller: that the nonce is one it gave, and that the identifier was not seen before.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The report.
    pub report: Report,
    /// The gateway's nonce, when it gave one.
    pub nonce: Option<String>,
    /// The signed object's own identifier, 1 to 256 bytes.
    pub jti: String,
    /// When the device says it signed.
    pub issued_at: UnixTime,
}

/// Checks a signed report.
///
/// # Errors
/// [`PostureError`] for the first check that fails.
pub fn check(text: &str, expected: &Expected<'_>) -> Result<Accepted, PostureError> {
    let jws = Compact::parse(text).map_err(PostureError::Malformed)?;
    if !jws.header().is_typ(TYP) {
        return Err(PostureError::Typ);
    }
    let key: &Jwk = jws.header().jwk.as_ref().ok_or(PostureError::Key)?;
    if key.thumbprint() != *expected.device {
        return Err(PostureError::Device);
    }
    jws.verify(key).map_err(PostureError::Malformed)?;
    let claims: Claims = jws.claims().map_err(|_| PostureError::Claims)?;
    check_claims(&claims, expected)?;
    check_report(&claims.report)?;
    Ok(Accepted { report: claims.report, nonce: claims.eat_nonce, jti: claims.jti, issued_at: claims.iat })
}

fn check_claims(claims: &Claims, expected: &Expected<'_>) -> Result<(), PostureError> {
    if claims.iss != *expected.device || claims.sub != *expected.device {
        return Err(PostureError::Device);
    }
    if claims.aud != expected.audience {
        return Err(PostureError::Audience);
    }
    let lives_too_long = claims.exp.since(claims.iat) > LIFETIME + expected.skew;
    let ends_early = claims.exp.plus(expected.skew) < expected.now;
    if claims.iat > expected.now.plus(expected.skew) || ends_early || lives_too_long {
        return Err(PostureError::Time);
    }
    let nonce_fits = claims.eat_nonce.as_ref().is_none_or(|nonce| nonce.len() <= LONGEST_NONCE);
    if claims.jti.is_empty() || claims.jti.len() > LONGEST_JTI || !nonce_fits {
        return Err(PostureError::Claims);
    }
    Ok(())
}

fn check_report(report: &Report) -> Result<(), PostureError> {
    if report.v != VERSION {
        return Err(PostureError::Version { found: report.v });
    }
    if report.checks.len() > MOST_CHECKS {
        return Err(PostureError::Many);
    }
    let mut seen = HashSet::new();
    for check in &report.checks {
        if !is_id(&check.id) || !seen.insert(check.id.as_str()) {
            return Err(PostureError::Id);
        }
        let size = check.value.as_ref().map_or(0, |value| value.to_string().len());
        if size > LARGEST_VALUE {
            return Err(PostureError::Value { id: check.id.clone() });
        }
    }
    let fits = |(id, proof): (&String, &String)| is_id(id) && proof.len() <= LARGEST_PROOF;
    if report.evidence.len() > MOST_PROOFS || !report.evidence.iter().all(fits) {
        return Err(PostureError::Evidence);
    }
    Ok(())
}

/// Whether a text is a check's id: dotted words of lower-case letters, digits and `_`, at most 64 in all.
fn is_id(id: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    id.len() <= 64 && id.split('.').all(is_word)
}

/// Tells why a signed report was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostureError {
    /// It is no JWS, over 64 KiB, or not signed by the key that it holds.
    #[error("the posture report is malformed: {0}")]
    Malformed(#[source] JwsError),
    /// It is a JWS of another sort.
    #[error("the posture report's \"typ\" is not \"ztsa-posture+jwt\"")]
    Typ,
    /// It does not hold its key.
    #[error("the posture report does not hold the device's public key")]
    Key,
    /// Another device made it.
    #[error("the posture report was made by another device")]
    Device,
    /// It was made for another gateway.
    #[error("the posture report was made for another gateway")]
    Audience,
    /// It is too old or from the future.
    #[error("the posture report is too old or from the future: check that the device's clock is right")]
    Time,
    /// Claims are missing or of the wrong sort.
    #[error("the posture report lacks a claim, or one is not of the right sort")]
    Claims,
    /// It has another form.
    #[error("the posture report has form {found}, only form 1 is supported")]
    Version {
        /// The form found.
        found: u32,
    },
    /// It has too many checks.
    #[error("the posture report has more than 64 checks")]
    Many,
    /// A check's id is malformed or used twice.
    #[error("a check's id in the posture report is malformed or used twice")]
    Id,
    /// A check's value is too large.
    #[error("the value of {id} in the posture report is larger than 1 KiB")]
    Value {
        /// The check.
        id: String,
    },
    /// There is too much evidence.
    #[error("the evidence in the posture report is more than 4 pieces, or one is larger than 16 KiB")]
    Evidence,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: DeviceId,
    sub: DeviceId,
    aud: String,
    iat: UnixTime,
    exp: UnixTime,
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eat_nonce: Option<String>,
    report: Report,
}

/// The value of `typ`.
pub const TYP: &str = "ztsa-posture+jwt";
/// The content type that a report is sent as.
pub const MEDIA_TYPE: &str = "application/jwt";
const LIFETIME: Duration = Duration::from_secs(300);
const VERSION: u32 = 1;
const MOST_CHECKS: usize = 64;
const LARGEST_VALUE: usize = 1024;
/// The most proofs of certificates in one report.
pub const MOST_PROOFS: usize = 4;
/// The longest proof of a certificate, in bytes.
pub const LARGEST_PROOF: usize = 16 * 1024;
const LONGEST_JTI: usize = 256;
const LONGEST_NONCE: usize = 512;
