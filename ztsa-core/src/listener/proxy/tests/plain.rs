//! Plain HTTP through the port, and requests for the port itself.

use super::*;

/// An app that speaks HTTP: it answers with the request as it came.
pub(super) async fn wiki(dial: &Plain) -> SocketAddr {
    dial.app(|mut stream| async move {
        let mut request = Vec::new();
        let mut chunk = [0; 1024];
        while !complete(&request) {
            match stream.read(&mut chunk).await? {
                0 => break,
                count => request.extend_from_slice(&chunk[..count]),
            }
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        if text.starts_with("GET /half ") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        }
        if text.starts_with("GET /none ") {
            return Ok(());
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nX-End: 1\r\n\r\n",
            text.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(text.as_bytes()).await
    })
    .await
}

/// Whether a message is all there, chunked bodies included.
fn complete(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    match length {
        Some(length) => body.len() >= length,
        None if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        None => true,
    }
}

async fn ask(at: SocketAddr, request: &str) -> (String, String) {
    let answer = String::from_utf8(exchange(at, request.as_bytes()).await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_request_reaches_its_app_in_origin_form_without_what_meant_the_hop() {
    let (proxy, _reporter, dial) = proxy(None).await;
    let request = "GET http://Wiki/page?q=1 HTTP/1.1\r\nHost: elsewhere\r\nProxy-Connection: keep-alive\r\n\
                   Connection: close, X-Mine\r\nX-Mine: 1\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\n\
                   Upgrade: websocket\r\nX-Other: 2\r\nOrigin: http://other.example\r\n\r\n";
    let (head, seen) = ask(proxy.local_addr(), request).await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let seen = seen.to_ascii_lowercase();
    assert!(seen.starts_with("get /page?q=1 http/1.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nhost: wiki\r\n"), "{seen}");
    assert!(seen.contains("\r\nx-other: 2\r\n") && seen.contains("\r\norigin: http://other.example\r\n"), "{seen}");
    assert!(seen.contains("\r\nvia: 1.1 ztsa\r\n"), "{seen}");
    for gone in ["proxy-", "x-mine", "\r\nte:", "upgrade", "elsewhere"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    let head = head.to_ascii_lowercase();
    assert!(head.contains("x-end: 1") && head.contains("via: 1.1 ztsa"), "{head}");
    assert!(!head.contains("x-hop") && !head.contains("keep-alive:"), "{head}");
    assert_eq!(dial.asked(), ["wiki:80"]);
}

#[tokio::test]
async fn bodies_keep_their_framing_and_connections_are_reused() {
    let (proxy, _reporter, dial) = proxy(None).await;
    let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
    let chunked =
        "POST http://wiki/b HTTP/1.1\r\nHost: wiki\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let sized = "POST http://wiki:8080/a HTTP/1.1\r\nHost: wiki:8080\r\nContent-Length: 5\r\n\r\nhello";
    let requests = [
        (sized, "host: wiki:8080"),
        (chunked, "transfer-encoding: chunked"),
        ("GET http://wiki/c HTTP/1.1\r\nHost: wiki\r\n\r\n", "get /c http/1.1"),
    ];
    for (request, expected) in requests {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !complete(&answer) {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).await.unwrap();
            assert_ne!(count, 0, "the connection stays");
            answer.extend_from_slice(&chunk[..count]);
        }
        let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 200 ok"), "{answer}");
        assert!(answer.contains(expected), "{answer}");
        assert_eq!(answer.contains("hello"), request.contains("hello"), "{answer}");
    }
    assert_eq!(dial.asked(), ["wiki:8080", "wiki:80", "wiki:80"]);
}

#[tokio::test]
async fn what_cannot_be_forwarded_is_refused_with_a_hint() {
    let (proxy, _reporter, _dial) = proxy(None).await;
    let at = proxy.local_addr();
    let table = [
        ("GET http://echo/ HTTP/1.1\r\nHost: echo\r\n\r\n", "405", "CONNECT or SOCKS5"),
        ("GET http://nothing/ HTTP/1.1\r\nHost: nothing\r\n\r\n", "404", "app.unknown"),
        ("GET http://denied/ HTTP/1.1\r\nHost: denied\r\nAccept: text/html\r\n\r\n", "403", "<h1>"),
        ("GET http://signed-out/ HTTP/1.1\r\nHost: x\r\n\r\n", "403", "auth.required"),
        ("GET https://wiki/ HTTP/1.1\r\nHost: wiki\r\n\r\n", "400", "CONNECT"),
        ("GET http://a_b..c/ HTTP/1.1\r\nHost: x\r\n\r\n", "400", "host"),
        ("GET http://wiki:0/ HTTP/1.1\r\nHost: x\r\n\r\n", "400", "port"),
        ("GET http://wiki/none HTTP/1.1\r\nHost: wiki\r\n\r\n", "502", "did not answer"),
    ];
    for (request, status, hint) in table {
        let (head, body) = ask(at, request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        assert!(body.contains(hint), "{request}: {body}");
    }
    let (head, body) = ask(at, "HEAD http://denied/ HTTP/1.1\r\nHost: denied\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 403 ") && body.is_empty(), "{head}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    let (proxy, reporter, _dial) = proxy(None).await;
    let mut events = reporter.events();
    let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
    stream.write_all(b"GET http://wiki/half HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let problem = event(&mut events, |event| if let Event::Ended { problem, .. } = event { problem } else { None });
    assert_eq!(problem.await.code, "network.lost");
}

#[tokio::test]
async fn the_port_itself_answers_its_own_user_only() {
    let (proxy, _reporter, _dial) = proxy(None).await;
    let at = proxy.local_addr();
    let (head, body) = ask(at, &format!("GET /proxy.pac HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("content-type: application/x-ns-proxy-autoconfig"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    assert!(body.contains(&format!("SOCKS5 {at}; PROXY {at}")) && body.contains("\"wiki\": 1"), "{body}");
    assert_eq!(proxy.pac_url(), format!("http://{at}/proxy.pac"));

    let (head, body) = ask(at, &format!("GET / HTTP/1.1\r\nHost: {at}\r\nAccept: text/html\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert!(body.contains("local proxy of ztsa"), "{body}");

    let port = at.port();
    for fields in [
        format!("Host: evil.example:{port}"),
        format!("Host: {at}\r\nOrigin: http://evil.example"),
        format!("Host: {at}\r\nSec-Fetch-Site: cross-site"),
        "X: no host".to_owned(),
    ] {
        let (head, body) = ask(at, &format!("GET /proxy.pac HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{fields}: {head}");
        assert!(!body.contains("wiki"), "{fields}: {body}");
    }
}
