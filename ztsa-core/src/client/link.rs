//! Opens apps for the listeners.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use ztsa_net::relay::{Authority, End, Meter, relay};
use ztsa_proto::app::AppList;
use ztsa_proto::capsule::Notice;
use ztsa_proto::name::{Destination, TunnelId};
use ztsa_proto::problem::{Problem, Retry};

use super::keeper::Hold;
use super::{Inner, refusal};
use crate::listener::dial::{Dial, Informed, Opened};
use crate::listener::event::Way;
use crate::stream::Stream;
use crate::tunnel::{Early, OpenOptions, Tunnel};

/// A way to the gateway's apps. While one is held, the session is renewed before it ends.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    client: Arc<Inner>,
    _hold: Hold,
}

impl Link {
    pub(super) fn new(client: Arc<Inner>) -> Self {
        let hold = client.keeper.hold();
        Self { client, _hold: hold }
    }
}

impl Dial for Link {
    type Opened = Tunnel;

    async fn open(&self, to: &Destination, _way: Way, early: &mut Early<'_>) -> Result<Tunnel, Arc<Problem>> {
        let Inner { api, pool, directory, .. } = &*self.client;
        let options = OpenOptions { grant: directory.grant(to, api.tokens().now()) };
        let refused = match pool.open_early(to, &options, early).await {
            Ok(tunnel) => return Ok(tunnel),
            Err(error) => refusal::of_open(error),
        };
        // the person may have done what was asked, in another process
        if refused.retry != Retry::AfterStepUp || !api.tokens().look_again().await {
            return Err(Arc::new(refused));
        }
        pool.open_early(to, &options, early).await.map_err(|error| Arc::new(refusal::of_open(error)))
    }

    async fn apps(&self) -> Result<Arc<AppList>, Arc<Problem>> {
        self.client.directory.recent().await.map_err(|error| Arc::new(refusal::of_api(&error)))
    }
}

impl Opened for Tunnel {
    type Stream = Stream;

    fn id(&self) -> Option<TunnelId> {
        self.id
    }

    async fn carry<R, W>(
        self,
        reader: &mut R,
        writer: &mut W,
        notify: &mut (dyn FnMut(&Notice) + Send),
        meter: &dyn Meter,
    ) -> End
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let Self { send, recv, held, .. } = self;
        let end = relay(reader, writer, send, recv, Authority::Peer(notify), meter).await;
        drop(held);
        end
    }

    fn into_stream(self) -> Stream {
        Stream::new(self)
    }
}

impl Informed for Stream {
    fn suspended(&self) -> Option<&Arc<Problem>> {
        Self::suspended(self)
    }

    fn ended(&self) -> Option<&Arc<Problem>> {
        Self::ended(self)
    }
}
