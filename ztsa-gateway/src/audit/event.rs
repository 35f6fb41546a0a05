//! A record in the words of OCSF 1.3: classes Authentication (3002), Authorize Session (3003), Entity Management (3004)
//! and Network Activity (4001), with the profile `host`; and what decisions share: Device Config State (5002), User Inventory
//! Info (5003).

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{About, Activity, Actor, Entity, Outcome, Record, Sheet};

/// The version of OCSF.
const VERSION: &str = "1.3.0";
/// The longest message, in bytes; a longer one is cut.
const MESSAGE: usize = 16 * 1024;

/// The class, the activity's number and its name.
fn class(record: &Record) -> (u32, u32, &'static str) {
    match (record.activity, record.outcome) {
        (Activity::SignIn, _) => (3002, 1, "Logon"),
        (Activity::SignOut, _) => (3002, 2, "Logoff"),
        (Activity::Renew, _) => (3002, 5, "Service Ticket Renew"),
        (Activity::Connect | Activity::Grant | Activity::Ticket, _) => (3003, 1, "Assign Privileges"),
        (Activity::Explain, _) => (3003, 99, "Explain"),
        (Activity::Open, _) => (4001, 1, "Open"),
        (Activity::End, Outcome::Success) => (4001, 2, "Close"),
        (Activity::End, Outcome::Failure) => (4001, 3, "Reset"),
        (Activity::Fail, _) => (4001, 4, "Fail"),
        (Activity::Suspend, _) => (4001, 99, "Suspend"),
        (Activity::Restore, _) => (4001, 99, "Restore"),
        (Activity::Approve, _) => (3004, 8, "Enable"),
        (Activity::Block, _) => (3004, 9, "Disable"),
        (Activity::Remove, _) => (3004, 4, "Delete"),
        (Activity::Revoke, _) => (3004, 11, "Deactivate"),
        (Activity::Release | Activity::Risk | Activity::Policy | Activity::Signal | Activity::Configuration, _) => {
            (3004, 3, "Update")
        }
    }
}

/// 1 informational, 2 low, 3 medium.
fn severity(record: &Record) -> u32 {
    match (record.activity, record.outcome) {
        (Activity::Suspend | Activity::Revoke, _) | (Activity::End, Outcome::Failure) => 3,
        (_, Outcome::Failure) => 2,
        (_, Outcome::Success) => 1,
    }
}

/// Writes a record as the members of one event; the log adds what numbers and seals it.
pub(super) fn members(record: &Record) -> Map<String, Value> {
    let (class, activity, name) = class(record);
    let success = record.outcome == Outcome::Success;
    let head = Head {
        time: record.at.0.saturating_mul(1000),
        class,
        activity,
        name,
        severity: severity(record),
        code: record.activity.code(),
    };
    let mut event = head.members();
    let mut put = |key: &str, value: Value| drop(event.insert(key.to_owned(), value));
    put("status_id", json!(if success { 1 } else { 2 }));
    put("status", json!(if success { "Success" } else { "Failure" }));
    if let Some(code) = &record.code {
        put("status_code", json!(code));
    }
    if let Some(message) = &record.message {
        put("message", json!(cut(message)));
    }
    let actor = record.actor.as_ref();
    if let Some(actor) = actor.and_then(|actor| acting(actor, record)) {
        put("actor", actor);
    }
    if let Some(device) = actor.and_then(|actor| actor.device.as_ref()) {
        put("device", json!({"uid": device.as_str(), "type_id": 0}));
    }
    let session = actor.and_then(|actor| actor.session.as_ref()).map(|id| json!({"uid": id.as_str()}));
    if let Some(peer) = record.peer {
        put("src_endpoint", json!({"ip": peer.to_string()}));
    }
    match class {
        3002 | 3003 => {
            put("user", known(actor));
            if let Some(session) = session {
                put("session", session);
            }
            if class == 3002 {
                put("service", json!({"name": "ztsa-gateway"}));
                // RFC 8693, from another machine
                put("auth_protocol_id", json!(6));
                put("logon_type_id", json!(3));
                put("is_remote", json!(true));
            } else {
                let to = record.app.as_ref().map(|(app, port)| format!("connect {app}:{port}"));
                put("privileges", json!([to.as_deref().unwrap_or("connect")]));
            }
        }
        4001 => {
            let mut connection = json!({"protocol_name": "tcp", "protocol_num": 6, "direction_id": 1});
            if let Some(connection) = connection.as_object_mut() {
                if let Some(tunnel) = record.tunnel {
                    connection.insert("uid".to_owned(), json!(tunnel.to_string()));
                }
                if let Some(peer) = record.peer {
                    let version = if matches!(peer, IpAddr::V4(_)) { 4 } else { 6 };
                    connection.insert("protocol_ver_id".to_owned(), json!(version));
                }
            }
            put("connection_info", connection);
        }
        _ => put("entity", entity(record)),
    }
    if let Some((app, port)) = record.app.as_ref().filter(|_| class != 3004) {
        let mut to = json!({"name": app.as_str(), "port": port});
        if let (Some(to), Some(dialled)) = (to.as_object_mut(), record.dialled) {
            to.insert("ip".to_owned(), json!(dialled.to_string()));
        }
        put("dst_endpoint", to);
    } else if class == 4001 {
        put("dst_endpoint", json!({"name": "unknown"}));
    }
    if let Some(traffic) = record.traffic {
        // as seen from the client, whose connection it is
        let total = traffic.up.saturating_add(traffic.down);
        put("traffic", json!({"bytes_in": traffic.down, "bytes_out": traffic.up, "bytes": total}));
        put("duration", json!(u64::try_from(traffic.duration.as_millis()).unwrap_or(u64::MAX)));
    }
    let told = [&record.policies, &record.shadow, &record.failed];
    if record.decision.is_some() || told.iter().any(|policies| !policies.is_empty()) {
        let mut unmapped = json!({"decision": record.decision, "policies": record.policies, "shadow": record.shadow});
        if let (Some(input), Some(unmapped)) = (&record.input, unmapped.as_object_mut()) {
            unmapped.insert("input".to_owned(), json!(input));
        }
        if let (false, Some(unmapped)) = (record.failed.is_empty(), unmapped.as_object_mut()) {
            unmapped.insert("failed".to_owned(), json!(record.failed));
        }
        put("unmapped", unmapped);
    }
    event
}

