//! Our proofs of possession, judged by what others wrote (RFC 9449).

use crate::gateway::{App, Gateway, Issuer};
use crate::home::Home;
use crate::process::{finish, free_port};
use crate::program::certificate::Authority;
use crate::program::http_server::{HttpServer, PAGE};
use crate::program::oidc_provider::{OidcProvider, SCOPES};
use crate::program::witness::Witness;
use crate::sign_in::{begin, end};

#[test]
fn every_proof_of_ztsa_is_good_to_jose() {
    let (server, authority) = (HttpServer::start(), Authority::new());
    let (front, behind) = (free_port(), free_port());
    let audience = format!("https://127.0.0.1:{front}");
    let provider = OidcProvider::start(&audience);
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port: behind, scopes: &SCOPES };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let witness = Witness::start(front, behind, &authority);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &gateway);
    provider.approve(&url, "alice");
    end(login);
    let mut curl = home.ztsa(&["connect", "handbook", "--", "curl", "--silent", "--show-error", "http://{addr}/"]);
    assert_eq!(finish(&mut curl).ok(), PAGE);
    finish(&mut home.ztsa(&["apps"])).ok();
    finish(&mut home.ztsa(&["why", "handbook"])).ok();
    finish(&mut home.ztsa(&["logout"])).ok();
    let verdicts = witness.verdicts();
    let all = verdicts.join("\n");
    for request in [
        "POST /ztsa/v1/token proven",
        "GET /ztsa/v1/apps proven",
        "GET /ztsa/v1/why?app=handbook proven",
        "DELETE /ztsa/v1/session proven",
    ] {
        assert!(verdicts.iter().any(|verdict| verdict == request), "{request} is missing in:\n{all}");
    }
    let tunnel = |verdict: &String| {
        verdict.starts_with("CONNECT /.well-known/masque/tcp/handbook/") && verdict.ends_with(" proven")
    };
    assert!(verdicts.iter().any(tunnel), "no tunnel in:\n{all}");
    // only what says nothing of anybody goes without a proof
    let bare: Vec<_> = verdicts.iter().filter(|verdict| !verdict.ends_with(" proven")).collect();
    assert!(bare.iter().all(|verdict| *verdict == "GET /.well-known/oauth-protected-resource bare"), "{bare:#?}");
}
