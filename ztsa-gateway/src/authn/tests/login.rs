//! Which tokens of an issuer begin a session, and which do not.

use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA384};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};
use ztsa_proto::jws::{self, Signer as _, SoftwareKey, sha256_base64url};

use super::fake::{GATEWAY, NOW, World, after, form, fresh, kid};
use crate::authn::{AuthnError, TokenFault};

/// The fault that the access token, or the ID token, is refused for.
pub(super) async fn refused(world: &World, access: &str, id: Option<&str>) -> (&'static str, TokenFault) {
    match world.exchange(form(access, id), NOW).await {
        Err(AuthnError::Refused { what, fault, issuer }) => {
            assert_eq!(issuer, "corp");
            (what, fault)
        }
        other => panic!("{other:?}"),
    }
}

/// The left half of a hash, as `at_hash` has it.
fn at_hash(token: &str) -> String {
    let full = B64.decode(sha256_base64url(token.as_bytes())).unwrap();
    B64.encode(&full[..16])
}

#[tokio::test]
async fn an_access_token_alone_begins_a_session_without_groups() {
    let world = World::new("");
    let exchanged = world.exchange(form(&world.access(&json!({})), None), NOW).await.unwrap();
    let identity = &exchanged.session.identity;
    assert_eq!(identity.user.to_string(), format!("{}|alice", world.site.url));
    assert_eq!(identity.issuer, "corp");
    assert!(identity.groups.is_empty());
    assert!(!exchanged.renewed);
    assert_eq!(exchanged.session.device, world.device_id());
    let device = world.store.device(&world.device_id()).unwrap();
    assert_eq!((device.user, device.first_seen), (identity.user.clone(), NOW));
}

#[tokio::test]
async fn wrong_access_tokens_are_refused_with_the_reason() {
    let world = World::new("");
    let claim = TokenFault::Claim;
    let audience = |found: &str| TokenFault::Audience { found: found.to_owned() };
    for (changes, wanted) in [
        (json!({"aud": "https://elsewhere.example"}), audience("\"https://elsewhere.example\"")),
        (json!({"aud": "openid"}), audience("\"openid\"")),
        (json!({"aud": null}), audience("nobody in particular")),
        (json!({"aud": []}), audience("nobody in particular")),
        (json!({"exp": NOW.0 - 60}), TokenFault::Expired(std::time::Duration::from_secs(60))),
        (json!({"exp": null}), claim("exp")),
        (json!({"exp": "soon"}), claim("exp")),
        (json!({"exp": -1}), claim("exp")),
        (json!({"iat": null}), claim("iat")),
        (json!({"iat": NOW.0 + 61}), TokenFault::NotYet),
        (json!({"nbf": NOW.0 + 61}), TokenFault::NotYet),
        (json!({"sub": null}), claim("sub")),
        (json!({"sub": ""}), claim("sub")),
        (json!({"nonce": "n"}), TokenFault::IdToken),
        (json!({"at_hash": "h"}), TokenFault::IdToken),
        (json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), TokenFault::Device),
        (json!({"cnf": {"x5t#S256": "abc"}}), TokenFault::Device),
    ] {
        assert_eq!(refused(&world, &world.access(&changes), None).await, ("access token", wanted), "{changes}");
    }
    for changes in [
        json!({"aud": ["x", GATEWAY]}),
        json!({"exp": NOW.0 - 59}),
        json!({"iat": NOW.0 + 60, "nbf": NOW.0 + 60}),
        json!({"exp": 1_795_000_600.5}),
        json!({"cnf": {"jkt": world.device_id()}}),
    ] {
        assert!(world.exchange(form(&world.access(&changes), None), NOW).await.is_ok(), "{changes}");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let world = World::new("");
    let claims = json!({"iss": world.site.url, "aud": GATEWAY, "sub": "alice", "iat": NOW.0, "exp": NOW.0 + 600});
    let head = |alg: &str| json!({"typ": "at+jwt", "alg": alg, "kid": kid(&world.key)});
    let thief = SoftwareKey::generate().unwrap();
    let forged = jws::sign(&thief, &head("ES256"), &claims).unwrap();
    assert_eq!(refused(&world, &forged, None).await.1, TokenFault::Signature);
    let own_key =
        jws::sign(&thief, &json!({"typ": "at+jwt", "alg": "ES256", "jwk": thief.public_key()}), &claims).unwrap();
    assert_eq!(refused(&world, &own_key, None).await.1, TokenFault::UnknownKey);
    for alg in ["none", "HS256", "HS512", "RSA1_5", "ES256K", ""] {
        let token = world.signed(&head(alg), claims.clone(), &json!({}));
        assert_eq!(refused(&world, &token, None).await.1, TokenFault::Algorithm(alg.to_owned()));
    }
    let confused = world.signed(&head("RS256"), claims.clone(), &json!({}));
    assert_eq!(refused(&world, &confused, None).await.1, TokenFault::Signature);
    let critical = world.signed(&json!({"typ": "at+jwt", "alg": "ES256", "crit": ["x"]}), claims.clone(), &json!({}));
    // an issuer that cannot be read from the token is the only one there is
    assert_eq!(refused(&world, &critical, None).await.1, TokenFault::Critical);
    assert_eq!(refused(&world, "a.b.c.d.e", None).await.1, TokenFault::Encrypted);
    assert_eq!(refused(&world, "opaque", None).await.1, TokenFault::Opaque);
    assert_eq!(refused(&world, &"a".repeat(70_000), None).await.1, TokenFault::Malformed);
}

