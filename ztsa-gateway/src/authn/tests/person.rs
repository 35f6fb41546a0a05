//! What of an issuer's claims becomes part of a person.

use serde_json::{Value, json};

use super::fake::{NOW, World, after, changed, form};
use crate::authn::{AuthnError, ExchangeForm, TokenFault};

/// The address that a sign-in with these claims in the ID token has.
async fn email(world: &World, claims: &Value) -> Option<String> {
    let exchanged = world.exchange(form(&world.access(&json!({})), Some(&world.id(claims))), NOW).await.unwrap();
    exchanged.session.identity.email.clone()
}

#[tokio::test]
async fn an_address_that_the_issuer_calls_unverified_is_none() {
    let world = World::new("");
    for word in [json!(true), json!("true")] {
        assert_eq!(
            email(&world, &json!({"email_verified": word})).await.as_deref(),
            Some("alice@example.com"),
            "{word}"
        );
    }
    assert_eq!(email(&world, &json!({})).await.as_deref(), Some("alice@example.com"), "an issuer that does not say");
    for word in [json!(false), json!("false"), json!("no"), json!(1), json!([true])] {
        let claims = json!({"email": "ceo@example.com", "email_verified": word});
        assert_eq!(email(&world, &claims).await, None, "{word}");
    }
}

#[tokio::test]
async fn what_is_said_of_one_address_is_not_said_of_another() {
    // the access token's own address does not stand in for one that the ID token calls unverified
    let world = World::new("");
    let access = world.access(&json!({"email": "ceo@example.com"}));
    let id = world.id(&json!({"email": "ceo@example.com", "email_verified": false}));
    let session = world.exchange(form(&access, Some(&id)), NOW).await.unwrap().session;
    assert_eq!(session.identity.email, None);
    // where either calls it unverified it is, whatever the other leaves unsaid; another address is another matter
    let id = world.id(&json!({"email": "ceo@example.com"}));
    for (address, verified, kept) in [
        ("CEO@example.com", false, None),
        ("ceo@example.com", true, Some("ceo@example.com")),
        ("old@example.com", false, Some("ceo@example.com")),
    ] {
        let access = world.access(&json!({"email": address, "email_verified": verified}));
        let session = world.exchange(form(&access, Some(&id)), NOW).await.unwrap().session;
        assert_eq!(session.identity.email.as_deref(), kept, "{address}");
    }
    // nor does its word vouch for what userinfo says
    let asking = World::new("userinfo = true");
    let userinfo = |changes: Value| {
        let claims = json!({"sub": "alice", "groups": ["dev"], "email": "ceo@example.com", "email_verified": false});
        asking.site.json("/userinfo", &changed(claims, &changes));
    };
    userinfo(json!({}));
    let session = asking.exchange(form(&asking.access(&json!({"email_verified": true})), None), NOW).await.unwrap();
    assert_eq!(
        (session.session.identity.groups.as_slice(), &session.session.identity.email),
        (&["dev".to_owned()][..], &None)
    );
    userinfo(json!({"email_verified": true}));
    let later = asking.access(&json!({"iat": NOW.0 + 10}));
    let session = asking.exchange(form(&later, None), after(10)).await.unwrap().session;
    assert_eq!(session.identity.email.as_deref(), Some("ceo@example.com"));
}

#[tokio::test]
async fn an_address_that_is_no_longer_verified_goes_with_the_next_renewal() {
    let world = World::new("");
    let (session, _) = world.session(NOW).await;
    assert_eq!(session.identity.email.as_deref(), Some("alice@example.com"));
    let access = world.access(&json!({"iat": NOW.0 + 100}));
    let renew = |id: Option<&str>| ExchangeForm { session: Some(session.id.clone()), ..form(&access, id) };
    let kept = world.exchange(renew(None), after(100)).await.unwrap().session;
    assert_eq!(kept.identity.email.as_deref(), Some("alice@example.com"), "the access token says nothing of it");
    let id = world.id(&json!({"email": "ceo@example.com", "email_verified": false}));
    let next = world.exchange(renew(Some(&id)), after(110)).await.unwrap().session;
    assert_eq!((&next.id, &next.identity.email), (&session.id, &None));
}

#[tokio::test]
async fn groups_that_would_be_left_out_are_refused_aloud() {
    let world = World::new("");
    let exchange = async |groups: Value| {
        let exchanged = world.exchange(form(&world.access(&json!({"groups": groups})), None), NOW).await;
        exchanged.map(|exchanged| exchanged.session.identity.groups.len())
    };
    let numbered = |count: usize| (0..count).map(|number| format!("group-{number}")).collect::<Vec<_>>();
    assert_eq!(exchange(json!(numbered(512))).await.unwrap(), 512);
    assert_eq!(exchange(json!("g".repeat(256))).await.unwrap(), 1);
    // a forbid on the last one must not be passed by being in so many others
    for groups in [json!(numbered(513)), json!(["dev", "g".repeat(257)]), json!("g".repeat(257))] {
        let error = exchange(groups).await.unwrap_err();
        assert!(matches!(&error, AuthnError::Refused { fault: TokenFault::TooManyGroups, .. }), "{error}");
        assert!(error.to_string().contains("512 groups"), "{error}");
    }
}