/// Writes what decisions share as the members of one event.
pub(super) fn sheet(sheet: &Sheet, record: &Record) -> Map<String, Value> {
    let (class, about, code) = match sheet.about {
        About::Device => (5002, "device", "device"),
        About::Person => (5003, "person", "person"),
    };
    let time = record.at.0.saturating_mul(1000);
    let mut event = Head { time, class, activity: 2, name: "Collect", severity: 1, code }.members();
    let told: Value = serde_json::from_str(&sheet.text).unwrap_or_default();
    event.insert("unmapped".to_owned(), json!({"digest": sheet.digest, about: told}));
    let actor = record.actor.as_ref();
    match sheet.about {
        About::Device => {
            let uid = actor.and_then(|actor| actor.device.as_ref()).map_or("unknown", |device| device.as_str());
            event.insert("device".to_owned(), json!({"uid": uid, "type_id": 0}));
        }
        About::Person => {
            event.insert("user".to_owned(), known(actor));
        }
    }
    event
}

/// What every event begins with.
pub(super) struct Head {
    /// Milliseconds since 1970.
    pub(super) time: u64,
    pub(super) class: u32,
    pub(super) activity: u32,
    pub(super) name: &'static str,
    pub(super) severity: u32,
    pub(super) code: &'static str,
}

impl Head {
    /// Writes them as OCSF does.
    pub(super) fn members(&self) -> Map<String, Value> {
        let severity = match self.severity {
            1 => "Informational",
            2 => "Low",
            3 => "Medium",
            _ => "High",
        };
        let profiles: &[&str] = if self.class == 0 { &[] } else { &["host"] };
        let members = [
            ("time", json!(self.time)),
            ("class_uid", json!(self.class)),
            ("category_uid", json!(self.class / 1000)),
            ("activity_id", json!(self.activity)),
            ("activity_name", json!(self.name)),
            ("type_uid", json!(self.class * 100 + self.activity)),
            ("severity_id", json!(self.severity)),
            ("severity", json!(severity)),
            (
                "metadata",
                json!({
                    "version": VERSION,
                    "profiles": profiles,
                    "event_code": self.code,
                    "log_name": "audit",
                    "product": {"name": "ztsa-gateway", "vendor_name": "ztsa", "version": env!("CARGO_PKG_VERSION")},
                }),
            ),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Who acted and by which policies; `None` when nothing of it is known.
fn acting(actor: &Actor, record: &Record) -> Option<Value> {
    let mut acting = Map::new();
    if let Some(user) = user(actor) {
        acting.insert("user".to_owned(), user);
    }
    if let Some(session) = &actor.session {
        acting.insert("session".to_owned(), json!({"uid": session.as_str()}));
    }
    if acting.is_empty() {
        return None;
    }
    if !record.policies.is_empty() {
        let decision = if record.outcome == Outcome::Success { "Allowed" } else { "Denied" };
        let by = |id: &String| json!({"decision": decision, "policy": {"uid": id, "is_applied": true}});
        acting.insert("authorizations".to_owned(), record.policies.iter().map(by).collect());
    }
    Some(Value::Object(acting))
}

/// Who it was, where OCSF wants to know.
fn known(actor: Option<&Actor>) -> Value {
    actor.and_then(user).unwrap_or_else(|| json!({"name": "unknown", "type_id": 0}))
}

fn user(actor: &Actor) -> Option<Value> {
    let mut user = Map::new();
    if let Some(id) = &actor.user {
        user.insert("uid".to_owned(), json!(id.to_string()));
    }
    if let Some(name) = &actor.name {
        user.insert("name".to_owned(), json!(name));
    }
    if let Some(email) = &actor.email {
        let member = if is_email(email) { "email_addr" } else { "uid_alt" };
        user.insert(member.to_owned(), json!(email));
    }
    // neither an address alone nor nothing names a person
    if !user.contains_key("uid") && !user.contains_key("name") {
        return None;
    }
    user.insert("type_id".to_owned(), json!(1));
    Some(Value::Object(user))
}

fn entity(record: &Record) -> Value {
    match &record.entity {
        Some(Entity::User(user)) => {
            let uid = user.to_string();
            json!({"type": "User", "uid": uid, "user": {"uid": uid, "type_id": 1}})
        }
        Some(Entity::Device(device)) => {
            let uid = device.as_str();
            json!({"type": "Device", "uid": uid, "device": {"uid": uid, "type_id": 0}})
        }
        Some(Entity::Session(session)) => json!({"type": "Session", "uid": session.as_str()}),
        Some(Entity::Named(kind, name)) => json!({"type": kind, "name": name}),
        None => json!({"type": "Gateway", "name": "ztsa-gateway"}),
    }
}

/// Says whether an address has the form that OCSF wants of one.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let inside = |c: char| c.is_ascii_graphic() && !"\"(),:;<>@[\\]".contains(c);
    let label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let mut labels = domain.split('.');
    !local.is_empty() && local.chars().all(inside) && labels.clone().count() > 1 && labels.all(label)
}

fn cut(message: &str) -> &str {
    let end = (0..=MESSAGE.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    message.get(..end.unwrap_or_default()).unwrap_or_default()
}