#[tokio::test]
async fn an_id_token_is_no_access_token() {
    let world = World::new("");
    let relaxed = World::new("relaxed_typ = true");
    assert!(matches!(refused(&world, &world.id(&json!({})), None).await.1, TokenFault::Type(_)));
    assert_eq!(refused(&relaxed, &relaxed.id(&json!({})), None).await.1, TokenFault::IdToken);
    assert_eq!(refused(&relaxed, &relaxed.id(&json!({"nonce": "n"})), None).await.1, TokenFault::IdToken);
}

#[tokio::test]
async fn the_type_is_strict_unless_relaxed() {
    let (strict, relaxed) = (World::new(""), World::new("relaxed_typ = true"));
    for (typ, is_strict, is_relaxed) in [
        (json!("at+jwt"), true, true),
        (json!("application/at+jwt"), true, true),
        (json!("AT+JWT"), true, true),
        (json!("JWT"), false, true),
        (json!(null), false, true),
        (json!("logout+jwt"), false, false),
        (json!("secevent+jwt"), false, false),
    ] {
        for (world, accepted) in [(&strict, is_strict), (&relaxed, is_relaxed)] {
            let claims =
                json!({"iss": world.site.url, "aud": GATEWAY, "sub": "alice", "iat": NOW.0, "exp": NOW.0 + 600});
            let header = json!({"typ": typ, "alg": "ES256", "kid": kid(&world.key)});
            let outcome = world.exchange(form(&world.signed(&header, claims, &json!({})), None), NOW).await;
            assert_eq!(outcome.is_ok(), accepted, "{typ}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_issuer_that_nobody_configured_is_refused() {
    let world = World::new("");
    let error =
        world.exchange(form(&world.access(&json!({"iss": "https://evil.example"})), None), NOW).await.unwrap_err();
    assert_eq!(error, AuthnError::UnknownIssuer("https://evil.example".to_owned()));
    assert_eq!((error.oauth().status, error.oauth().error), (400, "invalid_grant"));
    let slash = format!("{}/", world.site.url);
    let error = world.exchange(form(&world.access(&json!({"iss": slash})), None), NOW).await.unwrap_err();
    assert!(matches!(error, AuthnError::UnknownIssuer(_)), "compared byte for byte");
}

#[tokio::test]
async fn the_id_token_says_who_it_is() {
    let world = World::new("");
    let access = world.access(&json!({}));
    let exchanged =
        world.exchange(form(&access, Some(&world.id(&json!({"at_hash": at_hash(&access)})))), NOW).await.unwrap();
    let identity = &exchanged.session.identity;
    assert_eq!((identity.name.as_deref(), identity.email.as_deref()), (Some("Alice"), Some("alice@example.com")));
    assert_eq!(
        (identity.groups.as_slice(), identity.amr.as_slice()),
        (&["dev".to_owned()][..], &["pwd".to_owned(), "otp".to_owned()][..])
    );
    assert_eq!(identity.auth_time, Some(NOW.minus(std::time::Duration::from_secs(10))));
    assert_eq!(world.store.find_user("alice@example.com").unwrap(), identity.user);
}

#[tokio::test]
async fn wrong_id_tokens_are_refused_with_the_reason() {
    let world = World::new("");
    let access = world.access(&json!({}));
    for (changes, wanted) in [
        (json!({"sub": "bob"}), TokenFault::Subject),
        (json!({"aud": "another-client"}), TokenFault::Audience { found: "\"another-client\"".to_owned() }),
        (json!({"aud": ["ztsa-cli", "x"]}), TokenFault::Audience { found: "\"ztsa-cli\", \"x\"".to_owned() }),
        (
            json!({"aud": ["ztsa-cli", "x"], "azp": "x"}),
            TokenFault::Audience { found: "\"ztsa-cli\", \"x\"".to_owned() },
        ),
        (json!({"exp": NOW.0 - 60}), TokenFault::Expired(std::time::Duration::from_secs(60))),
        (json!({"iss": "https://evil.example"}), TokenFault::Issuer),
        (json!({"at_hash": at_hash("another")}), TokenFault::AccessHash),
        (json!({"auth_time": "today"}), TokenFault::Claim("auth_time")),
    ] {
        assert_eq!(refused(&world, &access, Some(&world.id(&changes))).await, ("ID token", wanted), "{changes}");
    }
    let thief = SoftwareKey::generate().unwrap();
    let claims = json!({"iss": world.site.url, "aud": "ztsa-cli", "sub": "alice", "iat": NOW.0, "exp": NOW.0 + 60, "groups": ["ops"]});
    let forged = jws::sign(&thief, &json!({"alg": "ES256", "kid": kid(&world.key)}), &claims).unwrap();
    assert_eq!(refused(&world, &access, Some(&forged)).await, ("ID token", TokenFault::Signature));
    let as_id = refused(&world, &access, Some(&access)).await;
    assert!(matches!(as_id, ("ID token", TokenFault::Type(_))), "{as_id:?}");
    // an access token that was refreshed after the sign-in, with the ID token of the sign-in
    let refreshed = world.access(&json!({"iat": NOW.0 + 30}));
    let id = world.id(&json!({"at_hash": at_hash(&access)}));
    assert!(world.exchange(form(&refreshed, Some(&id)), after(30)).await.is_ok());
}

#[tokio::test]
async fn groups_come_from_where_they_are() {
    for (extra, access, id, wanted) in [
        ("", json!({"groups": ["a"]}), json!({"groups": ["b"]}), vec!["a"]),
        ("", json!({}), json!({"groups": ["b", 7, "", "c"]}), vec!["b", "c"]),
        ("", json!({"groups": "one"}), json!({}), vec!["one"]),
        (
            "groups_claim = \"https://x.example/groups\"",
            json!({"https://x.example/groups": ["n"]}),
            json!({}),
            vec!["n"],
        ),
        ("groups_claim = \"realm_access.roles\"", json!({"realm_access": {"roles": ["r"]}}), json!({}), vec!["r"]),
        ("groups_claim = \"roles\"", json!({"groups": ["a"]}), json!({"hasgroups": true}), vec![]),
    ] {
        let world = World::new(extra);
        let exchanged = world.exchange(form(&world.access(&access), Some(&world.id(&id))), NOW).await.unwrap();
        assert_eq!(exchanged.session.identity.groups, wanted, "{extra}");
    }
}

#[tokio::test]
async fn more_groups_than_a_token_holds_are_recognised() {
    let world = World::new("");
    for claims in [
        json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}),
        json!({"hasgroups": true}),
    ] {
        assert_eq!(refused(&world, &world.access(&claims), None).await.1, TokenFault::GroupOverage);
        let there = world.access(&super::fake::changed(claims, &json!({"groups": ["a"]})));
        assert!(world.exchange(form(&there, None), NOW).await.is_ok());
    }
    let roles = World::new("groups_claim = \"roles\"");
    let access = roles.access(&json!({"_claim_names": {"groups": "src1"}, "roles": ["ops"]}));
    assert!(roles.exchange(form(&access, None), NOW).await.is_ok());
}

#[tokio::test]
async fn other_algorithms_verify_too() {
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let public = rsa.public_key();
    let number = |bytes: &[u8]| B64.encode(bytes);
    // RSAPublicKey (RFC 8017 A.1.1) of 2048 bits: two headers and a zero, the modulus, a header, the exponent
    let (n, e) = (&public.as_ref()[9..265], &public.as_ref()[267..]);
    let edwards = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
    let world = World::new("");
    world.site.json(
        "/jwks",
        &json!({"keys": [
            {"kty": "oct", "k": "AAAA", "kid": "secret"},
            {"kty": "RSA", "kid": "enc", "use": "enc", "n": number(n), "e": number(e)},
            {"kty": "RSA", "kid": "rsa", "use": "sig", "n": number(n), "e": number(e)},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": number(edwards.public_key().as_ref())},
        ]}),
    );
    let claims = json!({"iss": world.site.url, "aud": GATEWAY, "sub": "alice", "iat": NOW.0, "exp": NOW.0 + 600});
    let sign = |alg: &str, kid: &str, signer: &dyn Fn(&[u8]) -> Vec<u8>| {
        let part = |value: &Value| B64.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({"typ": "at+jwt", "alg": alg, "kid": kid})), part(&claims));
        format!("{message}.{}", B64.encode(signer(message.as_bytes())))
    };
    let by_rsa = |encoding: &'static dyn aws_lc_rs::signature::RsaEncoding| {
        let rsa = &rsa;
        move |message: &[u8]| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(encoding, &aws_lc_rs::rand::SystemRandom::new(), message, &mut signature).unwrap();
            signature
        }
    };
    let edward = |message: &[u8]| edwards.sign(message).as_ref().to_vec();
    for token in [
        sign("RS256", "rsa", &by_rsa(&RSA_PKCS1_SHA256)),
        sign("PS384", "rsa", &by_rsa(&RSA_PSS_SHA384)),
        sign("EdDSA", "ed", &edward),
    ] {
        world.exchange(form(&token, None), NOW).await.unwrap();
    }
    for (token, wanted) in [
        (sign("RS384", "rsa", &by_rsa(&RSA_PKCS1_SHA256)), TokenFault::Signature),
        (sign("EdDSA", "rsa", &edward), TokenFault::Signature),
        (sign("RS256", "enc", &by_rsa(&RSA_PKCS1_SHA256)), TokenFault::UnknownKey),
        (sign("HS256", "secret", &|_| vec![0; 32]), TokenFault::Algorithm("HS256".to_owned())),
    ] {
        assert_eq!(refused(&world, &token, None).await.1, wanted);
    }
}

