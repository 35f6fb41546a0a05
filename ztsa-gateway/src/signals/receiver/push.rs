//! Where transmitters push to (RFC 8935): one token a request, by whoever shows the credential of that transmitter.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use ztsa_proto::set::delivery::{Fault, FaultCode};
use ztsa_proto::set::{LARGEST, MEDIA_TYPE};

use super::{Receiver, Receivers, Refusal, STRANGE};
use crate::audit::Outcome;
use crate::signals::{PUSH_PATH, bearer};

pub(in crate::signals) fn router(receivers: &Receivers) -> Router {
    Router::new()
        .route(&format!("{PUSH_PATH}{{name}}"), post(take))
        .layer(DefaultBodyLimit::max(LARGEST + 1))
        .with_state(receivers.clone())
}

async fn take(
    State(receivers): State<Receivers>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // a transmitter that is not there answers as one whose credential is wrong
    let named = receivers.named(&name);
    let receiver = named.filter(|receiver| match &receiver.push_token {
        Some(token) => bearer::shows(&headers, token),
        None => receiver.config.push_unauthenticated,
    });
    let Some(receiver) = receiver else {
        tracing::debug!(name, "a push without the credential of a transmitter");
        if let Some(receiver) = named.filter(|_| bearer::token(&headers).is_some()) {
            receiver.strange();
        }
        let fault = FaultCode::AuthenticationFailed.because("show the bearer credential of this transmitter");
        return told(StatusCode::UNAUTHORIZED, &fault);
    };
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(MEDIA_TYPE) {
        let fault = FaultCode::InvalidRequest.because("the content type is not application/secevent+jwt");
        return told(StatusCode::BAD_REQUEST, &fault);
    }
    let token = if body.len() > LARGEST { None } else { std::str::from_utf8(&body).ok() };
    let Some(token) = token.map(str::trim) else {
        let fault = FaultCode::InvalidRequest.because("the body is no token of at most 64 KiB");
        return told(StatusCode::BAD_REQUEST, &fault);
    };
    match receiver.take(token).await {
        Ok(_) => (StatusCode::ACCEPTED, [(CACHE_CONTROL, "no-store")]).into_response(),
        Err(Refusal::Fault(fault)) => told(StatusCode::BAD_REQUEST, &fault),
        Err(Refusal::Later(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "10"), (CACHE_CONTROL, "no-store")]).into_response()
        }
    }
}

impl Receiver {
    /// Says that a push showed another credential than ours, once an hour: it may be the transmitter with an older one, whose
    /// signals are lost meanwhile, or a stranger.
    fn strange(&self) {
        let now = self.engine.now();
        {
            let mut live = self.live();
            if live.strange.is_some_and(|last| now.since(last) < STRANGE) {
                return;
            }
            live.strange = Some(now);
        }
        let message =
            format!("{}: a push was refused: it shows another credential than push_token_file holds", self.config.name);
        tracing::warn!("{message}; if it is the transmitter, give it that one");
        self.engine.told(Outcome::Failure, "signal.authentication_failed", None, message);
    }
}

fn told(status: StatusCode, fault: &Fault) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    let body = serde_json::to_vec(fault).unwrap_or_default();
    (status, headers, Body::from(body)).into_response()
}
