//! The stream of a session's events (server-sent events).

use std::{collections::VecDeque, time::Duration};

use ztsa_proto::{
    event::{Decoder, Event, EventKind, MEDIA_TYPE},
    posture::FINGERPRINT,
};

use super::{ApiError, refusal};
use crate::{
    http::{HttpError, Request, Streaming},
    token::Tokens,
};

/// A stream without even a ping for this long has broken without saying so.
const SILENCE: Duration = Duration::from_secs(60);

/// Events as they happen; dropping it closes the stream.
#[derive(Debug)]
pub struct Events {
    host: String,
    stream: Streaming,
    decoder: Decoder,
    ready: VecDeque<Event>,
    wanted: Option<String>,
}

impl Events {
    /// What the gateway asks of devices, as [`fingerprint`](ztsa_proto::posture::fingerprint) has it, where it says so.
    pub fn wanted(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// Waits for the next event; pings are left out. `None` when the gateway closed the stream.
    ///
    /// # Errors
    /// The stream broke, or was silent for a minute; open it again.
    ///
    /// # Cancel safety
    /// Cancel-safe: no event is lost.
    pub async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let silent = || HttpError::Timeout { host: self.host.clone(), connected: true };
            let chunk = tokio::time::timeout(SILENCE, self.stream.chunk()).await.unwrap_or_else(|_| Err(silent()));
            let Some(bytes) = chunk.map_err(ApiError::Http)? else { return Ok(None) };
            let broken = |error: ztsa_proto::event::EventError| HttpError::Broken {
                host: self.host.clone(),
                reason: error.to_string(),
            };
            let events = self.decoder.feed(&bytes).map_err(broken).map_err(ApiError::Http)?;
            self.ready.extend(events.into_iter().filter(|event| event.kind != EventKind::Ping));
        }
    }
}

pub(super) async fn open(tokens: &Tokens, url: &str) -> Result<Events, ApiError> {
    let mut retried = false;
    loop {
        let session = tokens.session().await?;
        let key = tokens.key();
        let mut request = Request::get(url).signed(&*key).with_token(&session.token);
        request.accept = MEDIA_TYPE;
        let refused = match tokens.http().stream(&request).await.map_err(ApiError::Http)? {
            Ok(stream) => {
                let host = stream.host().to_owned();
                let wanted = stream.header(FINGERPRINT).map(str::to_owned);
                return Ok(Events { host, stream, decoder: Decoder::new(), ready: VecDeque::new(), wanted });
            }
            Err(response) => response,
        };
        if retried || refused.status.as_u16() != 401 || super::is_step_up(&refused) {
            return Err(refusal(&refused));
        }
        tokens.reject(&session);
        retried = true;
    }
}
