//! The transmitter's endpoints: its description, its key, and the management of streams (Shared Signals Framework 1.0,
//! sections 7 and 8).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;
use ztsa_proto::jws::{ES256, Signer as _, random_id};
use ztsa_proto::set::delivery::{POLL, PUSH, PollRequest};
use ztsa_proto::set::stream::{
    self as wire, Delivery, Scheme, Status, StreamRequest, StreamStatus, SubjectRequest, VerificationRequest,
};

use super::{Entry, MOST_STREAMS, Receiver, Transmitter, VERIFY_PAUSE, poll};
use crate::signals::bearer;

/// The largest request that is read.
const BODY_MAX: usize = 64 * 1024;
/// The longest text that a receiver may give us to keep.
const LONGEST: usize = 512;

const BASE: &str = "/ztsa/v1/ssf";

pub(in crate::signals) fn router(transmitter: &Transmitter) -> Router {
    Router::new()
        .route(wire::WELL_KNOWN, get(description))
        .route(&format!("{BASE}/jwks"), get(keys))
        .route(&format!("{BASE}/stream"), get(read).post(create).patch(update).put(replace).delete(delete))
        .route(&format!("{BASE}/status"), get(status).post(set_status))
        .route(&format!("{BASE}/subjects/add"), post(add_subject))
        .route(&format!("{BASE}/subjects/remove"), post(remove_subject))
        .route(&format!("{BASE}/verify"), post(verify))
        .route(&format!("{BASE}/poll/{{stream}}"), post(polled))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(transmitter.clone())
}

/// A refusal with its reason.
struct Refused(StatusCode, &'static str);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"err": self.0.canonical_reason(), "description": self.1}).to_string();
        let mut response =
            (self.0, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response();
        if self.0 == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

const fn bad(reason: &'static str) -> Refused {
    Refused(StatusCode::BAD_REQUEST, reason)
}

/// A receiver that showed its credential; extracting it is the authentication.
struct Known(Arc<Receiver>);

impl FromRequestParts<Transmitter> for Known {
    type Rejection = Refused;

    async fn from_request_parts(request: &mut Parts, transmitter: &Transmitter) -> Result<Self, Refused> {
        let shown = bearer::token(&request.headers);
        // each one is compared, so that the time tells nothing of which
        let known = transmitter.inner.receivers.iter().fold(None, |found, receiver| {
            let same = shown.is_some() && receiver.token.as_deref() == shown.as_ref();
            if same { Some(receiver) } else { found }
        });
        let refused = Refused(StatusCode::UNAUTHORIZED, "show the bearer credential of a receiver");
        known.map(|receiver| Self(Arc::clone(receiver))).ok_or(refused)
    }
}

#[derive(Deserialize)]
struct Which {
    stream_id: Option<String>,
}

impl Transmitter {
    /// Finds a stream of this receiver; another's is not there.
    fn of(&self, receiver: &Arc<Receiver>, id: &str) -> Result<Arc<Entry>, Refused> {
        let found = self.streams().get(id).filter(|entry| Arc::ptr_eq(&entry.receiver, receiver)).cloned();
        found.ok_or(Refused(StatusCode::NOT_FOUND, "there is no such stream of this receiver"))
    }

    /// Shows a stream's configuration, without the credential that it is pushed with.
    fn shown(&self, entry: &Entry) -> wire::Stream {
        let mut stream = entry.state().stream.clone();
        stream.delivery.authorization_header = None;
        if stream.delivery.method == POLL {
            stream.delivery.endpoint_url = Some(format!("{}{BASE}/poll/{}", self.inner.issuer, stream.stream_id));
        }
        stream
    }
}

fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    // a derived `Deserialize` alone would take a list for an object as well
    let object = body.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(body).ok()).flatten();
    object.ok_or(bad("the body is not the JSON that the standard asks for"))
}

fn answer(status: StatusCode, value: impl serde::Serialize) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(value)).into_response()
}

fn empty(status: StatusCode) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Body::empty()).into_response()
}

async fn description(State(transmitter): State<Transmitter>) -> Json<wire::Transmitter> {
    let issuer = &transmitter.inner.issuer;
    let at = |path: &str| Some(format!("{issuer}{BASE}/{path}"));
    Json(wire::Transmitter {
        spec_version: Some("1_0".to_owned()),
        issuer: issuer.clone(),
        jwks_uri: at("jwks"),
        delivery_methods_supported: vec![PUSH.to_owned(), POLL.to_owned()],
        configuration_endpoint: at("stream"),
        status_endpoint: at("status"),
        add_subject_endpoint: at("subjects/add"),
        remove_subject_endpoint: at("subjects/remove"),
        verification_endpoint: at("verify"),
        critical_subject_members: Vec::new(),
        authorization_schemes: vec![Scheme { spec_urn: "urn:ietf:rfc:6750".to_owned() }],
        default_subjects: Some("ALL".to_owned()),
    })
}

