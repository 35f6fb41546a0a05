//! Clients that cannot run ztsa: classic CONNECT at the gateway, with a ticket.

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{Outcome, finish};
use crate::program::http_server::{HttpServer, PAGE};

const HOST: &str = "wiki.corp.internal";

#[test]
fn curl_reaches_one_app_with_a_ticket_and_no_other() {
    let (server, other) = (HttpServer::start(), HttpServer::start());
    let gateway = Gateway::dev(&[
        App("handbook", "http", server.port, &[HOST]),
        App("payslips", "http", other.port, &["pay.corp.internal"]),
    ]);
    let home = Home::signed_in(&gateway);
    let ticket = finish(&mut home.ztsa(&["ticket", "handbook", "--for", "10m"])).ok();
    let ticket = ticket.trim();
    assert!(!ticket.is_empty() && !ticket.contains(char::is_whitespace), "{ticket:?}");
    let curl = |user: &str, url: &str| -> Outcome {
        let mut curl = home.command("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--proxytunnel", "--proxy", &gateway.url]);
        finish(curl.arg("--proxy-cacert").arg(&gateway.ca).args(["--proxy-user", user, url]))
    };
    let url = format!("http://{HOST}:{}/", server.port);
    assert_eq!(curl(&format!("x:{ticket}"), &url).ok(), PAGE);
    let outcome = curl(&format!("x:{ticket}"), &format!("http://pay.corp.internal:{}/", other.port)).exits(56);
    assert!(outcome.stderr.contains("response 407"), "{outcome}");
    let outcome = curl("x:no-ticket", &url).exits(56);
    assert!(outcome.stderr.contains("response 407"), "{outcome}");
    assert_eq!(server.requests().matches("GET / ").count(), 1);
    assert_eq!(other.requests().matches("GET / ").count(), 0);
}

#[test]
fn a_ticket_for_one_use_opens_one_tunnel() {
    let server = HttpServer::start();
    let gateway = Gateway::dev(&[App("handbook", "http", server.port, &[HOST])]);
    let home = Home::signed_in(&gateway);
    let ticket = finish(&mut home.ztsa(&["ticket", "handbook", "--uses", "1"])).ok();
    let curl = || {
        let mut curl = home.command("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--proxytunnel", "--proxy", &gateway.url]);
        curl.arg("--proxy-cacert").arg(&gateway.ca).args(["--proxy-header"]);
        curl.arg(format!("Proxy-Authorization: Bearer {}", ticket.trim()));
        finish(curl.arg(format!("http://{HOST}:{}/", server.port)))
    };
    assert_eq!(curl().ok(), PAGE);
    let outcome = curl().exits(56);
    assert!(outcome.stderr.contains("response 407"), "{outcome}");
}
