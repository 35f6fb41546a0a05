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
    // what is no app must not come to us: the browser would find this site by itself, and we do not know it
    let (public, elsewhere) = (HttpServer::start(), "www.example");
    let open = |name: &str, url: &str| {
        let mut chromium = home.command("chromium");
        chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        chromium.args(["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=10000"]);
        chromium.arg(format!("--user-data-dir={}", home.folder().join(name).display()));
        chromium.arg(format!("--host-resolver-rules=MAP {elsewhere} 127.0.0.1"));
        chromium.args([format!("--proxy-pac-url={pac}"), "--dump-dom".to_owned()]);
        finish(chromium.arg(url))
    };
    for (name, url, site) in [
        ("private", format!("http://{HOST}:{}/", server.port), &server),
        ("public", format!("http://{elsewhere}:{}/", public.port), &public),
    ] {
        let outcome = open(name, &url);
        assert!(outcome.stdout.contains("the private wiki"), "{name}: {outcome}\nproxy: {}", proxy.log());
        assert_eq!(site.requests().matches("GET / HTTP/1.1").count(), 1, "{name}: {}", site.requests());
    }
    let said = [proxy.log(), gateway.audit()].concat();
    assert!(said.contains("handbook") && !said.contains(elsewhere), "{said}");
}
