//! Security event tokens (RFC 8417) as the Shared Signals Framework 1.0 profiles them: what other systems tell of people,
//! devices and sessions, and what this gateway tells them.
//!
//! Who signed a token is not judged here: the keys are fetched, and this module has no socket.

pub mod delivery;
pub mod event;
pub mod stream;
pub mod subject;

use serde_json::{Map, Value, json};

use crate::jws::{self, Header, SignError, Signer};
use crate::text;
use crate::time::UnixTime;

pub use event::{Event, Happening};
pub use subject::{Complex, Identifier, Subject};

/// Holds the claims of one security event token, which tells of exactly one event, be it under alternative URIs.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// The transmitter.
    pub iss: String,
    /// Whom it is for; one or several.
    pub aud: Vec<String>,
    /// The token's own identifier at its transmitter, 1 to 256 bytes.
    pub jti: String,
    /// When it was made.
    pub iat: UnixTime,
    /// What ties several tokens to one cause.
    pub txn: Option<String>,
    /// Whom the event is about: `sub_id`, else the event's own `subject`.
    pub subject: Option<Subject>,
    /// What happened.
    pub event: Event,
}

/// Tells why a token's claims are no security event token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// It is over 64 KiB.
    #[error("it is larger than 64 KiB")]
    TooLarge,
    /// It is no JSON object, or lists and objects are nested too deeply in it.
    #[error("its claims are no JSON object of at most 16 levels")]
    Shape,
    /// A claim is missing, of the wrong sort, or too long.
    #[error("its claim `{0}` is missing, too long, or not of the right sort")]
    Claim(&'static str),
    /// A claim is there that no security event token has (Shared Signals Framework section 4.1).
    #[error("it has the claim `{0}`, which no security event token has")]
    Forbidden(&'static str),
    /// `events` does not hold exactly one event, be it under several URIs.
    #[error("its `events` hold {0} events; one is taken at a time")]
    Count(usize),
    /// A member of the event is missing or of the wrong sort.
    #[error("`{member}` of the event {event} is missing or not of the right sort")]
    Member {
        /// The event's short name.
        event: String,
        /// Its member.
        member: &'static str,
    },
    /// The subject does not read.
    #[error("its subject does not read: {0}")]
    Subject(&'static str),
}

impl Set {
    /// Reads the claims of a token.
    ///
    /// # Errors
    /// [`SetError`] for the first thing that is wrong with them; members that nobody knows are passed over.
    pub fn read(payload: &[u8]) -> Result<Self, SetError> {
        if payload.len() > LARGEST {
            return Err(SetError::TooLarge);
        }
        let claims = serde_json::from_slice::<Map<String, Value>>(payload).map_err(|_| SetError::Shape)?;
        Self::from_claims(&claims)
    }

    /// Reads claims that were parsed already.
    ///
    /// # Errors
    /// As [`Set::read`].
    pub fn from_claims(claims: &Map<String, Value>) -> Result<Self, SetError> {
        if !claims.values().all(|value| is_flat(value, DEEPEST)) {
            return Err(SetError::Shape);
        }
        if let Some(forbidden) = ["sub", "exp"].into_iter().find(|name| claims.contains_key(*name)) {
            return Err(SetError::Forbidden(forbidden));
        }
        let events = claims.get("events").and_then(Value::as_object).ok_or(SetError::Claim("events"))?;
        let (uri, members) = one(events).ok_or(SetError::Count(events.len()))?;
        let members = members.as_object().ok_or(SetError::Claim("events"))?;
        let subject = match claims.get("sub_id") {
            Some(own) => Some(Subject::read(own)?),
            // older transmitters name the subject in the event
            None => members.get("subject").map(Subject::read).transpose()?,
        };
        let mut event = Event::read(uri, members)?;
        if event.at.is_none() {
            event.at = time(claims, "toe")?;
        }
        Ok(Self {
            iss: required(claims, "iss", LONGEST)?,
            aud: audiences(claims)?,
            jti: required(claims, "jti", LONGEST_ID)?,
            iat: time(claims, "iat")?.ok_or(SetError::Claim("iat"))?,
            txn: transaction(claims),
            subject,
            event,
        })
    }

    /// Writes the claims.
    #[must_use]
    pub fn claims(&self) -> Value {
        let aud = match self.aud.as_slice() {
            [one] => json!(one),
            several => json!(several),
        };
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(self.iss));
        claims.insert("aud".to_owned(), aud);
        claims.insert("jti".to_owned(), json!(self.jti));
        claims.insert("iat".to_owned(), json!(self.iat));
        if let Some(txn) = &self.txn {
            claims.insert("txn".to_owned(), json!(txn));
        }
        if let Some(subject) = &self.subject {
            claims.insert("sub_id".to_owned(), subject.write());
        }
        let mut events = Map::new();
        events.insert(self.event.uri.clone(), Value::Object(self.event.write()));
        claims.insert("events".to_owned(), Value::Object(events));
        Value::Object(claims)
    }

    /// Signs the token with ES256; `kid` names the key in the transmitter's published set.
    ///
    /// # Errors
    /// [`SignError`] when the key cannot be used.
    pub fn sign(&self, signer: &dyn Signer, kid: &str) -> Result<String, SignError> {
        jws::sign(signer, &Header::es256(TYP).with_kid(kid), &self.claims())
    }
}

fn required(claims: &Map<String, Value>, name: &'static str, most: usize) -> Result<String, SetError> {
    optional(claims, name, most)?.ok_or(SetError::Claim(name))
}

fn optional(claims: &Map<String, Value>, name: &'static str, most: usize) -> Result<Option<String>, SetError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && text.len() <= most => Ok(Some(text.clone())),
        Some(_) => Err(SetError::Claim(name)),
    }
}

