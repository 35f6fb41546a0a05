//! Proof that somebody holds the key of a client certificate: a JWS with the chain in its header (RFC 7515 section 4.1.6),
//! over the report's nonce, the gateway and the device.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::jws::SignError;
use crate::name::DeviceId;

/// Signs with the private key of a certificate: RSA, P-256, P-384 or Ed25519.
pub struct Key(Pair);

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Key").field("alg", &self.algorithm()).finish_non_exhaustive()
    }
}

impl Key {
    /// Reads a private key in DER: PKCS #8, SEC 1 or PKCS #1.
    ///
    /// # Errors
    /// [`SignError::Key`] when it is no key of a supported sort.
    pub fn from_der(der: &[u8]) -> Result<Self, SignError> {
        let p256 =
            || EcdsaKeyPair::from_private_key_der(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Pair::P256);
        let p384 =
            || EcdsaKeyPair::from_private_key_der(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, der).map(Pair::P384);
        let ed25519 = || Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519);
        let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).map(Pair::Rsa);
        p256().or_else(|_| p384()).or_else(|_| ed25519()).or_else(|_| rsa()).map(Self).map_err(|_| SignError::Key)
    }

    fn algorithm(&self) -> &'static str {
        match self.0 {
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
            Pair::Rsa(_) => "PS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.0 {
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| SignError::Refused)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&signature::RSA_PSS_SHA256, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| SignError::Refused)
            }
        }
    }
}

/// Says what a proof is about: the same as the report that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The gateway.
    pub aud: String,
    /// The device that reports.
    pub sub: DeviceId,
    /// The gateway's nonce in the report.
    pub nonce: String,
}

/// Proves the possession of a certificate's key; `chain` is in DER, the certificate itself first.
///
/// # Errors
/// [`SignError`] when the key cannot be used.
pub fn prove(key: &Key, chain: &[Vec<u8>], about: &About) -> Result<String, SignError> {
    let header = Header {
        typ: TYP.to_owned(),
        alg: key.algorithm().to_owned(),
        x5c: chain.iter().map(|certificate| STANDARD.encode(certificate)).collect(),
    };
    let part = |json: Result<Vec<u8>, _>| json.map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| SignError::Json);
    let message = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(about))?);
    let signature = key.sign(message.as_bytes())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Holds a proof that was taken apart; until [`Proof::verify`] nothing in it is proved.
#[derive(Clone, Debug)]
pub struct Proof<'a> {
    signed: &'a str,
    algorithm: &'static dyn VerificationAlgorithm,
    chain: Vec<Vec<u8>>,
    about: About,
    signature: Vec<u8>,
}

impl<'a> Proof<'a> {
    /// Takes a proof apart.
    ///
    /// # Errors
    /// [`ProofError::Malformed`] when it is over 16 KiB, no such JWS, of another algorithm, or has no chain or one of
    /// more than 8 certificates.
    pub fn parse(text: &'a str) -> Result<Self, ProofError> {
        Self::read(text).ok_or(ProofError::Malformed)
    }

    fn read(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.').filter(|_| text.len() <= LARGEST)?;
        let (header, about) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.typ != TYP || header.x5c.is_empty() || header.x5c.len() > LONGEST_CHAIN {
            return None;
        }
        let algorithm: &'static dyn VerificationAlgorithm = match header.alg.as_str() {
            "ES256" => &signature::ECDSA_P256_SHA256_FIXED,
            "ES384" => &signature::ECDSA_P384_SHA384_FIXED,
            "EdDSA" => &signature::ED25519,
            "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
            _ => return None,
        };
        Some(Self {
            signed,
            algorithm,
            chain: header.x5c.iter().map(|text| STANDARD.decode(text).ok()).collect::<Option<_>>()?,
            about: serde_json::from_slice(&decode(about)?).ok()?,
            signature: decode(signature)?,
        })
    }

    /// Shows the chain in DER, the certificate itself first.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Checks that it is about `expected`, and that the key signed it which the certificate's `SubjectPublicKeyInfo` holds.
    ///
    /// Left to the caller: whether the chain leads to an authority that counts.
    ///
    /// # Errors
    /// [`ProofError`] for the first check that fails.
    pub fn verify(&self, expected: &About, public_key: &[u8]) -> Result<(), ProofError> {
        if self.about != *expected {
            return Err(ProofError::About);
        }
        let key = UnparsedPublicKey::new(self.algorithm, public_key);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| ProofError::Signature)
    }
}

