//! `ztsa-gateway dev`: a whole installation on loopback, for a first look, for scripts and for tests.
//!
//! An embedded issuer (users alice of group dev, bob of group ops, mallory of none; password = name), sample apps, a
//! certificate authority of its own, and everything kept in one directory. It is the same gateway as in production,
//! started from the `gateway.toml` that it writes there.

mod app;
mod certificate;
mod layout;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ztsa_idp::{Idp, IdpError};
use ztsa_net::accept::Listener;
use ztsa_net::clock::Clock;
use ztsa_net::task::Scope;

use crate::config::{Config, ConfigError};
use crate::gateway::{Gateway, GatewayError};

use layout::Layout;

/// What a development installation is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it keeps everything; made when it is not there.
    pub dir: PathBuf,
    /// The gateway's address; loopback only. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// The user as whom the issuer approves every sign-in by itself.
    pub approve: Option<String>,
    /// Another configuration file whose tables are added; policies beside it (`policies/*.cedar`) are copied.
    pub add_config: Option<PathBuf>,
}

/// Why a development installation does not start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The address is not of this machine alone.
    #[error(
        "{0} is not a loopback address: the development gateway has well-known passwords and stays on this machine (use --listen 127.0.0.1:8443, or `ztsa-gateway run` for a real one)"
    )]
    NotLoopback(SocketAddr),
    /// The port cannot be had.
    #[error("{}; --listen 127.0.0.1:0 picks a free port", taken(address, source))]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file of the directory cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The certificates cannot be made.
    #[error("cannot make the certificates: {0}")]
    Certificate(String),
    /// The issuer does not start.
    #[error("the issuer does not start: {0}")]
    Issuer(#[from] IdpError),
    /// The added configuration has a mistake.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gateway does not start.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

fn taken(address: &SocketAddr, source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => format!("{address} is taken by another program, perhaps by another gateway"),
        _ => format!("cannot listen on {address}: {source}"),
    }
}

/// A running development installation. Dropping it ends everything at once.
#[derive(Debug)]
pub struct Dev {
    gateway: Gateway,
    idp: Idp,
    layout: Layout,
    url: String,
    _apps: Scope,
}

impl Dev {
    /// Starts the issuer, the sample apps and the gateway.
    ///
    /// # Errors
    /// [`DevError`] says what is at fault and what to do.
    pub async fn spawn(options: Options) -> Result<Self, DevError> {
        let Options { dir, listen, approve, add_config } = options;
        if !listen.ip().is_loopback() {
            return Err(DevError::NotLoopback(listen));
        }
        let layout = Layout::make(&dir)?;
        let listener = Listener::bind(listen).map_err(|source| DevError::Listen { address: listen, source })?;
        let address = listener.local_addrs().first().copied().unwrap_or(listen);
        let url = format!("https://{address}");
        let idp = issuer(&layout, approve, &url).await?;
        layout.remember_issuer(idp.local_addr())?;
        certificate::ensure(&layout)?;
        let added = layout.added(add_config.as_deref())?;
        let apps = Scope::new();
        let samples = app::spawn(&apps, &added).await.map_err(|source| layout.error("sample apps", source))?;
        let config = layout.write_config(&url, address, idp.issuer(), &samples, &added)?;
        let gateway = Gateway::spawn_on(listener, config, Clock::system()).await?;
        Ok(Self { gateway, idp, layout, url, _apps: apps })
    }

    /// Returns the gateway's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the issuer's URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.idp.issuer()
    }

    /// Returns the issuer, for tests that make it fail.
    #[must_use]
    pub fn idp(&self) -> &Idp {
        &self.idp
    }

    /// Returns the file with the certificate authority that clients must trust.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.layout.ca()
    }

    /// Returns the administrator's socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.layout.admin()
    }

    /// Returns the gateway.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Ends everything; live tunnels may finish within `grace`.
    ///
    /// # Cancel safety
    /// Dropping the future ends everything at once.
    pub async fn shutdown(self, grace: Duration) {
        self.gateway.shutdown(grace).await;
        self.idp.shutdown(Duration::from_secs(1)).await;
    }
}

/// Starts the issuer on the port it had before, so that people stay the same (issuer, subject), else on a free one.
async fn issuer(layout: &Layout, approve: Option<String>, audience: &str) -> Result<Idp, DevError> {
    let config = |listen| ztsa_idp::Config {
        listen,
        approve: approve.clone(),
        audiences: vec![audience.to_owned()],
        ..ztsa_idp::Config::default()
    };
    if let Some(before) = layout.issuer_before()
        && let Ok(idp) = Idp::spawn(config(before)).await
    {
        return Ok(idp);
    }
    Ok(Idp::spawn(config(SocketAddr::from(([127, 0, 0, 1], 0)))).await?)
}

/// Reads the added configuration beside the one that was written.
fn with_added(mut config: Config, added: &layout::Added) -> Result<Config, ConfigError> {
    if let Some((path, text)) = &added.file {
        config.add(text, path)?;
    }
    Ok(config)
}
