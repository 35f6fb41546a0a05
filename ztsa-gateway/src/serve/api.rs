//! The JSON endpoints.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, FromRequestParts, Query, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::request::Parts as RequestParts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;
use ztsa_proto::grant::{GrantRequest, TicketRequest};
use ztsa_proto::name::AppName;
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::session::{ACCESS_TOKEN, OAuthError, SessionInfo};

use super::answer::Refused;
use super::{BODY_MAX, Parts, Peer};
use crate::authn::{AuthnError, ExchangeForm, Exchanged, Head, Session};

mod events;

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(super) struct From(pub(super) Peer);

type Shared = State<Arc<Parts>>;
type Answer = Result<axum::response::Response, Turned>;

/// A rendered refusal; boxed, since most answers are none.
struct Turned(Box<axum::response::Response>);

impl IntoResponse for Turned {
    fn into_response(self) -> axum::response::Response {
        *self.0
    }
}

pub(super) fn router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/.well-known/oauth-protected-resource", get(metadata))
        .route("/healthz", get(health))
        .route("/ztsa/v1/token", post(token))
        .route("/ztsa/v1/session", get(session).delete(sign_out))
        .route("/ztsa/v1/apps", get(apps))
        .route("/ztsa/v1/grants", post(grant))
        .route("/ztsa/v1/tickets", post(ticket))
        .route("/ztsa/v1/why", get(why))
        .route("/ztsa/v1/posture", post(posture))
        .route("/ztsa/v1/events", get(events::follow))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(parts)
}

/// A request with a session token and its proof; extracting it is the authentication.
struct Authenticated(Arc<Session>);

impl FromRequestParts<Arc<Parts>> for Authenticated {
    type Rejection = Turned;

    async fn from_request_parts(request: &mut RequestParts, parts: &Arc<Parts>) -> Result<Self, Self::Rejection> {
        let head = Head { method: request.method.as_str(), url_path: request.uri.path(), headers: &request.headers };
        let checked = parts.authn.check(&head, parts.clock.now());
        if let Some(From(peer)) = request.extensions.get::<From>() {
            match &checked {
                Ok(_) => peer.stranger.recognise(),
                // what is asked in vain is counted with its answer
                Err(_) if !peer.stranger.is_known() => {}
                Err(error) => peer.unauthenticated(error),
            }
        }
        checked.map(Self).map_err(|error| refuse(parts, Refused::unauthenticated(parts, &error)))
    }
}

fn refuse(parts: &Parts, refused: Refused) -> Turned {
    Turned(Box::new(refused.response(parts).map(Body::from).into_response()))
}

/// Answers with a value, and a nonce for the next proof.
fn json_with_nonce(parts: &Parts, status: StatusCode, value: impl serde::Serialize) -> axum::response::Response {
    let mut response = (status, Json(value)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with_nonce(parts, &mut response);
    response
}

fn with_nonce(parts: &Parts, response: &mut axum::response::Response) {
    if let Ok(nonce) = HeaderValue::try_from(parts.authn.nonce(parts.clock.now())) {
        response.headers_mut().insert("dpop-nonce", nonce);
    }
}

async fn metadata(State(parts): Shared) -> impl IntoResponse {
    Json(crate::metadata::document(&parts.engine.config(), parts.engine.posture_wanted()))
}

/// Says whether new tunnels are taken: load balancers ask.
async fn health(State(parts): Shared) -> axum::response::Response {
    if parts.engine.audit().refuses() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "audit log full"}))).into_response();
    }
    match parts.engine.store().outage() {
        None => Json(json!({"status": "ok", "tunnels": parts.engine.leases().len()})).into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "store unavailable"}))).into_response(),
    }
}

