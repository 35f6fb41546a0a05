//! Token introspection (RFC 7662), for clients with a secret.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::answer::{Refusal, answer};
use crate::form::Form;
use crate::issuer::Issuer;

/// Tells whether a token is good and what it says. Whatever is not good is only "not active".
pub(crate) async fn introspect(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let form = Form::body(&headers, &body)?;
    let client = issuer.client(&headers, &form)?;
    if client.secret.is_none() {
        return Err(Refusal::new("invalid_client", "only a client with a secret may introspect").with_basic_challenge());
    }
    let token = form.value("token").ok_or_else(|| Refusal::new("invalid_request", "token is missing"))?;
    let body = access(&issuer, token).or_else(|| refresh(&issuer, token, &client.id));
    Ok(answer(StatusCode::OK, body.unwrap_or_else(|| json!({ "active": false }))))
}

fn access(issuer: &Issuer, token: &str) -> Option<Value> {
    let access = issuer.access(token)?;
    let user = issuer.config.user(&access.sub)?;
    let mut body = access.rest.clone();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("active", true.into());
    put("iss", issuer.url.clone().into());
    put("sub", access.sub.clone().into());
    put("client_id", access.client_id.clone().into());
    put("scope", access.scope.clone().into());
    put("exp", access.expires_at().0.into());
    put("username", user.name.clone().into());
    put("token_type", if access.cnf.is_some() { "DPoP" } else { "Bearer" }.into());
    if let Some(cnf) = &access.cnf {
        put("cnf", json!(cnf));
    }
    Some(Value::Object(body))
}

fn refresh(issuer: &Issuer, token: &str, client: &str) -> Option<Value> {
    let memory = issuer.memory();
    let (grant, key) = memory.families.current(token, issuer.now())?;
    if grant.ask.client != client {
        return None;
    }
    let mut body = json!({
        "active": true,
        "iss": issuer.url,
        "sub": grant.sign_in.user.name,
        "client_id": grant.ask.client,
        "scope": grant.ask.scope.to_string(),
    });
    if let (Some(key), Some(body)) = (key, body.as_object_mut()) {
        body.insert("cnf".into(), json!({ "jkt": key }));
    }
    Some(body)
}