async fn keys(State(transmitter): State<Transmitter>) -> Json<Value> {
    let mut key = serde_json::to_value(transmitter.inner.key.public_key()).unwrap_or_default();
    if let Some(members) = key.as_object_mut() {
        members.insert("kid".to_owned(), json!(transmitter.inner.key_id));
        members.insert("use".to_owned(), json!("sig"));
        members.insert("alg".to_owned(), json!(ES256));
    }
    Json(json!({"keys": [key]}))
}

async fn read(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    Query(Which { stream_id }): Query<Which>,
) -> Result<Response, Refused> {
    if let Some(id) = stream_id {
        let entry = transmitter.of(&receiver, &id)?;
        return Ok(answer(StatusCode::OK, transmitter.shown(&entry)));
    }
    let entries: Vec<Arc<Entry>> = transmitter.streams().values().cloned().collect();
    let own = entries.iter().filter(|entry| Arc::ptr_eq(&entry.receiver, &receiver));
    Ok(answer(StatusCode::OK, own.map(|entry| transmitter.shown(entry)).collect::<Vec<_>>()))
}

async fn create(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    body: Bytes,
) -> Result<Response, Refused> {
    let request: StreamRequest = parsed(&body)?;
    if request.stream_id.is_some() {
        return Err(bad("a new stream gets its id from the transmitter"));
    }
    let delivery = delivery(&receiver, request.delivery)?;
    checked(request.events_requested.as_deref(), request.description.as_deref())?;
    let count = transmitter.streams().values().filter(|entry| Arc::ptr_eq(&entry.receiver, &receiver)).count();
    if count >= MOST_STREAMS {
        return Err(Refused(StatusCode::CONFLICT, "this receiver has as many streams as it may: change one of them"));
    }
    let entry = transmitter.add(&receiver, random_id(), delivery, request.events_requested, request.description);
    Ok(answer(StatusCode::CREATED, transmitter.shown(&entry)))
}

async fn update(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    body: Bytes,
) -> Result<Response, Refused> {
    change(&transmitter, &receiver, parsed(&body)?, false)
}

async fn replace(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    body: Bytes,
) -> Result<Response, Refused> {
    change(&transmitter, &receiver, parsed(&body)?, true)
}

/// Changes what is given, or all that a receiver can give.
fn change(
    transmitter: &Transmitter,
    receiver: &Arc<Receiver>,
    request: StreamRequest,
    whole: bool,
) -> Result<Response, Refused> {
    let id = request.stream_id.as_deref().ok_or(bad("`stream_id` is missing"))?;
    let entry = transmitter.of(receiver, id)?;
    checked(request.events_requested.as_deref(), request.description.as_deref())?;
    {
        let mut state = entry.state();
        let stream = &mut state.stream;
        let aud = request.aud.as_ref().map(|aud| match aud {
            Value::Array(several) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            one => vec![one.as_str().unwrap_or_default().to_owned()],
        });
        let same_set = |given: &Vec<String>| {
            given.len() == stream.events_delivered.len() && given.iter().all(|e| stream.events_delivered.contains(e))
        };
        if request.iss.is_some_and(|iss| iss != stream.iss)
            || aud.is_some_and(|aud: Vec<String>| aud != stream.aud)
            || request.events_delivered.as_ref().is_some_and(|given| !same_set(given))
        {
            return Err(bad("what the transmitter says of a stream cannot be changed by its receiver"));
        }
        if whole || request.delivery.is_some() {
            let mut delivery = delivery(receiver, request.delivery)?;
            // it is never shown, so that a receiver who writes back what it read does not mean to take it away
            if !whole
                && delivery.authorization_header.is_none()
                && delivery.endpoint_url == stream.delivery.endpoint_url
            {
                delivery.authorization_header = stream.delivery.authorization_header.take();
            }
            stream.delivery = delivery;
        }
        if whole || request.description.is_some() {
            stream.description = request.description;
        }
        if whole || request.events_requested.is_some() {
            stream.events_requested = request.events_requested.unwrap_or_else(|| stream.events_supported.clone());
            let requested = &stream.events_requested;
            stream.events_delivered =
                stream.events_supported.iter().filter(|event| requested.contains(event)).cloned().collect();
        }
    }
    transmitter.keep(&entry);
    Ok(answer(StatusCode::OK, transmitter.shown(&entry)))
}

