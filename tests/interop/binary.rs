//! Where the programs are: ours beside the test's own file, others in PATH and where Debian puts them.

use std::path::PathBuf;
use std::process::Command;

/// Cargo's target folder, from where this test's own file is: `TARGET/PROFILE/deps/interop-HASH`.
pub fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// The path of one of our own commands.
pub fn ours(name: &str) -> PathBuf {
    let path = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join(name);
    assert!(path.is_file(), "{} is missing: run `cargo xtask test`, or `cargo build --workspace`", path.display());
    path
}

/// Returns a command that sees nothing of the environment but where programs are.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env_clear().env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LANG", "C.UTF-8");
    command
}
