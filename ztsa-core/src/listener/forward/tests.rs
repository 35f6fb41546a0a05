use std::time::Duration;

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
    let forward = Forward::spawn(listener, format!("{app}:1").parse().unwrap(), dial.clone(), reporter.clone());
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
