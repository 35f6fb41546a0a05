use serde_json::json;
use ztsa_idp::person::Person;
use ztsa_proto::jws::Compact;

use crate::desk::{DEVICE_CODE, Desk, GATEWAY, claims, header};

type Fields = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn a_device_signs_in_when_the_person_approves_on_the_page() {
    let desk = Desk::new().await;
    let started = desk.device().await;
    assert_eq!(started.body["interval"], 1);
    assert_eq!(started.body["expires_in"], 600);
    let code = started.text("user_code");
    assert_eq!((code.len(), &code[4..5]), (9, "-"));
    assert_eq!(started.text("verification_uri"), desk.at("/device"));
    desk.poll(&started).await.refused(400, "authorization_pending");

    let page = Person::new("alice", "alice").approve(started.text("verification_uri_complete")).await.unwrap();
    assert!(page.text().contains("Approved"), "{}", page.text());
    desk.pass(2);
    let tokens = desk.poll(&started).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    assert_eq!(tokens.headers["cache-control"], "no-store");
    assert_eq!((tokens.text("token_type"), tokens.text("scope")), ("Bearer", "openid profile email offline_access"));

    let now = desk.clock.now().0;
    let access = tokens.claims("access_token");
    assert_eq!(header(tokens.text("access_token"))["typ"], "at+jwt");
    let grant_id = access["grant_id"].clone();
    let jti = access["jti"].clone();
    assert_eq!(
        access,
        json!({
            "iss": desk.idp.issuer(), "sub": "alice", "aud": GATEWAY, "client_id": "ztsa-cli", "iat": now,
            "exp": now + 600, "jti": jti, "scope": "openid profile email offline_access", "auth_time": now - 2,
            "acr": "pwd", "amr": ["pwd"], "grant_id": grant_id, "groups": ["dev"],
        })
    );
    let id = tokens.claims("id_token");
    assert_eq!(header(tokens.text("id_token"))["typ"], "JWT");
    let at_hash = id["at_hash"].clone();
    assert_eq!(
        id,
        json!({
            "iss": desk.idp.issuer(), "sub": "alice", "aud": "ztsa-cli", "iat": now, "exp": now + 600,
            "auth_time": now - 2, "acr": "pwd", "amr": ["pwd"], "at_hash": at_hash, "name": "Alice",
            "preferred_username": "alice", "groups": ["dev"], "email": "alice@example.com", "email_verified": true,
        })
    );
}

#[tokio::test]
async fn tokens_verify_with_the_published_keys_before_and_after_a_key_rotation() {
    let desk = Desk::new().await;
    let old = desk.tokens().await;
    desk.idp.rotate_key().unwrap();
    let new = desk.tokens().await;
    let jwks = desk.send(desk.http.get(desk.at("/jwks"))).await.body;
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    for token in [old.text("access_token"), new.text("access_token"), new.text("id_token")] {
        let kid = header(token)["kid"].clone();
        let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap();
        assert_eq!((&key["alg"], &key["use"]), (&json!("ES256"), &json!("sig")));
        Compact::parse(token).unwrap().verify(&serde_json::from_value(key.clone()).unwrap()).unwrap();
        assert!(desk.introspect(old.text("access_token")).await["active"].as_bool().unwrap());
    }
    assert_ne!(header(old.text("access_token"))["kid"], header(new.text("access_token"))["kid"]);
}

#[tokio::test]
async fn polls_that_come_too_fast_are_slowed_down_for_good() {
    let desk = Desk::new().await;
    let started = desk.device().await;
    desk.poll(&started).await.refused(400, "authorization_pending");
    desk.poll(&started).await.refused(400, "slow_down");
    desk.pass(5);
    desk.poll(&started).await.refused(400, "slow_down");
    desk.pass(12);
    desk.poll(&started).await.refused(400, "authorization_pending");
    Person::new("alice", "alice").approve(started.text("verification_uri_complete")).await.unwrap();
    desk.pass(12);
    assert_eq!(desk.poll(&started).await.status, 200);
}

#[tokio::test]
async fn a_denied_an_expired_and_a_used_code_each_say_so() {
    let desk = Desk::new().await;
    let denied = desk.device().await;
    let page = Person::new("bob", "bob").deny(denied.text("verification_uri_complete")).await.unwrap();
    assert!(page.text().contains("Denied"));
    desk.poll(&denied).await.refused(400, "access_denied");

    let expired = desk.device().await;
    desk.pass(600);
    desk.poll(&expired).await.refused(400, "expired_token");
    let error = Person::new("bob", "bob").approve(expired.text("verification_uri_complete")).await.unwrap_err();
    assert!(error.to_string().contains("No device waits with this code"), "{error}");

    let used = desk.device().await;
    Person::new("alice", "alice").approve(used.text("verification_uri_complete")).await.unwrap();
    let tokens = desk.poll(&used).await;
    assert_eq!(tokens.status, 200);
    desk.poll(&used).await.refused(400, "invalid_grant");
    desk.refresh(tokens.text("refresh_token")).await.refused(400, "invalid_grant");
    assert_eq!(desk.introspect(tokens.text("access_token")).await, json!({ "active": false }));
}

