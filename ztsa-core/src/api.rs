//! The gateway's JSON endpoints, as typed calls.
//!
//! Each call brings a good session with it; when the gateway does not accept that any more, it is renewed once and the
//! call repeated.

mod error;
mod events;

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;
use ztsa_proto::{
    app::AppList,
    grant::{GrantRequest, GrantResponse, TicketRequest, TicketResponse},
    metadata::ResourceMetadata,
    name::AppName,
    posture::{MEDIA_TYPE, Report, Wanted},
    problem::Problem,
    session::SessionInfo,
    why::WhyResponse,
};

pub use self::{error::ApiError, events::Events};
use crate::{
    http::{Body, HttpError, Request, Response},
    token::{SessionToken, Tokens},
};

/// Calls a gateway; cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    tokens: Tokens,
}

impl Api {
    /// Makes the calls of a profile's session.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens }
    }

    /// The tokens behind it.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Lists the apps that the person may know of.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn apps(&self) -> Result<AppList, ApiError> {
        self.call(Method::GET, |metadata| metadata.ztsa.apps_endpoint.clone(), Body::None).await
    }

    /// Asks for permission to reach one app.
    ///
    /// # Errors
    /// [`ApiError::Denied`] says why not.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a grant that nobody uses; it ends by itself.
    pub async fn grant(&self, request: &GrantRequest) -> Result<GrantResponse, ApiError> {
        self.call(Method::POST, |metadata| metadata.ztsa.grants_endpoint.clone(), json(request)).await
    }

    /// Asks for a ticket, a bearer credential for one app.
    ///
    /// # Errors
    /// [`ApiError::Denied`] says why not.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a ticket that nobody knows; it ends by itself.
    pub async fn ticket(&self, request: &TicketRequest) -> Result<TicketResponse, ApiError> {
        self.call(Method::POST, |metadata| metadata.ztsa.tickets_endpoint.clone(), json(request)).await
    }

    /// Asks what would be decided for an app, and why.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn why(&self, app: &AppName) -> Result<WhyResponse, ApiError> {
        let url = |metadata: &ResourceMetadata| {
            let mut url = Url::parse(&metadata.ztsa.why_endpoint).ok();
            if let Some(url) = &mut url {
                url.query_pairs_mut().append_pair("app", app.as_str());
            }
            url.map_or_else(String::new, String::from)
        };
        self.call(Method::GET, url, Body::None).await
    }

    /// Reads what the gateway knows of this session.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn session(&self) -> Result<SessionInfo, ApiError> {
        self.call(Method::GET, |metadata| metadata.ztsa.session_endpoint.clone(), Body::None).await
    }

    /// Collects the posture checks that the gateway asks for, as they would be reported.
    ///
    /// # Errors
    /// The gateway's metadata cannot be had.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn posture(&self) -> Result<Report, ApiError> {
        let metadata = self.tokens.metadata().await?;
        Ok(self.tokens.collect(&metadata).await.report)
    }

    /// Lists what the gateway asks about this device.
    ///
    /// # Errors
    /// The gateway's metadata cannot be had.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn posture_wanted(&self) -> Result<Vec<Wanted>, ApiError> {
        Ok(self.tokens.metadata().await?.ztsa.posture.clone())
    }

    /// Collects, signs and sends a posture report: whole the first time, then what is new.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave a report that was received.
    pub async fn report_posture(&self) -> Result<(), ApiError> {
        let metadata = self.tokens.metadata().await?;
        let report = self.tokens.news(self.tokens.collect(&metadata).await);
        self.tell_posture(&metadata, &report).await
    }

    /// Sends a posture report when something is new, or nothing was heard of this device for five minutes.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave a report that was received.
    pub async fn report_news(&self) -> Result<(), ApiError> {
        let metadata = self.tokens.metadata().await?;
        if metadata.ztsa.posture.is_empty() {
            return Ok(());
        }
        let report = self.tokens.news(self.tokens.collect(&metadata).await);
        if self.tokens.is_due(&report) { self.tell_posture(&metadata, &report).await } else { Ok(()) }
    }

    async fn tell_posture(&self, metadata: &ResourceMetadata, report: &Report) -> Result<(), ApiError> {
        let url = metadata.ztsa.posture_endpoint.as_str();
        let signed = self.tokens.sign_report(report, metadata, url).await;
        let signed = signed.map_err(HttpError::Sign).map_err(ApiError::Http)?;
        let response = self.send(Method::POST, url, Body::Other(MEDIA_TYPE, signed.jws)).await?;
        match response.json::<SessionInfo>() {
            Ok(info) => self.tokens.reported(&signed.says, &info),
            // without its answer there is no knowing what it kept
            Err(_) => self.tokens.forget_reported(),
        }
        Ok(())
    }

    /// Opens the stream of events of this session.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn events(&self) -> Result<Events, ApiError> {
        let metadata = self.tokens.metadata().await?;
        events::open(&self.tokens, &metadata.ztsa.events_endpoint).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: impl FnOnce(&ResourceMetadata) -> String,
        body: Body<'_>,
    ) -> Result<T, ApiError> {
        let metadata = self.tokens.metadata().await?;
        let response = self.send(method, &url(&metadata), body).await?;
        response.json().map_err(ApiError::Http)
    }

    async fn send(&self, method: Method, url: &str, body: Body<'_>) -> Result<Response, ApiError> {
        let mut retried = false;
        loop {
            let session = self.tokens.session().await?;
            let key = self.tokens.key();
            let mut request = Request::post(url, body.clone()).signed(&*key).with_token(&session.token);
            request.method = method.clone();
            let response = self.tokens.http().send(&request).await.map_err(ApiError::Http)?;
            if response.status.is_success() {
                return Ok(response);
            }
            if retried || !self.stale(&response, &session) {
                return Err(refusal(&response));
            }
            retried = true;
        }
    }

    /// Whether a fresh session may do better: a 401 of the gateway's own (RFC 6750 3.1), not of something in between.
    fn stale(&self, response: &Response, session: &Arc<SessionToken>) -> bool {
        let challenged = response.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("DPoP"));
        let stale = response.status == StatusCode::UNAUTHORIZED && challenged && !is_step_up(response);
        if stale {
            self.tokens.reject(session);
        }
        stale
    }
}

fn is_step_up(response: &Response) -> bool {
    Problem::from_json(&response.body).is_ok_and(|problem| problem.code == "auth.step_up")
}

/// A refusal counts when it is a problem document; anything else is an answer that is none.
fn refusal(response: &Response) -> ApiError {
    match Problem::from_json(&response.body) {
        Ok(problem) => ApiError::Denied(Box::new(problem)),
        Err(_) => ApiError::Http(HttpError::Unexpected(response.seen())),
    }
}

fn json(value: &impl Serialize) -> Body<'static> {
    Body::Json(serde_json::to_string(value).unwrap_or_default())
}

#[cfg(test)]
mod tests;
