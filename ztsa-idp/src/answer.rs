//! Answers to programs: JSON, never cached.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use crate::form::FormError;

/// The header that hands a nonce to the client (RFC 9449 section 8).
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// An OAuth refusal (RFC 6749 section 5.2): an error code for programs, a sentence for people.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(error: &'static str, description: impl Into<String>) -> Self {
        let status = match error {
            "invalid_client" | "invalid_token" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error, description: plain(&description.into()), headers: Vec::new() }
    }

    pub(crate) fn error(&self) -> &'static str {
        self.error
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    pub(crate) fn with_nonce(mut self, nonce: &str) -> Self {
        if let Ok(nonce) = HeaderValue::from_str(nonce) {
            self.headers.push((DPOP_NONCE, nonce));
        }
        self
    }

    /// Makes the refusal that of a resource server: 401 and a challenge (RFC 6750 section 3, RFC 9449 section 7.1).
    pub(crate) fn with_challenge(mut self, scheme: &str) -> Self {
        self.status = StatusCode::UNAUTHORIZED;
        let algorithms = if scheme == "DPoP" { ", algs=\"ES256\"" } else { "" };
        let challenge = format!(
            "{scheme} realm=\"ztsa-idp\", error=\"{}\", error_description=\"{}\"{algorithms}",
            self.error, self.description
        );
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            self.headers.push((WWW_AUTHENTICATE, challenge));
        }
        self
    }

    /// Says that HTTP Basic authentication failed.
    pub(crate) fn with_basic_challenge(mut self) -> Self {
        self.headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ztsa-idp\"")));
        self
    }
}

impl From<FormError> for Refusal {
    fn from(error: FormError) -> Self {
        Self::new("invalid_request", error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = answer(self.status, body);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// Answers with JSON that nobody may keep.
pub(crate) fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Keeps the characters that an error description may have (RFC 6749 section 5.2).
fn plain(text: &str) -> String {
    text.chars().filter(|letter| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\')).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_cannot_break_out_of_its_header() {
        let refusal = Refusal::new("invalid_token", "a \"quoted\"\r\nSet-Cookie: x\\ \u{e9}").with_challenge("DPoP");
        assert_eq!(
            refusal.headers[0].1,
            "DPoP realm=\"ztsa-idp\", error=\"invalid_token\", error_description=\"a quotedSet-Cookie: x \", \
             algs=\"ES256\""
        );
    }
}
