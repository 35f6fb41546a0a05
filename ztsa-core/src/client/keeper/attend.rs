//! Keeps the gateway informed of this device while anything is open: a change for the worse is told at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Backoff, Needs, Work};
use crate::client::refusal;
use crate::posture::{INTERVAL, Watch};

/// Changes come in bursts: what follows within this time is told together.
const BURST: Duration = Duration::from_millis(100);

/// Looks at what the gateway asks for whenever it may have changed, and once a minute, and tells what is new.
pub(super) async fn run(work: Arc<Work>, mut needs: watch::Receiver<Needs>) {
    let mut backoff = Backoff::default();
    while needs.wait_for(|needs| needs.open > 0 || needs.events).await.is_ok() {
        let wanted = work.api.posture_wanted().await.unwrap_or_default();
        // before looking: a change while looking is a change
        let mut watch = Watch::new(&wanted, work.api.tokens().config().certificate.as_ref());
        let pause = match work.api.report_news().await {
            Ok(()) => {
                backoff = Backoff::default();
                INTERVAL
            }
            Err(error) => {
                tracing::debug!(%error, "the state of this device was not delivered");
                backoff.after(&refusal::of_api(&error))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = work.look.notified() => {}
            () = watch.changed() => tokio::time::sleep(BURST).await,
        }
    }
}
