//! The loopback address that a browser comes back to (RFC 8252 7.3): one callback, a static page, no token in it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use ztsa_proto::secret::Secret;

use super::answer::plain;

/// The longest request head that is read, in bytes.
const HEAD: usize = 16 * 1024;
/// How long a connection may take to send it. Browsers open connections ahead of need and leave them silent.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many connections are served at once.
const CROWD: usize = 32;

const DONE: &str = "<!doctype html><meta charset=utf-8><title>ztsa</title><h1>Signed in</h1><p>Go back to the terminal; \
                    this page can be closed.</p>";
const NOT_DONE: &str = "<!doctype html><meta charset=utf-8><title>ztsa</title><h1>Not signed in</h1><p>The sign-in page \
                        refused: REASON</p><p>Go back to the terminal, which says what to do; this page can be \
                        closed.</p>";
const STRANGE: &str = "<!doctype html><meta charset=utf-8><title>ztsa</title><h1>Unknown request</h1><p>This page belongs \
                       to a sign-in that is not under way.</p>";

/// What the browser brought.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    pub(super) code: Option<Secret<String>>,
    pub(super) iss: Option<String>,
    pub(super) error: Option<String>,
    pub(super) error_description: Option<String>,
}

/// A bound loopback port.
#[derive(Debug)]
pub(super) struct Callback {
    listener: TcpListener,
    /// The same port on the other family, where a name may lead to either.
    other: Option<TcpListener>,
    authority: String,
    redirect: String,
}

impl Callback {
    /// Binds 127.0.0.1, or ::1 where there is no IPv4; with a host's name, both where that can be. Without a port, any.
    pub(super) async fn bind(host: Option<&str>, port: Option<NonZeroU16>) -> io::Result<Self> {
        let port = port.map_or(0, NonZeroU16::get);
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => listener,
            // the issuer would not send the browser to the other family
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.map_err(|_| error)?,
        };
        let address = listener.local_addr()?;
        let other = match host {
            Some(_) if address.is_ipv4() => TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await.ok(),
            _ => None,
        };
        let authority = host.map_or_else(|| address.to_string(), |host| format!("{host}:{}", address.port()));
        let redirect = format!("http://{authority}/callback");
        Ok(Self { listener, other, authority, redirect })
    }

    pub(super) fn redirect_uri(&self) -> &str {
        &self.redirect
    }

    /// Waits until the browser comes with the right `state`; everything else is answered and forgotten, so that no page
    /// can end a sign-in that is not its own.
    pub(super) async fn arrival(&self, state: &str) -> Arrival {
        let mut guests = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.accept(), if guests.len() < CROWD => match accepted {
                    Ok((stream, _)) => guests.push(self.serve(stream, state)),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                Some(done) = guests.next() => if let Some(arrival) = done {
                    return arrival;
                },
            }
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.other {
            None => self.listener.accept().await,
            Some(other) => tokio::select! {
                accepted = self.listener.accept() => accepted,
                accepted = other.accept() => accepted,
            },
        }
    }

    async fn serve(&self, mut stream: TcpStream, state: &str) -> Option<Arrival> {
        let head = timeout(PATIENCE, read_head(&mut stream)).await.ok()?.ok()??;
        let arrival = parse(&head, &self.authority, state);
        let (status, page) = match &arrival {
            Some(Arrival { error: Some(error), error_description, .. }) => {
                ("200 OK", NOT_DONE.replace("REASON", &reason(error, error_description.as_deref())))
            }
            Some(_) => ("200 OK", DONE.to_owned()),
            None => ("404 Not Found", STRANGE.to_owned()),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\nX-Content-Type-Options: nosniff\r\n\
             Connection: close\r\n\r\n{page}",
            page.len()
        );
        // The sign-in goes on whether or not the page arrives.
        let _ = timeout(PATIENCE, async {
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await
        })
        .await;
        arrival
    }
}

