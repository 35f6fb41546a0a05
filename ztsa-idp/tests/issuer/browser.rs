use serde_json::json;
use url::Url;
use ztsa_idp::Config;
use ztsa_idp::person::{Page, Person};
use ztsa_proto::jws::{Signer as _, SoftwareKey};

use crate::desk::{Desk, REDIRECT, parameter};

fn back(page: &Page) -> &Url {
    page.redirect.as_ref().unwrap_or_else(|| panic!("not sent back: {}", page.text()))
}

fn code(page: &Page) -> String {
    parameter(back(page), "code").unwrap_or_else(|| panic!("no code in {}", back(page)))
}

#[tokio::test]
async fn a_browser_signs_in_and_goes_back_with_code_state_and_issuer() {
    let desk = Desk::new().await;
    let page = Person::new("alice", "alice").approve(&desk.authorize(&[])).await.unwrap();
    assert!(back(&page).as_str().starts_with(REDIRECT));
    assert_eq!(parameter(back(&page), "state").unwrap(), "xyz & more");
    assert_eq!(parameter(back(&page), "iss").unwrap(), desk.idp.issuer());
    let tokens = desk.redeem(&code(&page), &[]).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    let id = tokens.claims("id_token");
    assert_eq!((&id["nonce"], &id["sub"], &id["acr"]), (&json!("n-0S6"), &json!("alice"), &json!("pwd")));
    assert_eq!(id["auth_time"], desk.clock.now().0);
    assert!(desk.refresh(tokens.text("refresh_token")).await.claims("id_token").get("nonce").is_none());
}

#[tokio::test]
async fn any_loopback_port_is_good_on_both_families() {
    let desk = Desk::with(|config| Config { approve: Some("alice".into()), ..config }).await;
    for redirect in ["http://127.0.0.1:1/callback", "http://[::1]:65535/callback", "http://127.0.0.1:9/"] {
        let address = desk.authorize(&[("redirect_uri", redirect)]);
        let page = Person::new("alice", "alice").open(&address).await.unwrap();
        assert!(back(&page).as_str().starts_with(redirect));
        assert_eq!(desk.redeem(&code(&page), &[("redirect_uri", redirect)]).await.status, 200);
    }
}

#[tokio::test]
async fn a_request_with_a_doubtful_client_or_address_sends_nobody_anywhere() {
    let desk = Desk::with(|config| Config { approve: Some("alice".into()), ..config }).await;
    let table = [
        ("client_id", ""),
        ("client_id", "nobody"),
        ("client_id", "ztsa-gateway"),
        ("redirect_uri", ""),
        ("redirect_uri", "http://localhost:4711/callback"),
        ("redirect_uri", "http://127.0.0.1:4711/elsewhere"),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://127.0.0.1:4711/callback#x"),
    ];
    for (name, value) in table {
        let page = Person::new("alice", "alice").open(&desk.authorize(&[(name, value)])).await.unwrap();
        assert_eq!((page.status.as_u16(), page.redirect.clone()), (400, None), "{name}={value}: {}", page.text());
    }
}

#[tokio::test]
async fn a_wrong_request_goes_back_with_the_error() {
    let desk = Desk::new().await;
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("response_type", "")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("request", "eyJ")], "request_not_supported"),
        (&[("request_uri", "urn:x")], "request_uri_not_supported"),
        (&[("resource", "https://other.example")], "invalid_target"),
        (&[("max_age", "-1")], "invalid_request"),
        (&[("dpop_jkt", "short")], "invalid_request"),
        (&[("prompt", "none")], "login_required"),
        (&[("prompt", "none login")], "invalid_request"),
    ];
    for (changes, error) in table {
        let page = Person::new("alice", "alice").open(&desk.authorize(changes)).await.unwrap();
        assert_eq!(parameter(back(&page), "error").unwrap(), *error, "{changes:?}");
        assert_eq!(parameter(back(&page), "state").unwrap(), "xyz & more");
        assert_eq!(parameter(back(&page), "iss").unwrap(), desk.idp.issuer());
        assert_eq!(parameter(back(&page), "code"), None);
    }
    let denied = Person::new("alice", "alice").deny(&desk.authorize(&[])).await.unwrap();
    assert_eq!(parameter(back(&denied), "error").unwrap(), "access_denied");
}

