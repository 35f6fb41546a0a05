//! Runs `psql` against a private PostgreSQL through a local port, and tells when access changes.
//!
//! ```text
//! cargo run --example postgres -- https://127.0.0.1:PORT /tmp/dev/ca.pem /tmp/state -- -U me -c 'select now()' postgres
//! ```
//!
//! `PGHOST` is the app's real name and `PGHOSTADDR` the local address, so that `sslmode=verify-full` still holds.

use std::time::Duration;

use ztsa_core::{Client, DeviceFlow, Event};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(gateway), Some(ca), Some(state)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: postgres GATEWAY CA_FILE STATE_DIR [-- PSQL_ARGUMENTS]".into());
    };
    let client = Client::builder(&gateway).ca_pem(&std::fs::read(ca)?).state_dir(state).build().await?;
    if client.session().await.is_err() {
        let flow = DeviceFlow::new(|p| eprintln!("open {} and enter {}", p.verification_uri, p.user_code));
        client.login(flow).await?;
    }
    let apps = client.apps().await?;
    let app = apps.apps.iter().find(|app| app.name.as_str() == "db-prod").ok_or("there is no app db-prod for you")?;
    let real_name = app.hosts.first().map_or_else(|| app.name.to_string(), ToString::to_string);
    let forward = client.forward("db-prod", "127.0.0.1:0").await?;

    let mut psql = tokio::process::Command::new("psql")
        .args(arguments.skip_while(|argument| argument == "--"))
        .env("PGHOST", real_name)
        .env("PGHOSTADDR", forward.local_addr().ip().to_string())
        .env("PGPORT", forward.local_addr().port().to_string())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run psql: {error}"))?;

    let mut events = client.events();
    let status = loop {
        tokio::select! {
            status = psql.wait() => break status?,
            Some(event) = events.next() => match event {
                Event::Refused { problem, .. } => eprintln!("refused: {problem}"),
                Event::Suspended { problem, .. } => eprintln!("suspended: {problem}"),
                Event::Restored(_) => eprintln!("restored"),
                Event::Ended { problem: Some(problem), .. } => eprintln!("ended: {problem}"),
                _ => {}
            },
        }
    };
    forward.shutdown(Duration::from_secs(1)).await;
    if status.success() { Ok(()) } else { Err(format!("psql ended with {status}").into()) }
}
