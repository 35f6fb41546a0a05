//! The browser behind a request: its cookie, and the token that its forms carry.

use std::time::Duration;

use aws_lc_rs::constant_time;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use ztsa_proto::jws::random_id;

use crate::browser::{Interaction, Session};
use crate::form::Form;
use crate::issuer::Issuer;
use crate::page::Notice;

/// A browser and its session.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) cookie: String,
    pub(crate) session: Session,
    /// Whether the browser has yet to be given the cookie.
    fresh: bool,
}

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(600);

impl Visitor {
    /// Finds the session of a browser, or starts one.
    pub(crate) fn of(issuer: &Issuer, headers: &HeaderMap) -> Self {
        let now = issuer.now();
        let sent = sent_cookie(issuer, headers);
        let mut memory = issuer.memory();
        if let (Some(cookie), Some(session)) = (sent, memory.sessions.find(sent, now)) {
            return Self { cookie: cookie.to_owned(), session: session.clone(), fresh: false };
        }
        let (cookie, session) = memory.sessions.start(now.plus(issuer.config.browser_ttl), now);
        Self { cookie, session, fresh: true }
    }

    /// Finds the session that a form was sent from, and reads the form.
    pub(crate) fn sending(issuer: &Issuer, headers: &HeaderMap, body: &[u8]) -> Result<(Self, Form), Notice> {
        let form = Form::body(headers, body)
            .map_err(|error| Notice::new(StatusCode::BAD_REQUEST, "This form cannot be read", error.to_string()))?;
        let visitor = Self::of(issuer, headers);
        let given = form.value("csrf").unwrap_or_default();
        if constant_time::verify_slices_are_equal(given.as_bytes(), visitor.session.csrf.as_bytes()).is_err() {
            return Err(Notice::new(
                StatusCode::FORBIDDEN,
                "This page is out of date",
                "The form did not come from a page of this browser session. Go back, reload the page and try again; \
                 cookies must be allowed.",
            ));
        }
        Ok((visitor, form))
    }

    /// Remembers what the browser is in the middle of, and sends it to the page of that.
    pub(crate) fn begin(&self, issuer: &Issuer, interaction: Interaction) -> Response {
        let (id, now) = (random_id(), issuer.now());
        let response = Redirect::to(&format!("/interaction/{id}")).into_response();
        issuer.memory().interactions.insert(id, interaction, now.plus(PATIENCE), now);
        self.keep(issuer, response)
    }

    /// Adds the cookie to an answer when the browser does not have it.
    pub(crate) fn keep(&self, issuer: &Issuer, mut response: Response) -> Response {
        if self.fresh {
            set_cookie(issuer, &mut response, &self.cookie);
        }
        response
    }
}

/// Gives the browser a session's cookie. Its name holds the port, since cookies are shared between ports.
pub(crate) fn set_cookie(issuer: &Issuer, response: &mut Response, cookie: &str) {
    let name = cookie_name(issuer);
    let age = issuer.config.browser_ttl.as_secs();
    if let Ok(value) = HeaderValue::from_str(&format!("{name}={cookie}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax"))
    {
        response.headers_mut().insert(SET_COOKIE, value);
    }
}

fn sent_cookie<'h>(issuer: &Issuer, headers: &'h HeaderMap) -> Option<&'h str> {
    let name = cookie_name(issuer);
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(given, _)| *given == name).map(|(_, value)| value)
}

fn cookie_name(issuer: &Issuer) -> String {
    let port = issuer.url.rsplit(':').next().unwrap_or_default();
    format!("ztsa-idp-{port}")
}
