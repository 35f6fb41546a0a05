//! The stream at a transmitter: found or made, kept as it should be, and asked for heartbeats.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::Value;
use url::Url;
use ztsa_net::task::Spawner;
use ztsa_proto::jws::random_id;
use ztsa_proto::set::delivery::{POLL, PUSH};
use ztsa_proto::set::stream::{
    Delivery, Status, Stream, StreamRequest, StreamStatus, Transmitter, VerificationRequest, discovery_url,
};
use ztsa_proto::time::UnixTime;

use super::{MOST_STATES, Receiver, Sign};
use crate::config::signals as settings;
use crate::signals::PUSH_PATH;
use crate::signals::web::{Reply, Sent, WebError};
use crate::store::Document;

/// The documents that hold which stream is ours.
pub(super) const DOCUMENT: &str = "ssf.stream";
/// How long a discovery document is used.
const FRESH: Duration = Duration::from_secs(600);
/// The first and the longest pause after a failure.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How often our credential is offered after a start, when that fails.
const MOST_OFFERS: u8 = 3;
/// The longest pause between heartbeats that a transmitter can ask for.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Makes of a remembered identifier what is known of the stream before the transmitter is asked.
pub(super) fn remembered(id: &str, config: &settings::Transmitter) -> Option<Stream> {
    let delivery = Delivery { method: method(config).to_owned(), ..Delivery::default() };
    (!id.is_empty()).then(|| Stream { stream_id: id.to_owned(), delivery, ..Stream::default() })
}

/// Starts what keeps one stream alive.
pub(super) fn start(receiver: &Arc<Receiver>, spawner: &Spawner) {
    if receiver.authorization.is_none() {
        return;
    }
    let (keeper, ending) = (Arc::clone(receiver), spawner.ending());
    spawner.spawn(async move {
        tokio::select! {
            () = ending => {}
            () = keeper.keep() => {}
        }
    });
    if receiver.config.delivery == settings::Delivery::Poll {
        let (poller, ending) = (Arc::clone(receiver), spawner.ending());
        spawner.spawn(async move {
            tokio::select! {
                () = ending => {}
                () = poller.poll() => {}
            }
        });
    }
}

fn method(config: &settings::Transmitter) -> &'static str {
    match config.delivery {
        settings::Delivery::Push => PUSH,
        settings::Delivery::Poll => POLL,
    }
}

/// Waits longer after each failure.
pub(super) struct Backoff(pub(super) Duration);

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSES.1);
        pause
    }
}

