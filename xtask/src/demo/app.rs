//! The private apps: a PostgreSQL and an OpenSSH server of the demo's own, where the machine has them.

use std::os::unix::fs::chown;
use std::path::Path;

use tokio::process::Command;

use crate::command::{self, Failure};
use crate::programs;

use super::place::{Place, free_port};
use super::process::{Server, finish};

/// The account that a database runs as when the demo is root: PostgreSQL refuses to.
const NOBODY: u32 = 65534;

/// The app that questions are asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Database {
    /// A real one.
    Postgres { port: u16, version: String },
    /// None could be had: the gateway's own echo app stands in.
    Echo { why: String },
}

/// A real sshd with a key for the person.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) port: u16,
    pub(super) version: String,
}

impl Database {
    /// The app's name at the gateway.
    pub(super) fn app(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => "db-prod",
            Self::Echo { .. } => "echo",
        }
    }

    /// The client's command that asks the question; the answer is [`Database::answer`].
    pub(super) fn ask(&self) -> Vec<&'static str> {
        match self {
            Self::Postgres { .. } => {
                vec!["psql", "-XAtc", "select 6 * 7, 'asked on port', inet_server_port()"]
            }
            Self::Echo { .. } => {
                vec!["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/{port}; echo 'hello, echo' >&3; head -n 1 <&3"]
            }
        }
    }

    /// What only this app can answer.
    pub(super) fn answer(&self) -> String {
        match self {
            Self::Postgres { port, .. } => format!("42|asked on port|{port}"),
            Self::Echo { .. } => "hello, echo".to_owned(),
        }
    }

    /// The client's command that says `live` and then stays connected.
    pub(super) fn stay(&self) -> Vec<&'static str> {
        match self {
            Self::Postgres { .. } => vec!["psql", "-XAt", "-c", "select 'live'", "-c", "select pg_sleep(600)"],
            Self::Echo { .. } => vec![
                "bash",
                "-c",
                "exec 3<>/dev/tcp/127.0.0.1/{port}; echo live >&3; while read -r -u 3 l; do echo \"$l\"; done; exit 2",
            ],
        }
    }
}

/// Starts a PostgreSQL, if its programs are here.
pub(super) async fn postgres(place: &Place, servers: &mut Vec<Server>) -> Result<Option<Database>, Failure> {
    let (Some(initdb), Some(postgres)) = (programs::postgres("initdb"), programs::postgres("postgres")) else {
        return Ok(None);
    };
    if command::find("psql").is_none() {
        return Ok(None);
    }
    let data = place.folder("database")?;
    give(&data)?;
    let mut init = as_nobody(place, &initdb);
    init.args(["--username=app", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
    finish(&mut init).await?.ok()?;
    let port = free_port()?;
    let mut server = as_nobody(place, &postgres);
    server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "fsync=off"]);
    server.args(["-c", "unix_socket_directories="]);
    let mut server = Server::start("postgres", &place.logs(), &mut server)?;
    let ready = server.line("database system is ready to accept connections").await;
    servers.push(server);
    ready?;
    let version = finish(place.command(&postgres).arg("--version")).await?.ok()?;
    let version = version.split_whitespace().nth(2).unwrap_or_default().to_owned();
    Ok(Some(Database::Postgres { port, version }))
}

/// Starts an OpenSSH server that lets this user in by a key of its own, if its programs are here.
pub(super) async fn shell(place: &Place, servers: &mut Vec<Server>) -> Result<Option<Shell>, Failure> {
    let (Some(sshd), true) = (command::find("sshd"), command::find("ssh").is_some()) else { return Ok(None) };
    let folder = place.folder("ssh")?;
    for name in ["host_key", "user_key"] {
        let mut keygen = place.command("ssh-keygen");
        finish(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name))).await?.ok()?;
    }
    privilege_separation()?;
    let port = free_port()?;
    let config = place.write(
        "ssh/sshd_config",
        &format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/user_key.pub\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
             PrintMotd no\nPrintLastLog no\n",
            folder = folder.display(),
        ),
    )?;
    let mut server = place.command(&sshd);
    let mut server = Server::start("sshd", &place.logs(), server.args(["-D", "-e", "-f"]).arg(config))?;
    let ready = server.listens(port).await;
    servers.push(server);
    ready?;
    let host_key = std::fs::read_to_string(folder.join("host_key.pub"));
    let host_key = host_key.map_err(|source| Failure::file(&folder.join("host_key.pub"), source))?;
    place.write("ssh/known_hosts", &format!("bastion {host_key}"))?;
    place.write(
        "ssh/config",
        &format!(
            "Host bastion\n  User {user}\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n  BatchMode yes\n\
             \x20 UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n",
            user = user(place).await?,
            folder = folder.display(),
        ),
    )?;
    let version = finish(place.command("ssh").arg("-V")).await?;
    let version = version.stderr().split([',', ' ']).next().unwrap_or_default().replace('_', " ");
    Ok(Some(Shell { port, version }))
}

/// Makes the empty folder that sshd locks its children in, where Debian's service did not make it.
fn privilege_separation() -> Result<(), Failure> {
    let folder = Path::new("/run/sshd");
    if rustix::process::geteuid().is_root() && !folder.is_dir() {
        std::fs::create_dir(folder).map_err(|source| Failure::file(folder, source))?;
    }
    Ok(())
}

async fn user(place: &Place) -> Result<String, Failure> {
    Ok(finish(place.command("id").arg("-un")).await?.ok()?.trim().to_owned())
}

fn give(path: &Path) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).map_err(|source| Failure::file(path, source))?;
    }
    Ok(())
}

fn as_nobody(place: &Place, program: &Path) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut setpriv = place.command("setpriv");
        setpriv.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]).arg(program);
        setpriv
    } else {
        place.command(program)
    };
    command.current_dir("/");
    command
}
