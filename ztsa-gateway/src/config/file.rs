//! The shape of `gateway.toml`: one struct per table, every key known by name.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use toml::Spanned;
use url::Url;
use ztsa_proto::app::Kind;
use ztsa_proto::metadata::RedirectHost;
use ztsa_proto::name::{AppName, Destination, HostName};

use super::duration::{Number, Span};
use super::error::{ConfigError, line_of};
use super::signals::raw::Signals;
use super::workload;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default, deserialize_with = "public_url")]
    pub(super) public_url: Option<Url>,
    #[serde(default, deserialize_with = "listen")]
    pub(super) listen: Option<Vec<SocketAddr>>,
    pub(super) tls: Option<Tls>,
    #[serde(default, rename = "issuer")]
    pub(super) issuers: Vec<Issuer>,
    #[serde(default, rename = "workload")]
    pub(super) workloads: Vec<workload::Raw>,
    pub(super) policy: Option<Policy>,
    pub(super) store: Option<Store>,
    #[serde(default)]
    pub(super) risk: super::risk::Raw,
    #[serde(default)]
    pub(super) signals: Signals,
    #[serde(default)]
    pub(super) audit: super::audit::Raw,
    pub(super) admin: Option<Admin>,
    pub(super) metrics: Option<Metrics>,
    #[serde(default)]
    pub(super) posture: super::posture::Raw,
    #[serde(default, rename = "app")]
    pub(super) apps: Vec<App>,
    #[serde(default)]
    pub(super) session: Session,
    pub(super) classic_connect: Option<bool>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(skip)]
    pub(super) path: PathBuf,
    /// The further files that were added.
    #[serde(skip)]
    pub(super) added: Vec<PathBuf>,
}

/// Names the line that a table begins on, for messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the key is called as the standard calls it")]
pub(super) struct Issuer {
    pub(super) name: Spanned<String>,
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) audiences: Option<Vec<String>>,
    pub(super) groups_claim: Option<String>,
    #[serde(default)]
    pub(super) tokens: Tokens,
    pub(super) introspection: Option<Introspection>,
    pub(super) resource: Option<String>,
    #[serde(default)]
    pub(super) relaxed_typ: bool,
    #[serde(default)]
    pub(super) userinfo: bool,
    pub(super) device_flow: Option<bool>,
    pub(super) browser_flow: Option<bool>,
    pub(super) redirect_host: Option<RedirectHost>,
    pub(super) redirect_port: Option<NonZeroU16>,
    pub(super) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) allow_private: bool,
    pub(super) outage_grace: Option<Span<60, 86_400>>,
    #[serde(skip)]
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tokens {
    #[default]
    Jwt,
    Userinfo,
    Introspection,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Introspection {
    pub(super) client_id: String,
    pub(super) client_secret_file: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) dir: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) url: Spanned<String>,
    #[serde(skip)]
    pub(super) place: Place,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) socket: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: SocketAddr,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct App {
    pub(super) name: Spanned<AppName>,
    #[serde(deserialize_with = "kind")]
    pub(super) kind: Kind,
    pub(super) target: Destination,
    #[serde(default)]
    pub(super) hosts: Vec<HostName>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
    pub(super) local_port: Option<Number<1, 65535>>,
    #[serde(skip)]
    pub(super) place: Place,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) token_lifetime: Option<Span<30, 3600>>,
    pub(super) lifetime: Option<Span<30, 2_678_400>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) max_tunnels: Option<Number<1, 1_000_000>>,
    pub(super) tunnels_per_session: Option<Number<1, 1_000_000>>,
    pub(super) tunnels_per_person: Option<Number<1, 1_000_000>>,
    pub(super) handshakes_per_address: Option<Number<1, 100_000>>,
    pub(super) unauthenticated_per_address: Option<Number<1, 1_000_000>>,
    pub(super) unauthenticated: Option<Number<1, 1_000_000>>,
    pub(super) unauthenticated_for: Option<Span<1, 3600>>,
    pub(super) refusals_per_connection: Option<Number<1, 1_000_000>>,
    pub(super) header_bytes: Option<Number<8192, 1_048_576>>,
}

