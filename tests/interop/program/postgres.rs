//! PostgreSQL, with a certificate for the name that people know it by.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificate::Authority;
use crate::binary::command;
use crate::folder::Folder;
use crate::process::{Process, finish, free_port};

/// The real name of the database's host; only the gateway can resolve it.
pub const HOST: &str = "db.prod.internal";

/// The account that a database runs as when the test is root: PostgreSQL refuses to.
const NOBODY: u32 = 65534;

/// A running server with one superuser, `app`.
pub struct Postgres {
    pub port: u16,
    _process: Process,
    _folder: Folder,
}

impl Postgres {
    pub fn start(authority: &Authority) -> Self {
        let folder = Folder::new("postgres");
        let data = folder.join("data");
        fs::create_dir(&data).unwrap();
        give(&data);
        let mut initdb = as_nobody(&program("initdb"));
        initdb.args(["--username=app", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
        finish(&mut initdb).ok();
        let (cert, key) = authority.sign("postgres", &format!("DNS:{HOST}"));
        for (from, to) in [(cert, "server.crt"), (key, "server.key")] {
            let to = data.join(to);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            give(&to);
        }
        let port = free_port();
        let mut postgres = as_nobody(&program("postgres"));
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "fsync=off"]);
        postgres.args(["-c", "ssl=on", "-c", "unix_socket_directories="]);
        let mut process = Process::start("postgres", &folder, &mut postgres);
        process.line("database system is ready to accept connections");
        Self { port, _process: process, _folder: folder }
    }
}

fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn as_nobody(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command(program);
    }
    let mut setpriv = command("setpriv");
    setpriv.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]).arg(program);
    setpriv.current_dir("/");
    setpriv
}

/// Finds a program of the newest PostgreSQL server: Debian keeps them out of PATH.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|v| v.path().join("bin").join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}