#[tokio::test]
async fn a_code_is_good_once_for_a_minute_and_for_who_asked() {
    let desk = Desk::with(|config| Config { approve: Some("alice".into()), ..config }).await;
    let mut person = Person::new("alice", "alice");
    let new = code(&person.open(&desk.authorize(&[])).await.unwrap());
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("code_verifier", "")], "invalid_request"),
        (&[("code_verifier", "wrong")], "invalid_grant"),
        (&[("redirect_uri", "http://127.0.0.1:4712/callback")], "invalid_grant"),
        (&[("code", "guess")], "invalid_grant"),
    ];
    for (changes, error) in table {
        desk.redeem(&new, changes).await.refused(400, error);
    }
    let tokens = desk.redeem(&new, &[]).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    desk.redeem(&new, &[]).await.refused(400, "invalid_grant");
    desk.refresh(tokens.text("refresh_token")).await.refused(400, "invalid_grant");
    assert_eq!(desk.introspect(tokens.text("access_token")).await["active"], false);

    let old = code(&person.open(&desk.authorize(&[])).await.unwrap());
    desk.pass(60);
    desk.redeem(&old, &[]).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn a_key_named_in_the_request_must_redeem_the_code() {
    let desk = Desk::with(|config| Config { approve: Some("alice".into()), ..config }).await;
    let key = SoftwareKey::generate().unwrap();
    let jkt = key.public_key().thumbprint().to_string();
    let address = desk.authorize(&[("dpop_jkt", &jkt)]);
    let code = code(&Person::new("alice", "alice").open(&address).await.unwrap());
    desk.redeem(&code, &[]).await.refused(400, "invalid_grant");
    let fields = [
        ("client_id", "ztsa-cli"),
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", crate::desk::VERIFIER),
    ];
    assert_eq!(desk.post_with(&key, "/token", &fields).await.text("token_type"), "DPoP");
}

#[tokio::test]
async fn an_old_or_weak_sign_in_is_asked_for_again() {
    let desk = Desk::new().await;
    let mut alice = Person::new("alice", "alice");
    let id_token = async |page: &Page| desk.redeem(&code(page), &[]).await.claims("id_token");
    alice.approve(&desk.authorize(&[])).await.unwrap();
    let first = desk.clock.now().0;

    // signed in already: straight to consent
    desk.pass(100);
    let page = alice.open(&desk.authorize(&[("max_age", "300")])).await.unwrap();
    assert!(page.action().unwrap().ends_with("/decision"), "{}", page.text());
    let page = alice.submit(&page, &[("decision", "approve")]).await.unwrap();
    assert_eq!(id_token(&page).await["auth_time"], first);

    for (name, value) in [("max_age", "100"), ("max_age", "0"), ("prompt", "login")] {
        let address = desk.authorize(&[(name, value)]);
        let page = alice.open(&address).await.unwrap();
        assert!(page.text().contains("sign in again"), "{name}={value}: {}", page.text());
        desk.pass(7);
        let page = alice.approve(&address).await.unwrap();
        assert_eq!(id_token(&page).await["auth_time"], desk.clock.now().0, "{name}={value}");
        desk.pass(100);
    }

    let address = desk.authorize(&[("acr_values", "phr mfa pwd")]);
    assert!(alice.open(&address).await.unwrap().text().contains("with a second factor"));
    let strong = id_token(&alice.approve(&address).await.unwrap()).await;
    assert_eq!((&strong["acr"], &strong["amr"]), (&json!("mfa"), &json!(["pwd", "otp", "mfa"])));
}

#[tokio::test]
async fn signing_out_ends_the_browser_session() {
    let desk = Desk::new().await;
    let mut alice = Person::new("alice", "alice");
    let tokens = desk.redeem(&code(&alice.approve(&desk.authorize(&[])).await.unwrap()), &[]).await;
    let page = alice.open(&desk.at("/end_session")).await.unwrap();
    assert!(page.text().contains("Sign out?"));
    let page = alice.submit(&page, &[]).await.unwrap();
    assert!(page.text().contains("Signed out"));
    let page = alice.open(&desk.authorize(&[])).await.unwrap();
    assert!(page.action().unwrap().ends_with("/sign-in"));

    alice.approve(&desk.authorize(&[])).await.unwrap();
    let mut address = Url::parse(&desk.at("/end_session")).unwrap();
    address
        .query_pairs_mut()
        .append_pair("id_token_hint", tokens.text("id_token"))
        .append_pair("post_logout_redirect_uri", REDIRECT)
        .append_pair("state", "bye");
    let page = alice.open(address.as_str()).await.unwrap();
    assert_eq!(back(&page).as_str(), format!("{REDIRECT}?state=bye"));
}
