//! Issuers' public keys (RFC 7517) and the signatures that they verify.

use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The most keys of a set that are looked at.
const MOST_KEYS: usize = 64;
/// The most keys that are tried for a token that names none.
const MOST_TRIES: usize = 8;

/// Names a signature algorithm that is accepted from issuers: asymmetric, SHA-2, at least 128 bits (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Es256,
    Es384,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    EdDsa,
}

/// The hash that goes with an algorithm, for `at_hash` (OpenID Connect Core section 3.1.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// Reads `alg`; `none` and the symmetric ones are no algorithms here.
    pub(super) fn parse(name: &str) -> Option<Algorithm> {
        Some(match name {
            "ES256" => Algorithm::Es256,
            "ES384" => Algorithm::Es384,
            "RS256" => Algorithm::Rs256,
            "RS384" => Algorithm::Rs384,
            "RS512" => Algorithm::Rs512,
            "PS256" => Algorithm::Ps256,
            "PS384" => Algorithm::Ps384,
            "PS512" => Algorithm::Ps512,
            "EdDSA" | "Ed25519" => Algorithm::EdDsa,
            _ => return None,
        })
    }

    pub(super) fn hash(self) -> Hash {
        match self {
            Algorithm::Es256 | Algorithm::Rs256 | Algorithm::Ps256 => Hash::Sha256,
            Algorithm::Es384 | Algorithm::Rs384 | Algorithm::Ps384 => Hash::Sha384,
            Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::EdDsa => Hash::Sha512,
        }
    }
}

/// Holds the keys of one issuer that can verify a signature.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ed25519(Vec<u8>),
}

/// Says how a signature came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Bad,
    /// No key of that name is in the set: it may be newer than the set.
    Unknown,
}

impl Keys {
    /// Reads a key set; what is for encryption, or of a kind that is not known here, is left out.
    pub(super) fn parse(set: &Value) -> Keys {
        let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Keys { keys: keys.iter().take(MOST_KEYS).filter_map(Key::parse).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies a signature by the key of this name, or by any that fits when the token names none.
    pub(super) fn verify(&self, id: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Verdict {
        let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let fits = |key: &&Key| key.material.fits(algorithm) && key.algorithm.is_none_or(|own| own == algorithm);
        let mut candidates = self.keys.iter().filter(named).peekable();
        if candidates.peek().is_none() {
            return Verdict::Unknown;
        }
        let good =
            candidates.filter(fits).take(MOST_TRIES).any(|key| key.material.verify(algorithm, message, signature));
        match (good, id) {
            (true, _) => Verdict::Good,
            (false, Some(_)) => Verdict::Bad,
            (false, None) => Verdict::Unknown,
        }
    }
}

impl Key {
    fn parse(key: &Value) -> Option<Key> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        // RFC 7517 section 4.3
        let operations = key.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return None;
        }
        let algorithm = match text("alg") {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok();
        let point = |length| Some([vec![4], sized(&bytes("x")?, length)?, sized(&bytes("y")?, length)?].concat());
        let material = match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
            ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
            _ => return None,
        };
        Some(Key { id: text("kid").map(str::to_owned), algorithm, material })
    }
}

/// A coordinate of exactly this many bytes. RFC 7518 section 6.2.1.2 wants them all; issuers exist that leave leading
/// zeros out (glewlwyd: one key in 128) or write a sign byte in front, and the number is the same.
fn sized(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let number = number.get(first..)?;
    let missing = length.checked_sub(number.len())?;
    Some([&vec![0; missing], number].concat())
}

impl Material {
    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384};
        match self {
            Material::P256(_) => algorithm == Es256,
            Material::P384(_) => algorithm == Es384,
            Material::Ed25519(_) => algorithm == EdDsa,
            Material::Rsa { .. } => !matches!(algorithm, Es256 | Es384 | EdDsa),
        }
    }

    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let result = match self {
            Material::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            Material::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature),
            Material::Rsa { n, e } => {
                let parameters = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
        };
        result.is_ok()
    }
}
