//! Carries out what an administrator asks for.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use ztsa_proto::name::{AppName, SessionId, UserId};

use super::request::Request;
use super::view;
use crate::config::duration;
use crate::engine::{Engine, Explained, OrderError};
use crate::lease::Selector;
use crate::measure::Cause;
use crate::policy::PolicyError;
use crate::reload::{Reload, ReloadError};
use crate::store::{DeviceState, FindUserError, Subject};

/// A refusal, with what to do about it.
struct Fault {
    error: String,
    hint: Option<String>,
}

type Answer = Result<Map<String, Value>, Fault>;

/// Answers one line, which has come at `arrived`.
pub(super) fn answer(engine: &Engine, reload: &Reload, line: &[u8], arrived: Instant) -> Vec<u8> {
    let answer = serde_json::from_slice::<Request>(line).map_err(Fault::syntax).and_then(|request| {
        let engine = engine.because(Cause { why: request.why(), at: arrived });
        let reload = Reload { engine: engine.clone(), ..reload.clone() };
        order(&engine, &reload, request)
    });
    match answer {
        Ok(members) => {
            let mut answer = view::members([("ok", Value::Bool(true))]);
            answer.extend(members);
            text(answer)
        }
        Err(fault) => fault.text(),
    }
}

/// The answer to a line that does not end.
pub(super) fn too_long() -> Vec<u8> {
    Fault::new("the request is longer than 64 KiB", None).text()
}

/// The answer when carrying out an order came to grief.
pub(super) fn failed() -> Vec<u8> {
    Fault::new("the gateway failed while it carried this out; its log says more", None).text()
}

fn order(engine: &Engine, reload: &Reload, request: Request) -> Answer {
    match request {
        Request::SessionsList {} => {
            let sessions: Vec<Value> = engine.list_sessions().iter().map(|row| view::session(engine, row)).collect();
            Ok(view::members([("sessions", Value::Array(sessions))]))
        }
        Request::SessionsRevoke { user, session, device, app, all, reason } => {
            revoke(engine, [user, session, device, app], all, &reason)
        }
        Request::RiskSet { user, device, session, score, reason, lasts } => {
            let subject = subject(engine, user, device, session)?.ok_or_else(Fault::nobody)?;
            risk_set(engine, &subject, score, &reason, lasts.as_deref())
        }
        Request::RiskShow { user, device, session } => {
            let subject = subject(engine, user, device, session)?;
            Ok(view::members([("risk", view::risk(engine, subject.as_ref()))]))
        }
        Request::RiskClear { user, device, session } => {
            let subject = subject(engine, user, device, session)?.ok_or_else(Fault::nobody)?;
            let changed = engine.risk_clear(&subject);
            let mut members = view::about(engine, &subject);
            members.insert("cleared".to_owned(), json!(changed.is_some()));
            members.insert("tunnels".to_owned(), view::changed(changed.unwrap_or_default()));
            Ok(members)
        }
        Request::RiskForget { user } => {
            let user = person(engine, &user)?;
            let mut members = view::named(engine, &user);
            members.insert("forgotten".to_owned(), json!(engine.forget_habits(&user)));
            Ok(members)
        }
        Request::DevicesList {} => {
            let devices = engine.store().devices();
            let devices: Vec<Value> = devices.iter().map(|device| view::device(engine, device)).collect();
            Ok(view::members([("devices", Value::Array(devices))]))
        }
        Request::DevicesApprove { device } => device_set(engine, &device, DeviceState::Approved),
        Request::DevicesBlock { device } => device_set(engine, &device, DeviceState::Blocked),
        Request::DevicesRemove { device } => {
            let device = engine.find_device(&device)?;
            let revoked = engine.device_remove(&device)?;
            let mut members = view::revoked(revoked);
            members.insert("device".to_owned(), json!(device));
            Ok(members)
        }
        Request::PolicyReload {} => {
            let (policies, changed) = engine.reload_policies().map_err(|error| {
                Fault::new(&error.to_string(), Some(&format!("the policies that ran before stay; {}", remedy(&error))))
            })?;
            Ok(view::members([("policies", json!(policies)), ("tunnels", view::changed(changed))]))
        }
        Request::Reload {} => match reload.run() {
            Ok(reloaded) => Ok(view::reloaded(&reloaded)),
            Err(error) => {
                let remedy = if let ReloadError::Policy(error) = &error { remedy(error) } else { MEND };
                Err(Fault::new(&error.to_string(), Some(&format!("all stays as it was; {remedy}"))))
            }
        },
        Request::PolicyExplain { user, app } => explain(engine, &user, &app),
        Request::Status {} => Ok(view::status(engine)),
        Request::AuditKey {} => Ok(view::members([("key", json!(engine.audit().public_key()))])),
    }
}

