//! The verification page: a person enters the code that a device shows (RFC 8628 section 3.3).

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::Peer;
use super::visitor::Visitor;
use crate::browser::{Interaction, Purpose};
use crate::device::UserCode;
use crate::form::Form;
use crate::issuer::Issuer;
use crate::page::{Notice, enter_code};

/// Shows the form. A code in the address is only filled in: the person compares it with the device and goes on.
pub(crate) async fn ask(State(issuer): State<Arc<Issuer>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let visitor = Visitor::of(&issuer, &headers);
    let form = Form::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let typed = form.value("user_code").map(shown).unwrap_or_default();
    visitor.keep(&issuer, enter_code(&visitor.session, &typed, None))
}

/// Takes the code. Wrong ones are counted per address, and the sixth within a minute is not even looked at
/// (RFC 8628 section 5.1).
pub(crate) async fn enter(
    State(issuer): State<Arc<Issuer>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Notice> {
    let (visitor, form) = Visitor::sending(&issuer, &headers, &body)?;
    let typed = form.value("user_code").unwrap_or_default();
    let again = |status, text| Ok(enter_code(&visitor.session, &shown(typed), Some((status, text))));
    let now = issuer.now();
    let guesser = format!("code {}", peer.0);
    let interaction = {
        let mut memory = issuer.memory();
        if !memory.guesses.may(&guesser, now) {
            drop(memory);
            let text = "Too many wrong codes. Wait a minute, then enter the code that your device shows.";
            return again(StatusCode::TOO_MANY_REQUESTS, text);
        }
        let code = UserCode::read(typed);
        let waiting = code.and_then(|code| memory.devices.waiting(&code, now).map(|ask| (code, ask.demand.clone())));
        let Some((code, demand)) = waiting else {
            memory.guesses.count(&guesser, now);
            drop(memory);
            let text = "No device waits with this code. Check the letters; a code is good for a few minutes and for \
                        one use.";
            return again(StatusCode::BAD_REQUEST, text);
        };
        Interaction {
            browser: visitor.session.browser.clone(),
            purpose: Purpose::Device(code),
            demand,
            hint: None,
            signed_in: false,
            switch: false,
        }
    };
    Ok(visitor.begin(&issuer, interaction))
}

/// Tells that the device may go on.
pub(crate) async fn approved() -> Notice {
    Notice::new(StatusCode::OK, "Approved", "The device is being signed in. You can close this page and go back to it.")
}

/// Tells that the device was refused.
pub(crate) async fn denied() -> Notice {
    Notice::new(StatusCode::OK, "Denied", "The device was refused and gets nothing. You can close this page.")
}

/// What was typed, in the form in which devices show codes when it is one.
fn shown(typed: &str) -> String {
    UserCode::read(typed).map_or_else(|| typed.chars().take(20).collect(), |code| code.to_string())
}
