//! One gateway, one person, one device: the library's front door.
//!
//! Modules, each naming only those above it: `error` (why something did not work), `refusal` (every failure as a problem
//! document), `directory` (the apps, remembered), `keeper` (what runs in the background), `link` (opens apps for the
//! listeners), `stream` (an app as a byte stream), `builder`, `serve` (apps as
//! streams, on local ports and on pipes).

use std::sync::Arc;

use ztsa_proto::app::{AppInfo, AppList};
use ztsa_proto::grant::{GrantRequest, GrantResponse, TicketRequest, TicketResponse};
use ztsa_proto::name::{AppName, Destination, HostName};
use ztsa_proto::posture::{Report, Wanted};
use ztsa_proto::problem;
use ztsa_proto::session::SessionInfo;
use ztsa_proto::time::UnixTime;
use ztsa_proto::why::WhyResponse;

use crate::api::{Api, ApiError};
use crate::config::Config;
use crate::discovery::DiscoveryError;
use crate::http::Http;
use crate::listener::event::{Events, Reporter};
use crate::listener::pac;
use crate::login::Login;
use crate::store::Store;
use crate::token::{Choice, LoginOptions, Logout, Offer, SessionToken, SignInError, Status, TokenError, Tokens, Turn};
use crate::tunnel::Pool;

mod error;

mod refusal;

mod directory;

mod keeper;

mod link;

mod stream;

mod builder;

mod serve;

pub use self::builder::Builder;
pub use self::error::{BuildError, ConnectError, Error, ErrorKind, ForwardError};
pub use self::stream::AppStream;

use self::directory::Directory;
use self::keeper::Keeper;
use self::link::Link;

/// Reaches a gateway's apps for the person who is signed in.
///
/// Cheap to clone: all clones share one session, one set of connections and one stream of events. What runs in the
/// background ends with the last clone and the last thing that was started from it.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    api: Api,
    pool: Pool,
    directory: Directory,
    reporter: Reporter,
    keeper: Keeper,
}

impl Client {
    /// Begins to describe a client of a gateway, given as `gw.example.com` or `https://gw.example.com`.
    pub fn builder(gateway: &str) -> Builder {
        Builder::new(gateway)
    }

    /// Makes a client; asks nobody on the network.
    ///
    /// # Errors
    /// [`BuildError`]: TLS cannot be set up, or the state on disk cannot be read.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn open(config: Config) -> Result<Self, BuildError> {
        let http = Http::new(&config)?;
        let store = Store::open(&config)?;
        let tokens = Tokens::open(config.clone(), http, store).await?;
        let pool = Pool::new(&config, tokens.clone())?;
        let api = Api::new(tokens.clone());
        let reporter = Reporter::new();
        let keeper = Keeper::new(api.clone(), reporter.clone());
        let directory = Directory::new(api.clone());
        Ok(Self { inner: Arc::new(Inner { config, api, pool, directory, reporter, keeper }) })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Tells the time by the gateway's clock.
    pub fn now(&self) -> UnixTime {
        self.tokens().now()
    }

    /// Signs in by a [`DeviceFlow`](crate::login::DeviceFlow) or a [`BrowserFlow`](crate::login::BrowserFlow).
    ///
    /// # Errors
    /// See [`SignInError`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the sign-in up; an earlier one stays as it was.
    pub async fn login(&self, flow: impl Into<Login<'_>>) -> Result<Arc<SessionToken>, SignInError> {
        self.login_with(flow, LoginOptions::default()).await
    }

    /// Signs in as [`Client::login`] does, with a choice of issuer.
    ///
    /// # Errors
    /// See [`SignInError`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the sign-in up; an earlier one stays as it was.
    pub async fn login_with(
        &self,
        flow: impl Into<Login<'_>>,
        options: LoginOptions,
    ) -> Result<Arc<SessionToken>, SignInError> {
        let session = Box::pin(self.tokens().login(flow, options)).await?;
        self.inner.directory.forget();
        Ok(session)
    }