const MEND: &str = "mend the file and try again";

/// What is to be done about policies that were refused.
fn remedy(error: &PolicyError) -> &'static str {
    match error {
        PolicyError::Early(_) => "when `ztsa-gateway check` takes the files as they are, restart the gateway",
        _ => MEND,
    }
}

fn revoke(engine: &Engine, named: [Option<String>; 4], all: bool, reason: &str) -> Answer {
    let [user, session, device, app] = named;
    let selector = match (user, session, device, app, all) {
        (Some(user), None, None, None, false) => Selector::User(person(engine, &user)?),
        (None, Some(session), None, None, false) => Selector::Session(session_id(engine, &session)?),
        (None, None, Some(device), None, false) => Selector::Device(engine.find_device(&device)?),
        (None, None, None, Some(app), false) => Selector::App(app_name(engine, &app)?),
        (None, None, None, None, true) => Selector::All,
        _ => {
            let hint = "give exactly one of user, session, device, app, or all";
            return Err(Fault::new("it is not clear what to revoke", Some(hint)));
        }
    };
    let mut members = view::revoked(engine.revoke(&selector, reason));
    members.insert("revoked".to_owned(), json!(selector.to_string()));
    Ok(members)
}

fn risk_set(engine: &Engine, subject: &Subject, score: u8, reason: &str, lasts: Option<&str>) -> Answer {
    if score > 100 {
        return Err(Fault::new(&format!("{score} is no score"), Some("a score is 0 (no risk) to 100")));
    }
    let lasts = lasts.map(time).transpose()?;
    let changed = engine.risk_set(subject, score, reason, lasts);
    let mut members = view::about(engine, subject);
    members.insert("score".to_owned(), json!(score));
    members.insert("expires_at".to_owned(), json!(lasts.map(|lasts| engine.now().plus(lasts))));
    members.insert("tunnels".to_owned(), view::changed(changed));
    Ok(members)
}

fn device_set(engine: &Engine, device: &str, state: DeviceState) -> Answer {
    let (device, changed) = engine.device_set(&engine.find_device(device)?, state)?;
    Ok(view::members([
        ("device", json!(device.id)),
        ("state", json!(state.as_str())),
        ("tunnels", view::changed(changed)),
    ]))
}

fn explain(engine: &Engine, user: &str, app: &str) -> Answer {
    let user = person(engine, user)?;
    let app = app_name(engine, app)?;
    let explained = engine.explain_user(&user, &app)?;
    if explained.is_empty() {
        let error = format!("{user} has no session now");
        let hint = "ask without a gateway: `ztsa-gateway policy explain --config FILE --user U --group G --app A`";
        return Err(Fault::new(&error, Some(hint)));
    }
    let mut members = view::named(engine, &user);
    members.insert("app".to_owned(), json!(app));
    let sessions = explained.into_iter().map(|Explained { session, peer, why, monitored }| {
        let monitored: Vec<Value> = monitored.iter().map(view::monitored).collect();
        json!({ "session": session.id, "device": session.device, "peer": peer, "why": why, "monitored": monitored })
    });
    members.insert("sessions".to_owned(), Value::Array(sessions.collect()));
    Ok(members)
}

