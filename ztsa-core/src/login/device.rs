//! The device flow (RFC 8628).

use std::{fmt, time::Duration};

use oauth2::DeviceCode;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use url::Url;
use ztsa_proto::jws::Signer;

use super::{
    Demand, Flow, Issuer, IssuerTokens, LoginError,
    answer::{Refusal, plain, seconds},
    poll::{Elapsed, Poll, Step, judge},
};
use crate::http::{Body, Http, HttpError, Request, Response};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The interval when the issuer gives none (RFC 8628 3.2).
const INTERVAL: u64 = 5;
/// The longest lifetime of a code that is believed.
const LIFETIME: u64 = 1800;

/// What a person needs to sign in on any device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Where to go.
    pub verification_uri: String,
    /// The same with the code in it, for a link or a QR code.
    pub verification_uri_complete: Option<String>,
    /// What to type in there.
    pub user_code: String,
    /// How long the code is good for.
    pub expires_in: Duration,
}

/// Signs in by a code that is approved on any device.
pub struct DeviceFlow<'a> {
    on_prompt: Box<dyn FnMut(Prompt) + Send + 'a>,
    demand: Demand,
}

impl fmt::Debug for DeviceFlow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceFlow")
    }
}

impl<'a> DeviceFlow<'a> {
    /// Makes the flow; `on_prompt` shows the person where to go, before anything is waited for.
    pub fn new(on_prompt: impl FnMut(Prompt) + Send + 'a) -> Self {
        Self { on_prompt: Box::new(on_prompt), demand: Demand::default() }
    }

    /// Asks for a stronger or fresher sign-in. No standard gives the device flow a way to ask, and many issuers ignore it:
    /// what came of it shows in the gateway's next answer.
    #[must_use]
    pub fn demand(mut self, demand: Demand) -> Self {
        self.demand = demand;
        self
    }

    pub(super) async fn run(
        mut self,
        http: &Http,
        issuer: &Issuer,
        key: &dyn Signer,
    ) -> Result<IssuerTokens, LoginError> {
        let (started, began) = (Instant::now(), http.clock().now());
        let grant = begin(http, issuer, key, &self.demand).await?;
        let (prompt, code, interval) = grant.check()?;
        let lifetime = prompt.expires_in;
        (self.on_prompt)(prompt);
        let mut fields = vec![
            ("grant_type", GRANT),
            ("device_code", code.secret().as_str()),
            ("client_id", issuer.info.client_id.as_str()),
        ];
        if let Some(resource) = &issuer.info.resource {
            fields.push(("resource", resource));
        }
        let mut request = Request::post(&issuer.metadata.token_endpoint, Body::Form(&fields));
        request.signer = issuer.signer(key);
        let mut poll = Poll::new(interval, lifetime);
        let mut wait = poll.first();
        loop {
            sleep(wait).await;
            let answer = http.send(&request).await;
            let outcome = judge(answer, http.now(&issuer.metadata.token_endpoint));
            let elapsed = Elapsed { awake: started.elapsed(), wall: http.clock().now().since(began) };
            match poll.next(elapsed, outcome) {
                Step::Wait(next) => wait = next,
                Step::Done(tokens) => return Ok(tokens),
                Step::Fail(error) => return Err(error),
            }
        }
    }
}

/// RFC 8628 3.2, with what issuers do to it.
#[derive(Deserialize)]
struct Grant {
    device_code: DeviceCode,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(default, alias = "verification_url_complete")]
    verification_uri_complete: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    interval: Option<u64>,
}

impl Grant {
    fn check(self) -> Result<(Prompt, DeviceCode, Duration), LoginError> {
        let answer = |reason: &str| LoginError::Answer { reason: reason.to_owned() };
        let web = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        let user_code = plain(&self.user_code);
        if user_code.is_empty() || user_code.len() > 64 || self.device_code.secret().is_empty() {
            return Err(answer("it holds no usable code"));
        }
        let verification_uri = plain(&self.verification_uri);
        if !web(&verification_uri) {
            return Err(answer("its verification_uri is no web address"));
        }
        let prompt = Prompt {
            verification_uri,
            verification_uri_complete: self.verification_uri_complete.map(|text| plain(&text)).filter(|text| web(text)),
            user_code,
            expires_in: Duration::from_secs(self.expires_in.unwrap_or(LIFETIME).min(LIFETIME)),
        };
        let interval = self.interval.filter(|interval| *interval > 0).unwrap_or(INTERVAL).min(60);
        Ok((prompt, self.device_code, Duration::from_secs(interval)))
    }
}

async fn begin(http: &Http, issuer: &Issuer, key: &dyn Signer, demand: &Demand) -> Result<Grant, LoginError> {
    let missing = LoginError::FlowMissing { flow: Flow::Device };
    let endpoint = issuer.metadata.device_authorization_endpoint.as_deref().ok_or(missing)?;
    let scope = issuer.info.scopes.join(" ");
    let mut fields = vec![("client_id", issuer.info.client_id.as_str()), ("scope", &scope)];
    if let Some(resource) = &issuer.info.resource {
        fields.push(("resource", resource));
    }
    let asked = demand.parameters(&issuer.metadata);
    fields.extend(asked.iter().map(|(name, value)| (*name, value.as_str())));
    let mut request = Request::post(endpoint, Body::Form(&fields));
    request.signer = issuer.signer(key);
    let response = http.send(&request).await.map_err(LoginError::Http)?;
    if response.status.is_success() && Refusal::read(&response).is_none() {
        return response.json().map_err(LoginError::Http);
    }
    Err(refused(&response))
}

/// A refusal at the start concerns the flow or the client: no person has been asked yet.
fn refused(response: &Response) -> LoginError {
    let seen = response.seen();
    match Refusal::read(response) {
        Some(refusal) if refusal.is_policy(Flow::Device) || refusal.code.as_ref() == "access_denied" => {
            LoginError::FlowRefused { flow: Flow::Device, said: refusal.said() }
        }
        Some(refusal) => LoginError::Refused { code: refusal.code.as_ref().to_owned(), said: refusal.said() },
        None if seen.is_temporary() => LoginError::Http(HttpError::Unexpected(seen)),
        None if matches!(seen.status, 400 | 401 | 403 | 404) => {
            LoginError::FlowRefused { flow: Flow::Device, said: seen.to_string() }
        }
        None => LoginError::Http(HttpError::Unexpected(seen)),
    }
}

#[cfg(test)]
mod tests;
