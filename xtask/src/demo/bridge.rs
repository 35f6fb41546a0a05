//! A local port whose one connection goes through the person's proxy: for programs that speak no proxy protocol, such as
//! psql.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::command::Failure;

/// How the bridge asks the proxy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// RFC 1928, with the name resolved at the gateway.
    Socks5,
    /// RFC 9110 section 9.3.6.
    HttpConnect,
}

/// A bridge at work; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) port: u16,
    _task: JoinSet<()>,
}

impl Bridge {
    /// Listens on a free port for one connection to this app.
    pub(super) async fn start(proxy: SocketAddr, way: Way, app: &str) -> Result<Self, Failure> {
        let broken = |source| Failure::Wrong(format!("no local port for the bridge: {source}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(broken)?;
        let port = listener.local_addr().map_err(broken)?.port();
        let mut task = JoinSet::new();
        let app = app.to_owned();
        task.spawn(async move {
            // a connection that fails is closed, and the program at its end says so
            let _ = carry(&listener, proxy, way, &app).await;
        });
        Ok(Self { port, _task: task })
    }
}

async fn carry(listener: &TcpListener, proxy: SocketAddr, way: Way, app: &str) -> std::io::Result<()> {
    let (mut local, _) = listener.accept().await?;
    let mut remote = TcpStream::connect(proxy).await?;
    match way {
        Way::Socks5 => socks5(&mut remote, app).await?,
        Way::HttpConnect => http_connect(&mut remote, app).await?,
    }
    copy_bidirectional(&mut local, &mut remote).await.map(drop)
}

/// The port that stands in requests; an app has one port only, which the gateway knows.
const PORT: u16 = 5432;

async fn socks5(proxy: &mut TcpStream, app: &str) -> std::io::Result<()> {
    proxy.write_all(&[5, 1, 0]).await?;
    let mut method = [0; 2];
    proxy.read_exact(&mut method).await?;
    let length = u8::try_from(app.len()).map_err(std::io::Error::other)?;
    let mut request = vec![5, 1, 0, 3, length];
    request.extend_from_slice(app.as_bytes());
    request.extend_from_slice(&PORT.to_be_bytes());
    proxy.write_all(&request).await?;
    // an IPv4 address stands in every answer of ztsa
    let mut answer = [0; 10];
    proxy.read_exact(&mut answer).await?;
    if answer.get(..2) == Some(&[5, 0]) { Ok(()) } else { Err(std::io::Error::other("refused by the proxy")) }
}

async fn http_connect(proxy: &mut TcpStream, app: &str) -> std::io::Result<()> {
    let request = format!("CONNECT {app}:{PORT} HTTP/1.1\r\nHost: {app}:{PORT}\r\n\r\n");
    proxy.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        head.push(proxy.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(std::io::Error::other("refused by the proxy")) }
}
