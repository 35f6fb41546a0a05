//! The name of an app.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::host::is_number;
use super::{NameError, text_serde};

/// Names an app: 1 to 63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit, and no number.
///
/// So a name is always one label of the DNS and never an address: `db-prod.ztsa` means the same app. Upper case is
/// refused rather than folded, since two spellings of one app would be two in policies and logs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppName(Arc<str>);

impl AppName {
    /// Gives the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty { what: WHAT, allowed: ALLOWED });
        }
        if let Some(found) = text.chars().find(|&c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')) {
            return Err(NameError::Character { what: WHAT, found, allowed: ALLOWED });
        }
        if text.len() > LONGEST {
            return Err(NameError::TooLong { what: WHAT, length: text.len(), most: LONGEST });
        }
        if text.starts_with('-') || text.ends_with('-') || is_number(text) {
            return Err(NameError::Shape { what: WHAT, allowed: ALLOWED });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for AppName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AppName({})", self.0)
    }
}

impl AsRef<str> for AppName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for AppName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

text_serde!(AppName);

const WHAT: &str = "an app's name";
const ALLOWED: &str =
    "use 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit, and no number alone";
const LONGEST: usize = 63;
