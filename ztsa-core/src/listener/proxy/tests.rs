use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ztsa_proto::app::Kind;

use super::*;
use crate::listener::event::Event;
use crate::listener::listen::Listen;
use crate::listener::tests::{Plain, event, rest};

mod plain;

/// A proxy before an app `echo`, an app `wiki` that speaks HTTP, and some that refuse.
async fn proxy(password: Option<&str>) -> (Proxy, Reporter, Plain) {
    let dial = Plain::default()
        .without("denied", "policy.no_match")
        .without("closed", "app.refused")
        .without("signed-out", "auth.required");
    let echo = dial.echo().await;
    let wiki = plain::wiki(&dial).await;
    let dial = dial.with("echo", Kind::Tcp, echo).with("wiki", Kind::Http, wiki);
    let reporter = Reporter::new();
    let listener = Listen::Loopback(0).bind().unwrap();
    let password = password.map(|password| Secret::new(password.to_owned()));
    (Proxy::spawn(listener, password, dial.clone(), reporter.clone()), reporter, dial)
}

/// Sends `bytes`, ends its own side, and reads everything.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    rest(&mut stream).await
}

fn socks5(host: &str) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    bytes.extend_from_slice(host.as_bytes());
    bytes.extend_from_slice(&[0, 80]);
    bytes
}

#[tokio::test]
async fn the_first_byte_tells_the_protocol_on_both_addresses() {
    let (proxy, _reporter, dial) = proxy(None).await;
    assert_eq!(proxy.local_addr().ip().to_string(), "127.0.0.1");
    for address in proxy.local_addrs() {
        let answer = exchange(*address, &[&socks5("ECHO.")[..], b"over socks5"].concat()).await;
        assert_eq!(answer, [&[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"over socks5"].concat());
        let answer = exchange(*address, b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00echo\x00over socks4a").await;
        assert_eq!(answer, b"\x00\x5A\x00\x00\x00\x00\x00\x00over socks4a");
        // what nc sends, and bytes that did not wait for the answer
        let answer = exchange(*address, b"CONNECT echo:80 HTTP/1.0\r\n\r\nover connect").await;
        assert_eq!(answer, b"HTTP/1.1 200 Connection established\r\n\r\nover connect");
    }
    assert!(dial.asked().iter().all(|to| to == "echo:80"), "{:?}", dial.asked());
}

#[tokio::test]
async fn a_refusal_is_told_in_each_protocols_words() {
    let (proxy, reporter, _dial) = proxy(None).await;
    let mut events = reporter.events();
    let at = proxy.local_addr();
    for (app, code) in [("denied", 2), ("nothing", 4), ("closed", 5), ("signed-out", 1)] {
        // early bytes must not turn the answer into a reset
        let answer = exchange(at, &[socks5(app), vec![b'x'; 20_000]].concat()).await;
        assert_eq!(answer.get(..4), Some(&[5, 0, 5, code][..]), "{app}");
        let answer = exchange(at, format!("\x04\x01\0\x50\0\0\0\x01\0{app}\0").as_bytes()).await;
        assert_eq!(answer.get(..2), Some(&[0, 0x5B][..]), "{app}");
    }
    let refused = event(&mut events, |event| match event {
        Event::Refused { to, problem, way } => Some((to.to_string(), problem.code.clone(), way)),
        _ => None,
    });
    assert_eq!(refused.await, ("denied:80".to_owned(), "policy.no_match".to_owned(), Way::Socks5));

    for (app, status, code) in
        [("denied", 403, "policy.no_match"), ("nothing", 404, "app.unknown"), ("closed", 502, "app.refused")]
    {
        let answer = exchange(at, format!("CONNECT {app}:80 HTTP/1.1\r\nHost: {app}:80\r\n\r\nearly").as_bytes()).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("proxy-status: ztsa; error="), "{head}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], code);
    }
}

#[tokio::test]
async fn a_password_guards_every_protocol() {
    let (proxy, reporter, dial) = proxy(Some("s3cret")).await;
    let mut events = reporter.events();
    let at = proxy.local_addr();
    assert_eq!(exchange(at, &socks5("echo")).await, [5, 0xFF]);
    let reason =
        event(&mut events, |event| if let Event::Rejected { reason, .. } = event { Some(reason) } else { None });
    assert!(reason.await.contains("password"));
    let answer = exchange(at, b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00echo\x00").await;
    assert_eq!(answer.get(..2), Some(&[0, 0x5B][..]));
    for head in ["CONNECT echo:80 HTTP/1.1\r\n\r\n", "GET http://wiki/ HTTP/1.1\r\nHost: wiki\r\n\r\n"] {
        let answer = String::from_utf8(exchange(at, head.as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
        assert!(answer.contains("proxy-authenticate: Basic"), "{answer}");
    }
    assert_eq!(dial.tries(), 0, "nobody came through");
    let head = "CONNECT echo:80 HTTP/1.1\r\nProxy-Authorization: Basic bWU6czNjcmV0\r\n\r\nhi";
    let answer = exchange(at, head.as_bytes()).await;
    assert_eq!(answer, b"HTTP/1.1 200 Connection established\r\n\r\nhi");
}

#[tokio::test]
async fn what_is_no_protocol_is_turned_away_and_the_port_goes_on() {
    let (proxy, reporter, _dial) = proxy(None).await;
    let mut events = reporter.events();
    let at = proxy.local_addr();
    for (bytes, word) in [(&b"\x16\x03\x01\x02\x00\x01"[..], "TLS"), (b"\x00\x00", "neither"), (b"\xff", "neither")] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut none = Vec::new();
        let _ = stream.read_to_end(&mut none).await;
        assert!(none.is_empty());
        let reason =
            event(&mut events, |event| if let Event::Rejected { reason, .. } = event { Some(reason) } else { None });
        assert!(reason.await.contains(word));
    }
    for (head, status) in [
        ("CONNECT wiki HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("CONNECT wiki:80 HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(9000)), "431"),
        (format!("GET http://wiki/ HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(90_000)), "431"),
        ("GET http://wiki/ HTTP/1.1\r\nbad field\r\n\r\n".to_owned(), "400"),
    ] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        // the port may answer before it has read everything
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
    let answer = exchange(at, &[&socks5("echo")[..], b"still here"].concat()).await;
    assert!(answer.ends_with(b"still here"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_or_not_enough_is_dropped_after_ten_seconds() {
    let (proxy, _reporter, _dial) = proxy(None).await;
    let starts: [&[u8]; 5] = [b"", b"\x05", b"\x04\x01\x00\x50", b"CONNECT wiki:80 HT", b"GET http://wiki/ HT"];
    for start in starts {
        let before = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
        stream.write_all(start).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{start:?}: {answer:?}");
        let waited = before.elapsed();
        assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(25), "{start:?}: {waited:?}");
    }
}

#[tokio::test]
async fn two_hundred_at_once_are_served() {
    let (proxy, _reporter, _dial) = proxy(None).await;
    let at = proxy.local_addr();
    let clients = (0..200_u32).map(|number| async move {
        let text = format!("CONNECT echo:80 HTTP/1.1\r\n\r\n{number}");
        let answer = exchange(at, text.as_bytes()).await;
        assert_eq!(answer, format!("HTTP/1.1 200 Connection established\r\n\r\n{number}").into_bytes());
    });
    futures_util::future::join_all(clients).await;
}
