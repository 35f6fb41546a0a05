//! Polls a transmitter for tokens (RFC 8936).

mod answer;

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;
use url::Url;
use ztsa_proto::set::delivery::{Fault, FaultCode, PollRequest};

use self::answer::{Brought, End};
use super::stream::{Backoff, PAUSES};
use super::{Receiver, Refusal, Sign, Taken};
use crate::audit::Outcome;
use crate::measure::Received;
use crate::signals::web::{Sent, WebError};

/// How long a poll may be held open by the transmitter.
const LONG: Duration = Duration::from_secs(90);
/// The pause after an answer that came at once and brought nothing: that transmitter does not hold polls open.
const IDLE: Duration = Duration::from_secs(2);
/// How many tokens one poll may bring.
const MOST: usize = 100;

/// What became of an answer.
#[derive(Default)]
struct Dealt {
    /// The tokens that were taken.
    taken: Vec<String>,
    /// Those that never will be.
    faults: BTreeMap<String, Fault>,
    /// Whether one of them was new.
    news: bool,
}

/// Says why a poll brought nothing that reads.
enum Failure {
    /// It was not answered; it may be next time.
    Outage(String),
    /// The answer does not read, and will not before somebody mends it.
    Answer(String),
}

impl Receiver {
    /// Polls for tokens for as long as it is not dropped.
    pub(super) async fn poll(self: Arc<Self>) {
        let (mut backoff, mut told, mut before) = (Backoff(PAUSES.0), None, Vec::new());
        let mut request = PollRequest { max_events: Some(MOST), return_immediately: Some(false), ..Default::default() };
        loop {
            let began = Instant::now();
            match self.polled(&request).await {
                Ok(None) => tokio::time::sleep(PAUSES.0).await,
                Ok(Some(brought)) => {
                    (backoff, told) = (Backoff(PAUSES.0), None);
                    let names: Vec<String> = brought.sets.iter().map(|(jti, _)| jti.clone()).collect();
                    // the same again: it does not heed what it is answered
                    let stands_still = names.is_empty() || names == before;
                    before = names;
                    let dealt = self.take_all(brought).await;
                    (request.ack, request.set_errs) = (dealt.taken, dealt.faults);
                    if !dealt.news && stands_still && began.elapsed() < IDLE {
                        tokio::time::sleep(IDLE).await;
                    }
                }
                Err(failure) => {
                    let kind = discriminant(&failure);
                    if told.replace(kind) != Some(kind) {
                        self.unheard(failure);
                    }
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Says that polls fail.
    fn unheard(&self, failure: Failure) {
        let transmitter = &self.config.name;
        match failure {
            Failure::Outage(cause) => tracing::warn!(transmitter, cause, "it cannot be polled"),
            Failure::Answer(cause) => {
                tracing::warn!(transmitter, cause, "nothing of it is heard until it is mended");
                let message = format!("{transmitter}: {cause}; nothing of it is heard until it is mended");
                self.engine.told(Outcome::Failure, "signal.unreadable", None, message);
            }
        }
    }

    /// Asks once; `None` while nobody knows where.
    async fn polled(&self, request: &PollRequest) -> Result<Option<Brought>, Failure> {
        let agreed =
            self.live().stream.as_ref().and_then(|stream| Url::parse(stream.delivery.endpoint_url.as_deref()?).ok());
        let Some(url) = self.config.poll_url.clone().or(agreed) else { return Ok(None) };
        let body = serde_json::to_vec(request).map_err(|error| Failure::Outage(error.to_string()))?;
        let authorization = self.authorization.as_deref();
        let sent = Sent { authorization, body: Some(("application/json", &body)), patience: Some(LONG) };
        let reply = match self.web.beginning(Method::POST, &url, sent).await {
            Ok(reply) => reply,
            // held open for longer than we wait: there was nothing
            Err(WebError::Timeout(_)) => return Ok(Some(Brought::default())),
            Err(error) => return Err(Failure::Outage(error.to_string())),
        };
        if !matches!(reply.status, 200 | 201) {
            let error = WebError::Status { url: url.to_string(), status: reply.status };
            return Err(Failure::Outage(error.to_string()));
        }
        let (mut brought, end) = Brought::read(&reply.body);
        if end == End::Short && !reply.cut {
            // the rest was lost on the way
            brought.broken = None;
        }
        if end != End::Whole && brought.sets.is_empty() && brought.broken.is_none() {
            let error = if reply.cut { WebError::TooLarge } else { WebError::NotJson };
            return Err(Failure::Answer(error(url.to_string()).to_string()));
        }
        self.live().freshness.hear(Sign::Answer, self.engine.now());
        Ok(Some(brought))
    }

    /// Takes what a poll brought. What is neither taken nor at fault is asked for again.
    async fn take_all(self: &Arc<Self>, brought: Brought) -> Dealt {
        let mut dealt = Dealt::default();
        // others go first: the next answer may hold them, or end in them as well
        let broken = brought.broken.filter(|_| brought.sets.is_empty());
        for (jti, token) in brought.sets.into_iter().take(MOST) {
            let taken = match token {
                Some(token) => self.take(&token).await,
                None => Err(Refusal::Fault(self.passed_over("there is no string in its place"))),
            };
            match taken {
                Ok(taken) => {
                    dealt.news |= taken == Taken::Applied;
                    dealt.taken.push(jti);
                }
                Err(Refusal::Fault(fault)) => drop(dealt.faults.insert(jti, fault)),
                Err(Refusal::Later(_)) => tokio::time::sleep(PAUSES.0).await,
            }
        }
        if let Some(jti) = broken {
            let fault = self.passed_over("it cannot be read within the 8 MiB of one answer");
            dealt.faults.insert(jti, fault);
        }
        dealt
    }

    /// Refuses what stands in the place of a token.
    fn passed_over(&self, why: &str) -> Fault {
        let fault = FaultCode::InvalidRequest.because(why);
        self.engine.measures().received.add(Received::Refused);
        self.refused(&fault, self.engine.now());
        fault
    }
}