    /// Asks the gateway where a person can sign in.
    ///
    /// # Errors
    /// See [`DiscoveryError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn offer(&self) -> Result<Offer, DiscoveryError> {
        self.tokens().offer().await
    }

    /// Asks an issuer about itself: the one named (by name or identifier), else the first.
    ///
    /// # Errors
    /// See [`DiscoveryError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn choose(&self, offer: &Offer, wanted: Option<&str>) -> Result<Choice, DiscoveryError> {
        self.tokens().choose(offer, wanted).await
    }

    /// Signs in as [`Client::login`] does, at an issuer that was chosen before.
    ///
    /// # Errors
    /// See [`SignInError`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the sign-in up; an earlier one stays as it was.
    pub async fn login_at(
        &self,
        flow: impl Into<Login<'_>>,
        choice: &Choice,
    ) -> Result<Arc<SessionToken>, SignInError> {
        let session = Box::pin(self.tokens().login_at(flow, choice)).await?;
        self.inner.directory.forget();
        Ok(session)
    }

    /// Looks whether another process has signed in since, and goes on with its session; says whether it did.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn look_again(&self) -> bool {
        let adopted = self.tokens().look_again().await;
        if adopted {
            self.inner.directory.forget();
        }
        adopted
    }

    /// Waits until no other process is asking the person to sign in to this profile; see [`Tokens::turn`].
    ///
    /// # Errors
    /// The lock cannot be had.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn turn(&self, waiting: impl FnOnce(&str)) -> Result<Turn, TokenError> {
        self.tokens().turn(waiting).await
    }

    /// Signs out at the issuer and at the gateway, and removes the credentials; the device key stays.
    ///
    /// # Errors
    /// The credentials could not be removed; what the network did not allow is in [`Logout`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave the credentials in place.
    pub async fn logout(&self) -> Result<Logout, TokenError> {
        let ended = self.tokens().logout().await?;
        self.inner.directory.forget();
        Ok(ended)
    }

    /// Returns the session, renewed if that is due.
    ///
    /// # Errors
    /// [`TokenError::LoginRequired`] means that a person has to sign in.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn session(&self) -> Result<Arc<SessionToken>, TokenError> {
        self.tokens().session().await
    }

    /// Asks the gateway what it knows of this session now: risk, device, posture.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn refresh(&self) -> Result<SessionInfo, ApiError> {
        self.inner.api.session().await
    }

    /// Tells what is known without asking anybody: sign-in, last session, device, where credentials are kept.
    ///
    /// # Errors
    /// The state cannot be read.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn status(&self) -> Result<Status, TokenError> {
        self.tokens().status().await
    }

    /// Lists the apps that this person may know of.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn apps(&self) -> Result<AppList, ApiError> {
        Ok((*self.inner.directory.fresh().await?).clone())
    }

    /// Asks for permission to reach one app, with the reason that the audit log keeps. Tunnels to it that this client
    /// opens afterwards use the grant.
    ///
    /// # Errors
    /// [`ApiError::Denied`] says why not.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a grant that nobody uses; it ends by itself.
    pub async fn grant(&self, app: &AppName, reason: Option<&str>) -> Result<GrantResponse, ApiError> {
        let request = GrantRequest { app: app.clone(), reason: reason.map(str::to_owned) };
        let grant = self.inner.api.grant(&request).await?;
        self.inner.directory.keep(grant.clone());
        Ok(grant)
    }

    /// Asks for a ticket: a bearer credential of minutes for one app, for a program that cannot run this library.
    ///
    /// # Errors
    /// [`ApiError::Denied`] says why not.
    ///
    /// # Security
    /// Whoever holds the ticket reaches the app as this person until it ends.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a ticket that nobody knows; it ends by itself.
    pub async fn ticket(&self, request: &TicketRequest) -> Result<TicketResponse, ApiError> {
        self.inner.api.ticket(request).await
    }

    /// Asks what policy says about an app, which fact decides, and what would change it.
    ///
    /// # Errors
    /// See [`ApiError`].
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn why(&self, app: &AppName) -> Result<WhyResponse, ApiError> {
        self.inner.api.why(app).await
    }

    /// Collects what the gateway asks about this device, without sending it.
    ///
    /// # Errors
    /// The gateway's metadata cannot be had.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn posture(&self) -> Result<Report, ApiError> {
        self.inner.api.posture().await
    }

    /// Lists what the gateway asks about this device.
    ///
    /// # Errors
    /// The gateway's metadata cannot be had.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn posture_wanted(&self) -> Result<Vec<Wanted>, ApiError> {
        self.inner.api.posture_wanted().await
    }

    /// Finds out where a name leads: `APP` and a host of an app at the app's own port, `HOST:PORT` as it stands.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] with `app.unknown` when no app has the name.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn destination(&self, name: &str) -> Result<Destination, ConnectError> {
        if let Ok(to) = name.parse::<Destination>() {
            return Ok(to);
        }
        let host: HostName = name.parse()?;
        let port = match self.app(&host).await? {
            Some(app) => app.port,
            None => return Err(ConnectError::Refused(Arc::new(problem::new("app.unknown")))),
        };
        Ok(Destination::new(host, port)?)
    }

    /// Receives what happens from now on, here and at the gateway.
    pub fn events(&self) -> Events {
        self.inner.keeper.follow();
        self.inner.reporter.events()
    }

    /// Opens the connection to the gateway, so that the first tunnel takes one round trip.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] says what is in the way.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn warm(&self) -> Result<(), ConnectError> {
        self.inner.pool.warm().await.map_err(|error| ConnectError::Refused(Arc::new(refusal::of_open(error))))
    }

    /// Ends what runs in the background. Listeners and streams that are still open go on without renewal.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn close(self) {
        self.inner.keeper.end().await;
    }

    async fn app(&self, host: &HostName) -> Result<Option<AppInfo>, ApiError> {
        let apps = self.inner.directory.recent().await?;
        Ok(pac::app_of(&apps, host).cloned())
    }

    fn link(&self) -> Link {
        Link::new(Arc::clone(&self.inner))
    }

    fn tokens(&self) -> &Tokens {
        self.inner.api.tokens()
    }
}
