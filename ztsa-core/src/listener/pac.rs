//! The proxy auto-configuration script: the apps' hosts go through this port, and nothing else does.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ztsa_proto::app::{AppInfo, AppList};
use ztsa_proto::name::{AppName, HostName};

/// The media type of the script.
pub(crate) const MEDIA_TYPE: &str = "application/x-ns-proxy-autoconfig";

/// The zone whose names always mean an app.
pub(crate) const ZONE: &str = "ztsa";

/// Writes the script: hosts of apps go to `proxy` by SOCKS5, else by HTTP, and never directly, so that no private name
/// leaks into public DNS; everything else goes directly.
///
/// With a password only HTTP is offered, because browsers know no password for SOCKS5.
pub(crate) fn script(apps: Option<&AppList>, proxy: SocketAddr, password: bool) -> String {
    let hosts: BTreeSet<String> = apps.map(hosts).unwrap_or_default();
    let list: Vec<String> = hosts.iter().map(|host| format!("\"{host}\": 1")).collect();
    let way = if password { format!("PROXY {proxy}") } else { format!("SOCKS5 {proxy}; PROXY {proxy}") };
    format!(
        "// ztsa: private apps through the local proxy, everything else directly\n\
         var apps = {{{list}}};\n\
         function FindProxyForURL(url, host) {{\n\
         \x20 host = host.toLowerCase().replace(/\\.$/, \"\");\n\
         \x20 if (apps.hasOwnProperty(host) || /\\.{ZONE}$/.test(host)) return \"{way}\";\n\
         \x20 return \"DIRECT\";\n\
         }}\n",
        list = list.join(", "),
    )
}

/// The names that mean an app: its own, and its real hosts.
fn hosts(apps: &AppList) -> BTreeSet<String> {
    let named = apps.apps.iter().flat_map(|app| app.hosts.iter().cloned().chain([HostName::from(&app.name)]));
    named.map(|host| host.to_string()).collect()
}

/// Finds the app that a host means: by its name, its name in the zone, or one of its real hosts.
pub(crate) fn app_of<'a>(apps: &'a AppList, host: &HostName) -> Option<&'a AppInfo> {
    let name = name_of(host);
    let is_meant = |app: &&AppInfo| Some(&app.name) == name.as_ref() || app.hosts.contains(host);
    apps.apps.iter().find(is_meant)
}

/// Reads a host as an app's name, with or without the zone.
pub(crate) fn name_of(host: &HostName) -> Option<AppName> {
    let text = host.dns()?;
    text.strip_suffix(ZONE).and_then(|rest| rest.strip_suffix('.')).unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ztsa_proto::app::{Access, Kind};

    fn apps() -> AppList {
        let app = |name: &str, hosts: &[&str]| AppInfo {
            name: name.parse().unwrap(),
            kind: Kind::Http,
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            port: 80,
            local_port: None,
            tags: Vec::new(),
            access: Access::open(),
            needs: Vec::new(),
        };
        AppList { apps: vec![app("wiki", &["Wiki.Corp.Example", "10.0.0.5"]), app("db-prod", &[])] }
    }

    #[test]
    fn only_the_apps_hosts_go_through_the_port() {
        let script = script(Some(&apps()), "127.0.0.1:1080".parse().unwrap(), false);
        assert!(script.contains(r#"{"10.0.0.5": 1, "db-prod": 1, "wiki": 1, "wiki.corp.example": 1}"#), "{script}");
        assert!(script.contains("return \"SOCKS5 127.0.0.1:1080; PROXY 127.0.0.1:1080\";"), "{script}");
        assert!(script.contains("return \"DIRECT\";"));
    }

    #[test]
    fn without_apps_only_the_zone_goes_through_the_port() {
        let script = script(None, "127.0.0.1:1080".parse().unwrap(), true);
        assert!(script.contains("var apps = {};"));
        assert!(script.contains(r"/\.ztsa$/.test(host)"), "{script}");
        assert!(script.contains("return \"PROXY 127.0.0.1:1080\";"), "{script}");
    }

    #[test]
    fn an_app_is_found_by_each_of_its_names() {
        let apps = apps();
        let table = [
            ("wiki", Some("wiki")),
            ("wiki.ztsa", Some("wiki")),
            ("WIKI.ztsa.", Some("wiki")),
            ("wiki.corp.example", Some("wiki")),
            ("10.0.0.5", Some("wiki")),
            ("db-prod.ztsa", Some("db-prod")),
            ("ztsa", None),
            ("wiki.example", None),
            ("other.ztsa", None),
        ];
        for (host, app) in table {
            let found = app_of(&apps, &host.parse().unwrap()).map(|app| app.name.as_str());
            assert_eq!(found, app, "{host}");
        }
    }
}
