//! Node.js with the certified OpenID provider and relying party of npm.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::binary::{command, target};
use crate::folder::Folder;

/// Returns a command that runs this script, which may import what `tests/interop/oidc_provider` installs, and `visitor.mjs`.
pub fn node(folder: &Folder, name: &str, script: &str) -> Command {
    let installed = target().join("oidc_provider/node_modules");
    assert!(installed.is_dir(), "oidc-provider is missing: run `cargo xtask test --only install`");
    if !folder.join("node_modules").exists() {
        symlink(&installed, folder.join("node_modules")).unwrap();
    }
    folder.write("visitor.mjs", include_str!("../oidc_provider/visitor.mjs"));
    let mut node = command(installed.join("node/bin/node"));
    node.arg(folder.write(name, script));
    node
}
