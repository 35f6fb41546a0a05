//! Fetches a page of a private web site through a proxy that this program runs itself.
//!
//! ```text
//! cargo run --example http -- https://127.0.0.1:PORT /tmp/dev/ca.pem /tmp/state http://wiki/
//! ```
//!
//! Any HTTP client that knows proxies can do the same; for as long as it runs, a browser can use the printed URL as
//! its automatic proxy configuration.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ztsa_core::{Client, DeviceFlow};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(gateway), Some(ca), Some(state)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: http GATEWAY CA_FILE STATE_DIR [URL]".into());
    };
    let url = arguments.next().unwrap_or_else(|| "http://wiki/".to_owned());
    let client = Client::builder(&gateway).ca_pem(&std::fs::read(ca)?).state_dir(state).build().await?;
    if client.session().await.is_err() {
        let flow = DeviceFlow::new(|p| eprintln!("open {} and enter {}", p.verification_uri, p.user_code));
        client.login(flow).await?;
    }
    let proxy = client.proxy("127.0.0.1:0").await?;
    eprintln!("proxy configuration for browsers: {}", proxy.pac_url());

    let mut connection = TcpStream::connect(proxy.local_addr()).await?;
    // a proxy is given the whole URL; the host is resolved at the gateway, never here
    let request =
        format!("GET {url} HTTP/1.1\r\nHost: -\r\nAccept: text/html, text/plain\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    println!("{}", String::from_utf8_lossy(&answer));
    proxy.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
