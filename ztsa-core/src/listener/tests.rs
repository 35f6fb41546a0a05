//! What the listeners' tests share: a way to apps that are TCP servers in this process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ztsa_net::relay::{End, Meter};
use ztsa_net::task::Scope;
use ztsa_proto::app::{Access, AppInfo, AppList, Kind};
use ztsa_proto::capsule::Notice;
use ztsa_proto::name::{Destination, TunnelId};
use ztsa_proto::problem::{self, Problem};

use super::dial::{Dial, Informed, Opened};
use super::event::{Event, Events, Way};
use crate::tunnel::Early;

/// Reaches apps by plain TCP, or refuses them as it was told.
#[derive(Clone, Default)]
pub(super) struct Plain(Arc<Inner>);

#[derive(Default)]
struct Inner {
    apps: Mutex<HashMap<String, Result<SocketAddr, &'static str>>>,
    list: Mutex<Vec<AppInfo>>,
    asked: Mutex<Vec<String>>,
    tries: AtomicUsize,
    scope: Scope,
}

impl Plain {
    /// Adds an app.
    pub(super) fn with(self, name: &str, kind: Kind, at: SocketAddr) -> Self {
        self.0.apps.lock().unwrap().insert(name.to_owned(), Ok(at));
        self.0.list.lock().unwrap().push(AppInfo {
            name: name.parse().unwrap(),
            kind,
            hosts: Vec::new(),
            port: at.port(),
            local_port: None,
            tags: Vec::new(),
            access: Access::open(),
            needs: Vec::new(),
        });
        self
    }

    /// Adds an app that is refused with a code.
    pub(super) fn without(self, name: &str, code: &'static str) -> Self {
        self.set(name, Err(code));
        self
    }

    /// Changes what becomes of an app.
    pub(super) fn set(&self, name: &str, to: Result<SocketAddr, &'static str>) {
        self.0.apps.lock().unwrap().insert(name.to_owned(), to);
    }

    /// The destinations that were asked for.
    pub(super) fn asked(&self) -> Vec<String> {
        self.0.asked.lock().unwrap().clone()
    }

    /// What is known of the apps.
    pub(super) fn listed(&self) -> Vec<AppInfo> {
        self.0.list.lock().unwrap().clone()
    }

    /// How often an app was asked for.
    pub(super) fn tries(&self) -> usize {
        self.0.tries.load(Ordering::SeqCst)
    }

    /// Starts an app that does `serve` with each connection.
    pub(super) async fn app<F, S>(&self, serve: F) -> SocketAddr
    where
        F: Fn(TcpStream) -> S + Send + Sync + 'static,
        S: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let spawner = self.0.scope.spawner();
        self.0.scope.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = serve(stream);
                spawner.spawn(async move { drop(served.await) });
            }
        });
        address
    }

    /// Starts an app that sends back what it gets, and ends when the other side does.
    pub(super) async fn echo(&self) -> SocketAddr {
        self.app(|mut stream| async move {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await
        })
        .await
    }
}

impl Dial for Plain {
    type Opened = Tcp;

    async fn open(&self, to: &Destination, _way: Way, _early: &mut Early<'_>) -> Result<Tcp, Arc<Problem>> {
        self.0.tries.fetch_add(1, Ordering::SeqCst);
        self.0.asked.lock().unwrap().push(to.to_string());
        let known = self.0.apps.lock().unwrap().get(&to.host.to_string()).copied();
        match known.unwrap_or(Err("app.unknown")) {
            Ok(address) => Ok(Tcp(TcpStream::connect(address).await.unwrap())),
            Err(code) => Err(Arc::new(problem::new(code))),
        }
    }

    async fn apps(&self) -> Result<Arc<AppList>, Arc<Problem>> {
        Ok(Arc::new(AppList { apps: self.listed() }))
    }
}

/// A TCP connection to an app. A reset of it stands for a tunnel that is cut.
pub(super) struct Tcp(TcpStream);

impl Opened for Tcp {
    type Stream = TcpStream;

    fn id(&self) -> Option<TunnelId> {
        None
    }

    async fn carry<R, W>(
        mut self,
        reader: &mut R,
        writer: &mut W,
        notify: &mut (dyn FnMut(&Notice) + Send),
        meter: &dyn Meter,
    ) -> End
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let (mut from, mut to) = self.0.split();
        let up = async {
            let count = tokio::io::copy(reader, &mut to).await?;
            meter.sent(count);
            to.shutdown().await
        };
        let down = async {
            let count = tokio::io::copy(&mut from, writer).await?;
            meter.received(count);
            writer.shutdown().await
        };
        match tokio::try_join!(up, down) {
            Ok(_) => End::Finished,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                let problem = problem::new("session.revoked");
                notify(&Notice::End(Box::new(problem.clone())));
                End::Access(Arc::new(problem))
            }
            Err(error) => End::Local(error),
        }
    }

    fn into_stream(self) -> TcpStream {
        self.0
    }
}

impl Informed for TcpStream {
    fn suspended(&self) -> Option<&Arc<Problem>> {
        None
    }

    fn ended(&self) -> Option<&Arc<Problem>> {
        None
    }
}

/// Reads everything until the end.
pub(super) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Waits for the first event that `pick` takes.
pub(super) async fn event<T>(events: &mut Events, pick: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the reporter lives");
        if let Some(picked) = pick(event) {
            return picked;
        }
    }
}
