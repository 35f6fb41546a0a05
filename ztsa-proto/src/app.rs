//! Apps, as a person may know of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::name::{AppName, HostName};
use crate::problem::Problem;

/// Says which protocol an app speaks, so that a client can be of help.
///
/// Read from JSON, an unknown kind is [`Kind::Tcp`], since that is how it can still be reached; read from
/// configuration with [`FromStr`], it is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// PostgreSQL.
    Postgresql,
    /// MySQL or MariaDB.
    Mysql,
    /// Redis or Valkey.
    Redis,
    /// MongoDB.
    Mongodb,
    /// Secure shell.
    Ssh,
    /// HTTP in clear text.
    Http,
    /// HTTP over TLS.
    Https,
    /// Remote desktop.
    Rdp,
    /// VNC.
    Vnc,
    /// A Kubernetes API server.
    Kubernetes,
    /// Any other datagram protocol.
    Udp,
    /// DNS.
    Dns,
    /// Any other stream protocol.
    #[serde(other)]
    Tcp,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Postgresql,
        Self::Mysql,
        Self::Redis,
        Self::Mongodb,
        Self::Ssh,
        Self::Http,
        Self::Https,
        Self::Rdp,
        Self::Vnc,
        Self::Kubernetes,
        Self::Tcp,
        Self::Udp,
        Self::Dns,
    ];

    /// Gives the word of the wire and of configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
            Self::Ssh => "ssh",
            Self::Http => "http",
            Self::Https => "https",
            Self::Rdp => "rdp",
            Self::Vnc => "vnc",
            Self::Kubernetes => "kubernetes",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Dns => "dns",
        }
    }

    /// Gives the port that the protocol is registered with, where there is one.
    #[must_use]
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Postgresql => Some(5432),
            Self::Mysql => Some(3306),
            Self::Redis => Some(6379),
            Self::Mongodb => Some(27017),
            Self::Ssh => Some(22),
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Rdp => Some(3389),
            Self::Vnc => Some(5900),
            Self::Kubernetes => Some(6443),
            Self::Dns => Some(53),
            Self::Tcp | Self::Udp => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| KindError(text.chars().take(32).collect()))
    }
}

/// Tells that a kind is not known, and which are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a kind of app: use postgresql, mysql, redis, mongodb, ssh, http, https, rdp, vnc, kubernetes, tcp, udp or dns"
)]
pub struct KindError(String);

/// Describes one app that the person may know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppInfo {
    /// Its name.
    pub name: AppName,
    /// Its protocol.
    pub kind: Kind,
    /// The real host names that also mean it.
    ///
    /// # Security
    /// They go into `~/.ssh/config`, connection strings and commands. What is read and is no host name (a pattern, blanks,
    /// quotes) is left out.
    #[serde(default, deserialize_with = "host_names")]
    pub hosts: Vec<HostName>,
    /// Its real port.
    pub port: u16,
    /// The local port to prefer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// Its tags.
    #[serde(default, deserialize_with = "crate::text::clean_list")]
    pub tags: Vec<String>,
    /// Whether the person could open it now.
    pub access: Access,
    /// The posture checks that its policies look at.
    #[serde(default, deserialize_with = "crate::text::clean_list", skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// Reads a list of host names and leaves out what is none.
fn host_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HostName>, D::Error> {
    Vec::<String>::deserialize(deserializer).map(|list| list.iter().filter_map(|text| text.parse().ok()).collect())
}

/// Says whether the person could open an app now, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Whether.
    pub state: AccessState,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl Access {
    /// Says that the app is open.
    #[must_use]
    pub const fn open() -> Self {
        Self { state: AccessState::Open, problem: None }
    }

    /// Says that a stronger sign-in is needed first.
    #[must_use]
    pub const fn step_up(problem: Problem) -> Self {
        Self { state: AccessState::StepUp, problem: Some(problem) }
    }

    /// Says that the app is denied.
    #[must_use]
    pub const fn denied(problem: Problem) -> Self {
        Self { state: AccessState::Denied, problem: Some(problem) }
    }
}

/// Says whether an app is open to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessState {
    /// It is.
    Open,
    /// It would be after a stronger sign-in.
    StepUp,
    /// It is not. A state that this version does not know reads as this one.
    #[serde(other)]
    Denied,
}

impl AccessState {
    /// Gives the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::StepUp => "step_up",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for AccessState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Lists the apps that the person may know of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppList {
    /// The apps, by name.
    pub apps: Vec<AppInfo>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_has_one_word_everywhere() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), json!(kind.as_str()));
            assert_eq!(serde_json::from_value::<Kind>(json!(kind.as_str())).unwrap(), kind);
        }
    }

    #[test]
    fn an_unknown_kind_is_tcp_on_the_wire_and_an_error_in_configuration() {
        assert_eq!(serde_json::from_value::<Kind>(json!("kafka")).unwrap(), Kind::Tcp);
        assert!("kafka".parse::<Kind>().unwrap_err().to_string().contains("postgresql"));
    }

    #[test]
    fn what_is_no_host_name_never_gets_as_far_as_a_configuration_file() {
        let hosts = json!([
            "*",
            "a b",
            "db sslmode=disable",
            "x\n    ProxyCommand evil",
            "!good",
            "a?b",
            "-oProxyCommand=evil",
            "a,b",
            "",
            "a\"b",
            "$(evil)",
            "db.corp@evil",
            "db:5432",
            "Bastion.Corp.",
            "10.0.0.5",
            "[2001:db8::1]"
        ]);
        let app: AppInfo = serde_json::from_value(
            json!({"name": "db", "kind": "ssh", "hosts": hosts, "port": 22, "access": {"state": "open"}}),
        )
        .unwrap();
        let kept: Vec<String> = app.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["bastion.corp", "10.0.0.5", "2001:db8::1"]);
    }

    #[test]
    fn a_newer_gateways_list_still_reads() {
        let list: AppList = serde_json::from_value(json!({"next": "x", "apps": [
            {"name": "db", "kind": "x", "port": 1, "new": [], "access": {"state": "later", "problem": {"code": "policy.no_match"}}}
        ]}))
        .unwrap();
        let app = list.apps.first().unwrap();
        assert_eq!((app.kind, app.access.state), (Kind::Tcp, AccessState::Denied));
        assert_eq!(app.access.problem.as_ref().unwrap().status, 403);
        assert_eq!(serde_json::from_str::<AppList>(&serde_json::to_string(&list).unwrap()).unwrap(), list);
    }
}
