//! Everything that one measurement runs on: the private app, a gateway, a signed-in client, each a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::app;
use super::process::Process;
use super::route::Route;
use super::wire;
use crate::command::Failure;

/// The app that is measured.
pub(super) const APP: &str = "bench";
/// Another app of the same person.
pub(super) const OTHER: &str = "bench-other";
/// The person.
pub(super) const USER: &str = "alice";
/// How long the gateway may take to carry out an order.
const ORDER: Duration = Duration::from_secs(30);

/// Running processes and the ways through them.
pub(super) struct Stack {
    // they end in this order: the client first
    forward: Option<Process>,
    /// `ztsa proxy`.
    pub(super) client: Process,
    /// `ztsa-gateway dev`.
    pub(super) gateway: Process,
    /// The private app.
    pub(super) app: Process,
    /// The two relays of the lean bound: the one beside the app last.
    _relays: [Process; 2],
    programs: PathBuf,
    folder: Folder,
    environment: Vec<(&'static str, PathBuf)>,
    admin: PathBuf,
    ready: app::Ready,
    proxy: SocketAddr,
    relay: SocketAddr,
}

/// What `ztsa-gateway dev --json` says first.
#[derive(Deserialize)]
pub(super) struct GatewayReady {
    /// Its URL.
    pub(super) gateway: String,
    /// The certificate authority to trust.
    pub(super) ca_file: PathBuf,
    /// The administrator's socket.
    pub(super) admin: PathBuf,
}

/// What `ztsa proxy --json` says first.
#[derive(Deserialize)]
pub(super) struct ClientReady {
    /// Where it listens.
    pub(super) listen: SocketAddr,
}

/// A folder for one measurement, removed with it. It is short, as the path of a socket must be.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes one.
    pub(super) fn make() -> Result<Self, Failure> {
        let base = std::env::temp_dir();
        for number in 0..1000 {
            let path = base.join(format!("ztsa-bench-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Failure::file(&path, source)),
            }
        }
        Err(Failure::Wrong(format!("remove the old folders {}/ztsa-bench-*", base.display())))
    }

    /// Writes a file.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|source| Failure::file(&path, source))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // what cannot be removed is left to the machine's own cleaning of temporary files
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Stack {
    /// Starts everything; `programs` is the folder of the release binaries.
    pub(super) fn start(programs: &Path) -> Result<Self, Failure> {
        let folder = Folder::make()?;
        let (app, ready) = app(programs, &folder)?;
        let added = folder.write("apps.toml", &tables(&[(APP, ready.tcp), (OTHER, ready.other)]))?;
        let mut command = Command::new(programs.join("ztsa-gateway"));
        command.args(["dev", "--listen", "127.0.0.1:0", "--approve", USER, "--json", "--add-config"]).arg(added);
        command.arg("--dir").arg(folder.0.join("gateway"));
        let mut gateway = Process::start("gateway", &folder.0, &mut command)?;
        let said: GatewayReady = gateway.json()?;
        let environment = private(&folder, said.ca_file);
        login(programs, &folder, &environment, &said.gateway)?;
        let ztsa = |arguments: &[&str]| ztsa(programs, &environment, arguments);
        let mut client =
            Process::start("client", &folder.0, &mut ztsa(&["proxy", "--listen", "127.0.0.1:0", "--json"]))?;
        let listening: ClientReady = client.json()?;
        let (far, behind) = relay(programs, &folder, "relay-far", ready.tcp)?;
        let (near, relay) = relay(programs, &folder, "relay-near", behind)?;
        Ok(Self {
            forward: None,
            client,
            gateway,
            app,
            _relays: [near, far],
            programs: programs.to_owned(),
            folder,
            environment,
            admin: said.admin,
            ready,
            proxy: listening.listen,
            relay,
        })
    }

    /// The plain loopback copy.
    pub(super) fn tcp(&self) -> Route {
        Route::Tcp(self.ready.tcp)
    }

    /// The bare TLS 1.3 copy.
    pub(super) fn tls(&self) -> Result<Route, Failure> {
        Ok(Route::Tls(self.ready.tls, wire::client(&self.ready.certificate)?))
    }

    /// Through two processes that only pass bytes on.
    pub(super) fn relays(&self) -> Route {
        Route::Tcp(self.relay)
    }

    /// Through the client and the gateway.
    pub(super) fn tunnel(&self) -> Route {
        Route::Socks { proxy: self.proxy, app: APP.to_owned(), port: self.ready.tcp.port() }
    }

    /// The same to the other app.
    pub(super) fn other(&self) -> Route {
        Route::Socks { proxy: self.proxy, app: OTHER.to_owned(), port: self.ready.other.port() }
    }

    /// Starts `ztsa connect` and returns the way through its local port.
    pub(super) fn forward(&mut self) -> Result<Route, Failure> {
        let mut command =
            ztsa(&self.programs, &self.environment, &["connect", APP, "--listen", "127.0.0.1:0", "--json"]);
        let mut forward = Process::start("forward", &self.folder.0, &mut command)?;
        let ready: Value = forward.json()?;
        let address = ready.get("addr").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let address = address.ok_or_else(|| forward.failed(&format!("does not say where it listens, but {ready}")))?;
        self.forward = Some(forward);
        Ok(Route::Tcp(address))
    }

    /// Opens the administrator's socket.
    pub(super) fn administrator(&self) -> Result<Administrator, Failure> {
        administrator(&self.admin)
    }

    /// Explains a failed connection by what the processes have logged.
    pub(super) fn explain(&self, what: &str, error: &dyn std::fmt::Display) -> Failure {
        Failure::Wrong(format!("{what}: {error}\n{}\n{}", self.client.failed("ran"), self.gateway.failed("ran")))
    }
}

/// Starts the private app.
pub(super) fn app(programs: &Path, folder: &Folder) -> Result<(Process, app::Ready), Failure> {
    let mut command = Command::new(programs.join("xtask"));
    let mut app = Process::start("app", &folder.0, command.args(["bench", "--serve-app"]))?;
    let ready = app.json()?;
    Ok((app, ready))
}

/// Starts a process that passes connections on, and says where it listens.
fn relay(
    programs: &Path,
    folder: &Folder,
    name: &'static str,
    target: SocketAddr,
) -> Result<(Process, SocketAddr), Failure> {
    let mut command = Command::new(programs.join("xtask"));
    let target = target.to_string();
    let mut relay = Process::start(name, &folder.0, command.args(["bench", "--serve-relay", &target]))?;
    let address = relay.json()?;
    Ok((relay, address))
}

/// Opens the administrator's socket of a gateway.
pub(super) fn administrator(path: &Path) -> Result<Administrator, Failure> {
    let failed = |source| Failure::file(path, source);
    let stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(Some(ORDER)).map_err(failed)?;
    let write = stream.try_clone().map_err(failed)?;
    Ok(Administrator { path: path.to_owned(), write, read: BufReader::new(stream) })
}

/// The administrator's end of the gateway's socket.
pub(super) struct Administrator {
    path: PathBuf,
    write: UnixStream,
    read: BufReader<UnixStream>,
}

impl Administrator {
    /// Gives an order, one JSON object, and returns the answer.
    pub(super) fn order(&mut self, order: &Value) -> Result<Value, Failure> {
        let mut line = order.to_string();
        line.push('\n');
        let mut answer = String::new();
        let read = self.write.write_all(line.as_bytes()).and_then(|()| self.read.read_line(&mut answer));
        read.map_err(|source| Failure::file(&self.path, source))?;
        let value: Value = serde_json::from_str(&answer).unwrap_or_default();
        if value.get("ok") == Some(&Value::Bool(true)) {
            return Ok(value);
        }
        Err(Failure::Wrong(format!("the gateway refused the order {order}: {}", answer.trim())))
    }
}

/// Where a client keeps what is its own, and whom it trusts.
pub(super) fn private(folder: &Folder, authority: PathBuf) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("ZTSA_CA_FILE", authority),
        ("ZTSA_CONFIG_DIR", folder.0.join("config")),
        ("ZTSA_STATE_DIR", folder.0.join("state")),
        ("ZTSA_STORE", PathBuf::from("file")),
        ("HOME", folder.0.clone()),
    ]
}

/// Signs a client in.
pub(super) fn login(
    programs: &Path,
    folder: &Folder,
    environment: &[(&'static str, PathBuf)],
    gateway: &str,
) -> Result<(), Failure> {
    let mut login = ztsa(programs, environment, &["login", gateway, "--device", "--no-open"]);
    Process::start("login", &folder.0, &mut login)?.succeed()
}

/// A command of the client, apart from the settings of the machine.
pub(super) fn ztsa(programs: &Path, environment: &[(&'static str, PathBuf)], arguments: &[&str]) -> Command {
    let mut command = Command::new(programs.join("ztsa"));
    command.args(arguments).envs(environment.iter().cloned());
    // the machine's own settings are not what is measured
    for name in ["ZTSA_PROFILE", "ZTSA_GATEWAY", "ZTSA_LOG", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    command
}

/// Tables of apps for the gateway.
pub(super) fn tables(apps: &[(&str, SocketAddr)]) -> String {
    let table = |(name, target): &(&str, SocketAddr)| {
        format!("[[app]]\nname = \"{name}\"\nkind = \"tcp\"\ntarget = \"{target}\"\ntags = [\"sample\"]\n")
    };
    apps.iter().map(table).collect()
}
