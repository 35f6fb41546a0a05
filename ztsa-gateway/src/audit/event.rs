//! A record in the words of OCSF 1.3: classes Authentication (3002), Authorize Session (3003), Entity Management (3004)
//! and Network Activity (4001); and what decisions share: Device Config State (5002), User Inventory Info (5003).

use serde_json::{Map, Value, json};

use ztsa_proto::time::UnixTime;

use super::{About, Activity, Outcome, Record, Sheet};

const VERSION: &str = "1.3.0";

/// The class, the activity's number and its name.
fn class(record: &Record) -> (u32, u32, &'static str) {
    match (record.activity, record.outcome) {
        (Activity::SignIn, _) => (3002, 1, "Logon"),
        (Activity::SignOut, _) => (3002, 2, "Logoff"),
        (Activity::Renew, _) => (3002, 5, "Service Ticket Renew"),
        (Activity::Connect, _) => (3003, 1, "Connect"),
        (Activity::Grant, _) => (3003, 1, "Grant"),
        (Activity::Ticket, _) => (3003, 1, "Ticket"),
        (Activity::Explain, _) => (3003, 1, "Explain"),
        (Activity::End, Outcome::Success) => (4001, 2, "Close"),
        (Activity::End, Outcome::Failure) => (4001, 3, "Reset"),
        (Activity::Suspend, _) => (4001, 99, "Suspend"),
        (Activity::Restore, _) => (4001, 99, "Restore"),
        (Activity::Revoke, _) => (3004, 4, "Revoke"),
        (Activity::Risk, _) => (3004, 3, "Risk"),
        (Activity::Device, _) => (3004, 3, "Device"),
        (Activity::Policy, _) => (3004, 3, "Policy"),
        (Activity::Signal, _) => (3004, 3, "Signal"),
        (Activity::Configuration, _) => (3004, 3, "Configuration"),
    }
}

/// 1 informational, 2 low, 3 medium.
fn severity(record: &Record) -> (u32, &'static str) {
    match (record.activity, record.outcome) {
        (Activity::Suspend | Activity::Revoke, _) | (Activity::End, Outcome::Failure) => (3, "Medium"),
        (_, Outcome::Failure) => (2, "Low"),
        (_, Outcome::Success) => (1, "Informational"),
    }
}

/// Writes a record as one JSON object.
pub(super) fn json(record: &Record) -> Value {
    let (class_uid, activity_id, activity) = class(record);
    let (severity_id, severity) = severity(record);
    let success = record.outcome == Outcome::Success;
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| drop(event.insert(key.to_owned(), value));
    put("time", json!(record.at.0.saturating_mul(1000)));
    put("class_uid", json!(class_uid));
    put("category_uid", json!(class_uid / 1000));
    put("activity_id", json!(activity_id));
    put("activity_name", json!(activity));
    put("type_uid", json!(class_uid * 100 + activity_id));
    put("severity_id", json!(severity_id));
    put("severity", json!(severity));
    put("status_id", json!(if success { 1 } else { 2 }));
    put("status", json!(if success { "Success" } else { "Failure" }));
    if let Some(code) = &record.code {
        put("status_code", json!(code));
    }
    if let Some(message) = &record.message {
        put("message", json!(message));
    }
    put("metadata", metadata());
    if let Some(actor) = &record.actor {
        let mut user = Map::new();
        if let Some(id) = &actor.user {
            user.insert("uid".to_owned(), json!(id.to_string()));
        }
        if let Some(name) = &actor.name {
            user.insert("name".to_owned(), json!(name));
        }
        if let Some(email) = &actor.email {
            user.insert("email_addr".to_owned(), json!(email));
        }
        let user = Value::Object(user);
        let session = actor.session.as_ref().map(|id| json!({"uid": id.to_string()}));
        put("actor", json!({"user": user, "session": session}));
        // Authentication wants the person at the top as well
        if matches!(class_uid, 3002 | 3003) {
            put("user", user);
        }
        if let Some(session) = session {
            put("session", session);
        }
        if let Some(device) = &actor.device {
            put("device", json!({"uid": device.to_string(), "type_id": 0}));
        }
    }
    if let Some(peer) = record.peer {
        put("src_endpoint", json!({"ip": peer.to_string()}));
    }
    if let Some((app, port)) = &record.app {
        put("dst_endpoint", json!({"name": app.to_string(), "port": port}));
    }
    if let Some(tunnel) = record.tunnel {
        put("connection_info", json!({"uid": tunnel.to_string(), "protocol_name": "tcp", "direction_id": 1}));
    }
    if let Some(traffic) = record.traffic {
        // as seen from the client, whose connection it is
        let total = traffic.up.saturating_add(traffic.down);
        put("traffic", json!({"bytes_in": traffic.down, "bytes_out": traffic.up, "bytes": total}));
        put("duration", json!(u64::try_from(traffic.duration.as_millis()).unwrap_or(u64::MAX)));
    }
    if !record.policies.is_empty() {
        put("policy", json!({"uid": record.policies.join(" "), "is_applied": true}));
    }
    if record.decision.is_some() || !record.shadow.is_empty() || !record.policies.is_empty() {
        let mut unmapped = json!({"decision": record.decision, "policies": record.policies, "shadow": record.shadow});
        if let (Some(input), Some(unmapped)) = (&record.input, unmapped.as_object_mut()) {
            unmapped.insert("input".to_owned(), json!(input));
        }
        put("unmapped", unmapped);
    }
    Value::Object(event)
}

fn metadata() -> Value {
    let product = json!({"name": "ztsa-gateway", "vendor_name": "ztsa", "version": env!("CARGO_PKG_VERSION")});
    json!({"version": VERSION, "product": product})
}

/// Writes what decisions share as one JSON object.
pub(super) fn sheet(sheet: &Sheet, record: &Record) -> Value {
    let UnixTime(at) = record.at;
    let (class_uid, about) = match sheet.about {
        About::Device => (5002, "device"),
        About::Person => (5003, "person"),
    };
    let told: Value = serde_json::from_str(&sheet.text).unwrap_or_default();
    let mut event = json!({
        "time": at.saturating_mul(1000),
        "class_uid": class_uid,
        "category_uid": 5,
        "activity_id": 2,
        "activity_name": "Collect",
        "type_uid": class_uid * 100 + 2,
        "severity_id": 1,
        "severity": "Informational",
        "metadata": metadata(),
        "unmapped": {"digest": sheet.digest, about: told},
    });
    let Some(members) = event.as_object_mut() else { return event };
    let actor = record.actor.as_ref();
    if let (About::Device, Some(device)) = (sheet.about, actor.and_then(|actor| actor.device.as_ref())) {
        members.insert("device".to_owned(), json!({"uid": device.to_string(), "type_id": 0}));
    }
    if let (About::Person, Some(user)) = (sheet.about, actor.and_then(|actor| actor.user.as_ref())) {
        members.insert("user".to_owned(), json!({"uid": user.to_string()}));
    }
    event
}
