//! Signing out: the issuer is told (RFC 7009), and what was left on another machine is of no more use.

use std::fs;

use crate::gateway::{App, Gateway, Issuer, future_url};
use crate::home::Home;
use crate::process::{PATIENCE, finish, until};
use crate::program::certificate::Authority;
use crate::program::http_server::HttpServer;
use crate::program::idp::Idp;
use crate::program::oidc_provider::{OidcProvider, SCOPES};
use crate::sign_in::{begin, end, works};

/// Copies what a machine keeps, as a thief of its disk would who has the key as well.
fn copied(home: &Home) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut folders = vec![home.folder().join("state")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push((path.clone(), fs::read(&path).unwrap())) }
        }
    }
    files
}

fn restored(files: &[(std::path::PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn after_logout_the_issuer_and_the_gateway_refuse_what_was_kept_of_the_sign_in() {
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
    let kept = copied(&home);
    let told = finish(&mut home.ztsa(&["logout", "--json"])).ok();
    assert!(told.contains("\"gateway_told\":true") && told.contains("\"issuer_told\":true"), "{told}");
    assert!(provider.log().contains("grant.revoked"), "{}", provider.log());
    finish(&mut home.ztsa(&["connect", "handbook", "--", "true"])).exits(3);
    // the gateway's session has ended
    restored(&kept);
    let curl = || home.ztsa(&["connect", "handbook", "--", "curl", "--silent", "http://{addr}/"]);
    finish(&mut curl()).exits(3);
    assert_eq!(server.requests().matches("GET / ").count(), 1, "nothing went through after the logout");
    // what the issuer gave before the sign-out begins no session, and the issuer does not renew it
    until("the issuer to be asked for another token", PATIENCE, || {
        restored(&kept);
        home.lose_session();
        finish(&mut curl()).exits(3);
        provider.log().contains("invalid_grant").then_some(())
    });
}

#[test]
fn logout_tells_ztsa_idp_and_works_again_after_a_new_sign_in() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let idp = Idp::start(&["--approve", "alice", "--audience", &audience]);
    let issuer = Issuer { url: &idp.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let home = Home::new(&gateway);
    finish(&mut home.ztsa(&["login", "--device", "--no-open", &gateway.url])).ok();
    let told = finish(&mut home.ztsa(&["logout", "--json"])).ok();
    assert!(told.contains("\"gateway_told\":true") && told.contains("\"issuer_told\":true"), "{told}");
    finish(&mut home.ztsa(&["login", "--device", "--no-open", &gateway.url])).ok();
    works(&home, &server);
}