/// What the issuer said, as text of a page.
fn reason(error: &str, description: Option<&str>) -> String {
    let said = match description.map(plain).filter(|text| !text.is_empty()) {
        Some(text) => format!("{text} ({})", plain(error)),
        None => plain(error),
    };
    said.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    while head.len() < HEAD {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(None);
        }
        head.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Takes a GET of our path, for our host, with our state; nothing else.
fn parse(head: &[u8], authority: &str, state: &str) -> Option<Arrival> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?, first.next()?);
    let mut hosts = lines.filter_map(|line| line.split_once(':')).filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = hosts.next().map(|(_, value)| value.trim())?;
    let query = target.strip_prefix("/callback?")?;
    if method != "GET" || !host.eq_ignore_ascii_case(authority) || hosts.next().is_some() {
        return None;
    }
    let (mut arrival, mut given) = (Arrival::default(), None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match &*name {
            "state" => given = Some(value),
            "code" => arrival.code = Some(Secret::new(value)),
            "iss" => arrival.iss = Some(value),
            "error" => arrival.error = Some(value),
            "error_description" => arrival.error_description = Some(value),
            _ => {}
        }
    }
    (given.as_deref() == Some(state)).then_some(arrival)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(request: &str) -> Option<Arrival> {
        parse(request.as_bytes(), "127.0.0.1:5000", "right")
    }

    #[test]
    fn only_our_callback_counts() {
        let ours =
            "GET /callback?code=abc%2F&state=right&iss=https%3A%2F%2Fidp HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n";
        let arrival = asked(ours).unwrap();
        assert_eq!(arrival.code.unwrap().expose(), "abc/");
        assert_eq!(arrival.iss.as_deref(), Some("https://idp"));
        for request in [
            "GET /callback?code=abc&state=wrong HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n",
            "GET /callback?code=abc HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n",
            "GET /callback?code=abc&state=right HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET /callback?code=abc&state=right HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nHost: evil\r\n\r\n",
            "GET /callback?code=abc&state=right HTTP/1.0\r\n\r\n",
            "POST /callback?code=abc&state=right HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n",
            "GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n",
            "GET http://evil/callback?code=abc&state=right HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n",
        ] {
            assert!(asked(request).is_none(), "{request}");
        }
    }

    #[tokio::test]
    async fn a_name_is_served_on_both_families() {
        let callback = Callback::bind(Some("localhost"), None).await.unwrap();
        let port = callback.listener.local_addr().unwrap().port();
        assert_eq!(callback.redirect_uri(), format!("http://localhost:{port}/callback"));
        let visit = |address: std::net::IpAddr| async move {
            let mut stream = TcpStream::connect((address, port)).await.unwrap();
            let ask = format!(
                "GET /callback?error=a%3Cb%3E&error_description=no%20%26%20never&state=right HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
            );
            stream.write_all(ask.as_bytes()).await.unwrap();
            let mut page = String::new();
            stream.read_to_string(&mut page).await.unwrap();
            page
        };
        for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            let (arrival, page) = tokio::join!(callback.arrival("right"), visit(address));
            assert_eq!(arrival.error.as_deref(), Some("a<b>"));
            assert!(page.contains("Not signed in") && page.contains("no &amp; never (a&lt;b&gt;)"), "{page}");
        }
    }

    #[tokio::test]
    async fn an_issuers_own_port_is_used_or_said_to_be_taken() {
        let other = Callback::bind(None, None).await.unwrap();
        let port = NonZeroU16::new(other.listener.local_addr().unwrap().port());
        assert_eq!(Callback::bind(None, port).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(other);
        let ours = Callback::bind(None, port).await.unwrap();
        assert_eq!(ours.redirect_uri(), format!("http://127.0.0.1:{}/callback", port.unwrap()));
    }

    proptest! {
        #[test]
        fn no_request_is_too_much(head in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&head, "127.0.0.1:1", "s");
        }
    }
}
