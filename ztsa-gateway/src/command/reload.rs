//! `ztsa-gateway reload`.

use serde_json::Value;
use ztsa_gateway::admin::request::Request;

use super::failure::Failure;
use super::output::{changed, count, counted, line, list};
use super::socket;

pub(crate) fn run(args: &socket::Args) -> Result<(), Failure> {
    args.show(&Request::Reload {}, |answer| {
        let named = |member: &str| list(answer, member).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        line(&format!(
            "read again: {}, {}, {}; {}",
            counted(count(answer, "apps"), "app", "apps"),
            counted(count(answer, "issuers"), "issuer", "issuers"),
            counted(count(answer, "policies"), "policy", "policies"),
            changed(answer)
        ))?;
        if !list(answer, "changed").is_empty() {
            line(&format!("changed: {}", named("changed")))?;
        }
        if count(answer, "sessions") > 0 {
            let sessions = counted(count(answer, "sessions"), "session", "sessions");
            line(&format!("{sessions} ended: the issuer is gone"))?;
        }
        if !list(answer, "restart").is_empty() {
            line(&format!("not changed, because it needs a restart: {}", named("restart")))?;
        }
        Ok(())
    })
}