#[tokio::test]
async fn guesses_of_a_code_are_limited_and_the_right_one_waits_too() {
    let desk = Desk::new().await;
    let started = desk.device().await;
    let mut person = Person::new("alice", "alice");
    let form = person.open(started.text("verification_uri")).await.unwrap();
    for _ in 0..5 {
        let page = person.submit(&form, &[("user_code", "BBBB-BBBB")]).await.unwrap();
        assert_eq!(page.status, 400);
    }
    let complete = started.text("verification_uri_complete");
    let error = person.approve(complete).await.unwrap_err();
    assert!(error.to_string().contains("Too many wrong codes"), "{error}");
    desk.pass(60);
    person.approve(complete).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_approves_everything_signs_in_at_the_first_poll() {
    let desk = Desk::with(|config| ztsa_idp::Config { approve: Some("bob".into()), ..config }).await;
    let fields = [("client_id", "ztsa-cli"), ("scope", "openid groups"), ("acr_values", "mfa")];
    let started = desk.post("/device_authorization", &fields).await;
    let tokens = desk.poll(&started).await;
    let id = tokens.claims("id_token");
    assert_eq!((&id["sub"], &id["groups"], &id["acr"]), (&json!("bob"), &json!(["ops"]), &json!("mfa")));
    assert!(tokens.body.get("refresh_token").is_none(), "offline_access was not asked for");
}

#[tokio::test]
async fn a_device_request_that_is_wrong_is_refused() {
    let desk = Desk::new().await;
    let table: &[(Fields, u16, &str)] = &[
        (&[], 400, "invalid_request"),
        (&[("client_id", "nobody")], 401, "invalid_client"),
        (&[("client_id", "ztsa-gateway")], 401, "invalid_client"),
        (&[("client_id", "ztsa-cli"), ("client_id", "ztsa-cli")], 400, "invalid_request"),
        (&[("client_id", "ztsa-cli"), ("resource", "https://other.example")], 400, "invalid_target"),
        (&[("client_id", "ztsa-cli"), ("max_age", "soon")], 400, "invalid_request"),
    ];
    for (fields, status, error) in table {
        desk.post("/device_authorization", fields).await.refused(*status, error);
    }
    let get = desk.http.get(desk.at("/device_authorization")).send().await.unwrap();
    assert_eq!(get.status(), 405);
    let polls: &[(Fields, &str)] = &[
        (&[("client_id", "ztsa-cli")], "invalid_request"),
        (&[("client_id", "ztsa-cli"), ("grant_type", "password")], "unsupported_grant_type"),
        (&[("client_id", "ztsa-cli"), ("grant_type", DEVICE_CODE)], "invalid_request"),
        (&[("client_id", "ztsa-cli"), ("grant_type", DEVICE_CODE), ("device_code", "guess")], "invalid_grant"),
    ];
    for (fields, error) in polls {
        desk.post("/token", fields).await.refused(400, error);
    }
}

#[tokio::test]
async fn a_device_may_ask_for_a_known_resource_only() {
    let desk = Desk::with(|config| ztsa_idp::Config {
        approve: Some("alice".into()),
        audiences: vec!["https://one.example".into(), "https://two.example/".into()],
        ..config
    })
    .await;
    let base = [("client_id", "ztsa-cli"), ("scope", "openid offline_access")];
    let ask = |resources: &[&'static str]| {
        base.into_iter().chain(resources.iter().map(|resource| ("resource", *resource))).collect::<Vec<_>>()
    };
    let started = desk.post("/device_authorization", &ask(&["https://two.example", "https://one.example"])).await;
    let tokens = desk.poll(&started).await;
    assert_eq!(tokens.claims("access_token")["aud"], json!(["https://two.example/", "https://one.example"]));

    let started = desk.post("/device_authorization", &ask(&["https://two.example/"])).await;
    let refresh = desk.poll(&started).await.text("refresh_token").to_owned();
    let fields = |resource| {
        let token = refresh.as_str();
        [("client_id", "ztsa-cli"), ("grant_type", "refresh_token"), ("refresh_token", token), ("resource", resource)]
    };
    desk.post("/token", &fields("https://one.example")).await.refused(400, "invalid_target");
    let narrowed = desk.post("/token", &fields("https://two.example")).await;
    assert_eq!(narrowed.claims("access_token")["aud"], "https://two.example/");
    assert_eq!(claims(narrowed.text("access_token"))["sub"], "alice");
}