impl File {
    /// Reads one file; relative paths in it become absolute against its directory.
    pub(super) fn read(text: &str, path: &Path) -> Result<File, ConfigError> {
        let mut file: File = toml::from_str(text).map_err(|error| ConfigError::toml(path, text, &error))?;
        path.clone_into(&mut file.path);
        let base = path.parent().unwrap_or(Path::new(""));
        let place = |offset: usize| Place { file: path.to_owned(), line: line_of(text, offset) };
        let resolve = |path: &mut PathBuf| *path = base.join(&*path);
        if let Some(tls) = &mut file.tls {
            resolve(&mut tls.cert);
            resolve(&mut tls.key);
        }
        if let Some(policy) = &mut file.policy {
            resolve(&mut policy.dir);
        }
        if let Some(store) = &mut file.store {
            store.place = place(store.url.span().start);
            if let Some(at) = store.url.get_ref().strip_prefix("sqlite:").filter(|at| *at != ":memory:") {
                *store.url.get_mut() = format!("sqlite:{}", base.join(at).display());
            }
        }
        file.audit.paths().for_each(resolve);
        if let Some(admin) = &mut file.admin {
            resolve(&mut admin.socket);
        }
        file.posture.resolve(base);
        file.risk.resolve(base);
        for issuer in &mut file.issuers {
            issuer.place = place(issuer.name.span().start);
            issuer.ca_file.iter_mut().for_each(resolve);
            issuer.introspection.iter_mut().for_each(|with| resolve(&mut with.client_secret_file));
        }
        for workload in &mut file.workloads {
            workload.place = place(workload.name.span().start);
            workload.ca_file.iter_mut().chain(&mut workload.jwks_file).for_each(resolve);
        }
        file.signals.resolve(place, resolve);
        for app in &mut file.apps {
            app.place = place(app.name.span().start);
        }
        Ok(file)
    }

    /// Takes over what a further file says: issuers, workloads, apps and transmitters are added, all else replaced.
    pub(super) fn merge(&mut self, extra: File) {
        fn replace<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        self.added.push(extra.path);
        replace(&mut self.public_url, extra.public_url);
        replace(&mut self.listen, extra.listen);
        replace(&mut self.tls, extra.tls);
        self.issuers.extend(extra.issuers);
        self.workloads.extend(extra.workloads);
        replace(&mut self.policy, extra.policy);
        replace(&mut self.store, extra.store);
        self.risk.merge(extra.risk);
        self.signals.merge(extra.signals);
        self.audit.merge(extra.audit);
        replace(&mut self.admin, extra.admin);
        replace(&mut self.metrics, extra.metrics);
        self.posture.merge(extra.posture);
        self.apps.extend(extra.apps);
        replace(&mut self.session.token_lifetime, extra.session.token_lifetime);
        replace(&mut self.session.lifetime, extra.session.lifetime);
        replace(&mut self.classic_connect, extra.classic_connect);
        replace(&mut self.limits.max_tunnels, extra.limits.max_tunnels);
        replace(&mut self.limits.tunnels_per_session, extra.limits.tunnels_per_session);
        replace(&mut self.limits.tunnels_per_person, extra.limits.tunnels_per_person);
        replace(&mut self.limits.handshakes_per_address, extra.limits.handshakes_per_address);
        replace(&mut self.limits.unauthenticated_per_address, extra.limits.unauthenticated_per_address);
        replace(&mut self.limits.unauthenticated, extra.limits.unauthenticated);
        replace(&mut self.limits.unauthenticated_for, extra.limits.unauthenticated_for);
        replace(&mut self.limits.refusals_per_connection, extra.limits.refusals_per_connection);
        replace(&mut self.limits.header_bytes, extra.limits.header_bytes);
    }
}

/// Reads the gateway's own URL: https, nothing behind the port.
fn public_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Url::parse(&text).map_err(|error| {
        D::Error::custom(format_args!("{text:?} is not a URL ({error}); write it as \"https://gw.example.com\""))
    })?;
    if url.scheme() != "https" || url.host().is_none() {
        return Err(D::Error::custom("must be an https:// URL, such as \"https://gw.example.com\""));
    }
    if url.path() != "/"
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err(D::Error::custom("must be a scheme, a host and at most a port: no path, query or user"));
    }
    Ok(Some(url))
}

/// Reads addresses to listen on; what is missing in one is said.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<SocketAddr>>, D::Error> {
    let address = |text: &String| {
        text.parse().map_err(|_| match text.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(ip)) => D::Error::custom(format_args!("{text:?} has no port; write it as \"{ip}:443\"")),
            Ok(IpAddr::V6(ip)) => D::Error::custom(format_args!("{text:?} has no port; write it as \"[{ip}]:443\"")),
            Err(_) => D::Error::custom(format_args!(
                "{text:?} is not an address and a port, such as \"0.0.0.0:443\" or \"[::]:443\""
            )),
        })
    };
    Vec::<String>::deserialize(deserializer)?.iter().map(address).collect::<Result<_, _>>().map(Some)
}

/// Reads a kind; a word that is none is an error, with the words that are.
fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}
