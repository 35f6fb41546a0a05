//! The directory of a development installation, and the files in it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::app::Sample;
use super::{DevError, with_added};
use crate::config::Config;

/// The policies that a new directory starts with.
const POLICY: &str = include_str!("../../policies/dev.cedar");

/// The directory and the files in it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    dir: PathBuf,
}

/// What the added configuration brings.
#[derive(Debug, Default)]
pub(super) struct Added {
    /// Its path and text.
    pub(super) file: Option<(PathBuf, String)>,
    apps: Vec<String>,
}

impl Added {
    /// Tells whether it brings an app of this name.
    pub(super) fn names(&self, app: &str) -> bool {
        self.apps.iter().any(|name| name == app)
    }
}

impl Layout {
    /// Makes the directory, with its first policies when it has none.
    pub(super) fn make(dir: &Path) -> Result<Self, DevError> {
        let error = |path: &Path, source| DevError::File { path: path.to_owned(), source };
        fs::create_dir_all(dir).map_err(|source| error(dir, source))?;
        let dir = dir.canonicalize().map_err(|source| error(dir, source))?;
        private_dir(&dir).map_err(|source| error(&dir, source))?;
        let layout = Self { dir };
        if !layout.policies().exists() {
            fs::create_dir(layout.policies()).map_err(|source| layout.error("policies", source))?;
            fs::write(layout.policies().join("dev.cedar"), POLICY)
                .map_err(|source| layout.error("policies", source))?;
        }
        Ok(layout)
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    pub(super) fn ca_key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("gateway.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.dir.join("gateway.key")
    }

    pub(super) fn admin(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }

    fn policies(&self) -> PathBuf {
        self.dir.join("policies")
    }

    fn issuer_file(&self) -> PathBuf {
        self.dir.join("issuer.addr")
    }

    /// Names a file of the directory in an error.
    pub(super) fn error(&self, name: &str, source: io::Error) -> DevError {
        DevError::File { path: self.dir.join(name), source }
    }

    /// Returns where the issuer listened the last time.
    pub(super) fn issuer_before(&self) -> Option<SocketAddr> {
        fs::read_to_string(self.issuer_file()).ok()?.trim().parse().ok()
    }

    pub(super) fn remember_issuer(&self, address: SocketAddr) -> Result<(), DevError> {
        fs::write(self.issuer_file(), format!("{address}\n")).map_err(|source| self.error("issuer.addr", source))
    }

    /// Reads the added configuration and copies the policies beside it.
    pub(super) fn added(&self, path: Option<&Path>) -> Result<Added, DevError> {
        let Some(path) = path else { return Ok(Added::default()) };
        let unreadable = |source| DevError::File { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let full = path.canonicalize().map_err(unreadable)?;
        if let Some(beside) =
            full.parent().map(|parent| parent.join("policies")).filter(|beside| *beside != self.policies())
        {
            self.copy_policies(&beside)?;
        }
        // a mistake in it is told by the configuration's own reader, with its line
        let table = text.parse::<toml::Table>().unwrap_or_default();
        let apps = table.get("app").and_then(toml::Value::as_array).into_iter().flatten();
        let apps = apps.filter_map(|app| app.get("name")?.as_str().map(str::to_owned)).collect();
        Ok(Added { file: Some((full, text)), apps })
    }

    fn copy_policies(&self, from: &Path) -> Result<(), DevError> {
        let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "cedar") {
                let to = self.policies().join(format!("added-{}", name.to_string_lossy()));
                fs::copy(entry.path(), &to).map_err(|source| DevError::File { path: to, source })?;
            }
        }
        Ok(())
    }

    /// Writes `gateway.toml` and reads it back, with the added configuration.
    pub(super) fn write_config(
        &self,
        url: &str,
        listen: SocketAddr,
        issuer: &str,
        samples: &[Sample],
        added: &Added,
    ) -> Result<Config, DevError> {
        let mut text = format!(
            r#"# Written by `ztsa-gateway dev` at each start: changes here are lost (add a file with --add-config instead).
public_url = "{url}"
listen = ["{listen}"]
classic_connect = true

[tls]
cert = "gateway.pem"
key = "gateway.key"

[[issuer]]
name = "dev"
issuer = "{issuer}"
client_id = "ztsa-cli"
scopes = ["openid", "profile", "email", "groups", "offline_access"]
audiences = ["{url}"]
resource = "{url}"
groups_claim = "groups"

[policy]
dir = "policies"

[store]
url = "sqlite:ztsa.db"

[audit]
file = "audit.ndjson"

[admin]
socket = "admin.sock"
"#
        );
        for sample in samples {
            let tags = sample.tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ");
            // writing to a String does not fail
            let _ = write!(
                text,
                "\n[[app]]\nname = \"{}\"\nkind = \"{}\"\ntarget = \"{}\"\ntags = [{tags}]\n",
                sample.name, sample.kind, sample.target
            );
            if let Some(port) = sample.local_port {
                let _ = writeln!(text, "local_port = {port}");
            }
        }
        let path = self.dir.join("gateway.toml");
        fs::write(&path, &text).map_err(|source| self.error("gateway.toml", source))?;
        Ok(with_added(Config::load(&path)?, added)?)
    }
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), DevError> {
    let write = || {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        io::Write::write_all(&mut options.open(path)?, bytes)
    };
    write().map_err(|source| DevError::File { path: path.to_owned(), source })
}

fn private_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}
