//! Userinfo (OpenID Connect Core section 5.3).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::path;
use crate::answer::{Refusal, answer};
use crate::issuer::Issuer;
use crate::scope::{Known, Scope};
use crate::token::person;

/// Tells who an access token stands for. A token that is bound to a key needs a proof by it.
pub(crate) async fn userinfo(
    State(issuer): State<Arc<Issuer>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).unwrap_or_default();
    let dpop = scheme.eq_ignore_ascii_case("dpop");
    let challenge = if dpop { "DPoP" } else { "Bearer" };
    let invalid = |text: &str| Refusal::new("invalid_token", text).with_challenge(challenge);
    if !dpop && !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid("an access token is missing"));
    }
    let access =
        issuer.access(token.trim()).ok_or_else(|| invalid("the access token is unknown, expired or revoked"))?;
    let proof = issuer
        .proof(&headers, (method.as_str(), path::USERINFO), Some(token.trim()))
        .map_err(|refusal| refusal.with_challenge("DPoP"))?;
    match (&access.cnf, dpop) {
        (None, false) => {}
        (None, true) => return Err(invalid("the access token is not bound to a key: send it as Bearer")),
        (Some(_), false) => {
            return Err(Refusal::new("invalid_token", "the access token is bound to a key: send it as DPoP")
                .with_challenge("DPoP"));
        }
        (Some(bound), true) => match proof {
            None => {
                return Err(Refusal::new("invalid_dpop_proof", "the DPoP proof is missing").with_challenge("DPoP"));
            }
            Some(proof) if proof.device != bound.jkt => {
                return Err(invalid("the proof is by another key than the access token is bound to"));
            }
            Some(_) => {}
        },
    }
    let scope = Scope::parse(&access.scope);
    if !scope.has(Known::OpenId) {
        return Err(Refusal::new("insufficient_scope", "the scope openid is needed").with_challenge(challenge));
    }
    let user = issuer.config.user(&access.sub).ok_or_else(|| invalid("the person is gone"))?;
    Ok(answer(StatusCode::OK, Value::Object(person(user, &scope))))
}
