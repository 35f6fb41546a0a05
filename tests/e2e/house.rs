//! A whole installation in this process: issuer, gateway, sample apps, and people who sign in through the issuer's pages.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use ztsa_core::client::Client;
use ztsa_core::config::{Config, Proxy, StoreChoice};
use ztsa_core::http::Http;
use ztsa_core::login::{Demand, DeviceFlow, Prompt};
use ztsa_core::store::Store;
use ztsa_core::token::{LoginOptions, SessionToken, Tokens};
use ztsa_gateway::admin::call::{CallError, call};
use ztsa_gateway::admin::request::Request;
use ztsa_gateway::dev::{Dev, DevError, Options};
use ztsa_gateway::engine::Engine;
use ztsa_gateway::lease::Leases;
use ztsa_idp::person::Person;
use ztsa_net::tls::Roots;

use crate::patience::{soon, until};

/// A temporary folder, removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ztsa-e2e-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running installation.
pub struct House {
    pub dev: Dev,
    pub folder: Folder,
}

impl House {
    /// Starts one with these apps of the test besides the samples; everybody of group dev may use them.
    pub async fn new(apps: &[(&str, u16)]) -> Self {
        Self::with(apps, "").await
    }

    /// Starts one with an app of the test that speaks HTTP.
    pub async fn site(name: &str, port: u16) -> Self {
        let app = format!("name = \"{name}\"\nkind = \"http\"\ntarget = \"127.0.0.1:{port}\"\ntags = [\"sample\"]\n");
        Self::with(&[], &format!("[[app]]\n{app}")).await
    }

