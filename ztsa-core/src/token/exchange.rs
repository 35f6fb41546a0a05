//! From the issuer's token to a session at the gateway (RFC 8693), bound to the device key.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use ztsa_proto::{
    jws::SignError,
    metadata::ResourceMetadata,
    problem::{self, Problem, Retry},
    secret::Secret,
    session::{ACCESS_TOKEN, OAuthError, TOKEN_EXCHANGE, TokenResponse},
    time::UnixTime,
};

use super::{SessionToken, Tokens, record::Credentials};
use crate::{
    apart,
    http::{Body, Http, HttpError, Request, Response},
    posture::{self, Sys},
};

/// Why there was no session for these credentials.
#[derive(Debug)]
pub(super) enum ExchangeError {
    /// The access token has ended; a fresh one may do.
    Stale(Box<Problem>),
    /// Only a new sign-in helps.
    Login(Box<Problem>),
    /// Refused, whoever signs in.
    Denied(Box<Problem>),
    /// No usable answer.
    Http(HttpError),
    /// The device key does not sign.
    Sign(SignError),
}

/// What is exchanged.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// The issuer's access token, or a job's JWT.
    pub(super) token: &'a Secret<String>,
    /// Which of them (RFC 8693 section 3).
    pub(super) kind: &'static str,
    /// The ID token that came with it.
    pub(super) id_token: Option<&'a Secret<String>>,
    /// Whether the token is bound to the device key.
    pub(super) bound: bool,
}

impl<'a> From<&'a Credentials> for Subject<'a> {
    fn from(credentials: &'a Credentials) -> Self {
        Self {
            token: &credentials.access_token,
            kind: ACCESS_TOKEN,
            id_token: credentials.id_token.as_ref(),
            bound: credentials.bound,
        }
    }
}

/// How often one exchange is tried, while each try brings a nonce or a clock that the one before did not have.
const TRIES: u32 = 3;
/// How long the system may take to say this machine's name.
const NAME_PATIENCE: Duration = Duration::from_secs(2);

/// Asks for a session; `previous` is the one to go on with.
pub(super) async fn exchange(
    tokens: &Tokens,
    metadata: &ResourceMetadata,
    subject: &Subject<'_>,
    previous: Option<&SessionToken>,
) -> Result<SessionToken, ExchangeError> {
    let (endpoint, http) = (metadata.ztsa.token_endpoint.as_str(), tokens.http());
    let device = tokens.device();
    let previous = previous.filter(|session| session.info.device.id == device);
    let report = match metadata.ztsa.posture.as_slice() {
        [] => None,
        _ => Some(tokens.news(tokens.collect(metadata).await)),
    };
    // The gateway keeps it: a session that goes on has said it.
    let name = if previous.is_none() { device_name().await } else { None };
    for tries in 1.. {
        let known = (http.nonce(endpoint), http.offset(endpoint));
        let signed = match &report {
            Some(report) => Some(tokens.sign_report(report, metadata, endpoint).await?),
            None => None,
        };
        let jws = signed.as_ref().map(|signed| signed.jws.as_str());
        let response = send(tokens, endpoint, subject, previous, jws, name.as_deref()).await?;
        if response.status.is_success() {
            let session = read(&response, http, endpoint)?;
            if let Some(signed) = &signed {
                tokens.reported(&signed.says, &session.info);
            }
            return Ok(session);
        }
        // The report and the proof hold the nonce and the time: both are made anew with what was learned.
        let learned = known != (http.nonce(endpoint), http.offset(endpoint));
        if tries == TRIES || !learned || !concerns_time(&response) {
            return Err(judge(&response));
        }
    }
    Err(ExchangeError::Http(HttpError::Timeout { host: endpoint.to_owned(), connected: true }))
}

async fn device_name() -> Option<String> {
    apart::run("ztsa-device-name", NAME_PATIENCE, || posture::device_name(&Sys::this())).await.ok().flatten()
}