#[tokio::test]
async fn an_opaque_token_needs_the_id_token_that_came_with_it() {
    let world = World::new("tokens = \"userinfo\"");
    world.site.json("/userinfo", &json!({"sub": "alice", "groups": ["ops"], "name": "Alice A."}));
    assert_eq!(refused(&world, "opaque", None).await, ("ID token", TokenFault::NoIdToken));
    assert_eq!(refused(&world, "opaque", Some(&world.id(&json!({})))).await, ("ID token", TokenFault::AccessHash));
    let stolen = world.id(&json!({"at_hash": at_hash("mine")}));
    assert_eq!(refused(&world, "opaque", Some(&stolen)).await, ("ID token", TokenFault::AccessHash));
    assert_eq!(world.site.hits("/userinfo"), 0, "nobody is asked about a token that the issuer does not vouch for");
    let id = world.id(&json!({"at_hash": at_hash("opaque"), "groups": null}));
    let exchanged = world.exchange(form("opaque", Some(&id)), NOW).await.unwrap();
    assert_eq!(exchanged.session.identity.groups, ["ops"]);
    assert!(world.site.last("/userinfo").to_ascii_lowercase().contains("authorization: bearer opaque"));
    let bob = world.id(&json!({"at_hash": at_hash("opaque"), "sub": "bob"}));
    assert_eq!(refused(&world, "opaque", Some(&bob)).await, ("ID token", TokenFault::Subject));
    world.site.page("/userinfo", (401, "application/json", "{\"error\":\"invalid_token\"}".to_owned()));
    assert!(world.exchange(form("opaque", Some(&id)), NOW).await.is_ok(), "an answer of a moment ago counts");
    let later = world.id(&json!({"at_hash": at_hash("later")}));
    assert_eq!(refused(&world, "later", Some(&later)).await, ("access token", TokenFault::Inactive));
    let gone = world.exchange(form("opaque", Some(&id)), after(5)).await;
    assert!(matches!(gone, Err(AuthnError::Refused { fault: TokenFault::Inactive, .. })), "{gone:?}");
}

