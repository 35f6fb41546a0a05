//! Connects to an app and speaks to it, without a local port.
//!
//! ```text
//! ztsa-gateway dev --dir /tmp/dev --approve alice
//! cargo run --example embed -- https://127.0.0.1:PORT /tmp/dev/ca.pem /tmp/state
//! ```

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ztsa_core::{Client, DeviceFlow};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(gateway), Some(ca), Some(state)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: embed GATEWAY CA_FILE STATE_DIR".into());
    };
    let client = Client::builder(&gateway).ca_pem(&std::fs::read(ca)?).state_dir(state).build().await?;
    if client.session().await.is_err() {
        let flow = DeviceFlow::new(|p| eprintln!("open {} and enter {}", p.verification_uri, p.user_code));
        client.login(flow).await?;
    }
    let mut app = client.connect("echo").await?;
    app.write_all(b"hello from inside a program\n").await?;
    app.shutdown().await?;
    let mut answer = String::new();
    app.read_to_string(&mut answer).await?;
    print!("{answer}");
    Ok(())
}