async fn send(
    tokens: &Tokens,
    endpoint: &str,
    subject: &Subject<'_>,
    previous: Option<&SessionToken>,
    report: Option<&str>,
    name: Option<&str>,
) -> Result<Response, ExchangeError> {
    let mut fields = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject.token.expose().as_str()),
        ("subject_token_type", subject.kind),
    ];
    // A session that goes on is known to the gateway: an ID token that has ended would only be in the way.
    let now = tokens.now();
    let shown = |token: &&&Secret<String>| previous.is_none() || ends(token.expose()).is_some_and(|end| now < end);
    if let Some(token) = subject.id_token.as_ref().filter(shown) {
        fields.push(("id_token", token.expose()));
    }
    if let Some(report) = report {
        fields.push(("posture", report));
    }
    if let Some(name) = name {
        fields.push(("device_name", name));
    }
    if let Some(session) = previous {
        fields.push(("session", session.info.session.as_str()));
    }
    let key = tokens.key();
    let mut request = Request::post(endpoint, Body::Form(&fields)).signed(&*key);
    request.once = true;
    if subject.bound {
        request.proved_token = Some(subject.token);
    }
    tokens.http().send(&request).await.map_err(ExchangeError::Http)
}

fn concerns_time(response: &Response) -> bool {
    let error = OAuthError::from_json(&response.body).map(|error| error.error).unwrap_or_default();
    matches!(error.as_str(), "use_dpop_nonce" | "invalid_dpop_proof")
}

fn read(response: &Response, http: &Http, endpoint: &str) -> Result<SessionToken, ExchangeError> {
    let answer: TokenResponse = response.json().map_err(ExchangeError::Http)?;
    if !answer.token_type.eq_ignore_ascii_case("dpop") || answer.expires_in == 0 {
        return Err(ExchangeError::Http(HttpError::Unexpected(response.seen())));
    }
    let now = http.now(endpoint);
    Ok(SessionToken {
        token: answer.access_token,
        info: answer.ztsa,
        expires_at: UnixTime(now.0.saturating_add(answer.expires_in)),
        renew_at: UnixTime(now.0.saturating_add(answer.expires_in.saturating_mul(3) / 5)),
    })
}

/// Sorts a refusal. Only a well-formed one counts; a page from in between is no refusal.
fn judge(response: &Response) -> ExchangeError {
    let status = response.status.as_u16();
    let error = OAuthError::from_json(&response.body);
    let problem = match &error {
        Some(error) => error.problem.clone(),
        None => Problem::from_json(&response.body).ok(),
    };
    match (problem, error) {
        (Some(problem), error) => sort(problem, error.as_ref().map_or("", |error| &error.error)),
        (None, Some(error)) if status < 500 && status != 429 => {
            let code = match error.error.as_str() {
                "invalid_grant" | "invalid_token" => "auth.expired",
                "invalid_dpop_proof" | "use_dpop_nonce" => "auth.proof",
                _ => "request.invalid",
            };
            sort(problem::new(code).with_detail(error.to_string()), &error.error)
        }
        _ => ExchangeError::Http(HttpError::Unexpected(response.seen())),
    }
}

fn sort(problem: Problem, error: &str) -> ExchangeError {
    let problem = Box::new(problem);
    match (problem.code.as_str(), problem.retry) {
        ("auth.expired", _) => ExchangeError::Stale(problem),
        (_, Retry::AfterLogin)
            if matches!(error, "invalid_grant" | "invalid_token") && problem.code.starts_with("auth.") =>
        {
            ExchangeError::Stale(problem)
        }
        (_, Retry::AfterLogin) => ExchangeError::Login(problem),
        _ => ExchangeError::Denied(problem),
    }
}

impl From<SignError> for ExchangeError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

/// When a JWT ends, as it says itself.
fn ends(jwt: &str) -> Option<UnixTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: UnixTime,
    }
    let body = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&body).ok().map(|claims| claims.exp)
}
