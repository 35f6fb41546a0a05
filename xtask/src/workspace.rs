//! Where things are: the workspace's root and cargo's target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, Failure};

/// The folders that chores work in.
pub(crate) struct Workspace {
    /// The folder of the workspace's Cargo.toml.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, wherever the configuration puts it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo where the workspace is.
    pub(crate) fn find() -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .ok_or_else(|| Failure::Wrong("xtask is not inside a workspace".to_owned()))?
            .to_owned();
        let metadata = command::read(Command::new(cargo()).current_dir(&root).args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
        ]))?;
        let metadata: serde_json::Value = serde_json::from_str(&metadata)
            .map_err(|error| Failure::Wrong(format!("cargo metadata wrote no JSON: {error}")))?;
        let target = metadata
            .get("target_directory")
            .and_then(serde_json::Value::as_str)
            .ok_or_else(|| Failure::Wrong("cargo metadata names no target_directory".to_owned()))?;
        Ok(Self { root, target: PathBuf::from(target) })
    }

    /// Returns a cargo command that runs in the workspace's root.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// The folder that cargo-installed tools of the tests are in.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}

/// The cargo that started this program, or the one of PATH.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
