//! Chromium with a proxy auto-configuration file.

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::finish;
use crate::program::http_server::HttpServer;

const HOST: &str = "wiki.corp.internal";

#[test]
fn chromium_opens_a_private_page_by_a_pac_file() {
    let server = HttpServer::start();
    let gateway = Gateway::dev(&[App("handbook", "http", server.port, &[HOST])]);
    let home = Home::signed_in(&gateway);
    let mut proxy = home.start(&["proxy", "--listen", "127.0.0.1:0", "--pac", "--json"]);
    let ready = proxy.line(".pac");
    let pac: String =
        ready[ready.find("http://").unwrap()..].chars().take_while(|c| !matches!(c, '"' | ' ' | '\n')).collect();
    let mut chromium = home.command("chromium");
    chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=10000"]);
    chromium.arg(format!("--user-data-dir={}", home.folder().join("chromium").display()));
    chromium.args([format!("--proxy-pac-url={pac}"), "--dump-dom".to_owned()]);
    let outcome = finish(chromium.arg(format!("http://{HOST}:{}/", server.port)));
    assert!(outcome.stdout.contains("the private wiki"), "{outcome}\nproxy: {}", proxy.log());
    // what is no app does not come to us: the file sends it elsewhere
    assert_eq!(server.requests().matches("GET / HTTP/1.1").count(), 1, "{}", server.requests());
}