/// Finds the event among alternative URIs of one type (Shared Signals Framework section 4.1); `None` where they are several.
///
/// What nobody here knows beside one that is known tells of the same.
fn one(events: &Map<String, Value>) -> Option<(&String, &Value)> {
    let is_known = |uri: &&String| !matches!(event::Kind::of(uri), event::Kind::Other(_));
    let mut known = events.keys().filter(is_known).map(|uri| event::Kind::of(uri));
    match known.next() {
        Some(first) if known.all(|other| other == first) => events.iter().find(|(uri, _)| is_known(uri)),
        Some(_) => None,
        None => events.iter().next().filter(|_| events.len() == 1),
    }
}

/// What ties tokens to one cause, as text: the standards' own examples write a number. It is for the log alone, so that
/// what is of another sort refuses nothing.
fn transaction(claims: &Map<String, Value>) -> Option<String> {
    let text = match claims.get("txn")? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && text.len() <= LONGEST_ID).then_some(text)
}

fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<UnixTime>, SetError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|_| SetError::Claim(name)),
    }
}

fn audiences(claims: &Map<String, Value>) -> Result<Vec<String>, SetError> {
    let fits = |text: &str| !text.is_empty() && text.len() <= LONGEST;
    let found = match claims.get("aud") {
        Some(Value::String(one)) if fits(one) => vec![one.clone()],
        Some(Value::Array(several)) if several.len() <= MOST_AUDIENCES => {
            let texts = several.iter().map(|one| one.as_str().filter(|text| fits(text)).map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().unwrap_or_default()
        }
        _ => Vec::new(),
    };
    if found.is_empty() { Err(SetError::Claim("aud")) } else { Ok(found) }
}

/// Says whether a value has at most this many levels of lists and objects.
fn is_flat(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_flat(item, levels - 1)),
        Value::Object(members) => levels > 0 && members.values().all(|member| is_flat(member, levels - 1)),
        _ => true,
    }
}

/// Shows a text of another system to people: fit for a terminal and not longer than a line or two.
fn shown(text: &str) -> String {
    text::printable(text, 256)
}

/// The value of `typ` (RFC 8417 section 2.3).
pub const TYP: &str = "secevent+jwt";
/// The content type that a token is pushed as (RFC 8935 section 2.1).
pub const MEDIA_TYPE: &str = "application/secevent+jwt";
/// The largest token that is taken, in bytes.
pub const LARGEST: usize = 64 * 1024;
const DEEPEST: usize = 16;
const LONGEST: usize = 512;
const LONGEST_ID: usize = 256;
const MOST_AUDIENCES: usize = 16;

#[cfg(test)]
mod tests;
