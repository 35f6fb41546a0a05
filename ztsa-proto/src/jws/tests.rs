use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn signed(header: &Value, claims: &Value) -> (SoftwareKey, String) {
    let key = SoftwareKey::generate().unwrap();
    let text = sign(&key, header, claims).unwrap();
    (key, text)
}

fn forged(header: &str, payload: &str) -> String {
    format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

#[test]
fn what_was_signed_verifies_and_reads_back() {
    let key = SoftwareKey::generate().unwrap();
    let header = Header::es256("at+jwt").with_kid("1").with_jwk(key.public_key().clone());
    let text = sign(&key, &header, &json!({"sub": "alice"})).unwrap();
    let jws = Compact::parse(&text).unwrap();
    assert_eq!(jws.header(), &header);
    assert_eq!(jws.claims::<Value>().unwrap(), json!({"sub": "alice"}));
    assert_eq!(jws.verify(key.public_key()), Ok(()));
    let other = SoftwareKey::generate().unwrap();
    assert_eq!(jws.verify(other.public_key()), Err(JwsError::Key(JwkError::Signature)));
}

#[test]
fn a_key_survives_its_pkcs8_form() {
    let key = SoftwareKey::generate().unwrap();
    let again = SoftwareKey::from_pkcs8(key.to_pkcs8().expose()).unwrap();
    assert_eq!(again.public_key(), key.public_key());
    key.public_key().verify(b"m", &again.sign(b"m").unwrap()).unwrap();
    assert_eq!(SoftwareKey::from_pkcs8(b"junk").unwrap_err(), SignError::Key);
    assert!(!format!("{key:?}").contains("pkcs8"));
}

#[test]
fn verifies_the_es256_example_of_rfc_7515() {
    // RFC 7515 appendix A.3
    let key: Jwk = serde_json::from_value(json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}))
    .unwrap();
    let text = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_eq!(Compact::parse(text).unwrap().verify(&key), Ok(()));
    let altered = text.replace("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Uj");
    assert_eq!(Compact::parse(&altered).unwrap().verify(&key), Err(JwsError::Key(JwkError::Signature)));
}

#[test]
fn other_algorithms_are_refused_even_with_a_good_signature() {
    for alg in ["none", "HS256", "RS256", "ES384", "es256", ""] {
        let (key, text) = signed(&json!({"alg": alg}), &json!({}));
        assert_eq!(Compact::parse(&text).unwrap().verify(key.public_key()), Err(JwsError::Algorithm), "{alg}");
    }
}

#[test]
fn bad_input_is_refused_with_its_reason() {
    for (text, error) in [
        (String::new(), JwsError::Shape),
        ("a.b".to_owned(), JwsError::Shape),
        ("a.b.c.d".to_owned(), JwsError::Shape),
        (forged("{\"alg\":\"ES256\"}", "{}") + "=", JwsError::Shape),
        (forged("{\"alg\":\"ES256\"}", "{}").replace("AAAA", "AA+A"), JwsError::Shape),
        (forged("{\"alg\":\"ES256\"}", "{}").replace("AAAA", "AAB"), JwsError::Shape),
        (forged("{\"alg\":\"ES256\"}", "{}") + "\n", JwsError::Shape),
        (forged("{}", "{}"), JwsError::Header),
        (forged("[null,\"ES256\",null,null,null]", "{}"), JwsError::Header),
        (forged("{\"alg\":\"ES256\",\"alg\":\"none\"}", "{}"), JwsError::Header),
        (forged("{\"alg\":1}", "{}"), JwsError::Header),
        (forged("\u{feff}{\"alg\":\"ES256\"}", "{}"), JwsError::Header),
        (forged("{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", "{}"), JwsError::Critical),
        (forged("{\"alg\":\"ES256\",\"crit\":[]}", "{}"), JwsError::Critical),
        (forged("{\"alg\":\"ES256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}", "{}"), JwsError::Key(JwkError::Private)),
        (forged(&"[".repeat(1000), "{}"), JwsError::Header),
        ("a".repeat(LARGEST + 1), JwsError::TooLarge),
    ] {
        assert_eq!(Compact::parse(&text).unwrap_err(), error, "{text:.80}");
    }
    let text = forged("{\"alg\":\"ES256\"}", "[\"x\"]");
    assert_eq!(Compact::parse(&text).unwrap().claims::<Value>().unwrap_err(), JwsError::Claims);
}

#[test]
fn typ_is_compared_as_a_media_type() {
    let header = |typ: &str| Header::es256(typ);
    assert!(header("dpop+jwt").is_typ("dpop+jwt"));
    assert!(header("application/DPoP+JWT").is_typ("dpop+jwt"));
    assert!(!header("JWT").is_typ("dpop+jwt"));
    assert!(!Header { typ: None, ..header("") }.is_typ("dpop+jwt"));
}

#[test]
fn random_ids_differ_and_hashes_are_known() {
    assert_eq!(random_id().len(), 22);
    assert_ne!(random_id(), random_id());
    // RFC 9449 section 7.1
    let token = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    assert_eq!(sha256_base64url(token), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
}

#[test]
fn hashes_the_example_of_rfc_7638() {
    // section 3.1: an RSA key, which no proof here may use, but whose thumbprint has the same form
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let canonical = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#);
    assert_eq!(sha256_base64url(canonical.as_bytes()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert!(serde_json::from_str::<Jwk>(&canonical).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = Compact::parse(&text).map(|jws| jws.claims::<Value>());
    }

    #[test]
    fn no_json_makes_the_parser_panic(header in any::<String>(), payload in any::<String>()) {
        let _ = Compact::parse(&forged(&header, &payload)).map(|jws| jws.claims::<Value>());
    }

    #[test]
    fn one_changed_byte_never_verifies(claim in "[a-z]{1,20}", place: prop::sample::Index, with in "[A-Za-z0-9_.-]") {
        let (key, text) = signed(&json!({"alg": "ES256"}), &json!({"claim": claim}));
        let place = place.index(text.len());
        prop_assume!(text[place..=place] != with);
        let altered = format!("{}{with}{}", &text[..place], &text[place + 1..]);
        let verified = Compact::parse(&altered).and_then(|jws| jws.verify(key.public_key()));
        prop_assert!(verified.is_err());
    }
}
