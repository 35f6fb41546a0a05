//! Who may use a local listener: programs of this user, and no web page.
//!
//! A port on 127.0.0.1 is open to every user and every browser tab of the machine. Two checks close it: the peer's
//! socket must belong to our own user (Linux; elsewhere the system does not tell), and a request for the port itself
//! must name it as a loopback host and must not come from a foreign page (DNS rebinding, `<script src>`). The ports of
//! single apps are closed to web pages in the same way: see `gate`.

use std::net::{IpAddr, SocketAddr};

use super::sockets;

/// The `log` target of the SOCKS5 library that must never be shown below `INFO`: at `DEBUG` it prints what passes
/// through it. Give it to the filter of your subscriber as `fast_socks5=info`.
///
/// # Security
/// The listener reads user names and passwords itself, so that they do not pass through that library at all; the cap is
/// the second line.
pub const QUIET_LOG_TARGET: &str = "fast_socks5";

/// What is worth a warning about a listener that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Other machines can reach the listener and use this login.
    #[error(
        "{0} can be reached from other machines, and whoever reaches it uses your login; bind 127.0.0.1, or ask for a password"
    )]
    Wide(SocketAddr),
    /// Other machines can reach the listener; a password, which travels in the clear, stands before it.
    #[error("{0} can be reached from other machines, and its password travels in the clear; bind 127.0.0.1")]
    WideWithPassword(SocketAddr),
}

/// Judges the addresses that a listener is bound to.
pub(crate) fn warning(addresses: &[SocketAddr], password: bool) -> Option<Warning> {
    let wide = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback())?;
    Some(if password { Warning::WideWithPassword(*wide) } else { Warning::Wide(*wide) })
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A program of this user.
    Ours,
    /// A program of another user of this machine, or one that is gone already.
    Foreign(Option<u32>),
    /// Another machine; only a wide bind lets it in, with a [`Warning`].
    Remote,
    /// The system does not tell.
    Unknown,
}

impl Peer {
    /// Tells whether the connection may be served.
    pub(crate) fn welcome(self) -> bool {
        !matches!(self, Self::Foreign(_))
    }
}

/// Finds out whose the connection from `peer` to `local` is.
///
/// Reads one answer from the kernel and never waits for the network.
pub(crate) fn peer(peer: SocketAddr, local: SocketAddr) -> Peer {
    if !cfg!(target_os = "linux") {
        return Peer::Unknown;
    }
    if !peer.ip().to_canonical().is_loopback() && peer.ip().to_canonical() != local.ip().to_canonical() {
        return Peer::Remote;
    }
    judge(sockets::owner(peer, local))
}

#[cfg(unix)]
fn judge(owner: Option<u32>) -> Peer {
    if owner == Some(rustix::process::geteuid().as_raw()) { Peer::Ours } else { Peer::Foreign(owner) }
}

#[cfg(not(unix))]
fn judge(_owner: Option<u32>) -> Peer {
    Peer::Unknown
}

/// What a request for the port itself (origin-form) says about where it comes from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Provenance<'a> {
    /// The `Host` field.
    pub(crate) host: Option<&'a str>,
    /// The `Origin` field.
    pub(crate) origin: Option<&'a str>,
    /// The `Sec-Fetch-Site` field.
    pub(crate) fetch_site: Option<&'a str>,
}

/// Why a request for the port itself is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Intrusion {
    /// The name in `Host` is not this machine's loopback: a rebound DNS name.
    #[error("the request names another host; use http://127.0.0.1")]
    Host,
    /// A web page of another site sent the request.
    #[error("the request comes from a web page of another site")]
    Origin,
}

/// Checks that a request for the port itself comes from its own user's hand and not from a web page.
///
/// # Errors
/// [`Intrusion`] says which check failed.
///
/// # Security
/// A page whose name was rebound to 127.0.0.1 carries its own name in `Host`; a page that fetches or embeds
/// `http://127.0.0.1:PORT/` carries `Origin` or `Sec-Fetch-Site: cross-site`.
pub(crate) fn provenance(of: Provenance<'_>) -> Result<(), Intrusion> {
    let Some(host) = of.host.filter(|host| is_loopback_authority(host)) else {
        return Err(Intrusion::Host);
    };
    page(of, host)
}

