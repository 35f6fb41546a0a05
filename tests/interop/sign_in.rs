//! Signing in at issuers that others wrote, by the device flow and through their real pages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::gateway::{App, Gateway, Issuer, future_url};
use crate::home::Home;
use crate::process::{PATIENCE, Process, finish, until};
use crate::program::certificate::Authority;
use crate::program::glewlwyd::Glewlwyd;
use crate::program::http_server::{HttpServer, PAGE};
use crate::program::oidc_provider::{OidcProvider, SCOPES};

/// Starts `ztsa login` and returns it with the address that the person is to open, code included.
pub fn begin(home: &Home, gateway: &Gateway) -> (Process, String) {
    let mut login = home.start(&["login", "--device", "--no-open", &gateway.url]);
    let line = login.line("code=");
    let url = line.split_whitespace().find(|word| word.contains("code=")).unwrap();
    let url = url[url.find("http").unwrap()..].trim_end_matches(['"', ',', '.', ')']).to_owned();
    (login, url)
}

/// Waits for the end of a login that was approved.
pub fn end(mut login: Process) {
    let status = login.ended();
    assert!(status.success(), "login ended with {status} and wrote:\n{}", login.log());
}

/// Asserts that a signed-in person reaches the app, and that no credential lies about in the open.
pub fn works(home: &Home, server: &HttpServer) {
    let mut curl = home.ztsa(&["connect", "handbook", "--", "curl", "--silent", "--show-error", "http://{addr}/"]);
    assert_eq!(finish(&mut curl).ok(), PAGE);
    assert_eq!(server.requests().matches("GET / ").count(), 1);
    let mut files = 0;
    credentials(&home.folder().join("state"), &mut |path, bytes| {
        // the gateway's address and its roots are no secret
        if matches!(path.file_name().and_then(|name| name.to_str()), Some("ca.pem" | "profile.json")) {
            return;
        }
        files += 1;
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        // by the dot before its claims, which neither a nonce nor sealed bytes show by chance
        let open = bytes.windows(4).any(|four| four == b".eyJ");
        assert!(!open, "{} holds a token in the open", path.display());
    });
    assert!(files > 0, "nothing was kept");
}

/// Asserts that a person who comes back stays signed in until the issuer has refreshed twice: the second time with the
/// refresh token that the first left.
pub fn stays(home: &Home, refreshed: impl Fn() -> usize) {
    until("the second refresh", PATIENCE, || {
        home.lose_session();
        let mut curl = home.ztsa(&["connect", "handbook", "--", "curl", "--silent", "--show-error", "http://{addr}/"]);
        assert_eq!(finish(&mut curl).ok(), PAGE);
        (refreshed() >= 2).then_some(())
    });
}

fn credentials(folder: &Path, look: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { credentials(&path, look) } else { look(&path, &fs::read(&path).unwrap()) }
    }
}

#[test]
fn oidc_provider_by_its_own_pages_with_dpop_nonces_and_rotation() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let provider = OidcProvider::start(&audience);
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &gateway);
    provider.approve(&url, "alice");
    end(login);
    works(&home, &server);
    let status = finish(&mut home.ztsa(&["status", "--json"])).ok();
    assert!(status.contains("alice@example.com") && status.contains("dev"), "{status}");
    stays(&home, || provider.log().matches("granted refresh_token by proof").count());
    // what the issuer saw: each grant with a proof of the device's key, and no refresh token twice
    let log = provider.log();
    assert!(log.contains("granted urn:ietf:params:oauth:grant-type:device_code by proof"), "{log}");
    assert!(!log.contains("bare") && !log.contains("grant.revoked") && !log.contains("invalid_grant"), "{log}");
}

#[test]
fn somebody_without_the_group_is_denied_with_a_reason() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let provider = OidcProvider::start(&audience);
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &gateway);
    provider.approve(&url, "bob");
    end(login);
    let denied = finish(&mut home.ztsa(&["connect", "handbook", "--", "curl", "http://{addr}/"])).exits(4);
    assert!(denied.stderr.contains("handbook"), "{denied}");
    // asked for by its port, the app is asked for at the gateway, and the refusal is on record
    finish(&mut home.ztsa(&["stdio", &format!("handbook:{}", server.port)])).exits(4);
    assert_eq!(server.requests().matches("GET / ").count(), 0);
    let recorded = || gateway.audit().contains("handbook").then_some(());
    until("a line about the refusal in the audit log", PATIENCE, recorded);
}

#[test]
fn glewlwyd_by_its_own_pages() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let glewlwyd = Glewlwyd::start(&audience);
    let issuer = Issuer { url: &glewlwyd.issuer, audience: &audience, port, scopes: &["openid"] };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &gateway);
    glewlwyd.approve(&url);
    end(login);
    works(&home, &server);
    // one refresh token at the sign-in, and one more for each refresh
    stays(&home, || glewlwyd.refresh_tokens() - 1);
}