#[tokio::test]
async fn userinfo_is_asked_for_groups_only_where_configured_and_needed() {
    let world = World::new("userinfo = true");
    world.site.json("/userinfo", &json!({"sub": "alice", "groups": ["late"]}));
    let session = world.exchange(form(&world.access(&json!({})), None), NOW).await.unwrap().session;
    assert_eq!(session.identity.groups, ["late"]);
    world.exchange(form(&world.access(&json!({"groups": ["early"]})), None), NOW).await.unwrap();
    assert_eq!(world.site.hits("/userinfo"), 1);
    world.site.json("/userinfo", &json!({"sub": "bob", "groups": ["ops"]}));
    assert_eq!(refused(&world, &world.access(&json!({})), None).await, ("userinfo answer", TokenFault::Subject));
}

#[tokio::test]
async fn the_proof_must_fit_the_token_endpoint() {
    let world = World::new("");
    let url = format!("{GATEWAY}/ztsa/v1/token");
    let nonce = world.authn.nonce(NOW);
    for (method, url, nonce, wanted) in [
        ("POST", &*url, None, "use_dpop_nonce"),
        ("GET", &*url, Some(&*nonce), "invalid_dpop_proof"),
        ("POST", "https://gw.example.com/other", Some(&*nonce), "invalid_dpop_proof"),
    ] {
        let headers = super::fake::proof(&world.device, method, url, None, nonce);
        let head = crate::authn::Head { method: "POST", url_path: "/ztsa/v1/token", headers: &headers };
        let failure = world.authn.exchange(form(&world.access(&fresh(NOW)), None), &head, NOW).await.unwrap_err();
        let error = failure.error;
        assert_eq!((error.oauth().error, error.oauth().status), (wanted, 400));
    }
    assert_eq!(world.site.hits("/jwks"), 0, "nobody is asked for a bad proof");
}

#[tokio::test]
async fn a_proof_is_used_up_by_good_tokens_only_and_then_once() {
    let world = World::new("");
    let url = format!("{GATEWAY}/ztsa/v1/token");
    let headers = super::fake::proof(&world.device, "POST", &url, None, Some(&world.authn.nonce(NOW)));
    let head = crate::authn::Head { method: "POST", url_path: "/ztsa/v1/token", headers: &headers };
    let exchange = async |token: &str| {
        let exchanged = world.authn.exchange(form(token, None), &head, NOW).await;
        exchanged.map_err(|failure| failure.error)
    };
    let good = world.access(&fresh(NOW));
    // a stranger's proofs must not fill the memory that people's sign-ins need
    for _ in 0..3 {
        assert!(matches!(exchange("forged").await, Err(AuthnError::Refused { .. })));
    }
    assert!(exchange(&good).await.is_ok());
    assert!(matches!(exchange(&good).await, Err(AuthnError::Replay { .. })));
}
