//! Filling the client in: environment variables, `{host}` `{port}` `{addr}`, connection strings, and how to use them.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use serde::Serialize;
use ztsa_proto::app::Kind;
use ztsa_proto::name::{AppName, HostName};

use crate::cli::Form;

/// One app and where it can be reached on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// The app's name.
    pub(crate) app: AppName,
    /// What it speaks.
    pub(crate) kind: Kind,
    /// Its real host names, as its certificate has them; may be empty.
    pub(crate) hosts: Vec<HostName>,
    /// The local address.
    pub(crate) local: SocketAddr,
}

/// What `--json` says when an app can be reached.
#[derive(Debug, Serialize)]
struct Described<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    app: &'a str,
    kind: String,
    host: String,
    port: u16,
    addr: String,
    uri: String,
    env: serde_json::Map<String, serde_json::Value>,
}

impl Endpoint {
    fn host(&self) -> String {
        self.local.ip().to_string()
    }

    /// The name that the app's certificate has, so that clients which check it still can.
    fn real_host(&self) -> String {
        self.hosts.first().map_or_else(|| self.host(), ToString::to_string)
    }

    /// The environment variables that clients of this kind of app read.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let (host, port) = (self.host(), self.local.port().to_string());
        let own: &[(&str, String)] = match self.kind {
            Kind::Postgresql => &[("PGHOST", self.real_host()), ("PGHOSTADDR", host.clone()), ("PGPORT", port.clone())],
            Kind::Mysql => &[("MYSQL_HOST", host.clone()), ("MYSQL_TCP_PORT", port.clone())],
            Kind::Redis => &[("REDIS_URL", self.uri())],
            Kind::Mongodb => &[("MONGODB_URI", self.uri())],
            Kind::Http | Kind::Https => &[("ZTSA_URL", self.uri())],
            _ => &[],
        };
        let general = [("ZTSA_APP", self.app.to_string()), ("ZTSA_HOST", host), ("ZTSA_PORT", port)];
        general.iter().chain(own).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// The variables by which a command that uses several apps tells them apart: `ZTSA_DB_PROD_PORT`.
    fn named_environment(&self) -> [(String, String); 2] {
        let name = self.app.to_string().replace('-', "_").to_uppercase();
        [(format!("ZTSA_{name}_HOST"), self.host()), (format!("ZTSA_{name}_PORT"), self.local.port().to_string())]
    }

    /// The app as a URI.
    pub(crate) fn uri(&self) -> String {
        let (local, port) = (self.local, self.local.port());
        match self.kind {
            Kind::Postgresql if !self.hosts.is_empty() => {
                format!("postgresql://{}:{port}?hostaddr={}", self.real_host(), self.host())
            }
            Kind::Postgresql => format!("postgresql://{local}"),
            Kind::Mysql => format!("mysql://{local}"),
            Kind::Redis => format!("redis://{local}"),
            Kind::Mongodb => format!("mongodb://{local}/?directConnection=true"),
            Kind::Ssh => format!("ssh://{local}"),
            Kind::Http => format!("http://{local}/"),
            Kind::Https | Kind::Kubernetes => format!("https://{local}/"),
            Kind::Rdp => format!("rdp://{local}"),
            Kind::Vnc => format!("vnc://{local}"),
            _ => format!("tcp://{local}"),
        }
    }

    /// The app as its client library's connection string.
    fn dsn(&self) -> String {
        let (host, port) = (self.host(), self.local.port());
        match self.kind {
            Kind::Postgresql => format!("host={} hostaddr={host} port={port}", self.real_host()),
            Kind::Mysql => format!("host={host};port={port}"),
            Kind::Redis | Kind::Mongodb => self.uri(),
            _ => self.local.to_string(),
        }
    }

    /// The command that a person would type to use the app.
    pub(crate) fn usage(&self) -> String {
        let (local, host, port) = (self.local, self.host(), self.local.port());
        match self.kind {
            Kind::Postgresql => format!("psql \"{}\"", self.dsn()),
            Kind::Mysql => format!("mysql --host {host} --port {port}"),
            Kind::Redis => format!("redis-cli -h {host} -p {port}"),
            Kind::Mongodb => format!("mongosh \"{}\"", self.uri()),
            Kind::Ssh => format!("ssh -p {port} -o HostKeyAlias={} {host}", self.app),
            Kind::Https if !self.hosts.is_empty() => {
                let real = self.real_host();
                format!("curl --connect-to {real}:443:{local} https://{real}/")
            }
            Kind::Http | Kind::Https => format!("curl {}", self.uri()),
            Kind::Rdp => format!("xfreerdp /v:{local}"),
            Kind::Vnc => format!("vncviewer {host}::{port}"),
            _ => local.to_string(),
        }
    }

    /// The app in the form asked for.
    pub(crate) fn print(&self, form: Form) -> String {
        match form {
            Form::Env => {
                let lines =
                    self.environment().into_iter().map(|(name, value)| format!("export {name}={}", quote(&value)));
                lines.collect::<Vec<_>>().join("\n")
            }
            Form::Json => serde_json::to_string(&self.described()).unwrap_or_default(),
            Form::Dsn => self.dsn(),
            Form::Uri => self.uri(),
        }
    }

