//! Signing out of the issuer (OpenID Connect RP-Initiated Logout 1.0).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::visitor::{Visitor, set_cookie};
use crate::form::Form;
use crate::issuer::Issuer;
use crate::page::{self, Notice};

/// Signs out at once when `id_token_hint` is of the person who is signed in; else asks.
pub(crate) async fn ask(
    State(issuer): State<Arc<Issuer>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Notice> {
    let form = Form::parse(query.unwrap_or_default().as_bytes())
        .map_err(|error| Notice::new(StatusCode::BAD_REQUEST, "This request cannot be read", error.to_string()))?;
    let visitor = Visitor::of(&issuer, &headers);
    let hinted = form.value("id_token_hint").and_then(|hint| issuer.id_token_subject(hint));
    let Some(sign_in) = &visitor.session.sign_in else {
        return Ok(goodbye(&issuer, hinted.is_some().then_some(&form)));
    };
    if hinted.as_deref() == Some(&sign_in.user.name) {
        return Ok(sign_out(&issuer, &visitor, Some(&form)));
    }
    Ok(page::sign_out(&visitor.session, &sign_in.user.full_name))
}

/// Signs out after the person was asked.
pub(crate) async fn confirm(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Notice> {
    let (visitor, _) = Visitor::sending(&issuer, &headers, &body)?;
    Ok(sign_out(&issuer, &visitor, None))
}

fn sign_out(issuer: &Issuer, visitor: &Visitor, form: Option<&Form>) -> Response {
    let now = issuer.now();
    let expires_at = now.plus(issuer.config.browser_ttl);
    let cookie = issuer.memory().sessions.replace(&visitor.cookie, None, expires_at, now);
    let mut response = goodbye(issuer, form);
    if let Some(cookie) = cookie {
        set_cookie(issuer, &mut response, &cookie);
    }
    response
}

/// Sends the browser back where a registered `post_logout_redirect_uri` says, else tells that all is done.
fn goodbye(issuer: &Issuer, form: Option<&Form>) -> Response {
    let place = form.and_then(|form| {
        let asked = form.value("post_logout_redirect_uri")?;
        let known = issuer.config.clients.iter().any(|client| client.allows_redirect(asked));
        let mut url = Url::parse(asked).ok().filter(|_| known)?;
        if let Some(state) = form.value("state") {
            url.query_pairs_mut().append_pair("state", state);
        }
        Some(url)
    });
    match place {
        Some(url) => Redirect::to(url.as_str()).into_response(),
        None => Notice::new(StatusCode::OK, "Signed out", "This browser is no longer signed in here.").into_response(),
    }
}
