//! Many people at one gateway, each with a client of their own: signed in as jobs are, with a token that this program
//! signs.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use ztsa_proto::jws::{Header, Signer as _, SoftwareKey, random_id, sign};

use super::process::Process;
use super::route::Route;
use super::scrape::sample;
use super::stack::{APP, Administrator, ClientReady, Folder, GatewayReady, administrator, app, tables, ztsa};
use crate::command::Failure;

/// Who signs the tokens.
const ISSUER: &str = "https://bench.invalid";
/// For whom they are.
const AUDIENCE: &str = "ztsa-bench";
/// Clients that are started at a time.
const AT_A_TIME: usize = 4;

/// Running processes: the app, the gateway and a client for each of the people.
pub(super) struct People {
    // they end in this order: the clients first
    clients: Vec<(Process, SocketAddr)>,
    gateway: Process,
    _app: Process,
    port: u16,
    admin: PathBuf,
    /// Where the gateway is scraped.
    pub(super) metrics: SocketAddr,
    folder: Folder,
}

/// The person of a number, as an administrator names them.
pub(super) fn user(person: usize) -> String {
    format!("{ISSUER}|{}", subject(person))
}

fn subject(person: usize) -> String {
    format!("person-{person}")
}

impl People {
    /// Starts everything and signs everybody in.
    pub(super) fn start(programs: &Path, count: usize) -> Result<Self, Failure> {
        let folder = Folder::make()?;
        let (app_process, ready) = app(programs, &folder)?;
        let key = SoftwareKey::generate().map_err(|error| Failure::Wrong(format!("no key: {error}")))?;
        let mut public = serde_json::to_value(key.public_key()).unwrap_or_default();
        if let Some(members) = public.as_object_mut() {
            members.extend([("kid".to_owned(), json!("bench")), ("alg".to_owned(), json!("ES256"))]);
        }
        let keys = folder.write("keys.json", &json!({ "keys": [public] }).to_string())?;
        let metrics = free()?;
        let config = format!(
            "{}[metrics]\nlisten = \"{metrics}\"\n[[workload]]\nname = \"bench\"\nissuer = \"{ISSUER}\"\n\
             audience = \"{AUDIENCE}\"\nmatch = {{ team = \"bench\" }}\ngroups = [\"dev\"]\njwks_file = {:?}\n",
            tables(&[(APP, ready.tcp)]),
            keys.display().to_string()
        );
        let added = folder.write("added.toml", &config)?;
        let mut command = Command::new(programs.join("ztsa-gateway"));
        command.args(["dev", "--listen", "127.0.0.1:0", "--json", "--add-config"]).arg(added);
        command.arg("--dir").arg(folder.path().join("gateway"));
        let mut gateway = Process::start("gateway", folder.path(), &mut command)?;
        let said: GatewayReady = gateway.json()?;
        let people = Mutex::new((0..count).collect::<Vec<usize>>());
        let start = || {
            let mut started = Vec::new();
            while let Some(person) = people.lock().ok().and_then(|mut left| left.pop()) {
                started.push((person, client(programs, &folder, &said, &key, person)?));
            }
            Ok(started)
        };
        let mut clients = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(start)).collect();
            let mut clients = Vec::new();
            for thread in threads {
                clients.extend(thread.join().map_err(|_| Failure::Wrong("a thread panicked".to_owned()))??);
            }
            Ok::<_, Failure>(clients)
        })?;
        clients.sort_by_key(|(person, _)| *person);
        let clients = clients.into_iter().map(|(_, client)| client).collect();
        let (port, admin) = (ready.tcp.port(), said.admin);
        Ok(Self { clients, gateway, _app: app_process, port, admin, metrics, folder })
    }

    /// The way of one of the people to the app.
    pub(super) fn route(&self, person: usize) -> Route {
        let proxy = self.clients.get(person).map_or(self.metrics, |(_, proxy)| *proxy);
        Route::Socks { proxy, app: APP.to_owned(), port: self.port }
    }

    /// Opens the administrator's socket.
    pub(super) fn administrator(&self) -> Result<Administrator, Failure> {
        administrator(&self.admin)
    }

    /// Counts the live tunnels.
    pub(super) fn live(&self) -> Result<u64, Failure> {
        sample(self.metrics, "ztsa_tunnels").map_err(|error| self.explain("a scrape of the gateway", &error))
    }

    /// The gateway's folder of policies.
    pub(super) fn policies(&self) -> PathBuf {
        self.folder.path().join("gateway/policies")
    }

    /// Explains a failure by what the gateway has logged.
    pub(super) fn explain(&self, what: &str, error: &dyn std::fmt::Display) -> Failure {
        Failure::Wrong(format!("{what}: {error}\n{}", self.gateway.failed("ran")))
    }
}

/// Starts one person's client.
fn client(
    programs: &Path,
    folder: &Folder,
    gateway: &GatewayReady,
    key: &SoftwareKey,
    person: usize,
) -> Result<(Process, SocketAddr), Failure> {
    let token = folder.write(&format!("token-{person}"), &token(key, person)?)?;
    let place = folder.path().join(subject(person));
    let environment = vec![
        ("ZTSA_CA_FILE", gateway.ca_file.clone()),
        ("ZTSA_CONFIG_DIR", place.join("config")),
        ("ZTSA_STATE_DIR", place.join("state")),
        ("ZTSA_STORE", PathBuf::from("memory")),
        ("ZTSA_WORKLOAD", token),
        ("HOME", place.clone()),
    ];
    std::fs::create_dir_all(&place).map_err(|source| Failure::file(&place, source))?;
    let arguments = ["proxy", "--gateway", &gateway.gateway, "--listen", "127.0.0.1:0", "--json"];
    let mut client = Process::start("client", &place, &mut ztsa(programs, &environment, &arguments))?;
    let ready: ClientReady = client.json()?;
    Ok((client, ready.listen))
}

fn token(key: &SoftwareKey, person: usize) -> Result<String, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = json!({
        "iss": ISSUER, "sub": subject(person), "aud": AUDIENCE, "team": "bench",
        "iat": now, "nbf": now, "exp": now + 3600, "jti": random_id(),
    });
    let signed = sign(key, &Header::es256("JWT").with_kid("bench"), &claims);
    signed.map_err(|error| Failure::Wrong(format!("a token could not be signed: {error}")))
}

/// An address that nobody listens on now.
fn free() -> Result<SocketAddr, Failure> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map_err(|error| Failure::Wrong(format!("no free port: {error}")))
}
