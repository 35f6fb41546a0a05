//! The browser flow: authorization code with PKCE (RFC 7636, S256), coming back to a loopback address (RFC 8252).

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use serde::Deserialize;
use url::Url;
use ztsa_proto::{
    jws::{Signer, random_id},
    metadata::RedirectHost,
    secret::Secret,
};

use super::{
    Demand, Flow, Issuer, IssuerTokens, LoginError,
    answer::{Refusal, cut, is_cut, is_policy, plain, read_tokens},
    callback::{Arrival, Callback},
};
use crate::http::{Body, Http, HttpError, Request};

/// How long the browser may take.
const WAIT: Duration = Duration::from_secs(300);

/// Signs in by a browser on this machine.
pub struct BrowserFlow<'a> {
    on_url: Box<dyn FnMut(&str) + Send + 'a>,
    extra: Vec<(String, String)>,
    demand: Demand,
    host: Option<String>,
    wait: Duration,
}

impl fmt::Debug for BrowserFlow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserFlow")
    }
}

impl<'a> BrowserFlow<'a> {
    /// Makes the flow; `on_url` shows the URL to the person and opens it, when it can.
    ///
    /// # Defaults
    /// Waits five minutes; the redirect names the IP address that is listened on.
    pub fn new(on_url: impl FnMut(&str) + Send + 'a) -> Self {
        Self { on_url: Box::new(on_url), extra: Vec::new(), demand: Demand::default(), host: None, wait: WAIT }
    }

    /// Adds a parameter to the authorization request, such as `login_hint`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for a stronger or fresher sign-in (RFC 9470).
    #[must_use]
    pub fn demand(mut self, demand: Demand) -> Self {
        self.demand = demand;
        self
    }

