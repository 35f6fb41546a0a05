//! `ztsa-gateway status`.

use ztsa_gateway::admin::request::Request;

use super::failure::Failure;
use super::output::{line, text};
use super::socket;

pub(crate) fn run(args: &socket::Args) -> Result<(), Failure> {
    args.show(&Request::Status {}, |answer| {
        line(&format!("gateway   {} (ztsa-gateway {})", text(answer, "gateway"), text(answer, "version")))?;
        line(&format!("sessions  {}", text(answer, "sessions")))?;
        line(&format!("tunnels   {}", text(answer, "tunnels")))?;
        line(&format!("policies  {}", text(answer, "policies")))?;
        let outage = answer.get("store").map(|store| text(store, "outage")).filter(|outage| outage != "-");
        line(&format!("store     {}", outage.as_deref().unwrap_or("ok")))?;
        let lost = answer.get("audit").map_or_else(|| "0".to_owned(), |audit| text(audit, "lost"));
        line(&format!("audit     {lost} events lost"))
    })
}
