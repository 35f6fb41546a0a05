//! The authorization endpoint (RFC 6749 section 3.1): code flow with PKCE.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method, StatusCode};
use url::Url;
use ztsa_proto::jws::random_id;
use ztsa_proto::name::DeviceId;

use super::visitor::Visitor;
use crate::browser::{AuthorizeAsk, Interaction, Purpose};
use crate::config::Client;
use crate::form::Form;
use crate::grant::{Ask, Grant};
use crate::issuer::Issuer;
use crate::page::Notice;
use crate::scope::{Known, Scope};
use crate::sign_in::{Authentication, Demand};

/// Begins a sign-in by browser, from a query or a form.
pub(crate) async fn authorize(
    State(issuer): State<Arc<Issuer>>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Notice> {
    let form = if method == Method::POST {
        Form::body(&headers, &body)
    } else {
        Form::parse(query.unwrap_or_default().as_bytes())
    };
    let form = form.map_err(|error| bad_request(&error.to_string()))?;
    // until client and redirect URI are known to be good, nothing is sent anywhere (RFC 6749 section 4.1.2.1)
    let client = form.value("client_id").and_then(|id| issuer.config.client(id));
    let client = client.ok_or_else(|| bad_request("client_id is missing or unknown."))?;
    let redirect = form.value("redirect_uri").ok_or_else(|| bad_request("redirect_uri is missing."))?;
    if !client.allows_redirect(redirect) {
        return Err(bad_request(&format!(
            "redirect_uri {redirect} is not registered for {}. Registered are, with any port on loopback: {}.",
            client.id,
            client.redirects.join(", ")
        )));
    }
    let back = (redirect, form.value("state"));
    let (ask, demand) = match read(&issuer, client, &form, redirect) {
        Ok(read) => read,
        Err((error, text)) => return Ok(refuse(&issuer, back, error, &text)),
    };
    if let Some(sign_in) = issuer.approved(&demand) {
        return Ok(approve(&issuer, ask, sign_in));
    }
    let visitor = Visitor::of(&issuer, &headers);
    if form.value("prompt") == Some("none") {
        // consent is asked for each time, since nobody can tell one native program from another (RFC 8252 section 8.6)
        let now = issuer.now();
        let met = visitor.session.sign_in.as_ref().is_some_and(|sign_in| demand.is_met(sign_in, false, now));
        let error = if met { "consent_required" } else { "login_required" };
        return Ok(refuse(&issuer, back, error, "a person has to see a page"));
    }
    let interaction = Interaction {
        browser: visitor.session.browser.clone(),
        purpose: Purpose::Authorize(Box::new(ask)),
        demand,
        hint: form.value("login_hint").map(str::to_owned),
        signed_in: false,
        switch: form.value("prompt").unwrap_or_default().split(' ').any(|prompt| prompt == "select_account"),
    };
    Ok(visitor.begin(&issuer, interaction))
}

/// Sends the browser back with a code.
pub(crate) fn approve(issuer: &Issuer, ask: AuthorizeAsk, sign_in: Authentication) -> Response {
    let (code, now) = (random_id() + &random_id(), issuer.now());
    let AuthorizeAsk { ask, redirect, state, challenge } = ask;
    let mut fields = vec![("code", code.as_str())];
    fields.extend(state.as_deref().map(|state| ("state", state)));
    let response = send_back(issuer, &redirect, &fields);
    let grant = Grant { id: random_id(), ask, sign_in };
    let expires_at = now.plus(issuer.config.code_ttl);
    issuer.memory().codes.add(code, (grant, redirect, challenge), expires_at, now);
    response
}

/// Sends the browser back with an error.
pub(crate) fn refuse(issuer: &Issuer, (redirect, state): (&str, Option<&str>), error: &str, text: &str) -> Response {
    let mut fields = vec![("error", error), ("error_description", text)];
    fields.extend(state.map(|state| ("state", state)));
    send_back(issuer, redirect, &fields)
}

fn send_back(issuer: &Issuer, redirect: &str, fields: &[(&str, &str)]) -> Response {
    let Ok(mut url) = Url::parse(redirect) else {
        return bad_request("redirect_uri is not a URL.").into_response();
    };
    // `iss` keeps a client from mixing up issuers (RFC 9207)
    url.query_pairs_mut().extend_pairs(fields).append_pair("iss", &issuer.url);
    Redirect::to(url.as_str()).into_response()
}

type Problem = (&'static str, String);

fn read(issuer: &Issuer, client: &Client, form: &Form, redirect: &str) -> Result<(AuthorizeAsk, Demand), Problem> {
    let invalid = |text: &str| ("invalid_request", text.to_owned());
    if form.value("request").is_some() {
        return Err(("request_not_supported", "request objects are not supported".to_owned()));
    }
    if form.value("request_uri").is_some() {
        return Err(("request_uri_not_supported", "request objects are not supported".to_owned()));
    }
    match form.value("response_type") {
        Some("code") => {}
        Some(_) => return Err(("unsupported_response_type", "only response_type=code is supported".to_owned())),
        None => return Err(invalid("response_type is missing")),
    }
    if form.value("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("only response_mode=query is supported"));
    }
    if form.value("code_challenge_method") != Some("S256") {
        return Err(invalid("PKCE is required with code_challenge_method=S256"));
    }
    let challenge = form.value("code_challenge").unwrap_or_default();
    if challenge.len() != 43 || !challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Err(invalid("code_challenge must be the base64url SHA-256 of the verifier"));
    }
    let key = form.value("dpop_jkt").map(str::parse::<DeviceId>).transpose();
    let ask = Ask {
        client: client.id.clone(),
        scope: Scope::parse(form.value("scope").unwrap_or_default()),
        resources: issuer.resources(form).map_err(|refusal| (refusal.error(), refusal.description().to_owned()))?,
        nonce: form.value("nonce").map(str::to_owned),
        key: key.map_err(|_| invalid("dpop_jkt must be a JWK thumbprint"))?,
    };
    if ask.nonce.is_some() && !ask.scope.has(Known::OpenId) {
        tracing::debug!(client = client.id, "a nonce without the scope openid is never told");
    }
    let prompts = form.value("prompt").unwrap_or_default();
    if prompts != "none" && prompts.split(' ').any(|prompt| prompt == "none") {
        return Err(invalid("prompt=none cannot be combined"));
    }
    let demand = Demand::read(form).map_err(invalid)?;
    let ask = AuthorizeAsk {
        ask,
        redirect: redirect.to_owned(),
        state: form.value("state").map(str::to_owned),
        challenge: challenge.to_owned(),
    };
    Ok((ask, demand))
}

fn bad_request(text: &str) -> Notice {
    Notice::new(StatusCode::BAD_REQUEST, "This sign-in cannot begin", text)
}
