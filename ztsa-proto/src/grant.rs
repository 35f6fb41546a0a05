//! Permissions for one app: grants, bound to a session and its device, and tickets, bearer credentials of minutes.

use serde::{Deserialize, Serialize};

use crate::name::{AppName, GrantId, TicketId};
use crate::secret::Secret;
use crate::time::UnixTime;

/// Asks for permission to reach one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRequest {
    /// The app.
    pub app: AppName,
    /// Why, in the person's words; it goes into the audit log.
    #[serde(default, deserialize_with = "crate::text::clean_option", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Gives a permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantResponse {
    /// The permission.
    pub grant: GrantId,
    /// The app that it is for.
    pub app: AppName,
    /// When it ends.
    pub expires_at: UnixTime,
    /// What bounds it.
    #[serde(default)]
    pub limits: Limits,
}

/// Bounds a permission; this version has no bounds but time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {}

/// Asks for a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRequest {
    /// The app.
    pub app: AppName,
    /// For how many seconds; the gateway may shorten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// How many tunnels it may open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// Gives a ticket; it only reads, because a secret is written by hand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TicketResponse {
    /// The ticket, to be given as a proxy password.
    pub ticket: Secret<String>,
    /// Its identifier, to revoke it by.
    pub id: TicketId,
    /// The app that it is for.
    pub app: AppName,
    /// When it ends.
    pub expires_at: UnixTime,
    /// How many tunnels it may open.
    #[serde(default)]
    pub uses: Option<u32>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_carry_only_what_was_said() {
        let app: AppName = "db".parse().unwrap();
        let grant = GrantRequest { app: app.clone(), reason: None };
        assert_eq!(serde_json::to_value(&grant).unwrap(), json!({"app": "db"}));
        let ticket = TicketRequest { app, for_seconds: Some(600), uses: None };
        assert_eq!(serde_json::to_value(&ticket).unwrap(), json!({"app": "db", "for_seconds": 600}));
        let told: GrantRequest = serde_json::from_value(json!({"app": "db", "reason": "on\ncall\u{1b}[2J"})).unwrap();
        assert_eq!(told.reason.as_deref(), Some("on call"));
    }

    #[test]
    fn a_newer_gateways_answers_still_read() {
        let grant: GrantResponse = serde_json::from_value(
            json!({"grant": "g1", "app": "db", "expires_at": 7, "limits": {"bytes": 1}, "new": true}),
        )
        .unwrap();
        assert_eq!((grant.grant.as_str(), grant.expires_at), ("g1", UnixTime(7)));
        let ticket: TicketResponse =
            serde_json::from_value(json!({"ticket": "s3cret", "id": "t1", "app": "db", "expires_at": 7, "new": 1}))
                .unwrap();
        assert_eq!(ticket.ticket.expose(), "s3cret");
        assert!(!format!("{ticket:?}").contains("s3cret"));
    }
}
