//! Clients of the local SOCKS5 and HTTP CONNECT port.

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{Process, finish};
use crate::program::http_server::{HttpServer, PAGE};

/// The wiki's real name; only the gateway can resolve it.
const HOST: &str = "wiki.corp.internal";

/// An HTTP app, a gateway in front of it and a signed-in person's local proxy.
struct Road {
    home: Home,
    address: String,
    url: String,
    _proxy: Process,
    _gateway: Gateway,
    server: HttpServer,
}

fn road() -> Road {
    let server = HttpServer::start();
    let gateway = Gateway::dev(&[App("handbook", "http", server.port, &[HOST])]);
    let home = Home::signed_in(&gateway);
    let (proxy, address) = home.proxy();
    let url = format!("http://{HOST}:{}/", server.port);
    Road { home, address, url, _proxy: proxy, _gateway: gateway, server }
}

impl Road {
    fn curl(&self, arguments: &[&str]) -> crate::process::Outcome {
        finish(self.home.command("curl").args(["--silent", "--show-error", "--max-time", "20"]).args(arguments))
    }
}

#[test]
fn curl_reads_a_page_by_socks5_with_the_name_resolved_at_the_gateway() {
    let road = road();
    assert_eq!(road.curl(&["--socks5-hostname", &road.address, &road.url]).ok(), PAGE);
    let by_app = format!("http://handbook.ztsa:{}/", road.server.port);
    assert_eq!(road.curl(&["--socks5-hostname", &road.address, &by_app]).ok(), PAGE);
    assert_eq!(road.server.requests().matches("GET / HTTP/1.1").count(), 2);
}

#[test]
fn curl_is_told_that_an_app_is_unknown() {
    let road = road();
    // 97: CURLE_PROXY; (4): host unreachable
    let outcome = road.curl(&["--socks5-hostname", &road.address, "http://nowhere.corp.internal/"]).exits(97);
    assert!(outcome.stderr.contains("(4)"), "{outcome}");
    let outcome = road.curl(&[
        "--proxytunnel",
        "--proxy",
        &format!("http://{}", road.address),
        "http://nowhere.corp.internal/",
        "--include",
    ]);
    assert!(outcome.stderr.contains("404"), "{outcome}");
}

#[test]
fn curl_reads_a_page_by_http_connect() {
    let road = road();
    let proxy = format!("http://{}", road.address);
    assert_eq!(road.curl(&["--proxytunnel", "--proxy", &proxy, &road.url]).ok(), PAGE);
    assert_eq!(road.curl(&["--proxytunnel", "--proxy1.0", &proxy, &road.url]).ok(), PAGE);
}

#[test]
fn curl_without_a_tunnel_reads_the_page_and_is_told_what_it_may_not_have() {
    let road = road();
    let proxy = format!("http://{}", road.address);
    let told = ["--proxy", &proxy, "--write-out", "\n%{http_code} %{content_type}"];
    let curl = |url: &str| {
        let outcome = road.curl(&[&told[..], &[url]].concat()).ok();
        let (body, how) = outcome.rsplit_once('\n').unwrap();
        (body.to_owned(), how.to_owned())
    };
    // `GET http://..` in absolute form
    assert_eq!(curl(&road.url), (PAGE.to_owned(), "200 text/html".to_owned()));
    assert_eq!(road.server.requests().matches("GET / HTTP/1.1").count(), 1);
    let (body, how) = curl("http://nowhere.corp.internal/");
    assert_eq!(how, "404 application/problem+json", "{body}");
    assert!(body.contains("\"app.unknown\"") && body.contains("ztsa apps"), "{body}");
}

#[test]
fn netcat_by_connect_and_by_socks5() {
    let road = road();
    for kind in ["connect", "5"] {
        let request = format!(
            "printf 'GET / HTTP/1.0\\r\\nHost: {HOST}\\r\\n\\r\\n' | nc.openbsd -X {kind} -x {} {HOST} {}",
            road.address, road.server.port
        );
        let answer = finish(road.home.command("sh").args(["-c", &request])).ok();
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{kind}: {answer}");
        assert!(answer.ends_with(PAGE), "{kind}: {answer}");
    }
}

#[test]
fn pysocks_reads_a_page_with_the_name_resolved_at_the_gateway() {
    let road = road();
    let (host, port) = road.address.rsplit_once(':').unwrap();
    let script = format!(
        "import socks\ns = socks.socksocket()\ns.set_proxy(socks.SOCKS5, '{host}', {port}, rdns=True)\ns.settimeout(20)\n\
         s.connect(('{HOST}', {}))\ns.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\ndata = b''\n\
         while chunk := s.recv(4096):\n    data += chunk\nprint(data.decode(), end='')\n\
         try:\n    t = socks.socksocket()\n    t.set_proxy(socks.SOCKS5, '{host}', {port}, rdns=True)\n    t.connect(('nowhere.internal', 80))\n\
         except socks.ProxyError as error:\n    print('refused:', error)\n",
        road.server.port
    );
    let script = road.home.folder().write("client.py", &script);
    let said = finish(road.home.command("/usr/bin/python3").arg(script)).ok();
    assert!(said.starts_with("HTTP/1.0 200 OK"), "{said}");
    assert!(said.contains(PAGE), "{said}");
    assert!(said.contains("refused: ") && said.contains("0x04"), "{said}");
}
