use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use ztsa_proto::app::Kind;

use super::*;
use crate::listener::tests::Plain;

#[tokio::test]
async fn bytes_go_both_ways_and_half_close_is_kept() {
    let dial = Plain::default();
    // answers only when it has seen the end: that is what half-close is for
    let app = dial
        .app(|mut stream| async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await?;
            stream.write_all(format!("{} bytes", all.len()).as_bytes()).await
        })
        .await;
    let dial = dial.with("count", Kind::Tcp, app);
    let (mut near, input) = duplex(1024);
    let (output, mut far) = duplex(1024);
    let feed = async {
        near.write_all(b"12345").await.unwrap();
        near.shutdown().await.unwrap();
    };
    let to = "count:1".parse().unwrap();
    let reporter = Reporter::new();
    let ((), carried) = tokio::join!(feed, carry(&dial, &to, &reporter, input, output));
    assert_eq!(carried.unwrap(), Carried { sent: 5, received: 7 });
    let mut answer = String::new();
    far.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "5 bytes");
}

#[tokio::test]
async fn a_refusal_and_a_cut_are_errors_with_their_exit_codes() {
    let dial = Plain::default().without("denied", "policy.no_match");
    let app = dial
        .app(|stream| async move {
            ztsa_net::accept::reset_on_close(&stream);
            Ok(())
        })
        .await;
    let dial = dial.with("cut", Kind::Tcp, app);
    let reporter = Reporter::new();
    for (to, exit, opened) in [("denied:1", 4, false), ("cut:1", 7, true)] {
        let (_near, input) = duplex(64);
        let (output, _far) = duplex(64);
        let error = carry(&dial, &to.parse().unwrap(), &reporter, input, output).await.unwrap_err();
        assert_eq!(error.exit(), exit, "{error}");
        assert_eq!(matches!(error, StdioError::Cut(_)), opened);
        assert!(!error.hint().is_empty());
    }
}

#[tokio::test]
async fn a_reader_that_is_gone_is_an_error_of_the_local_side() {
    let dial = Plain::default();
    let app = dial.app(|mut stream| async move { stream.write_all(&[0; 4096]).await }).await;
    let dial = dial.with("talk", Kind::Tcp, app);
    let (_near, input) = duplex(64);
    let (output, far) = duplex(64);
    drop(far);
    let error = carry(&dial, &"talk:1".parse().unwrap(), &Reporter::new(), input, output).await.unwrap_err();
    assert!(matches!(error, StdioError::Local(_)), "{error}");
    assert_eq!(error.exit(), 1);
}

#[tokio::test]
async fn an_input_that_never_ends_does_not_hold_a_connection_that_the_app_has_ended() {
    let dial = Plain::default();
    let app = dial.app(|mut stream| async move { stream.write_all(b"bye").await }).await;
    let dial = dial.with("bye", Kind::Tcp, app);
    // a terminal: open, and silent
    let (_near, input) = duplex(64);
    let (output, mut far) = duplex(64);
    let carried = carry(&dial, &"bye:1".parse().unwrap(), &Reporter::new(), input, output).await.unwrap();
    assert_eq!(carried, Carried { sent: 0, received: 3 });
    let mut text = String::new();
    far.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "bye");
}
