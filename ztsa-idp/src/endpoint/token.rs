//! The token endpoint (RFC 6749 section 3.2).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use ztsa_proto::jws::random_id;
use ztsa_proto::name::DeviceId;

use super::path;
use crate::answer::{DPOP_NONCE, Refusal, answer};
use crate::config::Client;
use crate::device::PollError;
use crate::form::Form;
use crate::grant::{CodeError, Grant, Redemption, RefreshError};
use crate::issuer::Issuer;
use crate::scope::{Known, Scope};
use crate::token::Minting;

/// A token request whose client and proof are good.
struct Request<'a> {
    issuer: &'a Issuer,
    client: &'a Client,
    form: &'a Form,
    key: Option<&'a DeviceId>,
}

/// Exchanges a device code, an authorization code or a refresh token for tokens.
pub(crate) async fn exchange(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let form = Form::body(&headers, &body)?;
    let client = issuer.client(&headers, &form)?;
    let kind = form.value("grant_type").ok_or_else(|| Refusal::new("invalid_request", "grant_type is missing"))?;
    let proof = issuer.proof(&headers, ("POST", path::TOKEN), None)?;
    let key = proof.as_ref().map(|proof| &proof.device);
    let request = Request { issuer: &issuer, client, form: &form, key };
    let tokens = match kind {
        "authorization_code" => request.authorization_code(),
        "refresh_token" => request.refresh_token(),
        "urn:ietf:params:oauth:grant-type:device_code" => request.device_code(),
        other => Err(Refusal::new("unsupported_grant_type", format!("the grant type {other} is not supported"))),
    }?;
    let mut response = answer(StatusCode::OK, tokens);
    if issuer.config.dpop_nonce
        && let Ok(nonce) = HeaderValue::from_str(&issuer.nonce(issuer.now()))
    {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    Ok(response)
}

impl Request<'_> {
    fn device_code(&self) -> Result<Value, Refusal> {
        let code = self.required("device_code")?;
        let asked = self.issuer.resources(self.form)?;
        let polled =
            self.issuer.memory().devices.poll(code, (&self.client.id, self.key), random_id(), self.issuer.moment());
        let grant = polled.map_err(|error| {
            if let PollError::Reused(grant) = &error {
                self.issuer.revoke_grant(grant);
            }
            Refusal::new(poll_error_code(&error), error.to_string())
        })?;
        self.start(&grant, &asked)
    }

    fn authorization_code(&self) -> Result<Value, Refusal> {
        let shown = Redemption {
            code: self.required("code")?,
            client: &self.client.id,
            redirect: self.form.value("redirect_uri"),
            verifier: self.required("code_verifier")?,
            key: self.key,
        };
        let asked = self.issuer.resources(self.form)?;
        let redeemed = self.issuer.memory().codes.redeem(shown, self.issuer.now());
        let grant = redeemed.map_err(|error| {
            if let CodeError::Reused(grant) = &error {
                self.issuer.revoke_grant(grant);
            }
            Refusal::new("invalid_grant", error.to_string())
        })?;
        self.start(&grant, &asked)
    }

    fn refresh_token(&self) -> Result<Value, Refusal> {
        let token = self.required("refresh_token")?;
        let now = self.issuer.now();
        let asked = self.issuer.resources(self.form)?;
        // what cannot be granted is refused before the token is used up
        let narrowed = {
            let memory = self.issuer.memory();
            memory.families.current(token, now).map(|(grant, _)| self.narrow(grant, &asked)).transpose()?
        };
        let refreshed = self.issuer.memory().families.rotate(
            token,
            (&self.client.id, self.key),
            self.issuer.config.refresh_ttl,
            now,
        );
        let refreshed = refreshed.map_err(|error| {
            if let RefreshError::Reused(grant) = &error {
                tracing::warn!(client = self.client.id, "a used refresh token came back; its family is revoked");
                self.issuer.revoke_grant(grant);
            }
            Refusal::new("invalid_grant", error.to_string())
        })?;
        let (scope, audiences) =
            narrowed.ok_or_else(|| Refusal::new("invalid_grant", RefreshError::Unknown.to_string()))?;
        let minting =
            Minting { grant: &refreshed.grant, scope: &scope, audiences: &audiences, key: self.key, first: false };
        let mut answer = self.issuer.mint(minting)?;
        answer.insert("refresh_token".into(), refreshed.token.into());
        Ok(Value::Object(answer))
    }

    /// Answers with the first tokens of a grant.
    fn start(&self, grant: &Grant, asked: &[String]) -> Result<Value, Refusal> {
        let (scope, audiences) = self.narrow(grant, asked)?;
        let minting = Minting { grant, scope: &scope, audiences: &audiences, key: self.key, first: true };
        let mut answer = self.issuer.mint(minting)?;
        if grant.ask.scope.has(Known::OfflineAccess) {
            let now = self.issuer.now();
            // RFC 9449 section 5: only the refresh tokens of public clients are bound to the key
            let key = self.key.filter(|_| self.client.secret.is_none()).cloned();
            let ttl = self.issuer.config.refresh_ttl;
            let token = self.issuer.memory().families.start(grant.clone(), key, ttl, now);
            answer.insert("refresh_token".into(), token.into());
        }
        Ok(Value::Object(answer))
    }

    /// Applies `scope` and `resource` of this request, which may ask for less than was granted but not for more.
    fn narrow(&self, grant: &Grant, asked: &[String]) -> Result<(Scope, Vec<String>), Refusal> {
        let scope = self.form.value("scope").map_or_else(|| grant.ask.scope.clone(), Scope::parse);
        if !scope.is_within(&grant.ask.scope) {
            return Err(Refusal::new("invalid_scope", format!("only {} was granted", grant.ask.scope)));
        }
        let granted = &grant.ask.resources;
        if !granted.is_empty() && asked.iter().any(|resource| !granted.contains(resource)) {
            return Err(Refusal::new("invalid_target", format!("only {} was granted", granted.join(" "))));
        }
        Ok((scope, if asked.is_empty() { granted.clone() } else { asked.to_vec() }))
    }

    fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.form.value(name).ok_or_else(|| Refusal::new("invalid_request", format!("{name} is missing")))
    }
}

fn poll_error_code(error: &PollError) -> &'static str {
    match error {
        PollError::Waiting => "authorization_pending",
        PollError::SlowDown(_) => "slow_down",
        PollError::Denied => "access_denied",
        PollError::Expired => "expired_token",
        PollError::Unknown | PollError::Key | PollError::Reused(_) => "invalid_grant",
    }
}
