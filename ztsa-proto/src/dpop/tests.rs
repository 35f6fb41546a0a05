use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::jws::SoftwareKey;

const URL: &str = "https://gw.example/.well-known/masque/tcp/db-prod/5432/";
const TOKEN: &str = "a.b.c";
const NOW: UnixTime = UnixTime(1_795_352_700);

fn expected() -> Expected<'static> {
    Expected {
        method: "CONNECT",
        url: URL,
        access_token: Some(TOKEN),
        device: None,
        now: NOW,
        past: Duration::from_secs(60),
        future: Duration::from_secs(5),
    }
}

fn checked(text: &str, expected: &Expected<'_>) -> Result<Proof, DpopError> {
    check([text.as_bytes()].into_iter(), expected)
}

/// A proof that passes, as header and claims to be spoilt in one place.
fn parts(key: &SoftwareKey) -> (Value, Value) {
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_key()});
    let ath = jws::sha256_base64url(TOKEN.as_bytes());
    let claims = json!({"jti": "1", "htm": "CONNECT", "htu": URL, "iat": NOW, "ath": ath, "nonce": "n"});
    (header, claims)
}

#[test]
fn a_proof_of_ours_passes_and_tells_who_made_it() {
    let key = SoftwareKey::generate().unwrap();
    let device = key.public_key().thumbprint();
    let url = format!("{URL}?reason=x#y");
    let input = ProofInput { method: "CONNECT", url: &url, access_token: Some(TOKEN), nonce: Some("n1"), at: NOW };
    let text = proof(&key, &input).unwrap();
    let passed = checked(&text, &Expected { device: Some(&device), ..expected() }).unwrap();
    assert_eq!((passed.device, &passed.key), (device, key.public_key()));
    assert_eq!((passed.nonce.as_deref(), passed.issued_at), (Some("n1"), NOW));
    let again = checked(&proof(&key, &input).unwrap(), &expected()).unwrap();
    assert_ne!(again.jti, passed.jti, "each proof has its own jti");
}

#[test]
fn one_header_no_more_no_less() {
    let key = SoftwareKey::generate().unwrap();
    let (header, claims) = parts(&key);
    let text = jws::sign(&key, &header, &claims).unwrap();
    let of = |headers: &[&[u8]]| check(headers.iter().copied(), &expected());
    assert!(of(&[text.as_bytes()]).is_ok());
    assert_eq!(of(&[]), Err(DpopError::Missing));
    assert_eq!(of(&[text.as_bytes(), text.as_bytes()]), Err(DpopError::Many));
    assert!(matches!(of(&[format!("{text}, {text}").as_bytes()]), Err(DpopError::Malformed(_))));
    assert!(matches!(of(&[b""]), Err(DpopError::Malformed(JwsError::Shape))));
    assert!(matches!(of(&[b"\xff"]), Err(DpopError::Malformed(JwsError::Shape))));
    let padded = parts(&key).1.as_object_mut().map(|claims| {
        claims.insert("x".to_owned(), json!("x".repeat(LARGEST)));
        jws::sign(&key, &header, claims).unwrap()
    });
    assert_eq!(of(&[padded.unwrap().as_bytes()]), Err(DpopError::Malformed(JwsError::TooLarge)));
}

#[test]
fn one_wrong_member_is_enough_to_be_refused() {
    let spoilt: [(&str, Value, DpopError); 29] = [
        ("/header/typ", json!("JWT"), DpopError::Typ),
        ("/header/typ", json!(null), DpopError::Typ),
        ("/header/alg", json!("none"), DpopError::Algorithm),
        ("/header/alg", json!("HS256"), DpopError::Algorithm),
        ("/header/alg", json!("RS256"), DpopError::Algorithm),
        ("/header/jwk", json!(null), DpopError::Key),
        ("/header/jwk/kty", json!("RSA"), DpopError::Key),
        ("/header/jwk/crv", json!("P-384"), DpopError::Key),
        ("/header/jwk/x", json!("AAAA"), DpopError::Key),
        ("/header/jwk/d", json!("AAAA"), DpopError::PrivateKey),
        ("/header/jwk/k", json!("AAAA"), DpopError::PrivateKey),
        ("/header/crit", json!(["exp"]), DpopError::Malformed(JwsError::Critical)),
        ("/claims/jti", json!(null), DpopError::Claims),
        ("/claims/jti", json!(""), DpopError::Claims),
        ("/claims/jti", json!("x".repeat(257)), DpopError::Claims),
        ("/claims/htm", json!(null), DpopError::Claims),
        ("/claims/htu", json!(null), DpopError::Claims),
        ("/claims/iat", json!(null), DpopError::Claims),
        ("/claims/iat", json!("1795352700"), DpopError::Claims),
        ("/claims/nonce", json!("x".repeat(513)), DpopError::Claims),
        ("/claims/htm", json!("connect"), DpopError::Method),
        ("/claims/htm", json!("GET"), DpopError::Method),
        ("/claims/htu", json!("https://gw.example/.well-known/masque/tcp/payroll/5432/"), DpopError::Url),
        ("/claims/htu", json!(URL.replace("https", "http")), DpopError::Url),
        ("/claims/htu", json!("/.well-known/masque/tcp/db-prod/5432/"), DpopError::Url),
        ("/claims/iat", json!(NOW.0 - 61), DpopError::Old { by: Duration::from_secs(61) }),
        ("/claims/iat", json!(NOW.0 + 6), DpopError::Early { by: Duration::from_secs(6) }),
        ("/claims/ath", json!(null), DpopError::Token),
        ("/claims/ath", json!(jws::sha256_base64url(b"another token")), DpopError::Token),
    ];
    let key = SoftwareKey::generate().unwrap();
    for (place, value, error) in spoilt {
        let (header, claims) = parts(&key);
        let mut whole = json!({"header": header, "claims": claims});
        let (parent, name) = place.rsplit_once('/').unwrap();
        let members = whole.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            members.remove(name)
        } else {
            members.insert(name.to_owned(), value.clone())
        };
        let text = jws::sign(&key, &whole["header"], &whole["claims"]).unwrap();
        assert_eq!(checked(&text, &expected()), Err(error), "{place} {value:.60}");
    }
}