/// Exchanges an issuer's token for a session token (RFC 8693).
async fn token(
    State(parts): Shared,
    Extension(From(peer)): Extension<From>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> axum::response::Response {
    let now = parts.clock.now();
    let head = Head { method: method.as_str(), url_path: uri.path(), headers: &headers };
    let exchanged = match ExchangeForm::parse(&body) {
        Ok(form) => parts.authn.exchange(form, &head, now).await,
        Err(error) => Err(error.into()),
    };
    let mut response = match exchanged.and_then(|exchanged| {
        let token = parts.authn.mint(&exchanged.session)?;
        Ok((exchanged, token))
    }) {
        Ok((Exchanged { session, renewed, posture }, token)) => {
            peer.stranger.recognise();
            if let Some(report) = posture {
                parts.engine.posture_reported(&session.device, report);
            }
            parts.engine.arrived(&session, peer.address, renewed);
            match parts.engine.begin_session(&session, peer.address, renewed) {
                Ok(info) => Json(json!({
                    "access_token": token.expose(),
                    "token_type": "DPoP",
                    "expires_in": session.expires_at.since(now).as_secs(),
                    "issued_token_type": ACCESS_TOKEN,
                    "ztsa": info,
                }))
                .into_response(),
                Err(problem) => no_room(&problem),
            }
        }
        Err(failure) => {
            parts.engine.exchange_failed(&failure, peer.address);
            fault(&failure.error)
        }
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with_nonce(&parts, &mut response);
    response
}

/// Renders a failed exchange as RFC 6749 section 5.2 has it, with the members of the problem beside.
fn fault(error: &AuthnError) -> axum::response::Response {
    let fault = error.oauth();
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = OAuthError::new(fault.error, &fault.description, Some(error.problem()));
    (status, Json(body)).into_response()
}

/// Renders that a person has as many sessions as they may.
fn no_room(problem: &Problem) -> axum::response::Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let body = OAuthError::new("temporarily_unavailable", &problem.to_string(), Some(problem.clone()));
    (status, Json(body)).into_response()
}

async fn session(State(parts): Shared, Authenticated(session): Authenticated) -> axum::response::Response {
    let info: SessionInfo = parts.engine.session_info(&session);
    json_with_nonce(&parts, StatusCode::OK, info)
}

/// Ends a session; its last token is enough, even where that has run out.
async fn sign_out(
    State(parts): Shared,
    Extension(From(peer)): Extension<From>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let head = Head { method: method.as_str(), url_path: uri.path(), headers: &headers };
    let leaving = parts.authn.check_leaving(&head, parts.clock.now());
    let session = leaving.map_err(|error| refuse(&parts, Refused::unauthenticated(&parts, &error)))?;
    parts.engine.end_session(&session, peer.address);
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn apps(
    State(parts): Shared,
    Extension(From(peer)): Extension<From>,
    Authenticated(session): Authenticated,
) -> axum::response::Response {
    json_with_nonce(&parts, StatusCode::OK, parts.engine.apps(&session, peer.address))
}

async fn grant(
    State(parts): Shared,
    Extension(From(peer)): Extension<From>,
    Authenticated(session): Authenticated,
    body: Bytes,
) -> Answer {
    let request: GrantRequest = read(&parts, &body)?;
    let granted = parts.engine.grant(&session, &request, peer.address);
    let granted = granted.map_err(|problem| refuse(&parts, Refused::decided(&parts, problem)))?;
    Ok(json_with_nonce(&parts, StatusCode::CREATED, granted))
}

async fn ticket(
    State(parts): Shared,
    Extension(From(peer)): Extension<From>,
    Authenticated(session): Authenticated,
    body: Bytes,
) -> Answer {
    let request: TicketRequest = read(&parts, &body)?;
    let ticket = parts.engine.ticket(&session, &request, peer.address);
    let ticket = ticket.map_err(|problem| refuse(&parts, Refused::decided(&parts, problem)))?;
    let value = json!({
        "ticket": ticket.ticket.expose(),
        "id": ticket.id,
        "app": ticket.app,
        "expires_at": ticket.expires_at,
        "uses": ticket.uses,
    });
    Ok(json_with_nonce(&parts, StatusCode::CREATED, value))
}

#[derive(Deserialize)]
struct Which {
    app: AppName,
}

async fn why(
    State(parts): Shared,
    Extension(From(peer)): Extension<From>,
    Authenticated(session): Authenticated,
    query: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(Which { app }) = query.map_err(|error| invalid(&parts, &error.body_text()))?;
    let asking = parts.engine.asking(&session).map_err(|problem| refuse(&parts, Refused::new(problem)))?;
    let why = tokio::task::spawn_blocking(move || asking.why(&app, peer.address)).await;
    let why = why.unwrap_or_else(|error| {
        tracing::error!(%error, "a question could not be answered");
        Err(Arc::new(problem::new("gateway.unavailable")))
    });
    let why = why.map_err(|problem| refuse(&parts, Refused::new(problem)))?;
    Ok(json_with_nonce(&parts, StatusCode::OK, why))
}

async fn posture(State(parts): Shared, Authenticated(session): Authenticated, body: String) -> Answer {
    let report = parts.authn.posture(&body, &session, parts.clock.now());
    let report = report.map_err(|error| refuse(&parts, Refused::unauthenticated(&parts, &error)))?;
    parts.engine.posture_reported(&session.device, report);
    Ok(json_with_nonce(&parts, StatusCode::OK, parts.engine.session_info(&session)))
}

async fn nowhere(State(parts): Shared, uri: Uri) -> Turned {
    let mut problem = problem::new("request.invalid").with_detail(format!("there is nothing at {}", uri.path()));
    problem.status = 404;
    refuse(&parts, Refused::new(problem))
}

async fn not_so(State(parts): Shared, method: Method, uri: Uri) -> Turned {
    let mut problem = problem::new("request.invalid").with_detail(format!("{} does not take {method}", uri.path()));
    problem.status = 405;
    refuse(&parts, Refused::new(problem))
}

fn read<T: serde::de::DeserializeOwned>(parts: &Parts, body: &Bytes) -> Result<T, Turned> {
    serde_json::from_slice(body).map_err(|error| invalid(parts, &error.to_string()))
}

fn invalid(parts: &Parts, detail: &str) -> Turned {
    refuse(parts, Refused::new(problem::new("request.invalid").with_detail(detail)))
}
