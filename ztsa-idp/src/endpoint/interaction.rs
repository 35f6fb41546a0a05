//! Signing in and consenting, for a device as for a browser.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode};

use super::authorize::{approve, refuse};
use super::visitor::{Visitor, set_cookie};
use crate::browser::{Interaction, Purpose};
use crate::device::DeviceAsk;
use crate::form::Form;
use crate::grant::Ask;
use crate::issuer::Issuer;
use crate::page::{self, Consent, Notice};
use crate::sign_in::{Acr, Authentication};

/// Shows what comes next: the sign-in, or the consent.
pub(crate) async fn show(
    State(issuer): State<Arc<Issuer>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Notice> {
    let visitor = Visitor::of(&issuer, &headers);
    let interaction = find(&issuer, &id, &visitor)?;
    let (ask, device) = asked(&issuer, &interaction)?;
    let client = client_name(&issuer, &ask);
    let Some(sign_in) = suitable(&issuer, &interaction, &visitor) else {
        let known = visitor.session.sign_in.as_ref().filter(|_| !interaction.switch);
        let name = known.map(|sign_in| sign_in.user.name.as_str()).or(interaction.hint.as_deref());
        return Ok(page::sign_in((&id, &interaction, &client), &visitor.session, name, None));
    };
    Ok(page::consent(Consent {
        id: &id,
        purpose: &interaction.purpose,
        device: device.as_ref(),
        client: (&client, &ask.client),
        scope: &ask.scope,
        resources: &ask.resources,
        session: &visitor.session,
        sign_in: &sign_in,
        now: issuer.now(),
    }))
}

/// Takes a name, a password and, when demanded, a second factor.
pub(crate) async fn sign_in(
    State(issuer): State<Arc<Issuer>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Notice> {
    let (visitor, form) = Visitor::sending(&issuer, &headers, &body)?;
    let interaction = find(&issuer, &id, &visitor)?;
    let name: String = form.value("name").unwrap_or_default().chars().take(100).collect();
    let sign_in = match check(&issuer, &interaction, &name, &form) {
        Ok(sign_in) => sign_in,
        Err((status, text)) => {
            let (ask, _) = asked(&issuer, &interaction)?;
            let client = client_name(&issuer, &ask);
            let shown = (id.as_str(), &interaction, client.as_str());
            return Ok(page::sign_in(shown, &visitor.session, Some(&name), Some((status, text))));
        }
    };
    let now = issuer.now();
    let mut response = Redirect::to(&format!("/interaction/{id}")).into_response();
    let mut memory = issuer.memory();
    if let Some(interaction) = memory.interactions.get_mut(&id, now) {
        interaction.signed_in = true;
        interaction.switch = false;
    }
    let expires_at = now.plus(issuer.config.browser_ttl);
    if let Some(cookie) = memory.sessions.replace(&visitor.cookie, Some(sign_in), expires_at, now) {
        set_cookie(&issuer, &mut response, &cookie);
    }
    Ok(response)
}

/// Takes the decision.
pub(crate) async fn decide(
    State(issuer): State<Arc<Issuer>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Notice> {
    let (visitor, form) = Visitor::sending(&issuer, &headers, &body)?;
    let interaction = find(&issuer, &id, &visitor)?;
    let back = Redirect::to(&format!("/interaction/{id}")).into_response();
    let approved = match form.value("decision") {
        Some("approve") => match suitable(&issuer, &interaction, &visitor) {
            Some(sign_in) => Some(sign_in),
            None => return Ok(back),
        },
        Some("deny") => None,
        Some("switch") => {
            let now = issuer.now();
            if let Some(interaction) = issuer.memory().interactions.get_mut(&id, now) {
                interaction.switch = true;
                interaction.signed_in = false;
            }
            return Ok(back);
        }
        _ => return Err(Notice::new(StatusCode::BAD_REQUEST, "This form cannot be read", "Approve or deny.")),
    };
    issuer.memory().interactions.remove(&id, issuer.now());
    match interaction.purpose {
        Purpose::Device(code) => {
            let place = if approved.is_some() { "/device/approved" } else { "/device/denied" };
            let decided = issuer.memory().devices.decide(&code, approved, issuer.now());
            if decided { Ok(Redirect::to(place).into_response()) } else { Err(gone()) }
        }
        Purpose::Authorize(ask) => Ok(match approved {
            Some(sign_in) => approve(&issuer, *ask, sign_in),
            None => refuse(&issuer, (&ask.redirect, ask.state.as_deref()), "access_denied", "the person refused"),
        }),
    }
}

fn find(issuer: &Issuer, id: &str, visitor: &Visitor) -> Result<Interaction, Notice> {
    let found = issuer.memory().interactions.get(id, issuer.now()).cloned();
    found.filter(|interaction| interaction.browser == visitor.session.browser).ok_or_else(gone)
}

/// Returns what the interaction is about.
fn asked(issuer: &Issuer, interaction: &Interaction) -> Result<(Ask, Option<DeviceAsk>), Notice> {
    match &interaction.purpose {
        Purpose::Authorize(ask) => Ok((ask.ask.clone(), None)),
        Purpose::Device(code) => {
            let device = issuer.memory().devices.waiting(code, issuer.now()).cloned().ok_or_else(gone)?;
            Ok((device.ask.clone(), Some(device)))
        }
    }
}

/// Returns the sign-in of the browser if it does for this interaction.
fn suitable(issuer: &Issuer, interaction: &Interaction, visitor: &Visitor) -> Option<Authentication> {
    let sign_in = visitor.session.sign_in.as_ref().filter(|_| !interaction.switch)?;
    interaction.demand.is_met(sign_in, interaction.signed_in, issuer.now()).then(|| sign_in.clone())
}

type Problem = (StatusCode, &'static str);

fn check(issuer: &Issuer, interaction: &Interaction, name: &str, form: &Form) -> Result<Authentication, Problem> {
    let now = issuer.now();
    let guesser = format!("password {name}");
    if !issuer.memory().guesses.may(&guesser, now) {
        return Err((StatusCode::TOO_MANY_REQUESTS, "Too many wrong passwords for this name. Wait a minute."));
    }
    let wrong = |text| {
        issuer.memory().guesses.count(&guesser, now);
        Err((StatusCode::UNAUTHORIZED, text))
    };
    let Some(user) = issuer.user_with_password(name, form.value("password").unwrap_or_default()) else {
        return wrong("The name or the password is wrong.");
    };
    let acr = match (interaction.demand.acr, &user.second_factor) {
        (Some(Acr::SecondFactor), Some(expected)) => {
            let given = ztsa_proto::secret::Secret::new(form.value("code").unwrap_or_default().to_owned());
            if given != *expected {
                return wrong("The one-time code is wrong.");
            }
            Acr::SecondFactor
        }
        (Some(Acr::SecondFactor), None) => {
            return Err((StatusCode::FORBIDDEN, "This user has no second factor, and the program asks for one."));
        }
        _ => Acr::Password,
    };
    Ok(Authentication { user: user.clone(), at: now, acr })
}

fn client_name(issuer: &Issuer, ask: &Ask) -> String {
    issuer.config.client(&ask.client).map_or_else(|| ask.client.clone(), |client| client.name.clone())
}

fn gone() -> Notice {
    Notice::new(
        StatusCode::GONE,
        "This request has ended",
        "It was decided already, took too long, or belongs to another browser. Start again from the program that \
         asked you to sign in.",
    )
}
