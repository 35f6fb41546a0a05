//! How a local program comes to an app: in the library, by its port, by SOCKS5, by HTTP CONNECT, by plain HTTP.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztsa_core::client::Client;
use ztsa_core::listener::forward::Forward;
use ztsa_core::listener::proxy::Proxy;

use crate::patience::soon;
use crate::server::Server;

/// Anything that bytes go through both ways.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The ways, each with the listener that it goes through.
pub enum Way {
    Library(Client),
    Forward(Forward),
    Socks5(Proxy),
    HttpConnect(Proxy),
    Http(Proxy),
}

/// More than a test sends: the length of what goes each way in one exchange of plain HTTP.
const BODY: usize = 1 << 20;

/// Opens every way to one app that speaks HTTP.
pub async fn all_ways(client: &Client, app: &str) -> Vec<Way> {
    let mut ways = ways(client, app).await;
    ways.push(Way::Http(client.proxy("127.0.0.1:0").await.unwrap()));
    ways
}

/// Opens every way to one app that carries any bytes.
pub async fn ways(client: &Client, app: &str) -> Vec<Way> {
    vec![
        Way::Library(client.clone()),
        Way::Forward(soon("the forward", client.forward(app, "127.0.0.1:0")).await.unwrap()),
        Way::Socks5(client.proxy("127.0.0.1:0").await.unwrap()),
        Way::HttpConnect(client.proxy("127.0.0.1:0").await.unwrap()),
    ]
}

impl Way {
    /// The word that events and messages have for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Library(_) => "library",
            Self::Forward(_) => "forward",
            Self::Socks5(_) => "socks5",
            Self::HttpConnect(_) => "http-connect",
            Self::Http(_) => "http",
        }
    }

    /// Opens the app by this way.
    pub async fn open(&self, app: &str) -> Box<dyn Io> {
        match self {
            Self::Library(client) => Box::new(soon("the stream", client.connect(app)).await.unwrap()),
            Self::Forward(forward) => Box::new(TcpStream::connect(forward.local_addr()).await.unwrap()),
            Self::Socks5(proxy) => {
                let (code, stream) = socks5(proxy.local_addr(), app, 80).await;
                assert_eq!(code, 0, "refused by SOCKS5");
                Box::new(stream)
            }
            Self::HttpConnect(proxy) => {
                let (head, stream) = http_connect(proxy.local_addr(), &format!("{app}:80")).await;
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                Box::new(stream)
            }
            Self::Http(proxy) => Box::new(ask(proxy.local_addr(), app).await),
        }
    }

    /// Opens the app by this way, with the app's end of it; by plain HTTP, in the middle of two bodies.
    pub async fn meet(&self, app: &str, server: &Server) -> (Box<dyn Io>, TcpStream) {
        let mut near = self.open(app).await;
        let mut far = server.accept().await;
        if matches!(self, Self::Http(_)) {
            let request = head(&mut far).await;
            assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
            far.write_all(answer.as_bytes()).await.unwrap();
            let answer = head(&mut near).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
        (near, far)
    }
}

/// Asks a SOCKS5 proxy for a name; returns the code of its answer (RFC 1928 section 6).
pub async fn socks5(proxy: SocketAddr, host: &str, port: u16) -> (u8, TcpStream) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(&[5, 1, 0]).await.unwrap();
    let mut method = [0; 2];
    soon("the method", stream.read_exact(&mut method)).await.unwrap();
    assert_eq!(method, [5, 0]);
    let mut request = vec![5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await.unwrap();
    let mut answer = [0; 4];
    soon("the answer", stream.read_exact(&mut answer)).await.unwrap();
    let bound = if answer[3] == 4 { 18 } else { 6 };
    stream.read_exact(&mut vec![0; bound]).await.unwrap();
    (answer[1], stream)
}

/// Asks an HTTP proxy for a tunnel; returns the head of its answer.
pub async fn http_connect(proxy: SocketAddr, to: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    (head(&mut stream).await, stream)
}

/// Sends the head of a request of plain HTTP to a proxy.
pub async fn ask(proxy: SocketAddr, app: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!("POST http://{app}/ HTTP/1.1\r\nHost: {app}\r\nContent-Length: {BODY}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads the head of an HTTP message.
pub async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(head.len() < 16_384, "no end of the head");
        head.push(soon("the head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}
