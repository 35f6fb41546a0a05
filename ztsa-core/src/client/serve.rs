//! Apps as streams, on local ports and on pipes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use ztsa_net::relay::Meter as _;
use ztsa_proto::name::{AppName, Destination, HostName};
use ztsa_proto::secret::Secret;

use super::{AppStream, Client, ConnectError, ForwardError};
use crate::listener::dial::{Dial as _, lost};
use crate::listener::event::Way;
use crate::listener::forward::Forward;
use crate::listener::gate::Doors;
use crate::listener::listen::{Listen, ListenError};
use crate::listener::pac;
use crate::listener::proxy::Proxy;
use crate::listener::stdio::{self, Carried, StdioError};
use crate::tunnel::{Early, Settled};

/// How long a port waits for the list of apps, in which its app's other names stand.
const LIST: Duration = Duration::from_secs(2);

impl Client {
    /// Opens an app as a byte stream, without a local port.
    ///
    /// # Errors
    /// [`ConnectError`]; a refusal carries the gateway's reason and remedy.
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing is left open.
    pub async fn connect(&self, name: &str) -> Result<AppStream, ConnectError> {
        self.connect_with(name, &[]).await
    }

    /// Opens an app as [`Client::connect`] does and sends the first bytes along with the opening, so that the app's first
    /// answer takes one round trip instead of two. Of more than [`EARLY_MAX`](crate::tunnel::EARLY_MAX) bytes the rest follows
    /// by itself.
    ///
    /// # Errors
    /// [`ConnectError`]; a refusal carries the gateway's reason and remedy, and the app has got nothing.
    ///
    /// # Cancel safety
    /// Not cancel-safe: whether the app has got the bytes is then not known.
    pub async fn connect_with(&self, name: &str, first: &[u8]) -> Result<AppStream, ConnectError> {
        let to = self.destination(name).await?;
        let link = self.link();
        let mut early = Early::bytes(first);
        match link.open(&to, Way::Library, &mut early).await {
            Ok(tunnel) => {
                let open = self.inner.reporter.opened(to, Way::Library, tunnel.id);
                let Settled { sent, rest, .. } = early.settle();
                open.traffic.sent(sent as u64);
                let mut stream = AppStream::new(tunnel, open, link);
                let followed = stream.write_all(&rest).await;
                followed.map_err(|error| ConnectError::Refused(lost(error.to_string())))?;
                Ok(stream)
            }
            Err(refused) => {
                self.inner.reporter.refused(&to, Way::Library, refused.clone());
                Err(ConnectError::Refused(refused))
            }
        }
    }

    /// Serves one app on a local port: `127.0.0.1:5432`, `0` for a free one, or [`Listen`].
    ///
    /// # Errors
    /// [`ForwardError::Listen`] names who holds a port that is taken.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn forward<L>(&self, name: &str, listen: L) -> Result<Forward, ForwardError>
    where
        L: TryInto<Listen>,
        L::Error: Into<ListenError>,
    {
        let listen = listen.try_into().map_err(|error| ForwardError::Listen(error.into()))?;
        let to = self.destination(name).await.map_err(ForwardError::Destination)?;
        let listener = listen.bind().map_err(ForwardError::Listen)?;
        self.inner.keeper.follow();
        let app = match self.inner.directory.known_apps() {
            Some(apps) => pac::app_of(&apps, &to.host).cloned(),
            // without the list the port knows the name that was given, and serves all the same
            None => tokio::time::timeout(LIST, self.app(&to.host)).await.ok().and_then(Result::ok).flatten(),
        };
        let doors = Doors::new(&to, app.as_ref());
        Ok(Forward::spawn(listener, to, doors, self.link(), self.inner.reporter.clone()))
    }

    /// Serves one app where its configuration or its name says: its local port, else one derived from its name, the
    /// same every time.
    ///
    /// # Errors
    /// [`ForwardError::Listen`] names who holds a port that is taken.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn forward_at_home(&self, app: &AppName) -> Result<Forward, ForwardError> {
        let found = self.app(&HostName::from(app)).await.map_err(ConnectError::from);
        let port = found.map_err(ForwardError::Destination)?.and_then(|app| app.local_port);
        let listen = port.map_or_else(|| Listen::derived(app), Listen::Loopback);
        self.forward(app.as_str(), listen).await
    }

    /// Serves every app on one local port, by SOCKS5, SOCKS4a, HTTP CONNECT and plain HTTP.
    ///
    /// # Errors
    /// [`ListenError::Taken`] names who holds a port that is taken.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    #[expect(clippy::unused_async, reason = "it binds, as every start does; that it needs no wait is not a promise")]
    pub async fn proxy<L>(&self, listen: L) -> Result<Proxy, ListenError>
    where
        L: TryInto<Listen>,
        L::Error: Into<ListenError>,
    {
        self.serve_proxy(listen.try_into().map_err(Into::into)?, None)
    }

    /// Serves as [`Client::proxy`] does, to programs that know a password (any user name).
    ///
    /// # Errors
    /// [`ListenError::Taken`] names who holds a port that is taken.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    #[expect(clippy::unused_async, reason = "it binds, as every start does; that it needs no wait is not a promise")]
    pub async fn proxy_with_password<L>(&self, listen: L, password: Secret<String>) -> Result<Proxy, ListenError>
    where
        L: TryInto<Listen>,
        L::Error: Into<ListenError>,
    {
        self.serve_proxy(listen.try_into().map_err(Into::into)?, Some(password))
    }

    /// Carries bytes between an app and a pair of streams, until both directions have ended.
    ///
    /// # Errors
    /// [`StdioError`]: anything but the orderly end of both directions.
    ///
    /// # Cancel safety
    /// Dropping the future resets the connection to the app.
    pub async fn stdio<R, W>(&self, to: &Destination, input: R, output: W) -> Result<Carried, StdioError>
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        stdio::carry(&self.link(), to, &self.inner.reporter, input, output).await
    }

    fn serve_proxy(&self, listen: Listen, password: Option<Secret<String>>) -> Result<Proxy, ListenError> {
        let listener = listen.bind()?;
        self.inner.keeper.follow();
        Ok(Proxy::spawn(listener, password, self.link(), self.inner.reporter.clone()))
    }
}