    /// The event that says that the app can be used now.
    pub(crate) fn ready(&self) -> impl Serialize + '_ {
        Described { event: Some("ready"), ..self.described() }
    }

    fn described(&self) -> Described<'_> {
        Described {
            event: None,
            app: self.app.as_str(),
            kind: self.kind.to_string(),
            host: self.host(),
            port: self.local.port(),
            addr: self.local.to_string(),
            uri: self.uri(),
            env: self.environment().into_iter().map(|(name, value)| (name, value.into())).collect(),
        }
    }
}

/// The environment for a command that uses all of `endpoints`; where two apps are of one kind, the first has its variables.
pub(crate) fn environment(endpoints: &[Endpoint]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for endpoint in endpoints {
        for (name, value) in endpoint.environment().into_iter().chain(endpoint.named_environment()) {
            if all.iter().all(|(known, _)| *known != name) {
                all.push((name, value));
            }
        }
    }
    all
}

/// Fills `{host}`, `{port}` and `{addr}` (the first app's) and `{db-prod.port}` (that app's) into an argument.
pub(crate) fn argument(given: &OsStr, endpoints: &[Endpoint]) -> OsString {
    let Some(text) = given.to_str().filter(|text| text.contains('{')) else { return given.to_owned() };
    let mut filled = text.to_owned();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let values = [
            ("host", endpoint.host()),
            ("port", endpoint.local.port().to_string()),
            ("addr", endpoint.local.to_string()),
        ];
        for (name, value) in values {
            filled = filled.replace(&format!("{{{}.{name}}}", endpoint.app), &value);
            if index == 0 {
                filled = filled.replace(&format!("{{{name}}}"), &value);
            }
        }
    }
    filled.into()
}

/// Quotes a value for a POSIX shell, where that is needed.
pub(crate) fn quote(value: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(app: &str, kind: Kind, hosts: &[&str], port: u16) -> Endpoint {
        Endpoint {
            app: app.parse().unwrap(),
            kind,
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            local: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    #[test]
    fn postgresql_keeps_the_real_name_so_that_its_certificate_still_holds() {
        let app = endpoint("db-prod", Kind::Postgresql, &["db.prod.internal"], 15432);
        let environment = app.environment();
        let value = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("PGHOST"), Some("db.prod.internal"));
        assert_eq!(value("PGHOSTADDR"), Some("127.0.0.1"));
        assert_eq!(value("PGPORT"), Some("15432"));
        assert_eq!(app.print(Form::Dsn), "host=db.prod.internal hostaddr=127.0.0.1 port=15432");
        assert_eq!(app.print(Form::Uri), "postgresql://db.prod.internal:15432?hostaddr=127.0.0.1");
        assert!(app.print(Form::Env).contains("export PGHOST=db.prod.internal\n"));
    }

    #[test]
    fn every_form_by_kind() {
        for (kind, uri, usage) in [
            (Kind::Mysql, "mysql://127.0.0.1:9", "mysql --host 127.0.0.1 --port 9"),
            (Kind::Redis, "redis://127.0.0.1:9", "redis-cli -h 127.0.0.1 -p 9"),
            (Kind::Ssh, "ssh://127.0.0.1:9", "ssh -p 9 -o HostKeyAlias=a 127.0.0.1"),
            (Kind::Http, "http://127.0.0.1:9/", "curl http://127.0.0.1:9/"),
            (Kind::Tcp, "tcp://127.0.0.1:9", "127.0.0.1:9"),
        ] {
            let app = endpoint("a", kind, &[], 9);
            assert_eq!((app.uri().as_str(), app.usage().as_str()), (uri, usage));
        }
    }

    #[test]
    fn arguments_are_filled_in() {
        let apps = [endpoint("wiki", Kind::Http, &[], 8080), endpoint("db-prod", Kind::Postgresql, &[], 5432)];
        for (given, filled) in [
            ("http://{addr}/", "http://127.0.0.1:8080/"),
            ("{host}", "127.0.0.1"),
            ("-p{port}", "-p8080"),
            ("{db-prod.port}", "5432"),
            ("{unknown}", "{unknown}"),
            ("select '{}'", "select '{}'"),
        ] {
            assert_eq!(argument(OsStr::new(given), &apps), OsString::from(filled));
        }
    }

    #[test]
    fn several_apps_are_told_apart_by_name() {
        let apps = [endpoint("db-one", Kind::Postgresql, &[], 1), endpoint("db-two", Kind::Postgresql, &[], 2)];
        let all = environment(&apps);
        let value = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("PGPORT"), Some("1"));
        assert_eq!(value("ZTSA_DB_TWO_PORT"), Some("2"));
    }

    #[test]
    fn values_are_quoted_for_the_shell() {
        for (value, quoted) in
            [("a.b:1", "a.b:1"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$(x)", "'$(x)'")]
        {
            assert_eq!(quote(value), quoted);
        }
    }
}
