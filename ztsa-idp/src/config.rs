//! What an issuer is started with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use url::{Host, Url};
use ztsa_net::clock::Clock;
use ztsa_proto::secret::Secret;

use crate::fault::Faults;

/// Says how the issuer runs: where it listens, whom it knows, how long things live.
///
/// # Defaults
/// 127.0.0.1 on a free port; the users alice (group dev), bob (group ops) and mallory (no group), each with their name
/// as password and `000000` as the code of the second factor; the public client `ztsa-cli` and the confidential client
/// `ztsa-gateway` (secret `ztsa-gateway`, for introspection); no audience besides the issuer itself; access tokens of
/// 10 minutes, refresh tokens of 30 days, device codes of 10 minutes polled every second.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to bind; it must be loopback. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// The people who can sign in.
    pub users: Vec<User>,
    /// The programs that can ask for tokens.
    pub clients: Vec<Client>,
    /// When set, every device and browser sign-in is approved at once as this user, without a page.
    pub approve: Option<String>,
    /// The resources (RFC 8707) that access tokens may be asked for. The first is the default audience; with none it
    /// is the issuer itself. A trailing slash makes no difference.
    pub audiences: Vec<String>,
    /// How long access and ID tokens live.
    pub access_ttl: Duration,
    /// How long a refresh token lives when it is not used.
    pub refresh_ttl: Duration,
    /// How long a device code lives.
    pub device_ttl: Duration,
    /// How long a device waits between polls at first.
    pub device_interval: Duration,
    /// How long an authorization code lives.
    pub code_ttl: Duration,
    /// How long a browser stays signed in.
    pub browser_ttl: Duration,
    /// Whether access tokens carry `groups` (RFC 9068 section 2.2.3.1). Many issuers do not: turn it off to test that.
    pub groups_in_access_token: bool,
    /// Whether DPoP proofs must carry a nonce of this issuer (RFC 9449 section 8).
    pub dpop_nonce: bool,
    /// Whether jobs get tokens here ([`crate::Workload`]), by the request token of [`crate::Idp::request_token`].
    pub workload: bool,
    /// The clock that everything expires by.
    pub clock: Clock,
    /// The faults of this issuer, for tests.
    pub faults: Faults,
}

/// A person who can sign in. The subject (`sub`) is the name.
#[derive(Debug, Clone)]
pub struct User {
    /// The name to sign in with.
    pub name: String,
    /// The name to show.
    pub full_name: String,
    /// The password.
    pub password: Secret<String>,
    /// The fixed code that stands for a second factor, asked for when a client wants `acr_values=mfa`. Without one
    /// this user cannot reach `mfa`.
    pub second_factor: Option<Secret<String>>,
    /// The groups, in the order they are told.
    pub groups: Vec<String>,
    /// The mail address.
    pub email: String,
}

/// A program that can ask for tokens.
#[derive(Debug, Clone)]
pub struct Client {
    /// The `client_id`.
    pub id: String,
    /// The name that people see on the consent page.
    pub name: String,
    /// The secret of a confidential client; without one the client is public.
    pub secret: Option<Secret<String>>,
    /// Where a browser may be sent back to. A loopback address (`http://127.0.0.1/..`, `http://[::1]/..`) matches with
    /// any port (RFC 8252 section 7.3), everything else must be equal.
    pub redirects: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            users: vec![User::new("alice", &["dev"]), User::new("bob", &["ops"]), User::new("mallory", &[])],
            clients: vec![
                Client::public("ztsa-cli", "ztsa command line"),
                Client::confidential("ztsa-gateway", "ztsa gateway", Secret::new("ztsa-gateway".to_owned())),
            ],
            approve: None,
            audiences: Vec::new(),
            access_ttl: Duration::from_secs(10 * 60),
            refresh_ttl: Duration::from_secs(30 * 24 * 3600),
            device_ttl: Duration::from_secs(10 * 60),
            device_interval: Duration::from_secs(1),
            code_ttl: Duration::from_secs(60),
            browser_ttl: Duration::from_secs(8 * 3600),
            groups_in_access_token: true,
            dpop_nonce: false,
            workload: false,
            clock: Clock::system(),
            faults: Faults::default(),
        }
    }
}

