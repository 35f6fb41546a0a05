//! Reads `gateway.toml`: what is in it, what each key defaults to, and what is wrong with it.

mod audit;
pub mod duration;
mod error;
mod file;
mod issuer;
mod posture;
mod reload;
pub mod risk;
mod rule;
pub mod signals;
mod size;
mod workload;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use ztsa_proto::app::Kind;
use ztsa_proto::name::{AppName, HostName};

pub use audit::{Audit, Checkpoints, Otlp, Rotate, WhenFull};
pub use error::ConfigError;
pub use issuer::{Issuer, Tokens};
pub use posture::Posture;
pub use reload::{POSTURE, Reread};
pub use risk::{Risk, Thresholds};
pub use workload::{Workload, WorkloadKeys};

/// Holds everything that `gateway.toml` says, checked, with relative paths resolved against the file's directory.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateway's own URL, exactly as clients sign it in `htu`. Never taken from a `Host` header.
    pub public_url: Url,
    /// The addresses to listen on.
    ///
    /// # Defaults
    /// `0.0.0.0:443` and `[::]:443`.
    pub listen: Vec<SocketAddr>,
    /// The certificate and key of the listener.
    pub tls: Tls,
    /// The issuers whose tokens are exchanged for sessions; at least one.
    pub issuers: Vec<Arc<Issuer>>,
    /// The jobs that may sign in with a token of their platform, in the order of the file.
    pub workloads: Vec<Arc<Workload>>,
    /// Where the policies are.
    pub policy: PolicySource,
    /// Where devices, sessions, revocations, signals and tickets are kept.
    pub store: StoreUrl,
    /// How risk is found, and how it acts on tunnels.
    pub risk: Risk,
    /// Whose signals are listened to, and who is told ours.
    pub signals: signals::Signals,
    /// Where the audit log goes, and how it is kept.
    pub audit: Audit,
    /// The administrator's socket.
    pub admin: Admin,
    /// The metrics listener, when one is wanted.
    pub metrics: Option<Metrics>,
    /// What is asked of devices.
    pub posture: Posture,
    /// The apps, in the order of the file.
    pub apps: Vec<Arc<App>>,
    /// How long sessions live.
    pub session: SessionRules,
    /// Whether classic `CONNECT host:port` with a ticket is answered.
    ///
    /// # Defaults
    /// `false`.
    pub classic_connect: bool,
    /// What one client, and all of them together, may use.
    pub limits: Limits,
    raw: file::File,
}

/// Names the listener's certificate chain and private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Names the directory of `*.cedar` files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySource {
    /// The directory.
    ///
    /// # Defaults
    /// `policies`, beside the configuration file.
    pub dir: PathBuf,
}

/// Names the durable store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// Nothing is kept: for tests.
    Memory,
}

/// Names the administrator's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket, mode 0600.
    ///
    /// # Defaults
    /// `admin.sock`, beside the configuration file.
    pub socket: PathBuf,
}

/// Names the metrics listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where Prometheus scrapes.
    pub listen: SocketAddr,
}

/// Says how long sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// How long one session token is valid: a session is judged anew at each renewal.
    ///
    /// # Defaults
    /// 5 min; 30 s to 1 h.
    pub token_lifetime: Duration,
    /// How long after sign-in a session can be renewed.
    ///
    /// # Defaults
    /// 12 h; at least `token_lifetime`, at most 31 days.
    pub lifetime: Duration,
}

/// Bounds what one client, and all of them together, may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Live tunnels on this node.
    ///
    /// # Defaults
    /// 50000.
    pub max_tunnels: u32,
    /// Live tunnels of one session.
    ///
    /// # Defaults
    /// 20000.
    pub tunnels_per_session: u32,
    /// Live tunnels of one person, on all devices together.
    ///
    /// # Defaults
    /// Half of [`Limits::max_tunnels`].
    pub tunnels_per_person: u32,
    /// TLS handshakes under way from one address; a whole office may be behind one.
    ///
    /// # Defaults
    /// 256.
    pub handshakes_per_address: u32,
    /// Connections from one address on which nobody has authenticated yet; the oldest gives way to a newer one.
    ///
    /// # Defaults
    /// 512.
    pub unauthenticated_per_address: u32,
    /// Connections in all on which nobody has authenticated yet; the oldest gives way to a newer one.
    ///
    /// # Defaults
    /// 8192.
    pub unauthenticated: u32,
    /// How long a connection may wait for its first authenticated request.
    ///
    /// # Defaults
    /// 5 min; 1 s to 1 h.
    pub unauthenticated_for: Duration,
    /// Refused requests of one connection on which nobody has authenticated; after them it is cut.
    ///
    /// # Defaults
    /// 100.
    pub refusals_per_connection: u32,
    /// Bytes of one request's header section.
    ///
    /// # Defaults
    /// 65536; 8192 to 1048576.
    pub header_bytes: u32,
}

/// Describes one app: the only kind of place that a tunnel can lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The name that people use.
    pub name: AppName,
    /// What speaks at the other end.
    pub kind: Kind,
    /// Where the gateway dials.
    pub target: Target,
    /// Real names that also mean this app.
    pub hosts: Vec<HostName>,
    /// Tags that policies name.
    pub tags: Vec<String>,
    /// The local port that clients prefer.
    pub local_port: Option<u16>,
}

/// Names the address of an app, resolved at each dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A DNS name or an address.
    pub host: HostName,
    /// The port.
    pub port: u16,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the file, the line, the key and what to do.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::unreadable(path, &cause))?;
        Config::read(&text, path)
    }

    /// Checks a text as if it stood in `gateway.toml` in `base`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, base: &Path) -> Result<Config, ConfigError> {
        Config::read(text, &base.join("gateway.toml"))
    }

    /// Adds the keys of a further file: lists (`listen` apart) grow, single values are replaced.
    ///
    /// `path` is where the text comes from; its directory is what relative paths in it mean.
    ///
    /// # Errors
    /// As [`Config::load`]; `self` is then unchanged.
    pub fn add(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let extra = file::File::read(text, path)?;
        let mut raw = self.raw.clone();
        raw.merge(extra);
        *self = rule::check(raw)?;
        Ok(())
    }

    fn read(text: &str, path: &Path) -> Result<Config, ConfigError> {
        rule::check(file::File::read(text, path)?)
    }

    /// The gateway's identifier as a resource: its public URL without a trailing slash (RFC 9728, RFC 8707).
    pub fn resource(&self) -> String {
        rule::resource_of(&self.public_url)
    }

    /// Finds the app that a destination means: its name, `NAME.ztsa`, or one of its hosts.
    ///
    /// The port must be the app's own for a host that several apps share.
    pub fn app(&self, host: &HostName, port: u16) -> Option<&Arc<App>> {
        let text = host.to_string();
        let name = text.strip_suffix(".ztsa").unwrap_or(&text);
        if let Some(app) = self.app_named(name) {
            return Some(app);
        }
        let mut candidates = self.apps.iter().filter(|app| app.hosts.contains(host));
        let first = candidates.next()?;
        if first.target.port == port {
            return Some(first);
        }
        let mut second = None;
        for app in candidates {
            if app.target.port == port {
                return Some(app);
            }
            second = Some(app);
        }
        second.is_none().then_some(first)
    }

    /// Finds an app by its name alone.
    pub fn app_named(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.iter().find(|app| app.name.to_string() == name)
    }

    /// Finds an issuer by its identifier.
    pub fn issuer(&self, issuer: &str) -> Option<&Arc<Issuer>> {
        self.issuers.iter().find(|known| known.issuer == issuer)
    }
}

/// Says whether an address is this machine's own.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests;
