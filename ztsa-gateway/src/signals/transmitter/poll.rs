//! Delivery by poll (RFC 8936).

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use ztsa_proto::set::delivery::{POLL, PollRequest, PollResponse};
use ztsa_proto::set::stream::Status;

use super::Entry;
use crate::measure::{Counters, Sent};

/// How long a poll that finds nothing is held open.
const LONG: Duration = Duration::from_secs(25);
/// How many tokens one answer holds at most.
const MOST: usize = 100;

/// Takes what was acknowledged out of the outbox, and gives what waits; waits for something when that is wanted.
///
/// # Cancel safety
/// Cancel-safe: a token leaves the outbox when it is acknowledged, not when it is given.
pub(super) async fn answer(entry: &Entry, request: &PollRequest, sent: &Counters<Sent>) -> PollResponse {
    for jti in &request.ack {
        if entry.outbox.done(jti) {
            sent.add(Sent::Delivered);
        }
    }
    for (jti, fault) in &request.set_errs {
        if entry.outbox.done(jti) {
            sent.add(Sent::Refused);
            let receiver = &entry.receiver.settings.name;
            tracing::warn!(receiver, jti, fault.err, fault.description, "a receiver refused a signal");
        }
    }
    let most = request.max_events.unwrap_or(MOST).min(MOST);
    let patient = most > 0 && !request.return_immediately.unwrap_or(false);
    let deadline = Instant::now() + LONG;
    loop {
        let woken = entry.wake.notified();
        tokio::pin!(woken);
        // before looking: what comes meanwhile wakes
        woken.as_mut().enable();
        let (flows, gone) = {
            let state = entry.state();
            (state.status == Status::Enabled && state.stream.delivery.method == POLL, state.gone)
        };
        let (tokens, more_available) = if flows { entry.outbox.first(most) } else { (Vec::new(), false) };
        let over = gone || !tokens.is_empty() || !patient;
        if over || timeout_at(deadline, woken).await.is_err() {
            let sets = tokens.into_iter().map(|token| (token.jti, token.text)).collect();
            return PollResponse { sets, more_available };
        }
    }
}