/// Tells why a proof was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It does not read.
    #[error("the certificate's proof is malformed")]
    Malformed,
    /// It was made for another gateway, device or report.
    #[error("the certificate's proof was made for another report")]
    About,
    /// Another key signed it.
    #[error("the certificate's proof was not signed by the certificate's key")]
    Signature,
}

#[derive(Serialize, Deserialize)]
struct Header {
    typ: String,
    alg: String,
    x5c: Vec<String>,
}

/// The value of `typ`.
pub const TYP: &str = "ztsa-certificate+jwt";
const LARGEST: usize = 16 * 1024;
const LONGEST_CHAIN: usize = 8;

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::KeyPair as _;
    use proptest::prelude::*;

    use super::*;
    use crate::jws::{Signer as _, SoftwareKey};

    fn about(nonce: &str) -> About {
        let sub = SoftwareKey::generate().unwrap().public_key().thumbprint();
        About { aud: "https://gw.example".to_owned(), sub, nonce: nonce.to_owned() }
    }

    /// A private key and its public key, both DER.
    fn p256() -> (Key, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        (Key::from_der(pair.to_pkcs8v1().unwrap().as_ref()).unwrap(), public.as_ref().to_vec())
    }

    #[test]
    fn only_the_key_of_the_certificate_proves_and_only_for_one_report() {
        let (key, public) = p256();
        let (_, other) = p256();
        let about = about("n1");
        let text = prove(&key, &[b"certificate".to_vec(), b"ca".to_vec()], &about).unwrap();
        let proof = Proof::parse(&text).unwrap();
        assert_eq!(proof.chain(), [b"certificate".to_vec(), b"ca".to_vec()]);
        assert_eq!(proof.verify(&about, &public), Ok(()));
        assert_eq!(proof.verify(&about, &other), Err(ProofError::Signature));
        assert_eq!(proof.verify(&about, b"no key"), Err(ProofError::Signature));
        for wrong in [
            About { nonce: "n2".to_owned(), ..about.clone() },
            About { aud: "https://evil.example".to_owned(), ..about.clone() },
            About { sub: self::about("").sub, ..about.clone() },
        ] {
            assert_eq!(proof.verify(&wrong, &public), Err(ProofError::About));
        }
    }

    #[test]
    fn every_sort_of_key_signs() {
        let p384 = EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let spki = |key: &dyn Fn() -> PublicKeyX509Der<'static>| key().as_ref().to_vec();
        let about = about("n");
        for (pkcs8, public, alg) in [
            (p384.to_pkcs8v1().unwrap().as_ref().to_vec(), spki(&|| p384.public_key().as_der().unwrap()), "ES384"),
            (ed25519.to_pkcs8().unwrap().as_ref().to_vec(), spki(&|| ed25519.public_key().as_der().unwrap()), "EdDSA"),
            (
                AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap().as_ref().to_vec(),
                spki(&|| rsa.public_key().as_der().unwrap()),
                "PS256",
            ),
        ] {
            let key = Key::from_der(&pkcs8).unwrap();
            assert_eq!(format!("{key:?}"), format!("Key {{ alg: {alg:?}, .. }}"), "and shows nothing of itself");
            let text = prove(&key, &[vec![1]], &about).unwrap();
            assert_eq!(Proof::parse(&text).unwrap().verify(&about, &public), Ok(()), "{alg}");
        }
        assert_eq!(Key::from_der(b"no key").unwrap_err(), SignError::Key);
    }

    proptest! {
        #[test]
        fn nothing_makes_the_parser_panic(text in "\\PC{0,300}", alg in "[A-Z0-9]{0,6}", many in 0..12_usize) {
            prop_assert!(Proof::parse(&text).is_err());
            let header = Header { typ: TYP.to_owned(), alg, x5c: vec!["AA==".to_owned(); many] };
            let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
            let claims = part(serde_json::to_vec(&about("n")).unwrap());
            let made = format!("{}.{claims}.AAAA", part(serde_json::to_vec(&header).unwrap()));
            prop_assert_eq!(Proof::parse(&made).is_ok(), matches!(header.alg.as_str(), "ES256" | "ES384" | "EdDSA" | "PS256") && (1..=8).contains(&many));
        }
    }
}