impl User {
    /// Creates a user whose password is the name and whose mail address is at example.com.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let mut letters = name.chars();
        let full_name = letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect());
        Self {
            name: name.to_owned(),
            full_name,
            password: Secret::new(name.to_owned()),
            second_factor: Some(Secret::new("000000".to_owned())),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            email: format!("{name}@example.com"),
        }
    }
}

impl Client {
    /// Creates a client without a secret that may be called back at `/` and `/callback` on loopback.
    pub fn public(id: &str, name: &str) -> Self {
        let redirects = ["http://127.0.0.1/callback", "http://[::1]/callback", "http://127.0.0.1/", "http://[::1]/"];
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            secret: None,
            redirects: redirects.map(str::to_owned).to_vec(),
        }
    }

    /// Creates a client with a secret, which cannot be called back until `redirects` says where.
    pub fn confidential(id: &str, name: &str, secret: Secret<String>) -> Self {
        Self { id: id.to_owned(), name: name.to_owned(), secret: Some(secret), redirects: Vec::new() }
    }

    /// Tells whether a browser may be sent back to `asked`.
    pub(crate) fn allows_redirect(&self, asked: &str) -> bool {
        let Ok(url) = Url::parse(asked) else { return false };
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return false;
        }
        self.redirects.iter().any(|registered| {
            registered == asked
                || Url::parse(registered).is_ok_and(|registered| {
                    is_loopback(&registered) && is_loopback(&url) && without_port(&registered) == without_port(&url)
                })
        })
    }
}

impl Config {
    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(crate) fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    /// Returns the configured audience that `asked` names.
    pub(crate) fn audience(&self, asked: &str) -> Option<&str> {
        let plain = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
        self.audiences.iter().find(|known| plain(known) == plain(asked)).map(String::as_str)
    }
}

fn is_loopback(url: &Url) -> bool {
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address) == IpAddr::from(Ipv4Addr::LOCALHOST),
        Some(Host::Ipv6(address)) => IpAddr::from(address) == IpAddr::from(Ipv6Addr::LOCALHOST),
        Some(Host::Domain(_)) | None => false,
    };
    literal && url.scheme() == "http"
}

fn without_port(url: &Url) -> (Option<&str>, &str, Option<&str>) {
    (url.host_str(), url.path(), url.query())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_exact_but_for_a_loopback_port() {
        let client = Client {
            redirects: vec![
                "http://127.0.0.1/cb".into(),
                "http://[::1]/cb".into(),
                "https://app.example/cb?x=1".into(),
            ],
            ..Client::public("c", "c")
        };
        let table = [
            ("http://127.0.0.1:4711/cb", true),
            ("http://127.0.0.1/cb", true),
            ("http://[::1]:9/cb", true),
            ("https://app.example/cb?x=1", true),
            ("https://app.example:444/cb?x=1", false),
            ("https://app.example/cb", false),
            ("http://127.0.0.1:4711/other", false),
            ("http://127.0.0.1:4711/cb?next=http://evil", false),
            ("http://127.0.0.1:4711/cb#fragment", false),
            ("http://user@127.0.0.1:4711/cb", false),
            ("https://127.0.0.1:4711/cb", false),
            ("http://127.0.0.2:4711/cb", false),
            ("http://localhost:4711/cb", false),
            ("http://127.0.0.1.evil.example/cb", false),
            ("javascript:alert(1)", false),
            ("/cb", false),
            ("", false),
        ];
        for (asked, allowed) in table {
            assert_eq!(client.allows_redirect(asked), allowed, "{asked}");
        }
    }

    #[test]
    fn an_audience_matches_with_or_without_the_last_slash() {
        let config = Config { audiences: vec!["https://gw.example".into()], ..Config::default() };
        assert_eq!(config.audience("https://gw.example/"), Some("https://gw.example"));
        assert_eq!(config.audience("https://gw.example/x"), None);
    }
}
