//! What an administrator is shown, as JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use ztsa_proto::name::UserId;

use crate::engine::{Changed, Engine, Revoked};
use crate::lease::{Access, Selector, Tunnel};
use crate::policy::Monitored;
use crate::reload::Reloaded;
use crate::store::{Device, NewSignal, SessionRow, Subject};

/// Shows how many tunnels changed.
pub(super) fn changed(changed: Changed) -> Value {
    json!({ "ended": changed.ended, "suspended": changed.suspended, "restored": changed.restored })
}

/// Shows what a revocation ended.
pub(super) fn revoked(revoked: Revoked) -> Map<String, Value> {
    members([
        ("sessions", json!(revoked.sessions)),
        ("tunnels", json!(revoked.tunnels)),
        ("tickets", json!(revoked.tickets)),
    ])
}

/// Shows what reading everything again came to.
pub(super) fn reloaded(reloaded: &Reloaded) -> Map<String, Value> {
    members([
        ("apps", json!(reloaded.apps)),
        ("issuers", json!(reloaded.issuers)),
        ("policies", json!(reloaded.policies)),
        ("changed", json!(reloaded.changed)),
        ("restart", json!(reloaded.restart)),
        ("sessions", json!(reloaded.sessions)),
        ("tunnels", changed(reloaded.tunnels)),
    ])
}

/// Shows what a policy in monitor mode would have done.
pub(super) fn monitored(monitored: &Monitored) -> Value {
    let Monitored { rule, would, code } = monitored;
    json!({ "id": rule.id, "effect": rule.effect, "reason": rule.reason, "would": would.as_str(), "code": code })
}

/// Shows one session with its tunnels.
pub(super) fn session(engine: &Engine, row: &SessionRow) -> Value {
    let person = engine.store().user(&row.user);
    let scores = engine.scores(&row.user, &row.device, &row.id);
    let tunnels = engine.leases().select(&Selector::Session(row.id.clone()));
    json!({
        "session": row.id,
        "user": row.user,
        "name": person.as_ref().and_then(|person| person.name.clone()),
        "email": person.as_ref().and_then(|person| person.email.clone()),
        "device": row.device,
        "device_name": engine.store().device(&row.device).and_then(|device| device.name),
        "started_at": row.started_at,
        "ends_at": row.ends_at,
        "risk": { "user": scores.user, "device": scores.device, "session": scores.session },
        "tickets": engine.ticket_count(&row.id),
        "tunnels": tunnels.iter().map(|open| tunnel(engine, open)).collect::<Vec<_>>(),
    })
}

fn tunnel(engine: &Engine, tunnel: &Tunnel) -> Value {
    let (access, code) = match tunnel.access() {
        Access::Open => ("open", None),
        Access::Suspended(problem) => ("suspended", Some(problem.code.clone())),
        Access::Ended(problem) => ("ended", Some(problem.code.clone())),
    };
    json!({
        "tunnel": tunnel.id,
        "app": tunnel.app.name,
        "peer": tunnel.peer,
        "opened_at": tunnel.opened_at,
        "up": tunnel.up(),
        "down": tunnel.down(),
        "ticket": tunnel.ticket,
        "access": access,
        "waits_until": engine.waits_left(tunnel.id).map(|left| engine.now().plus(left)),
        "code": code,
    })
}

/// Shows one device.
pub(super) fn device(engine: &Engine, device: &Device) -> Value {
    let person = engine.store().user(&device.user);
    json!({
        "device": device.id,
        "state": device.state.as_str(),
        "device_name": device.name,
        "os": device.os,
        "user": device.user,
        "name": person.and_then(|person| person.name),
        "first_seen": device.first_seen,
        "last_seen": device.last_seen,
        "tunnels": engine.leases().count(&Selector::Device(device.id.clone())),
    })
}

/// Shows the signals that count now, by subject, with the score that they make.
pub(super) fn risk(engine: &Engine, subject: Option<&Subject>) -> Value {
    let now = engine.now();
    let mut subjects: BTreeMap<String, (Subject, Vec<NewSignal>)> = BTreeMap::new();
    if let Some(subject) = subject {
        subjects.insert(subject.to_string(), (subject.clone(), Vec::new()));
    }
    for signal in engine.signals(subject) {
        let entry = subjects.entry(signal.subject.to_string());
        entry.or_insert_with(|| (signal.subject.clone(), Vec::new())).1.push(signal);
    }
    let shown = subjects.into_values().map(|(subject, signals)| {
        let scores = crate::risk::score(&signals, now);
        let mut shown = about(engine, &subject);
        shown.insert("score".to_owned(), json!(scores.user.max(scores.device).max(scores.session)));
        shown.insert("signals".to_owned(), json!(scores.info().signals));
        Value::Object(shown)
    });
    Value::Array(shown.collect())
}

/// Names a subject.
pub(super) fn about(engine: &Engine, subject: &Subject) -> Map<String, Value> {
    match subject {
        Subject::User(user) | Subject::Login(user, _) | Subject::SignOut(user, _) => named(engine, user),
        Subject::Device(device) => members([("device", json!(device))]),
        Subject::Session(session) => members([("session", json!(session))]),
    }
}

/// Names a person.
pub(super) fn named(engine: &Engine, user: &UserId) -> Map<String, Value> {
    let person = engine.store().user(user);
    let known = person.is_some();
    members([("user", json!(user)), ("name", json!(person.and_then(|person| person.name))), ("known", json!(known))])
}

/// Makes an object.
pub(super) fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Shows how the gateway is.
pub(super) fn status(engine: &Engine) -> Map<String, Value> {
    members([
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("gateway", json!(engine.config().resource())),
        ("tunnels", json!(engine.leases().len())),
        ("sessions", json!(engine.list_sessions().len())),
        ("policies", json!(engine.policy_count())),
        ("store", json!({ "outage": engine.store().outage() })),
        ("audit", audit(engine)),
    ])
}

fn audit(engine: &Engine) -> Value {
    let state = engine.audit().state();
    let collector = state.export.map(|export| {
        json!({
            "waiting": export.waiting,
            "failures": export.failures,
            "rejected": export.rejected,
            "not_sent": export.not_sent,
            "outage": export.outage,
        })
    });
    json!({
        "lost": state.lost,
        "waiting": state.waiting,
        "sequence": state.sequence,
        "outage": state.outage,
        "collector": collector,
    })
}
