//! What a listener needs from the client behind it: to open an app, and to carry bytes to it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use ztsa_net::relay::{End, Meter};
use ztsa_proto::app::AppList;
use ztsa_proto::capsule::Notice;
use ztsa_proto::name::{Destination, TunnelId};
use ztsa_proto::problem::{self, Problem};

use super::event::{Open, Way};
use crate::tunnel::Early;

/// How long a new local connection waits for a gateway that cannot be reached.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Opens apps.
pub(crate) trait Dial: Clone + Send + Sync + 'static {
    /// What is open then.
    type Opened: Opened;

    /// Opens a connection to an app, or says why not.
    ///
    /// What `early` has may be sent along with the opening; what was not is found in [`Early::settle`].
    fn open(
        &self,
        to: &Destination,
        way: Way,
        early: &mut Early<'_>,
    ) -> impl Future<Output = Result<Self::Opened, Arc<Problem>>> + Send;

    /// The apps that this person may know of; answered from memory where it can be.
    fn apps(&self) -> impl Future<Output = Result<Arc<AppList>, Arc<Problem>>> + Send;
}

/// A way to an app that is open.
pub(crate) trait Opened: Send + 'static {
    /// The same as one stream.
    type Stream: AsyncRead + AsyncWrite + Informed + Unpin + Send + 'static;

    /// The gateway's number of it, where it has one.
    fn id(&self) -> Option<TunnelId>;

    /// Carries bytes until both directions have ended or something breaks. The local side is left open.
    fn carry<R, W>(
        self,
        reader: &mut R,
        writer: &mut W,
        notify: &mut (dyn FnMut(&Notice) + Send),
        meter: &dyn Meter,
    ) -> impl Future<Output = End> + Send
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send;

    /// Makes one stream of it.
    fn into_stream(self) -> Self::Stream;
}

/// A stream that learns of its access by being read.
pub(crate) trait Informed {
    /// Why access is suspended at the moment, as far as reading has learnt.
    fn suspended(&self) -> Option<&Arc<Problem>>;
    /// Why access has ended, where reading has learnt it.
    fn ended(&self) -> Option<&Arc<Problem>>;
}

/// Opens an app; while the gateway cannot be reached it tries again, for `patience` in all.
///
/// # Errors
/// The last refusal.
///
/// # Cancel safety
/// Cancel-safe: nothing is left open.
pub(crate) async fn open<D: Dial>(
    dial: &D,
    to: &Destination,
    way: Way,
    patience: Duration,
    early: &mut Early<'_>,
) -> Result<D::Opened, Arc<Problem>> {
    let deadline = Instant::now() + patience;
    // boxed, so that a tunnel's task does not carry room for its opening
    let mut refusal = match Box::pin(dial.open(to, way, early)).await {
        Err(refusal) => refusal,
        opened => return opened,
    };
    let mut pause = Duration::from_millis(100);
    while is_passing(&refusal) && !early.at_risk() && Instant::now() + pause <= deadline {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
        match tokio::time::timeout_at(deadline, Box::pin(dial.open(to, way, early))).await {
            Ok(Err(again)) => refusal = again,
            Ok(opened) => return opened,
            Err(_) => break,
        }
    }
    Err(refusal)
}

/// Tells whether the gateway is away for the moment, so that waiting for it is what people expect.
fn is_passing(problem: &Problem) -> bool {
    matches!(problem.code.as_str(), "gateway.unavailable" | "gateway.draining" | "network.lost")
}

/// Says why a connection was cut; `None` when it ended as its programs wished, or by the local program's doing. The
/// gateway's reason may still be on its way.
///
/// # Cancel safety
/// Cancel-safe.
pub(crate) async fn cut(end: &End, open: &Open) -> Option<Arc<Problem>> {
    match end {
        End::Finished | End::Local(_) => None,
        End::Access(problem) => Some(problem.clone()),
        End::Tunnel(error) => Some(open.reason(error).await.unwrap_or_else(|| lost(error.to_string()))),
        End::Idle => Some(lost("one side had ended and the other was silent for half an hour".to_owned())),
    }
}

/// Says that a connection broke, without the gateway's saying why.
pub(crate) fn lost(detail: String) -> Arc<Problem> {
    Arc::new(problem::new("network.lost").with_detail(detail))
}
