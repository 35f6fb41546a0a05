//! An app behind the gateway whose end of every connection the test holds.

use std::net::Ipv4Addr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::patience::soon;

/// A listening app.
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens on a free port of loopback.
    pub async fn bind() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap() }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Takes the next connection that the gateway has made.
    pub async fn accept(&self) -> TcpStream {
        soon("a connection at the app", self.listener.accept()).await.unwrap().0
    }
}

/// Sends a text and waits for it at the other end.
pub async fn pass(from: &mut (impl AsyncWrite + Unpin), to: &mut (impl AsyncRead + Unpin), text: &str) {
    soon("room for bytes", from.write_all(text.as_bytes())).await.unwrap();
    from.flush().await.unwrap();
    assert_eq!(take(to, text.len()).await, text);
}

/// Reads exactly this many bytes.
pub async fn take(from: &mut (impl AsyncRead + Unpin), count: usize) -> String {
    let mut bytes = vec![0; count];
    soon("bytes", from.read_exact(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads to the end of the stream.
pub async fn rest(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    soon("the end of the stream", from.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Speaks to an echo app.
pub async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) {
    soon("room for bytes", stream.write_all(text.as_bytes())).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(take(stream, text.len()).await, text);
}

/// Waits until a stream breaks, and insists that it is a reset: an end of file would look like a whole answer.
pub async fn reset(stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = [0; 1024];
    loop {
        match soon("the reset", stream.read(&mut bytes)).await {
            Ok(0) => panic!("the stream ended as if all was well"),
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
                return;
            }
        }
    }
}
