//! Configuration as people write it, right and wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::{Config, StoreUrl, Tokens};

mod workload;

const SMALL: &str = r#"
public_url = "https://gw.example.com"
[tls]
cert = "gw.pem"
key = "gw.key"
[[issuer]]
name = "corp"
issuer = "https://idp.example.com"
client_id = "ztsa-cli"
"#;

/// The example of the design, whole.
const FULL: &str = r#"
public_url = "https://gw.example.com"
listen     = ["0.0.0.0:443", "[::]:443"]
classic_connect = true
[tls]
cert = "gw.pem"
key  = "gw.key"
[[issuer]]
name = "corp"
issuer = "https://idp.example.com"
client_id = "ztsa-cli"
scopes = ["openid", "profile", "email", "offline_access"]
audiences = ["https://gw.example.com"]
groups_claim = "groups"
[policy]
dir = "policies"
[store]
url = "sqlite:ztsa.db"
[risk]
interval = "30s"
[risk.thresholds]
suspend = 60
terminate = 85
[signals]
ssf = []
[audit]
file = "audit.ndjson"
[admin]
socket = "admin.sock"
[metrics]
listen = "127.0.0.1:9464"
[session]
token_lifetime = "5m"
lifetime = "12h"
[limits]
max_tunnels = 10
tunnels_per_session = 5
handshakes_per_address = 3
header_bytes = 16384
[[app]]
name   = "db-prod"
kind   = "postgresql"
target = "10.0.0.5:5432"
hosts  = ["db.prod.internal"]
tags   = ["prod", "database"]
local_port = 15432
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/ztsa")).map_err(|error| error.to_string())
}

#[test]
fn an_address_without_a_port_is_told_how_it_is_written() {
    for (address, told) in [
        ("127.0.0.1", "\"127.0.0.1\" has no port; write it as \"127.0.0.1:443\""),
        ("::1", "\"::1\" has no port; write it as \"[::1]:443\""),
        ("[::1]", "\"[::1]\" has no port; write it as \"[::1]:443\""),
        ("localhost:443", "\"localhost:443\" is not an address and a port"),
    ] {
        let text = format!("public_url = \"https://gw.example\"\nlisten = [\"{address}\"]\n");
        let error = Config::parse(&text, Path::new("/")).unwrap_err().to_string();
        assert!(error.contains(told) && error.starts_with("/gateway.toml:2:"), "{error}");
    }
}

#[test]
fn the_example_of_the_design_reads_with_every_key() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.resource(), "https://gw.example.com");
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.tls.cert, PathBuf::from("/etc/ztsa/gw.pem"));
    assert_eq!(config.store, StoreUrl::Sqlite(PathBuf::from("/etc/ztsa/ztsa.db")));
    assert_eq!(config.risk.interval, Duration::from_secs(30));
    assert_eq!((config.risk.thresholds.suspend, config.risk.thresholds.terminate), (60, 85));
    assert_eq!(config.metrics.unwrap().listen.port(), 9464);
    assert!(config.classic_connect);
    assert_eq!((config.limits.max_tunnels, config.limits.header_bytes), (10, 16384));
    let app = &config.apps[0];
    assert_eq!((app.name.as_str(), app.target.port, app.local_port), ("db-prod", 5432, Some(15432)));
    let issuer = &config.issuers[0];
    assert_eq!((issuer.tokens.clone(), issuer.resource.as_deref()), (Tokens::Jwt, Some("https://gw.example.com")));
}

