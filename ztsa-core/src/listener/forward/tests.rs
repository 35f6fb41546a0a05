use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ztsa_proto::app::Kind;

use super::*;
use crate::listener::event::Event;
use crate::listener::listen::Listen;
use crate::listener::tests::{Plain, event, rest};

fn forward(dial: &Plain, app: &str) -> (Forward, Reporter) {
    let reporter = Reporter::new();
    let listener = Listen::Loopback(0).bind().unwrap();
    let to: Destination = format!("{app}:1").parse().unwrap();
    let apps = dial.listed();
    let doors = Doors::new(&to, apps.iter().find(|known| known.name.as_str() == app));
    let forward = Forward::spawn(listener, to, doors, dial.clone(), reporter.clone());
    (forward, reporter)
}

async fn echo(forward: &Forward) {
    for address in forward.local_addrs() {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, b"hello", "{address}");
    }
}

#[tokio::test]
async fn both_loopback_addresses_reach_the_app_and_half_close_is_kept() {
    let dial = Plain::default();
    let app = dial.echo().await;
    let dial = dial.with("echo", Kind::Tcp, app);
    let (forward, reporter) = forward(&dial, "echo");
    let mut events = reporter.events();
    assert_eq!(forward.local_addr().ip().to_string(), "127.0.0.1");
    assert_eq!(forward.warning(), None);
    echo(&forward).await;
    let opened =
        event(&mut events, |event| if let Event::Opened(connection) = event { Some(connection) } else { None });
    let opened = opened.await;
    assert_eq!((opened.id, opened.to.to_string().as_str(), opened.way), (1, "echo:1", Way::Forward));
    let (sent, received, problem) = event(&mut events, |event| match event {
        Event::Ended { sent, received, problem, .. } => Some((sent, received, problem)),
        _ => None,
    })
    .await;
    assert_eq!((sent, received, problem), (5, 5, None));
}

#[tokio::test]
async fn a_refusal_resets_the_connection_and_the_listener_goes_on() {
    let dial = Plain::default().without("echo", "policy.no_match");
    let (forward, reporter) = forward(&dial, "echo");
    let mut events = reporter.events();
    let mut stream = TcpStream::connect(forward.local_addr()).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let problem =
        event(&mut events, |event| if let Event::Refused { problem, .. } = event { Some(problem) } else { None });
    assert_eq!(problem.await.code, "policy.no_match");
    // the answer changes, and the same port works
    let app = dial.echo().await;
    dial.set("echo", Ok(app));
    echo(&forward).await;
}

#[tokio::test]
async fn a_cut_is_a_reset_with_its_reason_and_never_an_end() {
    let dial = Plain::default();
    let app = dial
        .app(|mut stream| async move {
            stream.write_all(b"half of the ans").await?;
            stream.read_u8().await?;
            ztsa_net::accept::reset_on_close(&stream);
            Ok(())
        })
        .await;
    let dial = dial.with("cut", Kind::Tcp, app);
    let (forward, reporter) = forward(&dial, "cut");
    let mut events = reporter.events();
    let mut stream = TcpStream::connect(forward.local_addr()).await.unwrap();
    let mut half = [0; 15];
    stream.read_exact(&mut half).await.unwrap();
    stream.write_all(b"!").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let problem = event(&mut events, |event| if let Event::Ended { problem, .. } = event { problem } else { None });
    assert_eq!(problem.await.code, "session.revoked");
}

