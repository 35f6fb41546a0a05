//! Token revocation (RFC 7009).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};

use crate::answer::Refusal;
use crate::form::Form;
use crate::issuer::Issuer;

/// Ends a token of the client; a refresh token takes every token of its grant with it. A token that is unknown, or of
/// another client, is answered the same.
pub(crate) async fn revoke(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let form = Form::body(&headers, &body)?;
    let client = issuer.client(&headers, &form)?;
    let token = form.value("token").ok_or_else(|| Refusal::new("invalid_request", "token is missing"))?;
    let grant = {
        let memory = issuer.memory();
        let owner = memory.families.owner(token, issuer.now()).filter(|grant| grant.ask.client == client.id);
        owner.map(|grant| grant.id.clone())
    };
    if let Some(grant) = grant {
        issuer.revoke_grant(&grant);
    } else if let Some(access) = issuer.access(token).filter(|access| access.client_id == client.id) {
        issuer.revoke_access(&access);
    }
    Ok(StatusCode::OK)
}