#[test]
fn the_window_is_closed_at_both_ends() {
    let key = SoftwareKey::generate().unwrap();
    for (iat, passes) in [(NOW.0 - 60, true), (NOW.0 + 5, true), (NOW.0 - 61, false), (NOW.0 + 6, false), (0, false)] {
        let (header, mut claims) = parts(&key);
        claims["iat"] = json!(iat);
        let result = checked(&jws::sign(&key, &header, &claims).unwrap(), &expected());
        assert_eq!(result.is_ok(), passes, "{iat}");
        assert!(passes || result.unwrap_err().is_clock());
    }
}

#[test]
fn the_key_must_have_signed_and_be_the_devices() {
    let (key, other) = (SoftwareKey::generate().unwrap(), SoftwareKey::generate().unwrap());
    let (header, claims) = parts(&key);
    let stolen = jws::sign(&other, &header, &claims).unwrap();
    assert_eq!(checked(&stolen, &expected()), Err(DpopError::Signature));
    let device = other.public_key().thumbprint();
    let text = jws::sign(&key, &header, &claims).unwrap();
    assert_eq!(checked(&text, &Expected { device: Some(&device), ..expected() }), Err(DpopError::Device));
}

#[test]
fn without_a_token_no_hash_is_wanted() {
    let key = SoftwareKey::generate().unwrap();
    let input = ProofInput { method: "CONNECT", url: URL, access_token: None, nonce: None, at: NOW };
    let text = proof(&key, &input).unwrap();
    assert!(checked(&text, &Expected { access_token: None, ..expected() }).is_ok());
    assert_eq!(checked(&text, &expected()), Err(DpopError::Token));
}

/// The examples of RFC 9449, whose key's thumbprint its section 6.1 states.
#[test]
fn passes_the_proofs_of_rfc_9449() {
    let device: DeviceId = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".parse().unwrap();
    let header = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19";
    let at_token_endpoint = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let at_resource = "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let token = Expected {
        method: "POST",
        url: "https://server.example.com/token",
        access_token: None,
        device: Some(&device),
        now: UnixTime(1_562_262_616),
        ..expected()
    };
    let passed = checked(&format!("{header}.{at_token_endpoint}"), &token).unwrap();
    assert_eq!((passed.jti.as_str(), passed.issued_at), ("-BwC3ESc6acc2lTc", UnixTime(1_562_262_616)));
    let resource = Expected {
        method: "GET",
        url: "https://resource.example.org/protectedresource",
        access_token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
        now: UnixTime(1_562_262_618),
        ..token
    };
    let passed = checked(&format!("{header}.{at_resource}"), &resource).unwrap();
    assert_eq!(passed.jti, "e1j3V_bKic8-LAEB");
}

proptest! {
    #[test]
    fn no_header_makes_the_check_panic(headers: Vec<Vec<u8>>) {
        prop_assert!(check(headers.iter().map(Vec::as_slice), &expected()).is_err());
    }

    #[test]
    fn no_claims_make_the_check_panic(header in any::<String>(), text in any::<String>(), number: i64) {
        let key = SoftwareKey::generate().unwrap();
        let (good, claims) = parts(&key);
        let _ = checked(&jws::sign(&key, &json!({"typ": header, "alg": text, "jwk": text}), &claims).unwrap(), &expected());
        let odd = json!({"jti": text, "htm": header, "htu": text, "iat": number, "ath": header, "nonce": text});
        prop_assert!(checked(&jws::sign(&key, &good, &odd).unwrap(), &expected()).is_err());
    }

    #[test]
    fn whatever_is_proved_passes_for_that_alone(
        method in "[A-Z]{3,7}", path in "[a-zA-Z0-9/._~%-]{0,40}", token in "[!-~]{1,40}", nonce in "[!-~]{1,40}",
    ) {
        let key = SoftwareKey::generate().unwrap();
        let url = format!("https://gw.example/{path}");
        let input = ProofInput { method: &method, url: &url, access_token: Some(&token), nonce: Some(&nonce), at: NOW };
        let text = proof(&key, &input).unwrap();
        let right = Expected { method: &method, url: &url, access_token: Some(&token), ..expected() };
        prop_assert_eq!(checked(&text, &right).unwrap().nonce, Some(nonce.clone()));
        let other_method = format!("{method}X");
        prop_assert_eq!(checked(&text, &Expected { method: &other_method, ..right }), Err(DpopError::Method));
        let other_url = format!("{url}/x");
        prop_assert_eq!(checked(&text, &Expected { url: &other_url, ..right }), Err(DpopError::Url));
        let other_token = format!("{token}x");
        prop_assert_eq!(checked(&text, &Expected { access_token: Some(&other_token), ..right }), Err(DpopError::Token));
    }
}
