//! `ztsa ticket`

use serde_json::json;
use ztsa_proto::grant::TicketRequest;

use super::connect::fill::quote;
use super::{Context, Done};
use crate::cli;
use crate::report::Failure;

pub(crate) async fn run(args: cli::Ticket, context: &Context) -> Result<Done, Failure> {
    let client = context.signed_in().await?;
    let request = TicketRequest {
        app: args.app.clone(),
        for_seconds: args.lifetime.map(|lifetime| lifetime.as_secs()),
        uses: args.uses,
    };
    let ask = async || client.ticket(&request).await.map_err(|error| Failure::about(args.app.as_str(), error));
    let ticket = context.led(&client, ask).await?;
    let printer = &context.printer;
    if printer.json() {
        let expires = ticket.expires_at.rfc3339();
        printer.json_value(&json!({
            "ticket": ticket.ticket.expose(),
            "id": ticket.id,
            "app": ticket.app,
            "expires_at": ticket.expires_at,
            "expires": expires,
            "uses": ticket.uses,
        }))?;
        return Ok(Done::Ok);
    }
    printer.data(ticket.ticket.expose())?;
    let gateway = context.settings.config()?.resource();
    let uses = ticket.uses.map(|uses| format!(", {uses} times")).unwrap_or_default();
    let roots = context.settings.roots.as_ref();
    let roots = roots.map(|roots| format!(" --proxy-cacert {}", quote(&roots.value.path.display().to_string())));
    printer.say(&format!(
        "opens {app} until {until}{uses}; whoever has it can use it, so keep it out of logs and command lines\n  \
         {gateway} takes it as an HTTP proxy: any user name, the ticket as the password; for instance:\n  \
         ztsa ticket {app} | sed 's/^/Proxy-Authorization: Bearer /' > ticket.header\n  \
         curl --proxy {gateway}{roots} --proxy-header @ticket.header --proxytunnel http://{app}.ztsa/",
        app = ticket.app,
        until = ticket.expires_at.rfc3339(),
        roots = roots.unwrap_or_default(),
    ));
    Ok(Done::Ok)
}
