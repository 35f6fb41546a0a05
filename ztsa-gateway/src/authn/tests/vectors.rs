//! Wycheproof's signatures, through the keys of an issuer as a key set has them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use crate::authn::jwks::{Algorithm, Keys, Verdict};

/// Checks one signature by one key; gives whether it was accepted.
fn accepts(key: &Value, alg: &str, message: &[u8], signature: &[u8]) -> bool {
    let algorithm = Algorithm::parse(alg).unwrap();
    let keys = Keys::parse(&json!({"keys": [key]}));
    keys.verify(Some("k"), algorithm, message, signature) == Verdict::Good
}

/// Counts what was judged; a signature that is neither valid nor invalid may be judged either way.
#[derive(Default)]
struct Tally {
    valid: usize,
    invalid: usize,
}

impl Tally {
    fn judge(&mut self, what: &str, id: usize, result: TestResult, accepted: bool) {
        match result {
            TestResult::Valid => {
                assert!(accepted, "{what} {id} is valid");
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!accepted, "{what} {id} is invalid");
                self.invalid += 1;
            }
            TestResult::Acceptable => {}
        }
    }
}

/// A number without leading zeros, as a key set has it.
fn number(bytes: &[u8]) -> String {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    B64.encode(&bytes[first..])
}

#[test]
fn ecdsa_signatures_of_wycheproof() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    let (mut tally, mut short) = (Tally::default(), 0);
    for (name, alg, curve, length) in
        [(EcdsaSecp256r1Sha256P1363, "ES256", "P-256", 32), (EcdsaSecp384r1Sha384P1363, "ES384", "P-384", 48)]
    {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at(length);
            short += usize::from(x[0] == 0 || y[0] == 0);
            // as RFC 7518 wants a coordinate, without its leading zeros, and with a sign byte in front
            let shapes: [fn(&[u8]) -> String; 3] =
                [|bytes| B64.encode(bytes), number, |bytes| B64.encode([&[0], bytes].concat())];
            for shape in shapes {
                let key = json!({"kid": "k", "kty": "EC", "crv": curve, "x": shape(x), "y": shape(y)});
                for test in &group.tests {
                    tally.judge(alg, test.tc_id, test.result, accepts(&key, alg, &test.msg, &test.sig));
                }
            }
        }
    }
    assert!(short > 2, "{short} keys have a leading zero to leave out");
    assert!(tally.valid > 100 && tally.invalid > 100, "{} valid, {} invalid", tally.valid, tally.invalid);
}

#[test]
fn edwards_signatures_of_wycheproof() {
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let x = B64.encode(&group.key.pk[..]);
        let key = json!({"kid": "k", "kty": "OKP", "crv": "Ed25519", "x": x});
        for test in group.tests {
            tally.judge("EdDSA", test.tc_id, test.result, accepts(&key, "EdDSA", &test.msg, &test.sig));
        }
    }
    assert!(tally.valid > 50 && tally.invalid > 30, "{} valid, {} invalid", tally.valid, tally.invalid);
}

#[test]
fn rsa_signatures_of_wycheproof() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512, Rsa3072Sha256, Rsa4096Sha256};
    let mut tally = Tally::default();
    for (name, alg) in [
        (Rsa2048Sha256, "RS256"),
        (Rsa2048Sha384, "RS384"),
        (Rsa2048Sha512, "RS512"),
        (Rsa3072Sha256, "RS256"),
        (Rsa4096Sha256, "RS256"),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = json!({"kid": "k", "kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e)});
            for test in group.tests {
                tally.judge(alg, test.tc_id, test.result, accepts(&key, alg, &test.msg, &test.sig));
            }
        }
    }
    assert!(tally.valid > 30 && tally.invalid > 500, "{} valid, {} invalid", tally.valid, tally.invalid);
}

#[test]
fn rsa_pss_signatures_of_wycheproof() {
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha256Mgf1SaltLen0, RsaPss2048Sha256Mgf1SaltLen32, RsaPss2048Sha384Mgf1SaltLen48,
        RsaPss4096Sha512Mgf1SaltLen64,
    };
    let mut tally = Tally::default();
    for (name, alg, salt) in [
        (RsaPss2048Sha256Mgf1SaltLen32, "PS256", true),
        (RsaPss2048Sha384Mgf1SaltLen48, "PS384", true),
        (RsaPss4096Sha512Mgf1SaltLen64, "PS512", true),
        // RFC 7518 section 3.5: the salt is as long as the hash
        (RsaPss2048Sha256Mgf1SaltLen0, "PS256", false),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = json!({"kid": "k", "kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e)});
            for test in group.tests {
                let result = match test.comment.as_str() {
                    "s_len changed to 32" if !salt => TestResult::Valid,
                    _ if !salt => TestResult::Invalid,
                    _ => test.result,
                };
                tally.judge(alg, test.tc_id, result, accepts(&key, alg, &test.msg, &test.sig));
            }
        }
    }
    assert!(tally.valid > 50 && tally.invalid > 50, "{} valid, {} invalid", tally.valid, tally.invalid);
}

#[test]
fn a_key_is_used_for_what_it_says_and_not_below_2048_bits() {
    let group = &rsa_pkcs1_verify::TestSet::load(rsa_pkcs1_verify::TestName::Rsa2048Sha256).unwrap().test_groups[0];
    let test = group.tests.iter().find(|test| test.result == TestResult::Valid).unwrap();
    let rsa = |more: Value| {
        let mut key = json!({"kid": "k", "kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e)});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        accepts(&key, "RS256", &test.msg, &test.sig)
    };
    for (more, accepted) in [
        (json!({}), true),
        (json!({"use": "sig", "alg": "RS256", "key_ops": ["verify"]}), true),
        (json!({"use": "enc"}), false),
        (json!({"alg": "PS256"}), false),
        (json!({"alg": "RSA-OAEP"}), false),
        (json!({"alg": "HS256"}), false),
        (json!({"key_ops": ["encrypt"]}), false),
        (json!({"kty": "EC", "crv": "P-256"}), false),
        (json!({"kid": "another"}), false),
        (json!({"e": "AQ"}), false),
    ] {
        assert_eq!(rsa(more.clone()), accepted, "{more}");
    }
    // a key of 1024 bits whose signature is good: with e = 1 anything padded right is its own signature
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"x");
    let prefix =
        [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 0x04, 0x20];
    let padded = [&[0, 1][..], &[0xff; 74], &[0], &prefix, digest.as_ref()].concat();
    assert_eq!(padded.len(), 128);
    let small = json!({"kid": "k", "kty": "RSA", "n": B64.encode([0xff; 128]), "e": "AQ"});
    assert!(!accepts(&small, "RS256", b"x", &padded));
}