/// Checks that no web page of another site has sent a request to `host`; pages of `host` may.
pub(crate) fn page(of: Provenance<'_>, host: &str) -> Result<(), Intrusion> {
    // the page of another local port is foreign too
    let own = |origin: &str| origin.strip_prefix("http://").is_some_and(|from| from.eq_ignore_ascii_case(host));
    if of.origin.is_some_and(|origin| !own(origin)) {
        return Err(Intrusion::Origin);
    }
    if of.fetch_site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(Intrusion::Origin);
    }
    Ok(())
}

fn is_loopback_authority(text: &str) -> bool {
    host_of(text).is_some_and(is_loopback)
}

/// Tells whether a host is this machine whatever DNS says.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Gives the host of `host` or `host:port`, an IPv6 address without its brackets.
pub(crate) fn host_of(text: &str) -> Option<&str> {
    match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => Some(host),
            Some((host, port)) if is_port(port) => Some(host),
            _ => None,
        },
        None => match text.find(':') {
            Some(at) => match text.split_at_checked(at) {
                Some((host, port)) if is_port(port) => Some(host),
                _ => None,
            },
            None => Some(text),
        },
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_for_the_port_names_it_as_a_loopback_host() {
        let table = [
            ("127.0.0.1:1080", true),
            ("127.0.0.1", true),
            ("127.1.2.3:1080", true),
            ("localhost:1080", true),
            ("LOCALHOST", true),
            ("[::1]:1080", true),
            ("[::1]", true),
            ("evil.example:1080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:1080", false),
            ("127.0.0.1:port", false),
            ("[::1]1080", false),
            ("[::2]:1080", false),
            ("10.0.0.1:1080", false),
            ("0.0.0.0:1080", false),
            ("", false),
        ];
        for (host, good) in table {
            let checked = provenance(Provenance { host: Some(host), ..Provenance::default() });
            assert_eq!(checked, if good { Ok(()) } else { Err(Intrusion::Host) }, "{host}");
        }
        assert_eq!(provenance(Provenance::default()), Err(Intrusion::Host));
    }

    #[test]
    fn a_foreign_page_is_refused() {
        let from = |origin, fetch_site| provenance(Provenance { host: Some("127.0.0.1:1080"), origin, fetch_site });
        assert_eq!(from(None, None), Ok(()));
        assert_eq!(from(Some("http://127.0.0.1:1080"), Some("same-origin")), Ok(()));
        assert_eq!(from(None, Some("none")), Ok(()));
        let foreign = ["http://evil.example", "null", "https://127.0.0.1:1080", "file://", "http://127.0.0.1:9999"];
        for origin in foreign {
            assert_eq!(from(Some(origin), None), Err(Intrusion::Origin), "{origin}");
        }
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(from(None, Some(site)), Err(Intrusion::Origin), "{site}");
        }
    }

    #[test]
    fn a_wide_bind_is_worth_a_warning() {
        let at = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
        assert_eq!(warning(&at("127.0.0.1:1"), false), None);
        assert_eq!(warning(&at("[::1]:1"), false), None);
        let wide = at("0.0.0.0:1");
        assert_eq!(warning(&wide, false), Some(Warning::Wide(wide[0])));
        assert_eq!(warning(&wide, true), Some(Warning::WideWithPassword(wide[0])));
        assert!(Warning::Wide(wide[0]).to_string().contains("127.0.0.1"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_our_own_user_is_welcome() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let client = tokio::net::TcpStream::connect(local).await.unwrap();
        assert_eq!(peer(client.local_addr().unwrap(), local), Peer::Ours);
        let other = rustix::process::geteuid().as_raw().wrapping_add(1);
        assert!(!judge(Some(other)).welcome());
        assert!(!judge(None).welcome());
    }

    proptest! {
        #[test]
        fn any_authority_is_judged_without_a_panic(text in "(?s).{0,60}", near in "[\\[\\]:0-9.a-z]{0,24}") {
            let _ = is_loopback_authority(&text);
            let _ = is_loopback_authority(&near);
        }
    }
}
