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
        let audit = answer.get("audit").cloned().unwrap_or_default();
        let (lost, waiting) = (text(&audit, "lost"), text(&audit, "waiting"));
        let outage = Some(text(&audit, "outage")).filter(|outage| outage != "-");
        let outage = outage.map(|outage| format!(": {outage}")).unwrap_or_default();
        line(&format!("audit     {lost} events lost, {waiting} waiting{outage}"))?;
        let Some(collector) = audit.get("collector").filter(|collector| collector.is_object()) else { return Ok(()) };
        let outage = Some(text(collector, "outage")).filter(|outage| outage != "-");
        let outage = outage.map(|outage| format!(": {outage}")).unwrap_or_default();
        line(&format!("collector {} events waiting{outage}", text(collector, "waiting")))
    })
}
