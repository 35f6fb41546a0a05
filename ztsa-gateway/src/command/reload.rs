//! `ztsa-gateway reload`.

use serde_json::Value;
use ztsa_gateway::admin::request::Request;

use super::failure::Failure;
use super::output::{changed, count, line, list, text};
use super::socket;

pub(crate) fn run(args: &socket::Args) -> Result<(), Failure> {
    args.show(&Request::Reload {}, |answer| {
        let named = |member: &str| list(answer, member).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        line(&format!(
            "read again: {} apps, {} issuers, {} policies; {}",
            text(answer, "apps"),
            text(answer, "issuers"),
            text(answer, "policies"),
            changed(answer)
        ))?;
        if !list(answer, "changed").is_empty() {
            line(&format!("changed: {}", named("changed")))?;
        }
        if count(answer, "sessions") > 0 {
            line(&format!("{} sessions ended: their issuer is gone", count(answer, "sessions")))?;
        }
        if !list(answer, "restart").is_empty() {
            line(&format!("not changed, because it needs a restart: {}", named("restart")))?;
        }
        Ok(())
    })
}
