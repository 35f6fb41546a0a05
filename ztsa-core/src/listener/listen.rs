//! Where a listener stands: which address is meant, and what is said when it is taken.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use ztsa_net::accept::Listener;
use ztsa_proto::name::AppName;

use super::sockets::{self, Holder};

/// The first port of those that are derived from an app's name.
const FIRST_DERIVED: u16 = 20_000;
/// How many ports there are to derive.
const DERIVED: u32 = 10_000;

/// Where a listener is to stand.
///
/// From text: `1080`, `:1080`, `127.0.0.1:1080`, `localhost:1080` and `[::1]:1080` all mean the port on both loopback
/// addresses; any other address means itself. Port 0 picks a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listen {
    /// This port on 127.0.0.1 and on ::1, so that `localhost` means the same whatever it resolves to; 0 picks one that
    /// is free on both.
    Loopback(u16),
    /// Exactly this address.
    At(SocketAddr),
}

impl Listen {
    /// Returns the port that an app gets when none is configured: the same on every run and every machine, derived from
    /// its name, from 20000 to 29999.
    pub fn derived(app: &AppName) -> Self {
        // FNV-1a: stable for ever, unlike the standard library's hashers
        let hash =
            app.as_str().bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let offset = u16::try_from(hash % DERIVED).unwrap_or_default();
        Self::Loopback(FIRST_DERIVED + offset)
    }

    /// Binds.
    ///
    /// # Errors
    /// [`ListenError::Taken`] names who holds the port.
    pub(crate) fn bind(self) -> Result<Listener, ListenError> {
        let (bound, address) = match self {
            Self::Loopback(port) => (Listener::bind_loopback(port), SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            Self::At(address) => (Listener::bind(address), address),
        };
        bound.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::Taken { address, holder: self.holder() },
            _ => ListenError::Bind { address, source },
        })
    }

    fn holder(self) -> Option<Holder> {
        match self {
            Self::Loopback(port) => sockets::holder(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
                .or_else(|| sockets::holder(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)))),
            Self::At(address) => sockets::holder(address),
        }
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let wrong = || ListenError::Address { given: text.chars().take(80).collect() };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port),
            None => ("", text),
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = port.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        let ip: IpAddr = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(six) => IpAddr::V6(six.parse().map_err(|_| wrong())?),
            None if host.is_empty() || host.eq_ignore_ascii_case("localhost") => return Ok(Self::Loopback(port)),
            None => IpAddr::V4(host.parse().map_err(|_| wrong())?),
        };
        Ok(SocketAddr::new(ip, port).into())
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        let ip = address.ip();
        let both = ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
        if both { Self::Loopback(address.port()) } else { Self::At(address) }
    }
}

impl TryFrom<&str> for Listen {
    type Error = ListenError;

    fn try_from(text: &str) -> Result<Self, ListenError> {
        text.parse()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(port) => write!(f, "127.0.0.1:{port}"),
            Self::At(address) => write!(f, "{address}"),
        }
    }
}

/// Why a listener could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Not an address to listen on.
    #[error("`{given}` is not an address to listen on; write PORT or ADDRESS:PORT, such as 127.0.0.1:1080")]
    Address {
        /// What was given, cut short.
        given: String,
    },
    /// Another program has the port.
    #[error("{address} is taken{}", by(holder.as_ref()))]
    Taken {
        /// The address.
        address: SocketAddr,
        /// Who has it, where the system tells.
        holder: Option<Holder>,
    },
    /// The operating system refused.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
}

impl From<std::convert::Infallible> for ListenError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl ListenError {
    /// Says what to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Address { .. } => "port 0 picks a free one".to_owned(),
            Self::Taken { address, .. } => {
                format!("end that program, or listen elsewhere: {}:0 picks a free port", address.ip())
            }
            Self::Bind { address, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 need rights that ztsa does not want; {}:0 picks a free port", address.ip())
            }
            Self::Bind { .. } => "127.0.0.1:0 picks a free port on this machine".to_owned(),
        }
    }
}

fn by(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(" by {holder}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read() {
        let at = |text: &str| Listen::At(text.parse().unwrap());
        let table = [
            ("1080", Listen::Loopback(1080)),
            (":1080", Listen::Loopback(1080)),
            ("0", Listen::Loopback(0)),
            ("localhost:5432", Listen::Loopback(5432)),
            ("127.0.0.1:5432", Listen::Loopback(5432)),
            ("[::1]:5432", Listen::Loopback(5432)),
            ("127.0.0.2:5432", at("127.0.0.2:5432")),
            ("0.0.0.0:1080", at("0.0.0.0:1080")),
            ("[::]:1080", at("[::]:1080")),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Listen>().unwrap(), expected, "{text}");
        }
        for text in ["", ":", "x", "65536", "-1", "+1", "127.0.0.1", "::1:80", "example.com:80", "127.0.0.1:", "[::1]"]
        {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.to_string().contains("ADDRESS:PORT"), "{text}: {error}");
        }
    }

    #[test]
    fn an_apps_port_never_changes() {
        let port = |name: &str| Listen::derived(&name.parse().unwrap());
        // these values are a promise: people write them into their tools
        assert_eq!(port("db-prod"), Listen::Loopback(28_815));
        assert_eq!(port("wiki"), Listen::Loopback(22_625));
    }

    #[tokio::test]
    async fn a_taken_port_names_who_holds_it() {
        let first = Listen::Loopback(0).bind().unwrap();
        let address = first.local_addrs()[0];
        let error = Listen::Loopback(address.port()).bind().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&address.to_string()), "{text}");
        if cfg!(target_os = "linux") {
            assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
        }
        assert!(error.hint().contains(":0 picks a free port"));
    }

    #[tokio::test]
    async fn a_port_that_is_taken_on_ipv6_only_is_taken() {
        let Ok(six) = Listener::bind(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0))) else { return };
        let port = six.local_addrs()[0].port();
        assert!(matches!(Listen::Loopback(port).bind(), Err(ListenError::Taken { .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(?s).{0,40}", near in "[\\[\\]:0-9.a-z]{0,24}") {
            let _ = text.parse::<Listen>();
            let _ = near.parse::<Listen>();
        }

        #[test]
        fn a_derived_port_is_in_its_range(name in "[a-z][a-z0-9]{0,30}") {
            let Listen::Loopback(port) = Listen::derived(&name.parse().unwrap()) else { panic!("loopback") };
            prop_assert!((20_000..30_000).contains(&port));
        }
    }
}
