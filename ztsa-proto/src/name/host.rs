//! The name or address of a host.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use super::{NameError, text_serde};

/// Names a host: a DNS name in lower case without its final dot, or an IP address in its canonical form.
///
/// Labels hold `a-z`, `0-9`, `_` and `-`, 1 to 63 each, 253 in all. `127.0.0.1`, `[::1]` and `::ffff:10.0.0.1` are
/// read as the addresses they are. Text that a resolver might take for an address although it is written oddly
/// (`127.1`, `0x7f.0.0.1`, `010.0.0.1`) is refused, so that no rule about addresses can be walked around.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Inner);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Inner {
    Address(IpAddr),
    Name(Arc<str>),
}

impl HostName {
    /// Gives the address when this is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.0 {
            Inner::Address(address) => Some(address),
            Inner::Name(_) => None,
        }
    }

    /// Gives the DNS name when this is one.
    pub fn dns(&self) -> Option<&str> {
        match &self.0 {
            Inner::Address(_) => None,
            Inner::Name(name) => Some(name),
        }
    }
}

impl From<IpAddr> for HostName {
    fn from(address: IpAddr) -> Self {
        Self(Inner::Address(address.to_canonical()))
    }
}

impl From<&super::AppName> for HostName {
    fn from(name: &super::AppName) -> Self {
        Self(Inner::Name(name.as_str().into()))
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address = inside.parse::<Ipv6Addr>().map_err(|_| NameError::Shape { what: WHAT, allowed: ALLOWED })?;
            return Ok(IpAddr::V6(address).into());
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        check_name(name)?;
        Ok(Self(Inner::Name(name.to_ascii_lowercase().into())))
    }
}

fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what: WHAT, allowed: ALLOWED });
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if let Some(found) = name.chars().find(|&c| !is_allowed(c)) {
        return Err(NameError::Character { what: WHAT, found, allowed: ALLOWED });
    }
    if name.len() > LONGEST {
        return Err(NameError::TooLong { what: WHAT, length: name.len(), most: LONGEST });
    }
    for label in name.split('.') {
        if label.len() > LONGEST_LABEL {
            return Err(NameError::TooLong {
                what: "one part of a host name",
                length: label.len(),
                most: LONGEST_LABEL,
            });
        }
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return Err(NameError::Shape { what: WHAT, allowed: ALLOWED });
        }
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err(NameError::Shape { what: WHAT, allowed: ADDRESS });
    }
    Ok(())
}

/// Whether resolvers read a label as a part of an IPv4 address (`inet_aton`: decimal, octal, hexadecimal).
pub(super) fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hexadecimal.map_or_else(
        || label.bytes().all(|byte| byte.is_ascii_digit()),
        |digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
    )
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Address(address) => fmt::Display::fmt(address, formatter),
            Inner::Name(name) => formatter.pad(name),
        }
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "HostName({self})")
    }
}

text_serde!(HostName);

const WHAT: &str = "a host name";
const ALLOWED: &str =
    "use a DNS name of letters, digits, '-', '_' and '.' (names in other scripts in their xn-- form), or an IP address";
const ADDRESS: &str = "it ends in a number and is no IP address: write addresses as 10.0.0.1 or ::1";
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;
