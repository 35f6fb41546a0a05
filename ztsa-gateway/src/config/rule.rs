//! The rules that span keys: what must be there, what may not be twice, what each key is when it is absent.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::error::{ConfigError, Fault};
use super::file::{self, File, Place};
use super::{
    Admin, App, Config, Limits, Metrics, PolicySource, SessionRules, StoreUrl, Target, Tls, issuer, signals, workload,
};

/// Turns what the files say into a configuration.
pub(super) fn check(raw: File) -> Result<Config, ConfigError> {
    let base = raw.path.parent().unwrap_or(Path::new("")).to_owned();
    let missing = |key, example| ConfigError::at(&raw.path, None, Fault::Missing { key, example });
    let public_url =
        raw.public_url.clone().ok_or_else(|| missing("public_url", "public_url = \"https://gw.example.com\""))?;
    let tls = raw.tls.clone().ok_or_else(|| missing("tls", "[tls] with cert = \"gw.pem\" and key = \"gw.key\""))?;
    if raw.issuers.is_empty() {
        return Err(missing("issuer", "[[issuer]] with name, issuer and client_id"));
    }
    let listen = raw.listen.clone().unwrap_or_else(|| {
        vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 443)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 443))]
    });
    if listen.is_empty() {
        let reason = "`listen` is an empty list: nobody could connect".to_owned();
        return Err(ConfigError::at(
            &raw.path,
            None,
            Fault::Rule { reason, remedy: "Name at least one address, such as \"0.0.0.0:443\"." },
        ));
    }
    let resource = resource_of(&public_url);
    let issuers = issuer::check(&raw.issuers, &resource)?;
    Ok(Config {
        workloads: workload::check(&raw.workloads, &issuers, &resource)?,
        signals: signals::check(&raw.signals, &issuers, &resource)?,
        issuers,
        public_url,
        listen,
        tls: Tls { cert: tls.cert, key: tls.key },
        policy: PolicySource {
            dir: raw.policy.as_ref().map_or_else(|| base.join("policies"), |policy| policy.dir.clone()),
        },
        store: store(raw.store.as_ref(), &base)?,
        risk: super::risk::check(&raw.risk, &raw.path)?,
        audit: super::audit::check(&raw.audit, &raw.path)?,
        admin: Admin {
            socket: raw.admin.as_ref().map_or_else(|| base.join("admin.sock"), |admin| admin.socket.clone()),
        },
        metrics: raw.metrics.as_ref().map(|metrics| Metrics { listen: metrics.listen }),
        posture: super::posture::check(&raw.posture, &raw.path)?,
        apps: apps(&raw.apps)?,
        session: session(&raw)?,
        classic_connect: raw.classic_connect.unwrap_or(false),
        limits: limits(&raw.limits),
        raw,
    })
}

/// The resource identifier of a public URL: no trailing slash.
pub(super) fn resource_of(public_url: &Url) -> String {
    public_url.as_str().trim_end_matches('/').to_owned()
}

fn store(raw: Option<&file::Store>, base: &Path) -> Result<StoreUrl, ConfigError> {
    let Some(store) = raw else { return Ok(StoreUrl::Sqlite(base.join("ztsa.db"))) };
    let url = store.url.get_ref();
    match url.strip_prefix("sqlite:") {
        Some(":memory:") => Ok(StoreUrl::Memory),
        Some(path) if !path.is_empty() => Ok(StoreUrl::Sqlite(PathBuf::from(path))),
        _ => Err(ConfigError::at(
            &store.place.file,
            Some(store.place.line),
            Fault::Rule {
                reason: format!("`url`: {url:?} is not a store that this version has"),
                remedy: "Use url = \"sqlite:ztsa.db\".",
            },
        )),
    }
}

fn session(raw: &File) -> Result<SessionRules, ConfigError> {
    let token_lifetime = raw.session.token_lifetime.map_or(Duration::from_secs(300), |span| span.0);
    let lifetime = raw.session.lifetime.map_or(Duration::from_secs(12 * 3600), |span| span.0);
    if lifetime < token_lifetime {
        let reason = "[session]: lifetime is shorter than token_lifetime".to_owned();
        return Err(ConfigError::at(
            &raw.path,
            None,
            Fault::Rule { reason, remedy: "A session lasts for at least one token." },
        ));
    }
    Ok(SessionRules { token_lifetime, lifetime })
}

fn limits(raw: &file::Limits) -> Limits {
    let max_tunnels = raw.max_tunnels.map_or(50_000, |limit| limit.0);
    // who was promised so many for a session has them
    let written = raw.tunnels_per_session.as_ref().map_or(0, |limit| limit.0);
    Limits {
        max_tunnels,
        tunnels_per_person: raw
            .tunnels_per_person
            .map_or_else(|| max_tunnels.div_ceil(2).max(written), |limit| limit.0),
        tunnels_per_session: raw.tunnels_per_session.map_or(20_000, |limit| limit.0),
        handshakes_per_address: raw.handshakes_per_address.map_or(256, |limit| limit.0),
        unauthenticated_per_address: raw.unauthenticated_per_address.map_or(512, |limit| limit.0),
        unauthenticated: raw.unauthenticated.map_or(8_192, |limit| limit.0),
        unauthenticated_for: raw.unauthenticated_for.map_or(Duration::from_secs(300), |span| span.0),
        refusals_per_connection: raw.refusals_per_connection.map_or(100, |limit| limit.0),
        header_bytes: raw.header_bytes.map_or(65_536, |limit| limit.0),
    }
}

fn apps(raw: &[file::App]) -> Result<Vec<Arc<App>>, ConfigError> {
    let mut names: HashMap<String, &Place> = HashMap::new();
    let mut hosts: HashMap<(String, u16), &Place> = HashMap::new();
    let mut apps = Vec::with_capacity(raw.len());
    for app in raw {
        let name = app.name.get_ref();
        unique(&mut names, name.to_string(), &app.place, "the app")?;
        for host in &app.hosts {
            let key = (host.to_string(), app.target.port);
            if let Some(first) = hosts.insert(key, &app.place) {
                return Err(duplicate("the host", &format!("{host}:{}", app.target.port), first, &app.place));
            }
        }
    }
    for app in raw {
        for host in &app.hosts {
            let text = host.to_string();
            let text = text.strip_suffix(".ztsa").unwrap_or(&text);
            if let Some(first) = names.get(text).filter(|_| text != app.name.get_ref().to_string()) {
                return Err(duplicate("the host", text, first, &app.place));
            }
        }
        apps.push(Arc::new(App {
            name: app.name.get_ref().clone(),
            kind: app.kind,
            target: Target { host: app.target.host.clone(), port: app.target.port },
            hosts: app.hosts.clone(),
            tags: app.tags.clone(),
            local_port: app.local_port.and_then(|port| u16::try_from(port.0).ok()),
        }));
    }
    Ok(apps)
}

pub(super) fn unique<'a, K: std::hash::Hash + Eq + ToString>(
    seen: &mut HashMap<K, &'a Place>,
    key: K,
    place: &'a Place,
    what: &'static str,
) -> Result<(), ConfigError> {
    let name = key.to_string();
    match seen.insert(key, place) {
        Some(first) => Err(duplicate(what, &name, first, place)),
        None => Ok(()),
    }
}

pub(super) fn duplicate(what: &'static str, name: &str, first: &Place, place: &Place) -> ConfigError {
    let first = format!("{}:{}", first.file.display(), first.line);
    ConfigError::at(&place.file, Some(place.line), Fault::Duplicate { what, name: name.to_owned(), first })
}
