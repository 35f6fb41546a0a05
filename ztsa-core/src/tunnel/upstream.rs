//! The way to the gateway through a proxy of the network (HTTP CONNECT, RFC 9110 section 9.3.6).

use std::fmt::Write as _;
use std::io;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::config::{Proxy, is_loopback};

/// Largest head of a proxy's answer, in bytes.
const HEAD_MAX: usize = 8 * 1024;

/// Which proxy leads to the gateway, if any. Loopback is always reached directly.
pub(super) fn choose(proxy: &Proxy, gateway: &Url) -> Option<Intercept> {
    if is_loopback(gateway) {
        return None;
    }
    let matcher = match proxy {
        Proxy::Direct => return None,
        Proxy::System => Matcher::from_system(),
        Proxy::Through { url, except } => Matcher::builder().all(url.as_str()).no(except.as_str()).build(),
    };
    matcher.intercept(&gateway.as_str().parse().ok()?)
}

/// Opens a connection through a proxy to `authority`.
///
/// # Errors
/// What the proxy or the operating system says; a refusal names the proxy and what to do.
pub(super) async fn connect(proxy: &Intercept, authority: &str) -> io::Result<TcpStream> {
    let uri = proxy.uri();
    let host = uri.host().unwrap_or_default();
    if uri.scheme_str() != Some("http") {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "the proxy {host} is of a kind that tunnels do not go through; use an http:// proxy, or add the gateway to NO_PROXY"
            ),
        ));
    }
    let port = uri.port_u16().unwrap_or(80);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("proxy {host}:{port}: {error}"));
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(named)?;
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(value) = proxy.basic_auth().and_then(|value| value.to_str().ok()) {
        // writing to a String does not fail
        let _ = write!(request, "Proxy-Authorization: {value}\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(named)?;
    let head = read_head(&mut stream).await.map_err(named)?;
    match status(&head) {
        Some(200..=299) => Ok(stream),
        Some(407) => Err(named(io::Error::other(
            "it wants a name and a password: put them into HTTPS_PROXY (http://name:password@host:port)",
        ))),
        Some(other) => Err(named(io::Error::other(format!("it refused the way to {authority} with status {other}")))),
        None => Err(named(io::Error::new(io::ErrorKind::InvalidData, "its answer is not HTTP"))),
    }
}

/// Reads to the end of the head and not a byte further: what follows belongs to TLS.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    words.next()?.strip_prefix("HTTP/1.")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers one CONNECT with `answer`, then echoes; returns what was asked.
    async fn proxy(answer: &'static [u8]) -> (String, tokio::task::JoinSet<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut served = tokio::task::JoinSet::new();
        served.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = read_head(&mut stream).await.unwrap();
            stream.write_all(answer).await.unwrap();
            let mut byte = [0; 1];
            while stream.read(&mut byte).await.unwrap_or(0) == 1 {
                stream.write_all(&byte).await.unwrap();
            }
            String::from_utf8(request).unwrap()
        });
        (format!("http://user:pass@{address}"), served)
    }

    fn chosen(url: &str) -> Option<Intercept> {
        let through = Proxy::Through { url: url.to_owned().into(), except: "direct.example".to_owned() };
        choose(&through, &Url::parse("https://gw.example:8443").unwrap())
    }

    #[tokio::test]
    async fn a_proxy_is_asked_with_its_password_and_the_bytes_after_its_answer_are_kept() {
        let (url, mut served) = proxy(b"HTTP/1.1 200 ok\r\nVia: x\r\n\r\n").await;
        let mut stream = connect(&chosen(&url).unwrap(), "gw.example:8443").await.unwrap();
        stream.write_all(b"!").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'!');
        drop(stream);
        let request = served.join_next().await.unwrap().unwrap();
        assert!(request.starts_with("CONNECT gw.example:8443 HTTP/1.1\r\nHost: gw.example:8443\r\n"), "{request}");
        assert!(request.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_names_the_proxy_and_what_to_do() {
        for (answer, says) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "HTTPS_PROXY"),
            (b"HTTP/1.1 403 no\r\n\r\n", "refused the way to gw.example:8443 with status 403"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        ] {
            let (url, _served) = proxy(answer).await;
            let error = connect(&chosen(&url).unwrap(), "gw.example:8443").await.unwrap_err().to_string();
            assert!(error.contains(says) && error.starts_with("proxy 127.0.0.1:"), "{error}");
            assert!(!error.contains("user:"), "{error}");
        }
    }

    #[test]
    fn loopback_and_named_hosts_are_reached_directly() {
        let through =
            Proxy::Through { url: "http://127.0.0.1:1".to_owned().into(), except: "direct.example".to_owned() };
        for (gateway, proxied) in [
            ("https://127.0.0.1:8443", false),
            ("https://localhost", false),
            ("https://direct.example", false),
            ("https://gw.example", true),
        ] {
            assert_eq!(choose(&through, &Url::parse(gateway).unwrap()).is_some(), proxied, "{gateway}");
        }
        assert!(choose(&Proxy::Direct, &Url::parse("https://gw.example").unwrap()).is_none());
    }
}
