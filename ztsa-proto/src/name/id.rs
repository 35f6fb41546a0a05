//! Identifiers that the gateway hands out, and the identifier of a device.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{NameError, text_serde};

macro_rules! opaque_id {
    ($(#[$docs:meta])* $name:ident, $what:literal) => {
        $(#[$docs])*
        ///
        /// 1 to 64 of `A-Z`, `a-z`, `0-9`, `_` and `-`; nothing can be read from it.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes a new one from 128 random bits.
            #[must_use]
            pub fn random() -> Self {
                Self(random_text().into())
            }

            /// Gives the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_opaque(text, $what)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        text_serde!($name);
    };
}

opaque_id!(
    /// Identifies one sign-in of one person on one device.
    SessionId, "a session id"
);
opaque_id!(
    /// Identifies one permission to reach one app.
    GrantId, "a grant id"
);
opaque_id!(
    /// Identifies one ticket; not the ticket itself, which is a secret.
    TicketId, "a ticket id"
);

/// Identifies a live tunnel at one gateway node.
///
/// It crosses the wire as text, because JSON numbers are exact only up to 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TunnelId(pub u64);

impl FromStr for TunnelId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits_only { text.parse().ok() } else { None };
        number.map(Self).ok_or(NameError::Shape { what: "a tunnel id", allowed: "use a whole number" })
    }
}

impl fmt::Display for TunnelId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

text_serde!(TunnelId);

/// Identifies a device by the thumbprint of its key: SHA-256 in base64url, 43 characters (RFC 7638).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Names the device of a thumbprint.
    pub(crate) fn of_thumbprint(digest: impl AsRef<[u8]>) -> Self {
        Self(URL_SAFE_NO_PAD.encode(digest).into())
    }

    /// Gives the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = "use the 43 base64url characters of a key's SHA-256 thumbprint";
        let shape = NameError::Shape { what: "a device id", allowed };
        if text.len() != 43 {
            return Err(shape);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| shape.clone())?;
        if bytes.len() == 32 { Ok(Self(text.into())) } else { Err(shape) }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DeviceId({})", self.0)
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

text_serde!(DeviceId);

/// Makes 22 base64url characters of 128 random bits.
#[expect(
    clippy::expect_used,
    reason = "without randomness no identifier is safe to hand out; AWS-LC itself aborts then"
)]
pub(crate) fn random_text() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}

fn check_opaque(text: &str, what: &'static str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what, allowed: ALLOWED });
    }
    if let Some(found) = text.chars().find(|&c| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')) {
        return Err(NameError::Character { what, found, allowed: ALLOWED });
    }
    if text.len() > LONGEST {
        return Err(NameError::TooLong { what, length: text.len(), most: LONGEST });
    }
    Ok(())
}

const ALLOWED: &str = "use 1 to 64 letters, digits, '_' and '-'";
const LONGEST: usize = 64;
