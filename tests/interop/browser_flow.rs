//! Signing in by the browser flow (RFC 8252, RFC 7636), through the issuers' real pages in a real browser: it comes back
//! to the port that `ztsa login` listens on.

use serde_json::{Value, json};

use crate::gateway::{App, Gateway, Issuer, future_url};
use crate::home::Home;
use crate::process::{Process, finish};
use crate::program::certificate::Authority;
use crate::program::chromium::Chromium;
use crate::program::glewlwyd::Glewlwyd;
use crate::program::http_server::HttpServer;
use crate::program::idp::Idp;
use crate::program::oidc_provider::{OidcProvider, SCOPES};
use crate::sign_in::{end, stays, works};

/// Starts `ztsa login --browser` and returns it with the address that the browser is to open.
pub fn begin(home: &Home, arguments: &[&str]) -> (Process, String) {
    let mut login = home.start(&[&["login", "--browser", "--no-open"], arguments].concat());
    let line = login.line("response_type=code");
    let url = line[line.find("http").unwrap()..].split_whitespace().next().unwrap().to_owned();
    (login, url)
}

/// Asserts that the browser ended at ztsa's own page on loopback, and that the page holds nothing secret.
pub fn came_back(seen: &Value) {
    let url = seen["url"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && url.contains("/callback?"), "{seen}");
    assert!(seen["text"].as_str().unwrap().starts_with("Signed in"), "{seen}");
}

#[test]
fn oidc_provider_in_chromium_with_dpop_nonces_and_rotation() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let provider = OidcProvider::start(&audience);
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &[&gateway.url]);
    came_back(&Chromium::start().go(&OidcProvider::job(&url, "alice")));
    end(login);
    works(&home, &server);
    stays(&home, || provider.log().matches("granted refresh_token by proof").count());
    let log = provider.log();
    assert!(log.contains("granted authorization_code by proof"), "{log}");
    assert!(!log.contains("bare") && !log.contains("grant.revoked") && !log.contains("invalid_grant"), "{log}");
}

#[test]
fn oidc_provider_by_pages_without_script_and_tokens_without_keys() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let provider = OidcProvider::with(&audience, "none", "jwt");
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &[&gateway.url]);
    let page = provider.visit(&url, "alice");
    assert!(page.contains("<h1>Signed in</h1>"), "{page}");
    end(login);
    works(&home, &server);
    stays(&home, || provider.log().matches("granted refresh_token bare").count());
    assert!(!provider.log().contains("by proof") && !provider.log().contains("grant.revoked"), "{}", provider.log());
}

#[test]
fn somebody_who_says_no_at_the_issuer_is_not_signed_in_and_told_so() {
    let (audience, port) = future_url();
    let authority = Authority::new();
    let provider = OidcProvider::start(&audience);
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run(&[], &authority, &issuer);
    let home = Home::new(&gateway);
    let (mut login, url) = begin(&home, &[&gateway.url]);
    let seen = Chromium::start().go(&json!({"url": url, "press": [{"text": "[ Cancel ]"}], "until": "Not signed in"}));
    assert!(seen["text"].as_str().unwrap().starts_with("Not signed in"), "{seen}");
    assert!(!login.ended().success());
    assert!(login.log().contains("aborted interaction"), "{}", login.log());
    finish(&mut home.ztsa(&["connect", "handbook", "--", "true"])).exits(3);
}

#[test]
fn ztsa_idp_in_chromium_under_every_page_it_has() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let idp = Idp::start(&["--dpop-nonce", "--audience", &audience]);
    let issuer = Issuer { url: &idp.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &[&gateway.url]);
    came_back(&Chromium::start().go(&Idp::job(&url, "alice")));
    end(login);
    works(&home, &server);
}

#[test]
fn glewlwyd_compares_the_port_and_is_given_its_own() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let glewlwyd = Glewlwyd::start(&audience);
    let issuer = Issuer { url: &glewlwyd.issuer, audience: &audience, port, scopes: &["openid"] };
    let port = format!("redirect_port = {}", glewlwyd.redirect_port);
    let gateway = Gateway::run_with(&[App("handbook", "http", server.port, &[])], &authority, &issuer, &port, "");
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &[&gateway.url]);
    let page = glewlwyd.visit(&url, &[]);
    assert!(page.contains("<h1>Signed in</h1>"), "{page}");
    end(login);
    works(&home, &server);
    stays(&home, || glewlwyd.refresh_tokens() - 1);
}
