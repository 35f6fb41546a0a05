//! Device authorization (RFC 8628 section 3.1).

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use ztsa_proto::jws::random_id;

use super::{Peer, path};
use crate::answer::{Refusal, answer};
use crate::device::DeviceAsk;
use crate::form::Form;
use crate::grant::Ask;
use crate::issuer::Issuer;
use crate::scope::Scope;
use crate::sign_in::Demand;

/// Starts a device authorization.
///
/// A DPoP proof here binds the code to its key from the start (draft-parecki-oauth-dpop-device-flow). `acr_values`,
/// `max_age` and `prompt=login` are honoured as at the authorization endpoint, though no standard says so.
pub(crate) async fn authorize(
    State(issuer): State<Arc<Issuer>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let form = Form::body(&headers, &body)?;
    let client = issuer.client(&headers, &form)?;
    let proof = issuer.proof(&headers, ("POST", path::DEVICE_AUTHORIZATION), None)?;
    let demand = Demand::read(&form).map_err(|error| Refusal::new("invalid_request", error))?;
    let ask = Ask {
        client: client.id.clone(),
        scope: Scope::parse(form.value("scope").unwrap_or_default()),
        resources: issuer.resources(&form)?,
        nonce: None,
        key: proof.map(|proof| proof.device),
    };
    let now = issuer.now();
    let ask = DeviceAsk { ask, demand: demand.clone(), address: peer.0, agent: agent(&headers), at: now };
    let (device_code, user_code) = (random_id() + &random_id(), issuer.user_code(now)?);
    let approved = issuer.approved(&demand);
    {
        let mut memory = issuer.memory();
        let times = (issuer.config.device_ttl, issuer.config.device_interval);
        memory.devices.add((&device_code, &user_code), ask, times);
        if approved.is_some() {
            memory.devices.decide(&user_code, approved, now);
        }
    }
    tracing::debug!(client = client.id, "a device asks for a sign-in");
    let verification = issuer.endpoint(path::VERIFICATION);
    let body = json!({
        "device_code": device_code,
        "user_code": user_code.to_string(),
        "verification_uri": verification,
        "verification_uri_complete": format!("{verification}?user_code={user_code}"),
        "expires_in": issuer.config.device_ttl.as_secs(),
        "interval": issuer.config.device_interval.as_secs(),
    });
    Ok(answer(StatusCode::OK, body))
}

/// Returns the user agent as it may be shown: printable and not long.
fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
    let agent: String = agent.unwrap_or_default().chars().filter(|letter| !letter.is_control()).take(200).collect();
    if agent.is_empty() { "unknown".to_owned() } else { agent }
}
