//! Jobs that sign in with the token that their platform signed.

use std::time::Duration;

use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};
use ztsa_proto::jws::{self, Signer as _, SoftwareKey};

use super::fake::{GATEWAY, NOW, Site, World, after, changed, form, kid};
use crate::authn::{AuthnError, ExchangeForm, SubjectKind, TokenFault};
use crate::store::Subject;

/// A platform that signs with RS256, as GitHub Actions does, or with ES256, as many clusters do.
struct Platform {
    site: Site,
    rsa: KeyPair,
    ec: SoftwareKey,
}

impl Platform {
    fn start() -> Platform {
        let site = Site::start();
        let (rsa, ec) = (KeyPair::generate(KeySize::Rsa2048).unwrap(), SoftwareKey::generate().unwrap());
        site.json(
            "/.well-known/openid-configuration",
            &json!({"issuer": site.url, "jwks_uri": format!("{}/jwks", site.url)}),
        );
        let platform = Platform { site, rsa, ec };
        platform.site.json("/jwks", &platform.keys());
        platform
    }

    fn keys(&self) -> Value {
        let public = self.rsa.public_key();
        let mut ec = serde_json::to_value(self.ec.public_key()).unwrap();
        ec["kid"] = json!(kid(&self.ec));
        // RSAPublicKey (RFC 8017 A.1.1) of 2048 bits: two headers and a zero, the modulus, a header, the exponent
        let (n, e) = (B64.encode(&public.as_ref()[9..265]), B64.encode(&public.as_ref()[267..]));
        json!({"keys": [{"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": n, "e": e}, ec]})
    }

    /// A token as GitHub Actions gives it, with these claims in place of its own.
    fn github(&self, changes: &Value) -> String {
        let claims = json!({
            "jti": "5b2e", "sub": "repo:corp/shop:environment:production", "aud": GATEWAY, "iss": self.site.url,
            "ref": "refs/heads/main", "sha": "7d1", "repository": "corp/shop", "repository_owner": "corp",
            "repository_id": "74", "repository_owner_id": "65", "run_id": "3", "environment": "production",
            "job_workflow_ref": "corp/shop/.github/workflows/deploy.yml@refs/heads/main", "ref_type": "branch",
            "nbf": NOW.0 - 300, "exp": NOW.0 + 600, "iat": NOW.0,
        });
        self.rs256(&json!({"typ": "JWT", "alg": "RS256", "kid": "rsa"}), &changed(claims, changes))
    }

    fn rs256(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.rsa.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", B64.encode(signature))
    }

    /// A token as Kubernetes projects it into a pod, without `typ`.
    fn kubernetes(&self, changes: &Value) -> String {
        let claims = json!({
            "aud": [GATEWAY], "exp": NOW.0 + 3600, "iat": NOW.0, "nbf": NOW.0, "iss": self.site.url, "jti": "a9f",
            "kubernetes.io": {
                "namespace": "ci", "node": {"name": "n1"}, "pod": {"name": "runner-1"},
                "serviceaccount": {"name": "runner", "uid": "0c"},
            },
            "sub": "system:serviceaccount:ci:runner",
        });
        jws::sign(&self.ec, &json!({"alg": "ES256", "kid": kid(&self.ec)}), &changed(claims, changes)).unwrap()
    }

    /// A gateway with this table for the platform.
    fn gateway(&self, table: &str) -> World {
        World::new(&format!("[[workload]]\nname = \"deploy\"\nissuer = \"{}\"\n{table}", self.site.url))
    }
}

const GITHUB: &str = "match = { repository_id = \"74\", ref = [\"refs/heads/main\", \"refs/heads/next\"], environment = \"production\" }\n\
    user = \"shop deploy\"\ngroups = [\"deploy\"]\nlifetime = \"30m\"\n";

fn job(token: &str) -> ExchangeForm {
    ExchangeForm { kind: SubjectKind::Workload, ..form(token, None) }
}

