//! An issuer whose access tokens say nothing: the gateway asks it by introspection (RFC 7662).

use crate::browser_flow::begin;
use crate::gateway::{App, Gateway, Issuer, future_url};
use crate::home::Home;
use crate::process::finish;
use crate::program::certificate::Authority;
use crate::program::http_server::HttpServer;
use crate::program::oidc_provider::{OidcProvider, SCOPES};
use crate::sign_in::{self, end, stays, works};

const INTROSPECTION: &str = "tokens = \"introspection\"\n\
    introspection = { client_id = \"ztsa-gateway\", client_secret_file = \"introspection.secret\" }";

#[test]
fn opaque_tokens_of_oidc_provider_by_introspection_in_both_flows() {
    for flow in ["device", "browser"] {
        let (audience, port) = future_url();
        let (server, authority) = (HttpServer::start(), Authority::new());
        let provider = OidcProvider::with(&audience, "plain", "opaque");
        let issuer = Issuer { url: &provider.issuer, audience: &audience, port, scopes: &SCOPES };
        let apps = [App("handbook", "http", server.port, &[])];
        let gateway = Gateway::run_with(&apps, &authority, &issuer, INTROSPECTION, "");
        let home = Home::new(&gateway);
        if flow == "device" {
            let (login, url) = sign_in::begin(&home, &gateway);
            provider.approve(&url, "alice");
            end(login);
        } else {
            let (login, url) = begin(&home, &[&gateway.url]);
            assert!(provider.visit(&url, "alice").contains("Signed in"));
            end(login);
        }
        works(&home, &server);
        stays(&home, || provider.log().matches("granted refresh_token by proof").count());
        let who = finish(&mut home.ztsa(&["status", "--json"])).ok();
        assert!(who.contains("alice@example.com") && who.contains("dev"), "{who}");
    }
}

#[test]
fn an_issuer_that_does_not_answer_for_its_tokens_lets_nobody_in() {
    let (audience, port) = future_url();
    let authority = Authority::new();
    // JWTs, which this issuer refuses to introspect: the gateway cannot tell, and so it is no
    let provider = OidcProvider::with(&audience, "nonce", "jwt");
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run_with(&[], &authority, &issuer, INTROSPECTION, "");
    let home = Home::new(&gateway);
    let (mut login, url) = sign_in::begin(&home, &gateway);
    provider.approve(&url, "alice");
    assert!(!login.ended().success());
    assert!(login.log().contains("issuer"), "{}", login.log());
    assert!(!gateway.audit().contains("alice"), "{}", gateway.audit());
}