fn subject(
    engine: &Engine,
    user: Option<String>,
    device: Option<String>,
    session: Option<String>,
) -> Result<Option<Subject>, Fault> {
    match (user, device, session) {
        (None, None, None) => Ok(None),
        (Some(user), None, None) => Ok(Some(Subject::User(person(engine, &user)?))),
        (None, Some(device), None) => Ok(Some(Subject::Device(engine.find_device(&device)?))),
        (None, None, Some(session)) => Ok(Some(Subject::Session(session_id(engine, &session)?))),
        _ => Err(Fault::nobody()),
    }
}

/// Finds a person. `ISSUER|SUBJECT` means one who has not signed in yet, too.
fn person(engine: &Engine, text: &str) -> Result<UserId, Fault> {
    let error = match engine.store().find_user(text) {
        Ok(user) => return Ok(user),
        Err(error) => error,
    };
    if let (FindUserError::Unknown(_), Ok(user)) = (&error, text.parse::<UserId>()) {
        return named(engine, user);
    }
    let hint = match &error {
        FindUserError::Ambiguous { .. } => "name them as ISSUER|SUBJECT",
        FindUserError::Unknown(_) => {
            "names and e-mail addresses are known once a person has signed in (see `ztsa-gateway sessions list`); before that, name them as ISSUER|SUBJECT"
        }
    };
    Err(Fault::new(&error.to_string(), Some(hint)))
}

/// Takes a person at their issuer's word: a slip of the pen in the issuer would be about nobody.
fn named(engine: &Engine, user: UserId) -> Result<UserId, Fault> {
    let config = engine.config();
    let issuers: Vec<&str> = config.identifiers().collect();
    if issuers.contains(&user.issuer.as_str()) {
        return Ok(user);
    }
    let error = format!("{} is no issuer of this gateway", user.issuer);
    Err(Fault::new(&error, Some(&format!("the issuers are {}", issuers.join(", ")))))
}

fn session_id(engine: &Engine, text: &str) -> Result<SessionId, Fault> {
    let id: Option<SessionId> = text.parse().ok();
    let known = id.filter(|id| engine.store().session(id).is_some());
    known.ok_or_else(|| OrderError::UnknownSession(text.to_owned()).into())
}

fn app_name(engine: &Engine, text: &str) -> Result<AppName, Fault> {
    let config = engine.config();
    let apps = || config.apps.iter().map(|app| &app.name);
    let found = apps().find(|name| name.to_string() == text).cloned();
    found.ok_or_else(|| OrderError::UnknownApp(text.to_owned(), apps().map(ToString::to_string).collect()).into())
}

fn time(text: &str) -> Result<Duration, Fault> {
    let time = duration::parse(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| {
        Fault::new(&format!("{text:?} is not a time"), Some("use a number with s, m, h or d, such as 1h"))
    })
}

impl Fault {
    fn new(error: &str, hint: Option<&str>) -> Self {
        Self { error: error.to_owned(), hint: hint.map(str::to_owned) }
    }

    fn nobody() -> Self {
        Self::new("it is not clear whom this is about", Some("give exactly one of user, device or session"))
    }

    #[expect(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
    fn syntax(error: serde_json::Error) -> Self {
        Self::new(
            &format!("the request is not understood: {error}"),
            Some("one JSON object a line, with the member op"),
        )
    }

    fn text(self) -> Vec<u8> {
        let mut members = view::members([("ok", Value::Bool(false)), ("error", Value::String(self.error))]);
        members.extend(self.hint.map(|hint| ("hint".to_owned(), Value::String(hint))));
        text(members)
    }
}

impl From<OrderError> for Fault {
    fn from(error: OrderError) -> Self {
        let hint = match &error {
            OrderError::UnknownDevice(_) => Some("list them with `ztsa-gateway devices list`"),
            OrderError::AmbiguousDevice(..) => Some("give more of the id"),
            OrderError::UnknownSession(_) => Some("list them with `ztsa-gateway sessions list`"),
            OrderError::UnknownApp(..) => None,
        };
        Self::new(&error.to_string(), hint)
    }
}

fn text(members: Map<String, Value>) -> Vec<u8> {
    Value::Object(members).to_string().into_bytes()
}