/// Judges how a receiver wants its tokens; nothing said is poll.
fn delivery(receiver: &Receiver, wanted: Option<Delivery>) -> Result<Delivery, Refused> {
    let poll = Delivery { method: POLL.to_owned(), ..Delivery::default() };
    let Some(wanted) = wanted else { return Ok(poll) };
    match wanted.method.as_str() {
        POLL => Ok(poll),
        PUSH => {
            let url = wanted.endpoint_url.as_deref().filter(|url| url.len() <= LONGEST);
            let url = url.and_then(|url| Url::parse(url).ok()).ok_or(bad("`endpoint_url` is no URL"))?;
            let allowed = receiver.web.allowed(&url);
            allowed.map_err(|_| bad("nothing is pushed there: it must be an https URL at a public address"))?;
            let fits = |value: &String| value.len() <= 4096 && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            if !wanted.authorization_header.as_ref().is_none_or(fits) {
                return Err(bad("`authorization_header` is no header value"));
            }
            Ok(Delivery { endpoint_url: Some(url.to_string()), ..wanted })
        }
        _ => Err(bad("the delivery method is neither urn:ietf:rfc:8935 nor urn:ietf:rfc:8936")),
    }
}

fn checked(events: Option<&[String]>, description: Option<&str>) -> Result<(), Refused> {
    let events = events.is_none_or(|events| events.len() <= 64 && events.iter().all(|event| event.len() <= LONGEST));
    if events && description.is_none_or(|text| text.len() <= LONGEST) {
        Ok(())
    } else {
        Err(bad("`events_requested` or `description` is too long"))
    }
}

async fn delete(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    Query(Which { stream_id }): Query<Which>,
) -> Result<Response, Refused> {
    let id = stream_id.ok_or(bad("`stream_id` is missing"))?;
    transmitter.of(&receiver, &id)?;
    transmitter.remove(&id);
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn status(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    Query(Which { stream_id }): Query<Which>,
) -> Result<Response, Refused> {
    let entry = transmitter.of(&receiver, &stream_id.ok_or(bad("`stream_id` is missing"))?)?;
    Ok(answer(StatusCode::OK, entry.status()))
}

impl Entry {
    fn status(&self) -> StreamStatus {
        let state = self.state();
        let stream_id = state.stream.stream_id.clone();
        StreamStatus { stream_id, status: state.status, reason: state.reason.clone() }
    }
}

async fn set_status(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    body: Bytes,
) -> Result<Response, Refused> {
    let wanted: StreamStatus = parsed(&body)?;
    let entry = transmitter.of(&receiver, &wanted.stream_id)?;
    if wanted.reason.as_ref().is_some_and(|reason| reason.len() > LONGEST) {
        return Err(bad("`reason` is too long"));
    }
    {
        let mut state = entry.state();
        state.status = wanted.status;
        state.reason = wanted.reason;
    }
    if wanted.status == Status::Disabled {
        entry.outbox.clear();
    }
    transmitter.keep(&entry);
    Ok(answer(StatusCode::OK, entry.status()))
}

async fn add_subject(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    body: Bytes,
) -> Result<Response, Refused> {
    let request: SubjectRequest = parsed(&body)?;
    let entry = transmitter.of(&receiver, &request.stream_id)?;
    if entry.state().add(&request.subject) {
        transmitter.keep(&entry);
    }
    // whoever is not known here is answered alike: nobody learns who is
    Ok(empty(StatusCode::OK))
}

async fn remove_subject(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    body: Bytes,
) -> Result<Response, Refused> {
    let request: SubjectRequest = parsed(&body)?;
    let entry = transmitter.of(&receiver, &request.stream_id)?;
    if !entry.state().remove(request.subject) {
        return Err(Refused(StatusCode::FORBIDDEN, "no more subjects can be taken out of this stream"));
    }
    transmitter.keep(&entry);
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn verify(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    body: Bytes,
) -> Result<Response, Refused> {
    let request: VerificationRequest = parsed(&body)?;
    let entry = transmitter.of(&receiver, &request.stream_id)?;
    if request.state.as_ref().is_some_and(|state| state.len() > LONGEST) {
        return Err(bad("`state` is too long"));
    }
    let now = transmitter.inner.engine.now();
    {
        let mut state = entry.state();
        if state.verified.is_some_and(|last| now.since(last) < VERIFY_PAUSE) {
            return Err(Refused(StatusCode::TOO_MANY_REQUESTS, "a heartbeat was sent less than ten seconds ago"));
        }
        state.verified = Some(now);
    }
    transmitter.verify(&entry, request.state);
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn polled(
    State(transmitter): State<Transmitter>,
    Known(receiver): Known,
    Path(stream): Path<String>,
    body: Bytes,
) -> Result<Response, Refused> {
    let entry = transmitter.of(&receiver, &stream)?;
    let request: PollRequest = parsed(&body)?;
    let sent = &transmitter.inner.engine.measures().sent;
    Ok(answer(StatusCode::OK, poll::answer(&entry, &request, sent).await))
}
