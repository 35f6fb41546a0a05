//! An issuer that is slow, down, replaced by a portal, or changes its keys.

use std::time::Duration;

use serde_json::json;
use ztsa_proto::jws::{self, SoftwareKey};

use super::fake::{GATEWAY, NOW, World, after, form, kid};
use crate::authn::{AuthnError, IssuerError, TokenFault, Trust};

const DISCOVERY: &str = "/.well-known/openid-configuration";

async fn failure(world: &World, now: ztsa_proto::time::UnixTime) -> IssuerError {
    let access = world.access(&json!({"iat": now.0, "exp": now.0 + 60}));
    match world.exchange(form(&access, None), now).await {
        Err(error @ AuthnError::Issuer { .. }) => {
            let problem = error.problem();
            assert_eq!((problem.code.as_str(), problem.status, error.oauth().status), ("auth.issuer", 503, 503));
            assert!(problem.detail.contains("issuer `corp`"), "{}", problem.detail);
            match error {
                AuthnError::Issuer { cause, .. } => cause,
                other => panic!("{other}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_issuer_that_answers_wrongly_is_named_with_what_it_did() {
    let html = "<html>Sign in to HotelNet</html>".to_owned();
    let big = format!("{{\"issuer\":\"{}\"}}", "x".repeat(300_000));
    for (page, says) in [
        ((200, "text/html", html), "a web page instead of JSON"),
        ((200, "application/json", "{".to_owned()), "instead of JSON"),
        ((200, "application/json", String::new()), "nothing instead of JSON"),
        ((200, "application/json", "[]".to_owned()), "instead of JSON"),
        ((200, "application/json", big), "more than 262144 bytes"),
        (
            (200, "application/json", "{\"issuer\":\"https://evil.example\"}".to_owned()),
            "the document of https://evil.example",
        ),
        ((200, "application/json", "{}".to_owned()), "the document of nobody"),
        ((302, "text/html", String::new()), "status 302"),
        ((429, "text/plain", "slow down".to_owned()), "status 429"),
        ((500, "text/html", "oops".to_owned()), "status 500"),
        ((503, "application/json", "{\"error\":\"maintenance\"}".to_owned()), "status 503"),
    ] {
        let world = World::new("");
        world.site.page(DISCOVERY, page);
        let cause = failure(&world, NOW).await;
        assert!(cause.to_string().contains(says), "{cause}");
    }
}

#[tokio::test]
async fn an_issuer_without_usable_keys_is_an_outage_not_a_refusal() {
    let world = World::new("");
    world.site.json("/jwks", &json!({"keys": [{"kty": "oct", "k": "AAAA"}]}));
    assert!(matches!(failure(&world, NOW).await, IssuerError::NoKeys { .. }));
    let world = World::new("");
    world.site.json(DISCOVERY, &json!({"issuer": world.site.url, "jwks_uri": "ftp://x/keys"}));
    assert_eq!(failure(&world, NOW).await, IssuerError::Endpoint("jwks_uri"));
}

#[tokio::test]
async fn an_issuer_that_is_away_is_unreachable() {
    let mut world = World::new("");
    // bound and never listening: it refuses, and nobody else gets its port
    let away = tokio::net::TcpSocket::new_v4().unwrap();
    away.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", away.local_addr().unwrap());
    let text = format!(
        "public_url = \"{GATEWAY}\"\ntls = {{ cert = \"c\", key = \"k\" }}\n[[issuer]]\nname = \"corp\"\nissuer = \"{url}\"\nclient_id = \"c\""
    );
    world.config = crate::config::Config::parse(&text, std::path::Path::new("/")).unwrap();
    world.site.url = url;
    world.restart();
    assert!(matches!(failure(&world, NOW).await, IssuerError::Unreachable { .. }));
}

#[tokio::test]
async fn an_issuer_that_hangs_is_given_up_on() {
    let world = World::new("");
    world.site.page(DISCOVERY, (0, "", String::new()));
    let asked = std::time::Instant::now();
    assert!(matches!(failure(&world, NOW).await, IssuerError::Timeout { .. }));
    assert!(asked.elapsed() < Duration::from_secs(20));
    // the next ones do not wait as well
    let asked = std::time::Instant::now();
    assert!(matches!(failure(&world, after(1)).await, IssuerError::Timeout { .. }));
    assert!(asked.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn discovery_falls_back_to_rfc_8414() {
    let world = World::new("");
    world.site.page(DISCOVERY, (404, "text/html", String::new()));
    let url = &world.site.url;
    world
        .site
        .json("/.well-known/oauth-authorization-server", &json!({"issuer": url, "jwks_uri": format!("{url}/jwks")}));
    assert!(world.exchange(form(&world.access(&json!({})), None), NOW).await.is_ok());
}

#[tokio::test]
async fn keys_are_remembered_and_a_new_one_is_fetched_once() {
    let world = World::new("");
    for _ in 0..5 {
        world.exchange(form(&world.access(&json!({})), None), NOW).await.unwrap();
    }
    assert_eq!((world.site.hits(DISCOVERY), world.site.hits("/jwks")), (1, 1));
    let new = SoftwareKey::generate().unwrap();
    let claims = json!({"iss": world.site.url, "aud": GATEWAY, "sub": "alice", "iat": NOW.0, "exp": NOW.0 + 600});
    let rotated = jws::sign(&new, &json!({"typ": "at+jwt", "alg": "ES256", "kid": kid(&new)}), &claims).unwrap();
    let outcome = world.exchange(form(&rotated, None), after(20)).await;
    assert!(matches!(outcome, Err(AuthnError::Refused { fault: TokenFault::UnknownKey, .. })), "{outcome:?}");
    assert_eq!(world.site.hits("/jwks"), 2, "an unknown key is looked for");
    world.site.publish(&[&world.key, &new]);
    for second in 21..29 {
        assert!(world.exchange(form(&rotated, None), after(second)).await.is_err());
    }
    assert_eq!(world.site.hits("/jwks"), 2, "but not with every token that names one");
    assert!(world.exchange(form(&rotated, None), after(31)).await.is_ok());
    assert_eq!(world.site.hits("/jwks"), 3);
}

#[tokio::test]
async fn known_keys_outlast_a_short_outage_and_no_more() {
    let world = World::new("");
    world.exchange(form(&world.access(&json!({})), None), NOW).await.unwrap();
    world.site.page(DISCOVERY, (503, "text/plain", String::new()));
    let at = |seconds: u64| {
        let access = world.access(&json!({"iat": NOW.0 + seconds, "exp": NOW.0 + seconds + 60}));
        world.exchange(form(&access, None), after(seconds))
    };
    assert!(at(599).await.is_ok());
    assert!(at(3600).await.is_ok(), "keys of an hour ago");
    assert_eq!(
        failure(&world, after(3601)).await,
        IssuerError::Status { url: format!("{}{DISCOVERY}", world.site.url), status: 503 }
    );
    world.site.publish(&[&world.key]);
    assert!(at(3612).await.is_ok(), "and it heals by itself");
}

#[tokio::test]
async fn many_at_once_ask_the_issuer_once() {
    let world = World::new("");
    let exchanges: Vec<_> = (0..20).map(|_| world.exchange(form(&world.access(&json!({})), None), NOW)).collect();
    let outcomes = futures_util::future::join_all(exchanges).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(world.site.hits("/jwks"), 1);
}

#[tokio::test]
async fn an_outage_is_bridged_for_as_long_as_configured() {
    let world = World::new("outage_grace = \"2m\"");
    world.exchange(form(&world.access(&json!({})), None), NOW).await.unwrap();
    world.site.page(DISCOVERY, (503, "text/plain", String::new()));
    assert!(world.exchange(form(&world.access(&json!({})), None), after(120)).await.is_ok());
    assert!(matches!(failure(&world, after(121)).await, IssuerError::Status { status: 503, .. }));
}

#[tokio::test]
async fn an_issuer_never_leads_into_the_private_network() {
    for (jwks, says) in [
        ("http://169.254.169.254/latest", "jwks_uri"),
        ("https://169.254.169.254/latest", "where no issuer can be"),
        ("https://10.0.0.7/keys", "allow_private = true"),
        ("https://[fd12::7]/keys", "allow_private = true"),
        ("https://[::ffff:192.168.0.1]/keys", "allow_private = true"),
    ] {
        let world = World::new("");
        world.site.json(DISCOVERY, &json!({"issuer": world.site.url, "jwks_uri": jwks}));
        let cause = failure(&world, NOW).await;
        assert!(cause.to_string().contains(says), "{jwks}: {cause}");
    }
}

#[tokio::test]
async fn two_issuers_are_never_taken_for_each_other() {
    let other = super::fake::Site::start();
    let theirs = SoftwareKey::generate().unwrap();
    other.publish(&[&theirs]);
    let world = World::new(&format!(
        "[[issuer]]\nname = \"two\"\nissuer = \"{}\"\nclient_id = \"ztsa-cli\"\naudiences = [\"https://two.example\"]\n",
        other.url
    ));
    let claims = |issuer: &str, audience: &str| json!({"iss": issuer, "aud": audience, "sub": "alice", "iat": NOW.0, "exp": NOW.0 + 600});
    let by = |key: &SoftwareKey, claims: &serde_json::Value| {
        jws::sign(key, &json!({"typ": "at+jwt", "alg": "ES256", "kid": kid(key)}), claims).unwrap()
    };
    let two = by(&theirs, &claims(&other.url, "https://two.example"));
    let identity = world.exchange(form(&two, None), NOW).await.unwrap().session.identity.clone();
    assert_eq!((identity.issuer.as_str(), identity.user.issuer.as_str()), ("two", other.url.as_str()));
    let one = world.exchange(form(&world.access(&json!({})), None), NOW).await.unwrap().session.identity.clone();
    assert!(one.user != identity.user && one.user.subject == identity.user.subject);
    for (what, token, issuer) in [
        ("the other's audience", by(&theirs, &claims(&other.url, GATEWAY)), "two"),
        ("the other's key", by(&theirs, &claims(&world.site.url, GATEWAY)), "corp"),
        ("our key for the other", by(&world.key, &claims(&other.url, "https://two.example")), "two"),
    ] {
        match world.exchange(form(&token, None), NOW).await {
            Err(AuthnError::Refused { issuer: named, .. }) => assert_eq!(named, issuer, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn subjects_that_look_alike_are_not_one_person() {
    let world = World::new("");
    for alike in ["alice\u{200b}", " alice", "alice ", "al\u{ad}ice", "alice\u{1b}[0m", "\u{202e}alice", "a\nb", ""] {
        let access = world.access(&json!({"sub": alike}));
        let error = world.exchange(form(&access, None), NOW).await.unwrap_err();
        let refused = |what, fault| AuthnError::Refused { issuer: "corp".to_owned(), what, fault };
        assert_eq!(error, refused("access token", TokenFault::Claim("sub")), "{alike:?}");
        let id = world.id(&json!({"sub": alike}));
        let error = world.exchange(form(&world.access(&json!({})), Some(&id)), NOW).await.unwrap_err();
        assert_eq!(error, refused("ID token", TokenFault::Subject), "{alike:?}");
    }
}

#[tokio::test]
async fn a_configuration_that_is_read_again_during_an_outage_keeps_the_known_keys() {
    let world = World::new("");
    world.session(NOW).await;
    let adopt = || world.authn.adopt(Trust::new(&world.config).unwrap());
    let sign_in = async |at: u64| {
        let access = world.access(&json!({"iat": NOW.0 + at, "exp": NOW.0 + at + 60, "jti": at.to_string()}));
        world.exchange(form(&access, None), after(at)).await
    };
    adopt();
    let asked = world.site.hits("/jwks");
    sign_in(20).await.unwrap();
    assert_eq!(world.site.hits("/jwks"), asked + 1, "the issuer is asked first");
    world.site.page(DISCOVERY, (503, "text/html", String::new()));
    adopt();
    sign_in(40).await.unwrap();
    adopt();
    sign_in(3600).await.unwrap();
    assert!(matches!(sign_in(3700).await, Err(AuthnError::Issuer { .. })), "no longer than the grace");
}
