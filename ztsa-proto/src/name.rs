//! Names, parsed once: past this module no bare `String` means a name.
//!
//! Every type here reads with [`FromStr`](std::str::FromStr), writes with `Display`, and crosses the wire as that text.

mod app;
mod destination;
mod host;
mod id;
mod user;

pub use app::AppName;
pub use destination::Destination;
pub use host::HostName;
pub(crate) use id::random_text;
pub use id::{DeviceId, GrantId, SessionId, TicketId, TunnelId};
pub use user::UserId;

/// Tells what is wrong with a name, and what is allowed instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("{what} is empty: {allowed}")]
    Empty {
        /// The sort of name.
        what: &'static str,
        /// The rule.
        allowed: &'static str,
    },
    /// The name is longer than the rule permits.
    #[error("{what} has {length} characters, at most {most} are allowed")]
    TooLong {
        /// The sort of name.
        what: &'static str,
        /// The length found.
        length: usize,
        /// The length allowed.
        most: usize,
    },
    /// A character is not allowed.
    #[error("{what} holds {found:?}: {allowed}")]
    Character {
        /// The sort of name.
        what: &'static str,
        /// The first character that is not allowed.
        found: char,
        /// The rule.
        allowed: &'static str,
    },
    /// The characters are fine, their order is not.
    #[error("{what} does not have the right shape: {allowed}")]
    Shape {
        /// The sort of name.
        what: &'static str,
        /// The rule.
        allowed: &'static str,
    },
    /// The port is missing or not a number from 1 to 65535.
    #[error("{found:?} is not a port: write HOST:PORT with a port from 1 to 65535")]
    Port {
        /// What stood in the port's place, cut short.
        found: String,
    },
}

/// Implements `Serialize` and `Deserialize` of a name through `Display` and `FromStr`.
macro_rules! text_serde {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use text_serde;

#[cfg(test)]
mod tests;