async fn fault(world: &World, token: &str) -> TokenFault {
    match world.exchange(job(token), NOW).await {
        Err(AuthnError::Refused { what: "job's token", fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_github_job_signs_in_with_its_token_and_nothing_else() {
    let platform = Platform::start();
    let world = platform.gateway(GITHUB);
    let exchanged = world.exchange(job(&platform.github(&json!({}))), NOW).await.unwrap();
    let (session, identity) = (&exchanged.session, &exchanged.session.identity);
    assert_eq!(identity.user.to_string(), format!("{}|repo:corp/shop:environment:production", platform.site.url));
    assert_eq!((identity.name.as_deref(), identity.issuer.as_str()), (Some("shop deploy"), "deploy"));
    assert_eq!((identity.groups.as_slice(), identity.auth_time), (&["deploy".to_owned()][..], Some(NOW)));
    assert_eq!(world.store.session(&session.id).unwrap().ends_at, after(1800), "its own lifetime");
    let token = world.authn.mint(session).unwrap();
    assert_eq!(world.check(token.expose(), after(1)).unwrap().id, session.id);
    let next = platform.github(&json!({"ref": "refs/heads/next", "jti": "5b2f"}));
    assert!(world.exchange(job(&next), NOW).await.is_ok(), "a claim may have one of several values");
}

#[tokio::test]
async fn a_pod_signs_in_where_the_gateway_has_the_keys_in_a_file() {
    let platform = Platform::start();
    let file = std::env::temp_dir().join(format!("ztsa-jwks-{}.json", std::process::id()));
    std::fs::write(&file, platform.keys().to_string()).unwrap();
    let world = platform.gateway(&format!(
        "jwks_file = \"{}\"\ngroups = [\"ci\"]\n[workload.match]\n\
         \"kubernetes.io.namespace\" = \"ci\"\n\"/kubernetes.io/serviceaccount/name\" = \"runner\"\n",
        file.display()
    ));
    let session = world.exchange(job(&platform.kubernetes(&json!({}))), NOW).await.unwrap().session;
    assert_eq!((session.identity.name.as_deref(), session.identity.groups.len()), (Some("deploy"), 1));
    let elsewhere = json!({"kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "runner"}}});
    assert!(matches!(fault(&world, &platform.kubernetes(&elsewhere)).await, TokenFault::Workload { claim, found }
        if claim == "kubernetes.io.namespace" && found == "\"prod\""));
    assert_eq!(platform.site.hits("/jwks"), 0, "the cluster was not asked");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn tokens_of_other_jobs_and_for_others_are_refused_with_the_reason() {
    let platform = Platform::start();
    let world = platform.gateway(GITHUB);
    let not = |claim: &str, found: &str| TokenFault::Workload { claim: claim.to_owned(), found: found.to_owned() };
    let audience = |found: &str| TokenFault::WorkloadAudience { found: found.to_owned(), wanted: GATEWAY.to_owned() };
    for (changes, wanted) in [
        (json!({"repository_id": "75"}), not("repository_id", "\"75\"")),
        (json!({"ref": "refs/heads/evil"}), not("ref", "\"refs/heads/evil\"")),
        (json!({"ref": "refs/heads/main2"}), not("ref", "\"refs/heads/main2\"")),
        (json!({"environment": null}), not("environment", "missing")),
        (json!({"aud": "https://github.com/corp"}), audience("\"https://github.com/corp\"")),
        (json!({"aud": [GATEWAY, "x"]}), audience("\"https://gw.example.com\", \"x\"")),
        (json!({"aud": null}), audience("nobody in particular")),
        (json!({"exp": NOW.0 - 60}), TokenFault::Expired(Duration::from_secs(60))),
        (json!({"exp": null}), TokenFault::Claim("exp")),
        (json!({"iat": null}), TokenFault::Claim("iat")),
        (json!({"nbf": NOW.0 + 61}), TokenFault::NotYet),
        (json!({"sub": null}), TokenFault::Claim("sub")),
        (json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), TokenFault::Device),
    ] {
        assert_eq!(fault(&world, &platform.github(&changes)).await, wanted, "{changes}");
    }
    let foreign = Platform::start().github(&json!({"iss": platform.site.url}));
    assert_eq!(fault(&world, &foreign).await, TokenFault::Signature);
    let claims = json!({"iss": platform.site.url, "aud": GATEWAY, "sub": "s", "repository_id": "74", "ref": "refs/heads/main", "environment": "production", "iat": NOW.0, "exp": NOW.0 + 60});
    for alg in ["none", "HS256", "HS512"] {
        let token = platform.rs256(&json!({"typ": "JWT", "alg": alg, "kid": "rsa"}), &claims);
        assert_eq!(fault(&world, &token).await, TokenFault::Algorithm(alg.to_owned()));
    }
    let access = platform.rs256(&json!({"typ": "at+jwt", "alg": "RS256", "kid": "rsa"}), &claims);
    assert!(matches!(fault(&world, &access).await, TokenFault::WorkloadType(_)));
    let unknown = world.exchange(job(&platform.github(&json!({"iss": "https://evil.example"}))), NOW).await;
    assert_eq!(unknown.unwrap_err(), AuthnError::UnknownIssuer("https://evil.example".to_owned()));
    let person = world.exchange(job(&world.access(&json!({}))), NOW).await;
    assert!(matches!(person.unwrap_err(), AuthnError::UnknownIssuer(_)), "an issuer of people signs for no job");
    let access = world.exchange(form(&platform.github(&json!({})), None), NOW).await;
    assert!(matches!(access.unwrap_err(), AuthnError::UnknownIssuer(_)), "and a platform for nobody");
}

#[tokio::test]
async fn a_token_is_taken_from_one_device_however_it_is_written() {
    let platform = Platform::start();
    let mut world = platform.gateway("match = { sub = \"system:serviceaccount:ci:runner\" }");
    let token = platform.kubernetes(&json!({}));
    let session = world.exchange(job(&token), NOW).await.unwrap().session;
    let thief = SoftwareKey::generate().unwrap();
    let twin = other_signature(&token);
    assert_ne!(twin, token);
    for token in [&token, &twin] {
        let stolen = world.exchange_from(&thief, job(token), after(60)).await.unwrap_err();
        assert!(matches!(&stolen, AuthnError::Refused { fault: TokenFault::Shared, .. }), "{stolen}");
    }
    world.restart();
    assert!(world.exchange_from(&thief, job(&token), after(61)).await.is_err(), "nor after a restart");
    let again = ExchangeForm { session: Some(session.id.clone()), ..job(&token) };
    let renewed = world.exchange(again, after(300)).await.unwrap();
    assert!(renewed.renewed && renewed.session.id == session.id, "its own device renews while the token lives");
}

/// The same signature in its other form: `(r, n - s)` instead of `(r, s)`.
fn other_signature(token: &str) -> String {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = B64.decode(signature).unwrap();
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let difference = i16::from(N[at]) - i16::from(bytes[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", B64.encode(bytes))
}

#[tokio::test]
async fn a_fresh_token_goes_on_with_the_session_until_its_lifetime_is_over() {
    let platform = Platform::start();
    let world = platform.gateway(GITHUB);
    let fresh = |seconds: u64| {
        let at = NOW.0 + seconds;
        platform.github(&json!({"iat": at, "nbf": at, "exp": at + 300, "jti": at.to_string()}))
    };
    let session = world.exchange(job(&fresh(0)), NOW).await.unwrap().session;
    let renewal = |seconds| ExchangeForm { session: Some(session.id.clone()), ..job(&fresh(seconds)) };
    let renewed = world.exchange(renewal(900), after(900)).await.unwrap().session;
    assert_eq!((&renewed.id, renewed.identity.auth_time), (&session.id, Some(after(900))));
    assert_eq!(world.store.session(&session.id).unwrap().ends_at, after(1800), "it is not begun anew");
    let late = world.exchange(renewal(1700), after(1700)).await.unwrap().session;
    assert_eq!(late.expires_at, after(1800));
    let next = world.exchange(renewal(1801), after(1801)).await.unwrap();
    assert!(next.session.id != session.id && !next.renewed, "a job that still runs begins another");
    world.store.revoke(Subject::Session(next.session.id.clone()), after(1900), "test");
    let old = ExchangeForm { session: Some(next.session.id.clone()), ..job(&fresh(1801)) };
    assert_eq!(world.exchange(old, after(1901)).await.unwrap_err().problem().code, "session.revoked");
}

#[tokio::test]
async fn of_several_tables_the_first_that_matches_decides() {
    let platform = Platform::start();
    let world = platform.gateway(&format!(
        "match = {{ repository_id = \"74\", ref = \"refs/heads/main\" }}\ngroups = [\"prod\"]\n\
         [[workload]]\nname = \"rest\"\nissuer = \"{}\"\nmatch = {{ repository_id = \"74\" }}\ngroups = [\"test\"]\n",
        platform.site.url
    ));
    for (git_ref, groups, name) in [("refs/heads/main", "prod", "deploy"), ("refs/heads/x", "test", "rest")] {
        let token = platform.github(&json!({"ref": git_ref}));
        let identity = world.exchange(job(&token), NOW).await.unwrap().session.identity.clone();
        assert_eq!((identity.groups.as_slice(), identity.issuer.as_str()), (&[groups.to_owned()][..], name));
    }
    assert_eq!(platform.site.hits("/jwks"), 1, "tables of one platform share its keys");
}