    /// Starts one with more configuration.
    pub async fn with(apps: &[(&str, u16)], config: &str) -> Self {
        let mut text = config.to_owned();
        for (name, port) in apps {
            write!(
                text,
                "\n[[app]]\nname = \"{name}\"\nkind = \"tcp\"\ntarget = \"127.0.0.1:{port}\"\ntags = [\"sample\"]\n"
            )
            .unwrap();
        }
        let folder = Folder::new();
        fs::write(folder.join("added.toml"), text).unwrap();
        let dev = Self::spawn(&folder, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        Self { dev, folder }
    }

    async fn spawn(folder: &Folder, listen: SocketAddr) -> Result<Dev, DevError> {
        let added = Some(folder.join("added.toml"));
        soon("the gateway", Dev::spawn(Options { dir: folder.join("dev"), listen, approve: None, add_config: added }))
            .await
    }

    /// Ends the gateway and its issuer, and starts them again in the same folder on the same port.
    pub async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// Restarts as [`House::restart`] does, and changes something in the gateway's folder of policies meanwhile.
    pub async fn restart_after(self, change: impl FnOnce(&Path)) -> Self {
        let (listen, policies) = (self.address(), self.policies());
        let Self { dev, folder } = self;
        soon("the shutdown", dev.shutdown(Duration::ZERO)).await;
        change(&policies);
        let dev = Self::spawn(&folder, listen).await.unwrap();
        Self { dev, folder }
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.dev.url().strip_prefix("https://").unwrap().parse().unwrap()
    }

    pub fn engine(&self) -> &Engine {
        self.dev.gateway().engine()
    }

    pub fn leases(&self) -> &Leases {
        self.engine().leases()
    }

    /// Waits until this many tunnels are open.
    pub async fn tunnels(&self, count: usize) {
        until(&format!("{count} tunnels"), || (self.leases().len() == count).then_some(())).await;
    }

    /// The gateway's folder of policies.
    pub fn policies(&self) -> PathBuf {
        self.folder.join("dev/policies")
    }

    /// The lines of the audit log, once one of them satisfies.
    pub async fn audit(&self, what: &str, mut satisfies: impl FnMut(&Value) -> bool) -> Value {
        until(&format!("a line of the audit log: {what}"), || {
            let text = fs::read_to_string(self.folder.join("dev/audit.ndjson")).unwrap_or_default();
            // the last line may not be whole yet
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let lines = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.into_iter().find(|line| satisfies(line))
        })
        .await
    }

    /// Carries out an administrator's order by the gateway's socket.
    pub async fn admin(&self, order: Value) -> Map<String, Value> {
        self.try_admin(order).await.unwrap()
    }

    /// Tries to carry out an administrator's order.
    pub async fn try_admin(&self, order: Value) -> Result<Map<String, Value>, CallError> {
        let request: Request = serde_json::from_value(order).unwrap();
        let socket = self.dev.admin_socket();
        soon("the administrator's answer", tokio::task::spawn_blocking(move || call(&socket, &request))).await.unwrap()
    }

    /// Configures a client that keeps everything in memory.
    pub fn config(&self) -> Config {
        let mut config = Config::new(self.dev.url()).unwrap();
        config.roots = self.roots();
        config.store = StoreChoice::Memory;
        config.proxy = Proxy::Direct;
        config
    }

    /// The roots that trust the gateway.
    pub fn roots(&self) -> Roots {
        Roots::mozilla().with_pem(&fs::read(self.dev.ca_file()).unwrap()).unwrap()
    }

    /// Makes a client of a person who has signed in; the password is the name.
    pub async fn sign_in(&self, name: &str) -> Client {
        let client = Client::open(self.config()).await.unwrap();
        self.login(&client, name).await;
        client
    }

    /// Signs a client in through the issuer's pages, as a person with a browser does.
    pub async fn login(&self, client: &Client, name: &str) -> Prompt {
        let (flow, approved) = approval(name);
        let (session, prompt) = soon("the sign-in", async { tokio::join!(client.login(flow), approved) }).await;
        session.unwrap();
        prompt
    }

    /// Signs a client in once more, as strongly as asked.
    pub async fn step_up(&self, client: &Client, name: &str, acr: &str) {
        let (flow, approved) = approval(name);
        let demand = Demand { acr_values: Some(acr.to_owned()), ..Demand::default() };
        let login = client.login(flow.demand(demand));
        soon("the stronger sign-in", async { tokio::join!(login, approved) }).await.0.unwrap();
    }

    /// Signs in below the client, where a test holds the token and the device key.
    pub async fn tokens(&self, name: &str) -> (Tokens, Arc<SessionToken>) {
        let config = self.config();
        let http = Http::new(&config).unwrap();
        let store = Store::open(&config).unwrap();
        let tokens = Tokens::open(config, http, store).await.unwrap();
        let (flow, approved) = approval(name);
        let login = tokens.login(flow, LoginOptions::default());
        let (session, _) = soon("the sign-in", async { tokio::join!(login, approved) }).await;
        (tokens, session.unwrap())
    }

    /// A TLS connection to the gateway that speaks HTTP/1.1, and nothing sent yet.
    pub async fn door(&self) -> TlsStream<TcpStream> {
        self.door_for(b"http/1.1").await
    }

    /// A TLS connection to the gateway for this protocol, and nothing sent yet.
    pub async fn door_for(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let tls = ztsa_net::tls::client_config(&self.roots(), &[protocol]).unwrap();
        let tcp = TcpStream::connect(self.address()).await.unwrap();
        let name = rustls::pki_types::ServerName::from(self.address().ip());
        soon("the handshake", tokio_rustls::TlsConnector::from(tls).connect(name, tcp)).await.unwrap()
    }

    /// An HTTP client that trusts the gateway and does nothing by itself.
    pub fn web(&self) -> reqwest::Client {
        let tls = ztsa_net::tls::client_config(&self.roots(), &[]).unwrap();
        let builder = reqwest::Client::builder().tls_backend_preconfigured(tls.as_ref().clone()).no_proxy();
        builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
    }
}

/// A device flow, and the person who approves what it asks for.
pub fn approval(name: &str) -> (DeviceFlow<'static>, impl Future<Output = Prompt>) {
    let (sender, mut prompts) = mpsc::unbounded_channel();
    let flow = DeviceFlow::new(move |prompt| sender.send(prompt).unwrap());
    let mut person = Person::new(name, name);
    let approved = async move {
        let prompt: Prompt = prompts.recv().await.unwrap();
        let address = prompt.verification_uri_complete.clone().unwrap();
        person.approve(&address).await.unwrap();
        prompt
    };
    (flow, approved)
}

/// Writes a policy file; the gateway notices by itself.
pub fn write_policy(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}