#[test]
fn a_small_file_has_the_documented_defaults() {
    let config = parse(SMALL).unwrap();
    assert_eq!(config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.0.0.0:443", "[::]:443"]);
    assert_eq!(config.policy.dir, PathBuf::from("/etc/ztsa/policies"));
    assert_eq!(config.store, StoreUrl::Sqlite(PathBuf::from("/etc/ztsa/ztsa.db")));
    assert_eq!(config.audit.file, PathBuf::from("/etc/ztsa/audit.ndjson"));
    assert_eq!(config.admin.socket, PathBuf::from("/etc/ztsa/admin.sock"));
    assert_eq!(config.risk.suspend_grace, Duration::from_secs(60));
    assert_eq!(config.session.token_lifetime, Duration::from_secs(300));
    assert_eq!(config.session.lifetime, Duration::from_secs(43_200));
    assert!(!config.classic_connect && config.metrics.is_none() && config.apps.is_empty());
    let issuer = &config.issuers[0];
    assert_eq!(issuer.audiences, ["https://gw.example.com"]);
    assert_eq!(issuer.scopes, ["openid", "profile", "email", "offline_access"]);
    assert!(issuer.device_flow && issuer.browser_flow && !issuer.relaxed_typ && !issuer.userinfo);
}

#[test]
fn one_table_where_there_may_be_several_is_told_how_to_be_written() {
    let reference = include_str!("../../../docs/reference/configuration.md");
    for array in super::error::ARRAYS {
        assert!(reference.contains(&format!("`[[{array}]]`")), "{array} is not in the reference");
        for (header, named) in [(format!("[{array}]"), false), (format!("[{array}.agent]"), true)] {
            let error = parse(&format!("public_url = \"https://gw.example.com\"\n{header} # ours\n")).unwrap_err();
            assert!(error.contains(&format!(":2: `{header}` is one table")), "{error}");
            assert!(error.contains(&format!("Write `[[{array}]]`")), "{error}");
            assert_eq!(error.contains("`name = \"agent\"` in it"), named, "{error}");
        }
    }
}

#[test]
fn a_mistake_is_named_with_its_line_and_what_to_do() {
    for (from, to, says) in [
        (
            "client_id",
            "clientid",
            &["/etc/ztsa/gateway.toml:9: unknown key `clientid`", "Did you mean `client_id`?"][..],
        ),
        ("[tls]", "[tsl]", &[":3: unknown key `tsl`", "Did you mean `tls`?"]),
        ("[tls]", "colour = 1\n[tls]", &[":3: unknown key `colour`", "Known here: public_url, listen"]),
        ("public_url = \"https://gw.example.com\"", "", &["`public_url` is missing", "Add, for example: public_url ="]),
        ("https://gw.example.com", "http://gw.example.com", &[":2: `public_url`: must be an https:// URL"]),
        ("https://gw.example.com", "https://gw.example.com/x", &[":2:", "no path"]),
        ("https://gw.example.com", "gw.example.com", &[":2:", "is not a URL"]),
        ("https://idp", "http://idp", &[":7:", "anybody on the way", "loopback only"]),
        ("https://idp.example.com", "idp", &[":7:", "is not a URL"]),
        ("name = \"corp\"", "name = \"a b\"", &[":7: the issuer name \"a b\""]),
        ("[tls]", "listen = [\"nowhere\"]\n[tls]", &[":3: `listen`: "]),
        ("[tls]", "listen = []\n[tls]", &["`listen` is an empty list"]),
        (
            "[tls]",
            "classic_connect = \"yes\"\n[tls]",
            &[":3: `classic_connect`: invalid type: string \"yes\", expected a boolean"],
        ),
        ("[tls]", "risk.interval = \"30\"\n[tls]", &[":3:", "is not a duration", "\"30s\""]),
        ("[tls]", "risk.interval = \"2h\"\n[tls]", &[":3:", "must be from 1s to 1h"]),
        ("[tls]", "risk.thresholds.suspend = 101\n[tls]", &[":3:", "must be from 1 to 100"]),
        (
            "[tls]",
            "risk.thresholds = { suspend = 90, terminate = 80 }\n[tls]",
            &["terminate (80) is below suspend (90)"],
        ),
        ("[tls]", "store.url = \"postgres://u@h/db\"\n[tls]", &[":3:", "not a store that this version has"]),
        (
            "[tls]",
            "session.token_lifetime = \"1h\"\nsession.lifetime = \"30m\"\n[tls]",
            &["lifetime is shorter than token_lifetime"],
        ),
        ("client_id = \"ztsa-cli\"", "client_id = \"\"", &[":7: issuer `corp`: `client_id` is empty"]),
        ("client_id = \"ztsa-cli\"", "client_id = \"c\"\naudiences = []", &["every token would be refused"]),
        ("client_id = \"ztsa-cli\"", "client_id = \"c\"\naudiences = [\"c\"]", &["the client id is not an audience"]),
        (
            "client_id = \"ztsa-cli\"",
            "client_id = \"c\"\ntokens = \"introspection\"",
            &["needs a client that may introspect"],
        ),
        (
            "client_id = \"ztsa-cli\"",
            "client_id = \"c\"\ntokens = \"opaque\"",
            &[":10: `tokens`: unknown variant `opaque`"],
        ),
        ("[tls]", "[tls", &[":3: "]),
    ] {
        let error = parse(&SMALL.replacen(from, to, 1)).unwrap_err();
        for part in says {
            assert!(error.contains(part), "{to}: {error}");
        }
    }
}

fn with_apps(apps: &str) -> Result<Config, String> {
    parse(&format!("{SMALL}{apps}"))
}

fn app(name: &str, target: &str, hosts: &str) -> String {
    format!("[[app]]\nname = \"{name}\"\nkind = \"tcp\"\ntarget = \"{target}\"\nhosts = [{hosts}]\n")
}

#[test]
fn apps_are_found_by_every_name_they_have() {
    let two =
        app("db", "10.0.0.5:5432", "\"shared.corp\", \"db.corp\"") + &app("shell", "10.0.0.5:22", "\"shared.corp\"");
    let config = with_apps(&two).unwrap();
    let found = |host: &str, port| config.app(&host.parse().unwrap(), port).map(|app| app.name.to_string());
    for (host, port, wanted) in [
        ("db", 5432, Some("db")),
        ("db.ztsa", 5432, Some("db")),
        ("DB.ZTSA.", 1, Some("db")),
        ("db.corp", 5432, Some("db")),
        ("db.corp", 80, Some("db")),
        ("shared.corp", 5432, Some("db")),
        ("shared.corp", 22, Some("shell")),
        ("shared.corp", 80, None),
        ("10.0.0.5", 5432, None),
        ("nothing", 5432, None),
        ("db.ztsa.ztsa", 5432, None),
    ] {
        assert_eq!(found(host, port).as_deref(), wanted, "{host}:{port}");
    }
    assert!(config.app_named("db").is_some() && config.app_named("db.ztsa").is_none());
}

#[test]
fn two_apps_never_answer_to_one_name() {
    let twice = with_apps(&(app("db", "a:1", "") + &app("db", "b:1", ""))).unwrap_err();
    assert!(twice.contains(":16: the app `db` is already in /etc/ztsa/gateway.toml:11"), "{twice}");
    let host = with_apps(&(app("a", "a:1", "\"x.corp\"") + &app("b", "b:1", "\"X.corp\""))).unwrap_err();
    assert!(host.contains("the host `x.corp:1` is already in"), "{host}");
    let name = with_apps(&(app("a", "a:1", "") + &app("b", "b:1", "\"a.ztsa\""))).unwrap_err();
    assert!(name.contains("the host `a` is already in"), "{name}");
    let kind = with_apps(&app("a", "a:1", "").replace("tcp", "ftp")).unwrap_err();
    assert!(kind.contains(":12: `kind`: "), "{kind}");
    let port = with_apps(&app("a", "a", "")).unwrap_err();
    assert!(port.contains(":13: `target`: "), "{port}");
}

#[test]
fn a_further_file_adds_and_replaces() {
    let mut config = parse(SMALL).unwrap();
    let extra = "classic_connect = true\n".to_owned() + "[risk]\ninterval = \"1s\"\n" + &app("db", "a:1", "");
    config.add(&extra, Path::new("/home/me/more.toml")).unwrap();
    assert!(config.classic_connect && config.app_named("db").is_some());
    assert_eq!(config.risk.interval, Duration::from_secs(1));
    assert_eq!(config.tls.cert, PathBuf::from("/etc/ztsa/gw.pem"));
    config.add("[policy]\ndir = \"p\"", Path::new("/home/me/more.toml")).unwrap();
    assert_eq!(config.policy.dir, PathBuf::from("/home/me/p"), "relative to the file that says so");
    let error = config.add(&app("db", "b:1", ""), Path::new("/home/me/again.toml")).unwrap_err();
    assert_eq!((error.file(), error.line()), (Path::new("/home/me/again.toml"), Some(2)));
    assert!(error.to_string().contains("already in /home/me/more.toml:5"), "{error}");
    assert_eq!(config.apps.len(), 1, "a mistake changes nothing");
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let error = Config::load(Path::new("/nowhere/gateway.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/gateway.toml: cannot be read: "), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_change_of_a_right_file_is_answered(at in 0..FULL.len(), with in ".{0,3}") {
        let mut text = FULL.to_owned();
        text.replace_range(at..=at, &with);
        let _ = parse(&text);
    }
}
