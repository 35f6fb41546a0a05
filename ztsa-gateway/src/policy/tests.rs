//! Policies as their authors and those they concern notice them.

mod answers;
mod changes;
mod mistakes;
mod vouched;

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::config::{Config, Thresholds};

const CONFIG: &str = r#"
public_url = "https://gw.example"
[tls]
cert = "gw.pem"
key = "gw.key"
[[issuer]]
name = "corp"
issuer = "https://idp.example"
client_id = "ztsa-cli"
[[app]]
name = "wiki"
kind = "http"
target = "10.0.0.1:80"
tags = ["intranet"]
[[app]]
name = "db-prod"
kind = "postgresql"
target = "10.0.0.2:5432"
tags = ["prod", "database"]
[[app]]
name = "payroll"
kind = "http"
target = "10.0.0.3:80"
tags = ["prod"]
"#;

fn apps() -> Vec<Arc<App>> {
    Config::parse(CONFIG, Path::new("/")).unwrap().apps
}

fn source(text: &str) -> Source {
    Source { file: PathBuf::from("main.cedar"), text: text.to_owned() }
}

fn ground<'a>(policies: &'a Policies, apps: &'a [Arc<App>]) -> case::Ground<'a> {
    case::Ground { policies, apps, thresholds: &Thresholds { suspend: 60, terminate: 85 } }
}

fn compile(text: &str) -> Policies {
    Policies::compile(&[source(text)], &apps(), &Arc::default()).unwrap()
}
