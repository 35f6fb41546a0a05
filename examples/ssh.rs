//! Carries an ssh connection on standard input and output: a `ProxyCommand` of one's own.
//!
//! ```text
//! ssh -o ProxyCommand="target/debug/examples/ssh https://127.0.0.1:PORT /tmp/dev/ca.pem /tmp/state %h %p" me@bastion
//! ```
//!
//! Sign in first, with `ztsa login` or another example: there is nobody to ask here. Standard output carries ssh's
//! bytes only, and a connection that is cut ends with an error, never as if it had come to its end.

use ztsa_core::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut next = {
        let mut arguments = std::env::args().skip(1);
        move || arguments.next().ok_or("usage: ssh GATEWAY CA_FILE STATE_DIR HOST PORT")
    };
    let (gateway, ca, state) = (next()?, std::fs::read(next()?)?, next()?);
    let to = format!("{}:{}", next()?, next()?).parse()?;
    let client = Client::builder(&gateway).ca_pem(&ca).state_dir(state).build().await?;
    match client.stdio(&to, tokio::io::stdin(), tokio::io::stdout()).await {
        Ok(carried) => {
            eprintln!("{} bytes sent, {} received", carried.sent, carried.received);
            // a thread may still wait for standard input, which would hold the runtime's end
            std::process::exit(0);
        }
        Err(error) => {
            eprintln!("ztsa: {error}\n  {}", error.hint());
            std::process::exit(error.exit().into());
        }
    }
}
