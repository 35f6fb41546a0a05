//! Polls a transmitter for tokens (RFC 8936).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;
use url::Url;
use ztsa_proto::set::delivery::{Fault, PollRequest, PollResponse};

use super::stream::{Backoff, PAUSES};
use super::{Receiver, Refusal, Sign};
use crate::signals::web::{Sent, WebError};

/// How long a poll may be held open by the transmitter.
const LONG: Duration = Duration::from_secs(90);
/// The pause after an answer that came at once and brought nothing: that transmitter does not hold polls open.
const IDLE: Duration = Duration::from_secs(2);
/// How many tokens one poll may bring.
const MOST: usize = 100;

impl Receiver {
    /// Polls for tokens for as long as it is not dropped.
    pub(super) async fn poll(self: Arc<Self>) {
        let (mut backoff, mut told) = (Backoff(PAUSES.0), false);
        let mut request = PollRequest { max_events: Some(MOST), return_immediately: Some(false), ..Default::default() };
        loop {
            let began = Instant::now();
            match self.polled(&request).await {
                Ok(None) => tokio::time::sleep(PAUSES.0).await,
                Ok(Some(answer)) => {
                    (backoff, told) = (Backoff(PAUSES.0), false);
                    let nothing = answer.sets.is_empty();
                    (request.ack, request.set_errs) = self.take_all(answer).await;
                    if nothing && began.elapsed() < IDLE {
                        tokio::time::sleep(IDLE).await;
                    }
                }
                Err(cause) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(transmitter = self.config.name, cause, "it cannot be polled");
                    }
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Asks once; `None` while nobody knows where.
    async fn polled(&self, request: &PollRequest) -> Result<Option<PollResponse>, String> {
        let agreed =
            self.live().stream.as_ref().and_then(|stream| Url::parse(stream.delivery.endpoint_url.as_deref()?).ok());
        let Some(url) = self.config.poll_url.clone().or(agreed) else { return Ok(None) };
        let body = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        let authorization = self.authorization.as_deref();
        let sent = Sent { authorization, body: Some(("application/json", &body)), patience: Some(LONG) };
        match self.web.json(Method::POST, &url, sent).await {
            Ok(answer) => {
                self.live().freshness.hear(Sign::Answer, self.engine.now());
                Ok(Some(answer))
            }
            // held open for longer than we wait: there was nothing
            Err(WebError::Timeout(_)) => Ok(Some(PollResponse::default())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes what a poll brought; gives what to acknowledge and what is at fault. The rest is asked for again.
    async fn take_all(self: &Arc<Self>, answer: PollResponse) -> (Vec<String>, BTreeMap<String, Fault>) {
        let (mut taken, mut faults) = (Vec::new(), BTreeMap::new());
        for (jti, token) in answer.sets.into_iter().take(MOST) {
            match self.take(&token).await {
                Ok(_) => taken.push(jti),
                Err(Refusal::Fault(fault)) => drop(faults.insert(jti, fault)),
                Err(Refusal::Later(_)) => tokio::time::sleep(PAUSES.0).await,
            }
        }
        (taken, faults)
    }
}
