//! A person, as an issuer knows them.

use std::fmt;
use std::str::FromStr;

use super::{NameError, text_serde};

/// Identifies a person by issuer and subject, never by e-mail alone; written `issuer|subject`.
///
/// The issuer is a URL and holds no `|`; the subject may.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId {
    /// The issuer's identifier, such as `https://idp.example.com`.
    pub issuer: String,
    /// The subject that the issuer gave the person.
    pub subject: String,
}

impl UserId {
    /// Puts an issuer and a subject together.
    ///
    /// # Errors
    /// A [`NameError`] when either is empty, too long (issuer 512, subject 255 characters, OpenID Connect Core
    /// section 2) or holds control characters, or when the issuer holds `|`.
    pub fn new(issuer: &str, subject: &str) -> Result<Self, NameError> {
        check(issuer, "an issuer", 512)?;
        check(subject, "a subject", 255)?;
        if issuer.contains('|') {
            return Err(NameError::Character { what: "an issuer", found: '|', allowed: ALLOWED });
        }
        Ok(Self { issuer: issuer.to_owned(), subject: subject.to_owned() })
    }
}

fn check(text: &str, what: &'static str, most: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what, allowed: ALLOWED });
    }
    let length = text.chars().count();
    if length > most {
        return Err(NameError::TooLong { what, length, most });
    }
    match text.chars().find(|c| c.is_control()) {
        Some(found) => Err(NameError::Character { what, found, allowed: ALLOWED }),
        None => Ok(()),
    }
}

impl FromStr for UserId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (issuer, subject) = text.split_once('|').ok_or(NameError::Shape { what: "a user id", allowed: ALLOWED })?;
        Self::new(issuer, subject)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}|{}", self.issuer, self.subject)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UserId({self})")
    }
}

text_serde!(UserId);

const ALLOWED: &str = "write ISSUER|SUBJECT, such as https://idp.example.com|248289761001";
