//! Discovery (OpenID Connect Discovery 1.0, RFC 8414) and the published keys (RFC 7517).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use serde_json::{Value, json};
use ztsa_proto::jws::Signer as _;

use super::path;
use crate::issuer::{Issuer, key_id};
use crate::scope::Known;
use crate::sign_in::Acr;

pub(crate) async fn metadata(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let at = |path: &str| issuer.endpoint(path);
    let secret_methods = ["client_secret_basic", "client_secret_post"];
    Json(json!({
        "issuer": issuer.url,
        "authorization_endpoint": at(path::AUTHORIZE),
        "token_endpoint": at(path::TOKEN),
        "device_authorization_endpoint": at(path::DEVICE_AUTHORIZATION),
        "userinfo_endpoint": at(path::USERINFO),
        "jwks_uri": at(path::JWKS),
        "introspection_endpoint": at(path::INTROSPECTION),
        "revocation_endpoint": at(path::REVOCATION),
        "end_session_endpoint": at(path::END_SESSION),
        "scopes_supported": Known::ALL.map(Known::name),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [
            "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "acr_values_supported": Acr::ALL.map(Acr::name),
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "introspection_endpoint_auth_methods_supported": secret_methods,
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "claims_parameter_supported": false,
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce", "at_hash",
            "name", "preferred_username", "email", "email_verified", "groups",
        ],
    }))
}

pub(crate) async fn jwks(State(issuer): State<Arc<Issuer>>) -> Response {
    let keys: Result<Vec<Value>, _> = issuer
        .keys()
        .iter()
        .map(|key| {
            let mut jwk = serde_json::to_value(key.public_key())?;
            if let Some(members) = jwk.as_object_mut() {
                members.insert("kid".into(), key_id(key).into());
                members.insert("use".into(), "sig".into());
                members.insert("alg".into(), "ES256".into());
            }
            Ok::<_, serde_json::Error>(jwk)
        })
        .collect();
    match keys {
        Ok(keys) => ([(CACHE_CONTROL, "max-age=60")], Json(json!({ "keys": keys }))).into_response(),
        Err(_) => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
