//! The gateway as a running thing: bound when [`Gateway::spawn`] returns, ended by [`Gateway::shutdown`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ztsa_net::accept::Listener;
use ztsa_net::clock::Clock;
use ztsa_net::lane::Lanes;
use ztsa_net::task::Scope;

use crate::admin::{Admin, AdminError};
use crate::audit::{Audit, AuditError};
use crate::authn::{Authn, AuthnSetupError};
use crate::certificate::{Certificate, CertificateError};
use crate::config::Config;
use crate::engine::{Engine, Parts};
use crate::lease::Selector;
use crate::listen;
use crate::lookup::{Lookup, LookupError};
use crate::metrics;
use crate::policy::PolicyError;
use crate::posture::{AuthorityError, Posture};
use crate::reload::{Reload, ReloadError, Reloaded};
use crate::serve::Server;
use crate::signals::{Signals, SignalsError};
use crate::store::{Store, StoreError};
use crate::stranger::Strangers;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The certificate or its key cannot be used.
    #[error("{0}. {hint}", hint = .0.hint())]
    Certificate(#[from] CertificateError),
    /// The durable state cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The gateway's keys or an issuer's client cannot be prepared.
    #[error(transparent)]
    Authn(#[from] AuthnSetupError),
    /// The policies have mistakes.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A table of `[signals]` cannot be used.
    #[error(transparent)]
    Signals(#[from] SignalsError),
    /// A file of certificate authorities cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file that `[risk]` names cannot be used.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The administrator's socket cannot be opened.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(std::io::Error),
    /// The threads that carry connections cannot be started.
    #[error("cannot start the threads that carry connections: {0}. Raise the limits of processes and open files")]
    Lanes(std::io::Error),
}

/// A running gateway. Dropping it ends everything at once.
#[derive(Debug)]
pub struct Gateway {
    scope: Scope,
    addresses: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    engine: Engine,
    store: Store,
    audit: Audit,
    admin: Admin,
    strangers: Strangers,
    reload: Reload,
    // what has begun on them may finish after the last connection was taken
    _lanes: Arc<Lanes>,
}

impl Gateway {
    /// Starts a gateway on the addresses of its configuration.
    ///
    /// # Errors
    /// [`GatewayError`] says which file, address or setting is at fault.
    pub async fn spawn(config: Config, clock: Clock) -> Result<Self, GatewayError> {
        let listener = Listener::bind_all(&config.listen).map_err(GatewayError::Listen)?;
        Self::spawn_on(listener, config, clock).await
    }

    /// Starts a gateway on a socket that is bound already.
    ///
    /// # Errors
    /// As [`Gateway::spawn`].
    #[expect(clippy::unused_async, reason = "starting blocks on the disk today; callers must not rely on that")]
    pub async fn spawn_on(listener: Listener, config: Config, clock: Clock) -> Result<Self, GatewayError> {
        let certificate = Certificate::open(&config.tls)?;
        let scrapes = config.metrics.map(|metrics| Listener::bind(metrics.listen)).transpose();
        let scrapes = scrapes.map_err(|error| GatewayError::Listen(named("[metrics] listen", &error)))?;
        let config = Arc::new(config);
        let store = Store::open(&config.store)?;
        let audit = Audit::open(&config.audit, &store)?;
        let authn = Arc::new(Authn::new(&config, &store)?);
        let engine = Engine::new(Parts {
            config: Arc::clone(&config),
            store: store.clone(),
            audit: audit.clone(),
            posture: Arc::new(Posture::new(&config)?),
            lookup: Lookup::read(&config.risk)?,
            clock: clock.clone(),
        })?;
        let signals = Signals::new(&config, &engine)?;
        let scope = Scope::new();
        signals.start(&scope.spawner());
        audit.start(&scope.spawner());
        let strangers = Strangers::new(config.limits);
        let reload = Reload {
            engine: engine.clone(),
            authn: Arc::clone(&authn),
            certificate: certificate.clone(),
            strangers: strangers.clone(),
            turn: Arc::default(),
        };
        let admin = Admin::spawn(&config.admin.socket, engine.clone(), reload.clone())?;
        let evaluation = engine.clone();
        scope.spawn(async move { evaluation.run().await });
        let lanes = Arc::new(Lanes::start().map_err(GatewayError::Lanes)?);
        let addresses = listener.local_addrs().to_vec();
        let server = Server::new(engine.clone(), authn, &signals, clock);
        let metrics = scrapes.as_ref().and_then(|scrapes| scrapes.local_addrs().first().copied());
        if let Some(scrapes) = scrapes {
            let counted = (engine.clone(), strangers.clone());
            scope.spawn(metrics::run(scrapes, move || metrics::scrape(&counted.0, &counted.1), scope.spawner()));
        }
        scope.spawn(listen::run(listener, Arc::clone(&lanes), certificate, server, strangers.clone(), scope.spawner()));
        Ok(Self { scope, addresses, metrics, engine, store, audit, admin, strangers, reload, _lanes: lanes })
    }

    /// Returns the addresses listened on, in the order of the configuration.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the address at which metrics are scraped, when the configuration asks for one.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Returns what decides and administers.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the connections on which nobody has authenticated yet.
    #[must_use]
    pub fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Reads configuration, policies and certificate again; the log says how it went.
    ///
    /// # Errors
    /// [`ReloadError`]; all stays as it was.
    ///
    /// # Cancel safety
    /// Cancel-safe: what has begun is finished by its own thread.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let reload = self.reload.clone();
        let read = tokio::task::spawn_blocking(move || reload.run()).await;
        read.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    /// Ends the gateway: no new connection or tunnel is taken, the live ones may finish within `grace`, then they are
    /// ended with a reason. Decisions and endings are in the audit log, and state on disk, when it returns.
    ///
    /// # Cancel safety
    /// Dropping the future ends everything at once.
    pub async fn shutdown(self, grace: Duration) {
        self.engine.drain();
        self.scope.end();
        let deadline = tokio::time::Instant::now() + grace;
        while !self.engine.leases().is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let reason = ztsa_proto::problem::new("gateway.draining").with_detail("the gateway is going down");
        self.engine.leases().end(&Selector::All, &Arc::new(reason), None);
        self.scope.drain(Duration::from_millis(500)).await;
        self.admin.shutdown(Duration::from_millis(500)).await;
        self.audit.flush().await;
        self.engine.keep_history();
        if let Err(error) = self.store.flush().await {
            tracing::warn!(%error, "the last changes of state are not on disk");
        }
    }
}

fn named(key: &str, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{key}: {error}"))
}
