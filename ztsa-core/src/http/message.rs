//! Requests and answers as values.

use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, WWW_AUTHENTICATE},
};
use serde::de::DeserializeOwned;
use ztsa_proto::{jws::Signer, secret::Secret};

use super::{BODY_LIMIT, HttpError, Seen, SeenKind, seen};

/// What is put into a request's body.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// No body.
    None,
    /// `application/x-www-form-urlencoded`.
    Form(&'a [(&'a str, &'a str)]),
    /// `application/json`, already written.
    Json(String),
    /// Any other type: media type and content.
    Other(&'static str, String),
}

/// One request.
#[derive(Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The absolute URL; without query and fragment it is what the proof is bound to, byte for byte.
    pub url: &'a str,
    /// The body.
    pub body: Body<'a>,
    /// The key that signs a DPoP proof, if one is wanted.
    pub signer: Option<&'a dyn Signer>,
    /// An access token: sent with the scheme `DPoP` when there is a signer, else `Bearer`.
    pub token: Option<&'a Secret<String>>,
    /// A bound token in the body, which the proof names too (`ath`).
    pub proved_token: Option<&'a Secret<String>>,
    /// Sends the request once, whatever is learned from the answer: for a body that has to be made anew.
    pub once: bool,
    /// What is accepted as an answer.
    pub accept: &'static str,
}

impl<'a> Request<'a> {
    /// Makes a GET that wants JSON.
    pub fn get(url: &'a str) -> Self {
        Self {
            method: Method::GET,
            url,
            body: Body::None,
            signer: None,
            token: None,
            proved_token: None,
            once: false,
            accept: "application/json",
        }
    }

    /// Makes a POST that wants JSON.
    pub fn post(url: &'a str, body: Body<'a>) -> Self {
        Self { method: Method::POST, body, ..Self::get(url) }
    }

    /// Signs the request with a DPoP proof.
    #[must_use]
    pub fn signed(mut self, signer: &'a dyn Signer) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Authorizes the request with an access token.
    #[must_use]
    pub fn with_token(mut self, token: &'a Secret<String>) -> Self {
        self.token = Some(token);
        self
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The host that answered, for messages.
    pub host: String,
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, at most [`BODY_LIMIT`].
    pub body: Bytes,
}

impl Response {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// Names what was seen instead: a web page, nothing, a redirect, or JSON of another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let mut seen = self.seen();
            if matches!(seen.kind, SeenKind::Json) {
                seen.kind = SeenKind::OtherJson { reason: error.to_string() };
            }
            HttpError::Unexpected(seen)
        })
    }

    /// Says what kind of answer this is.
    pub fn seen(&self) -> Seen {
        seen::classify(&self.host, self.status, &self.headers, &self.body)
    }

    /// A header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

/// An answer whose body arrives bit by bit.
#[derive(Debug)]
pub struct Streaming {
    pub(super) host: String,
    pub(super) response: reqwest::Response,
}

impl Streaming {
    /// The host that answers, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Waits for the next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection broke.
    ///
    /// # Cancel safety
    /// Cancel-safe: bytes that were not returned are returned by the next call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.response.chunk().await.map_err(|error| HttpError::from_reqwest(&self.host, &error))
    }
}

pub(super) async fn read(host: String, mut response: reqwest::Response) -> Result<Response, HttpError> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| HttpError::from_reqwest(&host, &error))? {
        if body.len().saturating_add(chunk.len()) > BODY_LIMIT {
            return Err(HttpError::TooLarge { host });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { host, status, headers, body: body.into() })
}

/// A token endpoint asks with 400 and a JSON error, a resource with 401 and a challenge.
pub(super) fn asks_for_nonce(response: &Response) -> bool {
    response.headers.contains_key("dpop-nonce") && oauth_error(response).as_deref() == Some("use_dpop_nonce")
}

pub(super) fn refuses_proof(response: &Response) -> bool {
    oauth_error(response).as_deref() == Some("invalid_dpop_proof")
}

#[derive(serde::Deserialize)]
struct Refusal {
    error: String,
}

/// The `error` of a 400 or 401, from its challenge or its JSON body.
fn oauth_error(response: &Response) -> Option<String> {
    if !matches!(response.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
        return None;
    }
    let challenged = response.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    for challenge in challenged {
        if let Some((_, rest)) = challenge.split_once("error=\"") {
            return rest.split('"').next().map(str::to_owned);
        }
    }
    serde_json::from_slice::<Refusal>(&response.body).ok().map(|refusal| refusal.error)
}

pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