impl Receiver {
    /// Keeps the stream as it should be, and asks for heartbeats.
    async fn keep(&self) {
        let (mut backoff, mut told, mut warned) = (Backoff(PAUSES.0), false, false);
        loop {
            let kept = match self.agree().await {
                Ok(()) => self.verify().await,
                Err(error) => Err(error),
            };
            let unwatched = !self.is_asked() && self.config.when_stale != settings::WhenStale::Warn;
            if unwatched && !std::mem::replace(&mut warned, true) {
                tracing::warn!(
                    transmitter = self.config.name,
                    "it takes no requests for heartbeats, so when_stale can do nothing while its stream is not paused"
                );
            }
            let pause = match kept {
                Ok(()) => {
                    if std::mem::take(&mut told) {
                        tracing::info!(transmitter = self.config.name, "its stream can be managed again");
                    }
                    backoff = Backoff(PAUSES.0);
                    self.every()
                }
                Err(cause) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(transmitter = self.config.name, cause, "its stream cannot be managed");
                    }
                    backoff.next().min(self.config.verify_every)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Finds where the transmitter's keys are.
    pub(super) async fn jwks_url(&self, now: UnixTime) -> Result<Url, String> {
        if let Some(url) = &self.config.jwks_uri {
            return Ok(url.clone());
        }
        let document = self.document(now).await?;
        let url = document.jwks_uri.as_deref().ok_or("its discovery document names no jwks_uri")?;
        Url::parse(url).map_err(|error| error.to_string())
    }

    /// Gives the discovery document, fetching it when it is unknown or old.
    async fn document(&self, now: UnixTime) -> Result<Arc<Transmitter>, String> {
        if let Some((document, at)) = &self.live().document
            && now.since(*at) <= FRESH
        {
            return Ok(Arc::clone(document));
        }
        let url = discovery_url(&self.config.issuer).ok_or("its issuer is no URL")?;
        let found = self.web.json::<Transmitter>(Method::GET, &url, Sent::default()).await;
        let document = found.map_err(|error| error.to_string())?;
        if document.issuer != self.config.issuer {
            let issuer = ztsa_proto::text::printable(&document.issuer, 200);
            return Err(format!("{url} is the document of another issuer, {issuer}"));
        }
        let document = Arc::new(document);
        self.live().document = Some((Arc::clone(&document), now));
        Ok(document)
    }

    /// Finds our stream or makes it, and mends what is not as it should be.
    async fn agree(&self) -> Result<(), String> {
        let document = self.document(self.engine.now()).await?;
        let Some(endpoint) = document.configuration_endpoint.as_deref() else { return Ok(()) };
        let endpoint = Url::parse(endpoint).map_err(|error| error.to_string())?;
        let known = self.live().stream.as_ref().map(|stream| stream.stream_id.clone());
        let found = match &known {
            Some(id) => self.read(&endpoint, id).await?,
            None => None,
        };
        let found = match found {
            Some(stream) => Some(stream),
            None => self.list(&endpoint).await?.into_iter().find(|stream| self.is_ours(stream)),
        };
        let stream = match found {
            Some(stream) if self.is_right(&stream) => self.offered(&endpoint, stream).await,
            Some(stream) => self.change(Method::PATCH, &endpoint, Some(stream.stream_id)).await?,
            None => self.change(Method::POST, &endpoint, None).await?,
        };
        self.adopt(stream)?;
        self.resume(&document).await
    }

    async fn read(&self, endpoint: &Url, id: &str) -> Result<Option<Stream>, String> {
        let mut url = endpoint.clone();
        url.query_pairs_mut().append_pair("stream_id", id);
        let reply = self.call(Method::GET, &url, None::<&()>).await?;
        match reply.status {
            404 => Ok(None),
            _ => parsed(&url, &reply).map(Some),
        }
    }

    async fn list(&self, endpoint: &Url) -> Result<Vec<Stream>, String> {
        let reply = self.call(Method::GET, endpoint, None::<&()>).await?;
        match reply.status {
            404 => Ok(Vec::new()),
            // older transmitters answer with the only stream itself
            _ => match parsed::<Value>(endpoint, &reply)? {
                Value::Array(streams) => {
                    Ok(streams.into_iter().filter_map(|stream| serde_json::from_value(stream).ok()).collect())
                }
                one => Ok(serde_json::from_value(one).into_iter().collect()),
            },
        }
    }

    async fn change(&self, method: Method, endpoint: &Url, id: Option<String>) -> Result<Stream, String> {
        let request = StreamRequest {
            stream_id: id,
            events_requested: Some(self.wanted()),
            delivery: Some(self.delivery()),
            description: Some("ztsa gateway".to_owned()),
            ..StreamRequest::default()
        };
        let reply = self.call(method.clone(), endpoint, Some(&request)).await?;
        if reply.status == 409 && method == Method::POST {
            let streams = self.list(endpoint).await?;
            let first = streams.into_iter().next().ok_or("it says that there is a stream, and shows none")?;
            return Box::pin(self.change(Method::PATCH, endpoint, Some(first.stream_id))).await;
        }
        let stream = parsed(endpoint, &reply)?;
        self.live().offers = MOST_OFFERS;
        Ok(stream)
    }

    /// Tells our credential once after each start: the stream may have an older one, and no transmitter shows which.
    ///
    /// One that does not take it keeps its stream as it is.
    async fn offered(&self, endpoint: &Url, stream: Stream) -> Stream {
        let offers = self.live().offers;
        if offers >= MOST_OFFERS || self.delivery().authorization_header.is_none() {
            return stream;
        }
        self.live().offers = offers + 1;
        match self.change(Method::PATCH, endpoint, Some(stream.stream_id.clone())).await {
            Ok(changed) => changed,
            Err(cause) => {
                let transmitter = &self.config.name;
                tracing::warn!(
                    transmitter,
                    cause,
                    "it does not take the credential to push with; it may have an older one"
                );
                stream
            }
        }
    }

    fn delivery(&self) -> Delivery {
        let push = self.config.delivery == settings::Delivery::Push;
        let token = self.push_token.as_ref().filter(|_| push);
        Delivery {
            method: method(&self.config).to_owned(),
            endpoint_url: push.then(|| self.push_url()),
            authorization_header: token.map(|token| format!("Bearer {}", token.expose())),
        }
    }

    fn push_url(&self) -> String {
        format!("{}{PUSH_PATH}{}", self.resource, self.config.name)
    }

    fn is_ours(&self, stream: &Stream) -> bool {
        let place = self.config.delivery == settings::Delivery::Poll
            || stream.delivery.endpoint_url.as_deref() == Some(&self.push_url());
        stream.delivery.method == method(&self.config) && place
    }

    fn is_right(&self, stream: &Stream) -> bool {
        let wanted = self.wanted();
        let asked = stream.events_requested.is_empty()
            || (wanted.len() == stream.events_requested.len()
                && wanted.iter().all(|e| stream.events_requested.contains(e)));
        self.is_ours(stream) && asked
    }

    /// Takes a stream as ours, and remembers it across restarts.
    fn adopt(&self, stream: Stream) -> Result<(), String> {
        if stream.iss != self.config.issuer {
            return Err("its stream is of another issuer than its discovery document".to_owned());
        }
        if !stream.aud.iter().any(|audience| self.config.audiences.contains(audience)) {
            let found = ztsa_proto::text::printable(&stream.aud.join(", "), 200);
            return Err(format!("its stream is for {found}; add that to `audiences` if it is meant for this gateway"));
        }
        let mut live = self.live();
        let is_new = live.stream.as_ref().is_none_or(|known| known.stream_id != stream.stream_id);
        if is_new {
            tracing::info!(transmitter = self.config.name, stream = stream.stream_id, "its stream is agreed on");
            let (key, value) = (self.config.name.clone(), stream.stream_id.clone());
            let document = Document { kind: DOCUMENT, key, value, at: self.engine.now() };
            self.engine.store().put_document(document);
        }
        live.stream = Some(stream);
        Ok(())
    }

    /// Asks that a stream that was paused or disabled flows again.
    async fn resume(&self, document: &Transmitter) -> Result<(), String> {
        let Some(id) = self.live().stream.as_ref().map(|stream| stream.stream_id.clone()) else { return Ok(()) };
        let Some(endpoint) = document.status_endpoint.as_deref() else { return Ok(()) };
        let endpoint = Url::parse(endpoint).map_err(|error| error.to_string())?;
        let mut url = endpoint.clone();
        url.query_pairs_mut().append_pair("stream_id", &id);
        let reply = self.call(Method::GET, &url, None::<&()>).await?;
        let now = self.engine.now();
        if parsed::<StreamStatus>(&url, &reply)?.status == Status::Enabled {
            self.live().freshness.hear(Sign::Flows, now);
            return Ok(());
        }
        let wanted = StreamStatus { stream_id: id, status: Status::Enabled, reason: None };
        let reply = self.call(Method::POST, &endpoint, Some(&wanted)).await?;
        match parsed::<StreamStatus>(&endpoint, &reply)?.status {
            Status::Enabled => self.live().freshness.hear(Sign::Flows, now),
            status => return Err(format!("its stream is {} and cannot be resumed", status.as_str())),
        }
        Ok(())
    }

    /// How often a heartbeat is asked for: as the table says, unless the transmitter wants it less often.
    fn every(&self) -> Duration {
        let least = self.live().stream.as_ref().and_then(|stream| stream.min_verification_interval).unwrap_or_default();
        self.config.verify_every.max(Duration::from_secs(least).min(LONGEST))
    }

    /// After how long without a sign of life it is silent: never before a heartbeat that was asked for could be late.
    pub(super) fn patience(&self) -> Duration {
        self.config.stale_after.max(self.every() * 2)
    }

    /// Says whether its silence means anything: polls are answered, or heartbeats can be asked for.
    pub(super) fn is_asked(&self) -> bool {
        let live = self.live();
        let answers = |document: &Transmitter| {
            document.verification_endpoint.is_some()
                && (document.configuration_endpoint.is_some() || live.stream.is_some())
        };
        // what is not known yet counts as one that answers
        self.config.delivery == settings::Delivery::Poll
            || live.document.as_ref().is_none_or(|(document, _)| answers(document))
    }

    /// Asks for a heartbeat.
    async fn verify(&self) -> Result<(), String> {
        let Some(document) = self.live().document.as_ref().map(|(document, _)| Arc::clone(document)) else {
            return Ok(());
        };
        let Some(endpoint) = document.verification_endpoint.as_deref() else { return Ok(()) };
        let Some(id) = self.live().stream.as_ref().map(|stream| stream.stream_id.clone()) else { return Ok(()) };
        let endpoint = Url::parse(endpoint).map_err(|error| error.to_string())?;
        let state = random_id();
        {
            let mut live = self.live();
            // it may come before the answer to the request does
            live.states.push_back(state.clone());
            while live.states.len() > MOST_STATES {
                live.states.pop_front();
            }
        }
        let request = VerificationRequest { stream_id: id, state: Some(state.clone()) };
        let reply = self.call(Method::POST, &endpoint, Some(&request)).await?;
        match reply.status {
            200 | 202 | 204 => Ok(()),
            status => {
                self.live().states.retain(|expected| *expected != state);
                Err(WebError::Status { url: endpoint.to_string(), status }.to_string())
            }
        }
    }

    async fn call(&self, method: Method, url: &Url, body: Option<&impl Serialize>) -> Result<Reply, String> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| error.to_string())?;
        let authorization = self.authorization.as_deref();
        let body = body.as_deref().map(|body| ("application/json", body));
        let sent = Sent { authorization, body, patience: None };
        self.web.send(method, url, sent).await.map_err(|error| error.to_string())
    }
}

fn parsed<T: serde::de::DeserializeOwned>(url: &Url, reply: &Reply) -> Result<T, String> {
    if !matches!(reply.status, 200..=202) {
        return Err(WebError::Status { url: url.to_string(), status: reply.status }.to_string());
    }
    serde_json::from_slice(&reply.body).map_err(|_| WebError::NotJson(url.to_string()).to_string())
}
