//! A host with a port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{HostName, NameError, text_serde};

/// Says where a connection goes: `db-prod:5432`, `10.0.0.5:22`, `[::1]:22`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The host.
    pub host: HostName,
    /// The port, 1 to 65535.
    pub port: u16,
}

impl Destination {
    /// Puts a host and a port together.
    ///
    /// # Errors
    /// [`NameError::Port`] when the port is 0.
    pub fn new(host: HostName, port: u16) -> Result<Self, NameError> {
        if port == 0 {
            return Err(NameError::Port { found: "0".to_owned() });
        }
        Ok(Self { host, port })
    }
}

impl FromStr for Destination {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| NameError::Port { found: String::new() })?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(NameError::Shape {
                what: "a destination",
                allowed: "write IPv6 addresses in brackets: [::1]:22",
            });
        }
        let digits_only = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits_only { port.parse().ok() } else { None };
        let port = number.ok_or_else(|| NameError::Port { found: port.chars().take(12).collect() })?;
        Self::new(host.parse()?, port)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.ip() {
            Some(IpAddr::V6(address)) => write!(formatter, "[{address}]:{}", self.port),
            _ => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Destination({self})")
    }
}

text_serde!(Destination);
