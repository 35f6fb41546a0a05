//! `ztsa proxy`: SOCKS5 and HTTP CONNECT on one port.

use std::time::Duration;

use serde_json::json;
use ztsa_core::listener::listen::Listen;

use super::watch::{self, Watch};
use super::{Context, Done, lead};
use crate::cli;
use crate::interrupt::interrupt;
use crate::report::Failure;

/// The port that people know SOCKS by.
const PORT: u16 = 1080;
/// How long connections may take to end after Ctrl-C.
const GRACE: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: cli::Proxy, context: Context) -> Result<Done, Failure> {
    let interrupted = interrupt();
    let mut interrupted = std::pin::pin!(interrupted);
    let printer = &context.printer;
    let configured = context.settings.proxy_listen.as_ref().map(|listen| listen.value);
    let listen = args.listen.or(configured).unwrap_or(Listen::Loopback(PORT));
    let client = tokio::select! {
        client = Box::pin(context.signed_in()) => client?,
        by = &mut interrupted => return Err(Failure::Interrupted(by?)),
    };
    // Says at once that somebody has to sign in, not at the first connection.
    tokio::select! {
        session = Box::pin(context.led(&client, async || Ok(client.session().await?))) => { session?; }
        by = &mut interrupted => return Err(Failure::Interrupted(by?)),
    }
    let mut events = client.events();
    let proxy = client.proxy(listen).await?;
    let addresses: Vec<String> = proxy.local_addrs().iter().map(ToString::to_string).collect();
    let address = proxy.local_addr();
    let pac = proxy.pac_url();
    if printer.json() {
        printer
            .json_line(&json!({ "event": "ready", "listen": address.to_string(), "listens": addresses, "pac": pac }))?;
    } else if args.pac {
        printer.data(&pac)?;
    }
    if let Some(warning) = proxy.warning() {
        printer.warn(&warning.to_string());
    }
    printer
        .say(&format!("listening on {}: SOCKS5 and HTTP CONNECT on one port; Ctrl-C ends it", addresses.join(" and ")));
    if !printer.json() && !args.pac {
        printer.data(&format!("export ALL_PROXY=socks5h://{address}\nexport HTTPS_PROXY=http://{address}\nexport HTTP_PROXY=http://{address}"))?;
        printer.say("a shell with these lines sends everything here, and what is no app is refused: use them where you need apps only");
        printer.say(&format!("browsers: give {pac} as automatic proxy configuration"));
    }
    let mut watch = Watch::new(printer, true).with_countdown();
    loop {
        tokio::select! {
            () = watch.due() => watch.beat(client.now()),
            event = events.next() => match event {
                Some(event) => {
                    watch.tell(&event, client.now())?;
                    if let Some((app, problem)) = watch::refusal(&event) {
                        lead::note(&context, &client, &app, problem);
                    }
                }
                None => break,
            },
            () = proxy.closed() => break,
            by = &mut interrupted => {
                proxy.shutdown(GRACE).await;
                client.close().await;
                return Err(Failure::Interrupted(by?));
            }
        }
    }
    Ok(Done::Ok)
}
