//! Public keys as JSON (RFC 7517): P-256 only, because every proof here is ES256.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::name::DeviceId;

/// Holds a public P-256 key whose point was checked to lie on the curve.
///
/// JSON: `{"kty":"EC","crv":"P-256","x":..,"y":..}`; other members are ignored, a private one is refused.
#[derive(Clone)]
pub struct Jwk {
    key: ParsedPublicKey,
    point: [u8; POINT],
}

impl Jwk {
    /// Reads an uncompressed SEC 1 point: `0x04`, x, y.
    ///
    /// # Errors
    /// [`JwkError::Point`] when the bytes are not a point of the curve.
    pub fn from_point(point: &[u8]) -> Result<Self, JwkError> {
        let point: [u8; POINT] = point.try_into().map_err(|_| JwkError::Point)?;
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| JwkError::Point)?;
        Ok(Self { key, point })
    }

    /// Computes the thumbprint of RFC 7638, which is what names a device.
    #[must_use]
    pub fn thumbprint(&self) -> DeviceId {
        let (x, y) = self.coordinates();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        DeviceId::of_thumbprint(digest(&SHA256, canonical.as_bytes()))
    }

    /// Checks an ES256 signature in its fixed form, 64 bytes (RFC 7518 section 3.4).
    ///
    /// # Errors
    /// [`JwkError::Signature`] when this key did not sign the message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JwkError> {
        self.key.verify_sig(message, signature).map_err(|_| JwkError::Signature)
    }

    /// Shows the uncompressed SEC 1 point that [`Jwk::from_point`] reads.
    #[must_use]
    pub fn point(&self) -> &[u8; POINT] {
        &self.point
    }

    fn coordinates(&self) -> (String, String) {
        let (x, y) = self.point.split_at(1).1.split_at(COORDINATE);
        (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
    }
}

/// Tells why a key or its signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// The key holds its own private part, which must never travel.
    #[error("the key holds its private part: send only the public members")]
    Private,
    /// The key is of another sort.
    #[error("the key is not an EC key on P-256, the only sort that is accepted")]
    Sort,
    /// The coordinates are no point of the curve.
    #[error("the key's x and y are not a point on P-256")]
    Point,
    /// The signature does not belong to this key and message.
    #[error("the signature does not match the key")]
    Signature,
}

impl PartialEq for Jwk {
    fn eq(&self, other: &Self) -> bool {
        self.point == other.point
    }
}

impl Eq for Jwk {}

impl fmt::Debug for Jwk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Jwk({})", self.thumbprint())
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Public {
            kty: &'static str,
            crv: &'static str,
            x: String,
            y: String,
        }
        let (x, y) = self.coordinates();
        Public { kty: "EC", crv: "P-256", x, y }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer)?.check().map_err(de::Error::custom)
    }
}

/// The members of a key as they came, before they are judged.
#[derive(Deserialize)]
pub(crate) struct Members {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    /// Members that only a private or symmetric key has (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1).
    #[serde(default, deserialize_with = "present")]
    d: bool,
    #[serde(default, deserialize_with = "present")]
    p: bool,
    #[serde(default, deserialize_with = "present")]
    k: bool,
}

impl Members {
    /// Judges the members.
    pub(crate) fn check(&self) -> Result<Jwk, JwkError> {
        if self.d || self.p || self.k {
            return Err(JwkError::Private);
        }
        if self.kty != "EC" || self.crv != "P-256" {
            return Err(JwkError::Sort);
        }
        let mut point = Vec::with_capacity(POINT);
        point.push(UNCOMPRESSED);
        for coordinate in [&self.x, &self.y] {
            let bytes = URL_SAFE_NO_PAD.decode(coordinate).map_err(|_| JwkError::Point)?;
            if bytes.len() != COORDINATE {
                return Err(JwkError::Point);
            }
            point.extend(bytes);
        }
        Jwk::from_point(&point)
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

const UNCOMPRESSED: u8 = 4;
const COORDINATE: usize = 32;
const POINT: usize = 1 + 2 * COORDINATE;

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 9449's examples, whose thumbprint section 6.1 states.
    const KEY: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}"#;

    #[test]
    fn computes_the_thumbprint_of_rfc_9449() {
        let key: Jwk = serde_json::from_str(KEY).unwrap();
        assert_eq!(key.thumbprint().as_str(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!(format!("{key:?}"), "Jwk(0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I)");
        assert_eq!(serde_json::from_str::<Jwk>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
    }

    #[test]
    fn refuses_other_private_and_broken_keys() {
        for (from, to, error) in [
            ("\"kty\"", "\"d\":\"AA\",\"kty\"", JwkError::Private),
            ("\"kty\"", "\"d\":null,\"kty\"", JwkError::Private),
            ("\"EC\"", "\"oct\",\"k\":\"AA\"", JwkError::Private),
            ("\"EC\"", "\"RSA\",\"n\":\"AA\",\"e\":\"AQAB\"", JwkError::Sort),
            ("P-256", "P-384", JwkError::Sort),
            ("P-256", "secp256k1", JwkError::Sort),
            ("l8tF", "m8tF", JwkError::Point),
            ("l8tF", "l8t", JwkError::Point),
            ("l8tF", "l8t=", JwkError::Point),
        ] {
            let told = serde_json::from_str::<Jwk>(&KEY.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(told.contains(&error.to_string()), "{from} -> {to}: {told}");
        }
        assert!(
            serde_json::from_str::<Jwk>(&KEY.replacen("\"kty\"", "\"kid\":\"1\",\"use\":\"sig\",\"kty\"", 1)).is_ok()
        );
        // the right bytes, but the first coordinate is one too long
        let mut members: serde_json::Value = serde_json::from_str(KEY).unwrap();
        let whole: Vec<u8> = ["x", "y"]
            .iter()
            .flat_map(|name| URL_SAFE_NO_PAD.decode(members[name].as_str().unwrap()).unwrap())
            .collect();
        members["x"] = URL_SAFE_NO_PAD.encode(&whole[..33]).into();
        members["y"] = URL_SAFE_NO_PAD.encode(&whole[33..]).into();
        assert!(serde_json::from_value::<Jwk>(members).is_err());
        assert_eq!(Jwk::from_point(&[0; 65]).unwrap_err(), JwkError::Point);
        assert_eq!(Jwk::from_point(&[4; 10]).unwrap_err(), JwkError::Point);
    }
}
