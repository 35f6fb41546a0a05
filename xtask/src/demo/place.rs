//! The demo's own corner of the machine: one temporary folder, and what a command sees of the environment.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tokio::process::Command;

use crate::command::Failure;
use crate::workspace::Workspace;

/// A temporary folder with a home for the person, and the programs that were built.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    /// Where `ztsa` and `ztsa-gateway` are.
    pub(super) programs: PathBuf,
}

impl Place {
    /// Makes the folder; others may look into it (a database runs as its own user), not write to it.
    pub(super) fn make(workspace: &Workspace) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("ztsa-demo-{}", std::process::id()));
        let place = Self { folder, programs: workspace.target.join("debug") };
        place.folder("")?;
        place.mode("", 0o755)?;
        for name in ["home", "logs"] {
            place.folder(name)?;
            place.mode(name, 0o700)?;
        }
        Ok(place)
    }

    /// A file or folder in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where servers write their logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.join("logs")
    }

    /// Makes a folder in it.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.join(name);
        fs::create_dir_all(&path).map_err(|source| Failure::file(&path, source))?;
        Ok(path)
    }

    /// Writes a file in it, readable by its owner alone.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.join(name);
        fs::write(&path, text).map_err(|source| Failure::file(&path, source))?;
        self.mode(name, 0o600)?;
        Ok(path)
    }

    fn mode(&self, name: &str, mode: u32) -> Result<(), Failure> {
        let path = self.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|source| Failure::file(&path, source))
    }

    /// Returns a command that sees nothing of the environment but where programs are.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.variables()).env("HOME", self.join("home")).current_dir(self.join("home"));
        command
    }

    /// The variables of every command, which are also those that a person needs to go on.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        let text = |path: PathBuf| path.display().to_string();
        vec![
            ("PATH", format!("{}:{path}:/usr/sbin:/sbin", self.programs.display())),
            ("LANG", "C.UTF-8".to_owned()),
            ("ZTSA_CONFIG_DIR", text(self.join("home/config"))),
            ("ZTSA_STATE_DIR", text(self.join("home/state"))),
            ("ZTSA_STORE", "file".to_owned()),
            ("ZTSA_CA_FILE", text(self.join("gateway/ca.pem"))),
            ("ZTSA_ADMIN", text(self.join("gateway/admin.sock"))),
            ("PGUSER", "app".to_owned()),
            ("PGDATABASE", "postgres".to_owned()),
        ]
    }

    /// Returns the person's `ztsa` with these arguments.
    pub(super) fn ztsa(&self, arguments: &[&str]) -> Command {
        self.ours("ztsa", arguments)
    }

    /// Returns the administrator's `ztsa-gateway` with these arguments.
    pub(super) fn gateway(&self, arguments: &[&str]) -> Command {
        self.ours("ztsa-gateway", arguments)
    }

    fn ours(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(self.programs.join(name));
        command.args(arguments);
        command
    }

    /// Removes the folder with everything in it.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.folder).map_err(|source| Failure::file(&self.folder, source))
    }
}

/// Finds a port of 127.0.0.1 that nothing listens on.
pub(super) fn free_port() -> Result<u16, Failure> {
    let found = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    found.map(|address| address.port()).map_err(|source| Failure::Wrong(format!("no free port on 127.0.0.1: {source}")))
}