    /// Uses another host name in the redirect than the gateway says, for issuers that only take `localhost`.
    #[must_use]
    pub fn redirect_host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Waits this long for the browser.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    pub(super) async fn run(
        mut self,
        http: &Http,
        issuer: &Issuer,
        key: &dyn Signer,
    ) -> Result<IssuerTokens, LoginError> {
        let missing = LoginError::FlowMissing { flow: Flow::Browser };
        let endpoint = issuer.metadata.authorization_endpoint.as_deref().ok_or(missing)?;
        let host = self.host.as_deref().or_else(|| issuer.info.redirect_host.map(RedirectHost::as_str));
        let callback = Callback::bind(host, issuer.info.redirect_port).await.map_err(LoginError::Listen)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let ask = Ask { state: random_id(), nonce: random_id(), challenge };
        let asked = self.demand.parameters(&issuer.metadata);
        self.extra.extend(asked.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let url = ask.url(endpoint, issuer, callback.redirect_uri(), &self.extra)?;
        (self.on_url)(url.as_str());
        let arrival = tokio::time::timeout(self.wait, callback.arrival(&ask.state));
        let arrival = arrival.await.map_err(|_| LoginError::NoCallback { after: self.wait })?;
        let code = judge(arrival, issuer)?;
        redeem(http, issuer, key, &code, &verifier, callback.redirect_uri(), &ask.nonce).await
    }
}

struct Ask {
    state: String,
    nonce: String,
    challenge: PkceCodeChallenge,
}

impl Ask {
    fn url(
        &self,
        endpoint: &str,
        issuer: &Issuer,
        redirect: &str,
        extra: &[(String, String)],
    ) -> Result<Url, LoginError> {
        let mut url = Url::parse(endpoint).map_err(|error| LoginError::Answer { reason: error.to_string() })?;
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &issuer.info.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &issuer.info.scopes.join(" "))
            .append_pair("state", &self.state)
            .append_pair("nonce", &self.nonce)
            .append_pair("code_challenge", self.challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        if let Some(resource) = &issuer.info.resource {
            query.append_pair("resource", resource);
        }
        for (name, value) in extra {
            query.append_pair(name, value);
        }
        drop(query);
        Ok(url)
    }
}

/// Checks what the browser brought (RFC 6749 4.1.2, RFC 9207).
fn judge(arrival: Arrival, issuer: &Issuer) -> Result<Secret<String>, LoginError> {
    let expected = &issuer.metadata.issuer;
    let wanted = issuer.metadata.authorization_response_iss_parameter_supported;
    if arrival.iss.as_ref().map_or(wanted, |iss| iss != expected) {
        return Err(LoginError::Answer { reason: "the browser came back from another issuer (RFC 9207)".to_owned() });
    }
    if let Some(error) = arrival.error {
        let text = plain(arrival.error_description.as_deref().unwrap_or_default());
        let code = plain(&error);
        let said = if text.is_empty() { code.clone() } else { format!("{text} ({code})") };
        return Err(match code.as_str() {
            code if is_policy(Flow::Browser, code, &text) => LoginError::FlowRefused { flow: Flow::Browser, said },
            "access_denied" => LoginError::Denied { said },
            _ => LoginError::Refused { code, said },
        });
    }
    let empty = || LoginError::Answer { reason: "the browser came back without a code".to_owned() };
    arrival.code.filter(|code| !code.expose().is_empty()).ok_or_else(empty)
}

async fn redeem(
    http: &Http,
    issuer: &Issuer,
    key: &dyn Signer,
    code: &Secret<String>,
    verifier: &PkceCodeVerifier,
    redirect: &str,
    nonce: &str,
) -> Result<IssuerTokens, LoginError> {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code.expose().as_str()),
        ("redirect_uri", redirect),
        ("client_id", &issuer.info.client_id),
        ("code_verifier", verifier.secret()),
    ];
    if let Some(resource) = &issuer.info.resource {
        fields.push(("resource", resource));
    }
    let endpoint = &issuer.metadata.token_endpoint;
    let mut request = Request::post(endpoint, Body::Form(&fields));
    request.signer = issuer.signer(key);
    let response = http.send(&request).await.map_err(|error| {
        if error.may_have_arrived() { LoginError::AnswerLost(error) } else { LoginError::Http(error) }
    })?;
    if let Some(refusal) = Refusal::read(&response) {
        let said = refusal.said();
        if refusal.is_policy(Flow::Browser) {
            return Err(LoginError::FlowRefused { flow: Flow::Browser, said });
        }
        return Err(LoginError::Refused { code: refusal.code.as_ref().to_owned(), said });
    }
    if !response.status.is_success() {
        let seen = response.seen();
        return Err(match seen.status {
            400 | 401 | 403 | 404 => LoginError::FlowRefused { flow: Flow::Browser, said: seen.to_string() },
            _ => LoginError::Http(HttpError::Unexpected(seen)),
        });
    }
    if is_cut(&response.body) {
        return Err(LoginError::AnswerLost(cut(&response)));
    }
    let tokens = read_tokens(&response.body, http.now(endpoint));
    let tokens = tokens.map_err(|reason| LoginError::Answer { reason: format!("{}; {reason}", response.seen()) })?;
    if let Some(id_token) = &tokens.id_token {
        check_nonce(id_token.expose(), nonce)?;
    }
    Ok(tokens)
}

/// OpenID Connect Core 3.1.3.7: the token came straight from the issuer over TLS, so its signature needs no check here;
/// the gateway verifies it again. The nonce ties it to this sign-in.
fn check_nonce(id_token: &str, nonce: &str) -> Result<(), LoginError> {
    #[derive(Deserialize)]
    struct Claims {
        nonce: Option<String>,
    }
    let wrong = |reason: &str| LoginError::Answer { reason: reason.to_owned() };
    let body = id_token.split('.').nth(1).ok_or_else(|| wrong("its ID token is no JWT"))?;
    let body = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).map_err(|_| wrong("its ID token is no JWT"))?;
    let claims: Claims = serde_json::from_slice(&body).map_err(|_| wrong("its ID token is no JWT"))?;
    if claims.nonce.as_deref() == Some(nonce) {
        return Ok(());
    }
    Err(wrong("its ID token belongs to another sign-in (nonce)"))
}

#[cfg(test)]
mod tests;