#[tokio::test]
async fn dropping_the_forward_resets_its_connections_and_frees_the_port() {
    let dial = Plain::default();
    let app = dial.echo().await;
    let dial = dial.with("echo", Kind::Tcp, app);
    let (forward, _reporter) = forward(&dial, "echo");
    let address = forward.local_addr();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    drop(forward);
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn shutdown_lets_a_connection_end_and_resets_one_that_does_not() {
    let dial = Plain::default();
    let app = dial.echo().await;
    let dial = dial.with("echo", Kind::Tcp, app);
    let (first, _reporter) = forward(&dial, "echo");
    assert!(first.shutdown(Duration::from_secs(5)).await, "nothing was open");
    let (second, _reporter) = forward(&dial, "echo");
    let mut stream = TcpStream::connect(second.local_addr()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    assert!(!second.shutdown(Duration::from_millis(20)).await);
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_away_is_waited_for() {
    let dial = Plain::default().without("echo", "gateway.unavailable");
    let to = "echo:1".parse().unwrap();
    let before = tokio::time::Instant::now();
    let refused = dial::open(&dial, &to, Way::Forward, PATIENCE, &mut Early::none()).await.err().unwrap();
    assert_eq!(refused.code, "gateway.unavailable");
    let waited = before.elapsed();
    assert!(waited > Duration::from_secs(12) && waited <= PATIENCE, "{waited:?}");
    assert!(dial.tries() > 5, "{}", dial.tries());

    let app = dial.echo().await;
    let back = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        dial.set("echo", Ok(app));
    };
    let mut early = Early::none();
    let (opened, ()) = tokio::join!(dial::open(&dial, &to, Way::Forward, PATIENCE, &mut early), back);
    assert!(opened.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_told_at_once() {
    for code in ["policy.no_match", "auth.required", "app.unknown", "app.refused", "gateway.limit", "session.revoked"] {
        let dial = Plain::default().without("echo", code);
        let before = tokio::time::Instant::now();
        let refused = dial::open(&dial, &"echo:1".parse().unwrap(), Way::Forward, PATIENCE, &mut Early::none())
            .await
            .err()
            .unwrap();
        assert_eq!((refused.code.as_str(), dial.tries()), (code, 1));
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}

/// A web server, as far as these tests need one: it answers each request with what it was asked.
async fn web(dial: &Plain) -> SocketAddr {
    dial.app(|stream| async move {
        let answer = service_fn(|request: Request<Incoming>| async move {
            let asked = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from([asked.as_bytes(), b" ", &body].concat()))))
        });
        let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        serving.await.map_err(std::io::Error::other)
    })
    .await
}

/// What comes back to somebody who says all of this, and then only listens.
async fn says(forward: &Forward, said: &str) -> String {
    let mut stream = TcpStream::connect(forward.local_addr()).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    String::from_utf8(rest(&mut stream).await).unwrap()
}

#[tokio::test]
async fn a_web_page_gets_no_further_than_the_port_and_the_app_hears_nothing_of_it() {
    for kind in [Kind::Http, Kind::Tcp] {
        let dial = Plain::default();
        let heard = Arc::new(AtomicUsize::new(0));
        let app = dial.app({
            let heard = Arc::clone(&heard);
            move |mut stream| {
                let heard = Arc::clone(&heard);
                async move {
                    let mut bytes = Vec::new();
                    let _ = stream.read_to_end(&mut bytes).await;
                    heard.fetch_add(bytes.len(), Ordering::SeqCst);
                    Ok(())
                }
            }
        });
        let app = app.await;
        let dial = dial.with("wiki", kind, app);
        let (forward, reporter) = forward(&dial, "wiki");
        let mut events = reporter.events();
        let here = forward.local_addr();
        for head in [
            format!("GET / HTTP/1.1\r\nHost: evil.example:{}\r\n", here.port()),
            format!("POST / HTTP/1.1\r\nHost: {here}\r\nOrigin: http://evil.example\r\nContent-Length: 4\r\n"),
            format!("GET / HTTP/1.1\r\nHost: {here}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"),
        ] {
            let answer = says(&forward, &format!("{head}Accept: text/html\r\n\r\nblind")).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
            assert!(answer.contains("text/html") && answer.contains("</html>"), "{answer}");
            let reason =
                event(
                    &mut events,
                    |event| if let Event::Rejected { reason, .. } = event { Some(reason) } else { None },
                );
            assert!(reason.await.contains("the request"));
        }
        assert_eq!(heard.load(Ordering::SeqCst), 0, "{kind}");
    }
}

#[tokio::test]
async fn browsers_and_curl_use_a_web_app_and_a_slow_head_passes() {
    for kind in [Kind::Http, Kind::Tcp] {
        let dial = Plain::default();
        let app = web(&dial).await;
        let dial = dial.with("wiki", kind, app);
        let (forward, _reporter) = forward(&dial, "wiki");
        let here = forward.local_addr();
        let end = "Connection: close\r\n\r\n";
        for host in [here.to_string(), format!("localhost:{}", here.port()), "wiki.ztsa".to_owned()] {
            let answer = says(&forward, &format!("GET /a HTTP/1.1\r\nHost: {host}\r\n{end}")).await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("GET /a "), "{answer}");
        }
        let own = format!("Origin: http://{here}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 4\r\n");
        let answer = says(&forward, &format!("POST /b HTTP/1.1\r\nHost: {here}\r\n{own}{end}body")).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("POST /b body"), "{answer}");
        let mut slow = TcpStream::connect(here).await.unwrap();
        slow.set_nodelay(true).unwrap();
        for byte in format!("GET /slow HTTP/1.1\r\nHost: {here}\r\n{end}").bytes() {
            slow.write_u8(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answer = String::from_utf8(rest(&mut slow).await).unwrap();
        assert!(answer.ends_with("GET /slow "), "{answer}");
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_and_a_program_that_says_little_are_not_held_up() {
    let dial = Plain::default();
    let app = dial
        .app(|mut stream| async move {
            stream.write_all(b"SSH-2.0-server\r\n").await?;
            // byte by byte: each is answered before the next is sent
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.map(drop)
        })
        .await;
    let dial = dial.with("bastion", Kind::Ssh, app);
    let (forward, _reporter) = forward(&dial, "bastion");
    let mut stream = TcpStream::connect(forward.local_addr()).await.unwrap();
    let mut banner = [0; 16];
    stream.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-server\r\n");
    for byte in *b"SSH-2.0-me\r\n" {
        stream.write_u8(byte).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), byte);
    }
}
