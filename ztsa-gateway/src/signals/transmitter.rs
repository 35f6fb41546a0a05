//! What this gateway tells others (Shared Signals Framework 1.0): sessions that begin and end, devices, risk.
//!
//! A receiver asks for streams with its bearer credential, or has one from the configuration. Tokens wait in an outbox that
//! outlives a restart, until the receiver has taken them.

pub(super) mod endpoint;
mod news;
mod outbox;
mod poll;
mod push;
mod subjects;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use ztsa_net::task::Spawner;
use ztsa_proto::jws::{Signer as _, SoftwareKey, random_id};
use ztsa_proto::secret::Secret;
use ztsa_proto::set::delivery::PUSH;
use ztsa_proto::set::stream::{Delivery, Status, Stream};
use ztsa_proto::set::{Event, Identifier, Set, Subject};
use ztsa_proto::time::UnixTime;

use super::web::{Web, bearer};
use super::{SignalsError, credential};
use crate::config::Config;
use crate::config::signals::Receiver as Settings;
use crate::engine::Engine;
use crate::measure::Sent;
use outbox::Outbox;
use subjects::Record;

/// The name of the signing key in the store.
const KEY: &str = "signals-signing-es256";
/// How many streams one receiver may have, beside the one of the configuration.
const MOST_STREAMS: usize = 4;
/// The least time between two heartbeats that a receiver asks for.
pub(super) const VERIFY_PAUSE: Duration = Duration::from_secs(10);

/// Tells others; a clone is another handle.
#[derive(Clone, Debug)]
pub struct Transmitter {
    inner: Arc<Inner>,
}

struct Inner {
    /// The gateway's own URL: the `iss` of its tokens.
    issuer: String,
    engine: Engine,
    key: SoftwareKey,
    key_id: String,
    receivers: Vec<Arc<Receiver>>,
    streams: Mutex<BTreeMap<String, Arc<Entry>>>,
    /// A stream was made, changed or deleted: deliveries look again.
    changed: Notify,
    spawner: Mutex<Option<Spawner>>,
}

/// One receiver of the configuration, with its credentials read.
#[derive(Debug)]
struct Receiver {
    settings: Arc<Settings>,
    token: Option<Arc<Secret<String>>>,
    web: Web,
}

/// One stream.
#[derive(Debug)]
struct Entry {
    receiver: Arc<Receiver>,
    outbox: Outbox,
    state: Mutex<State>,
    /// Something waits, or the stream is another now.
    wake: Notify,
}

/// What a receiver and we agreed on.
#[derive(Clone, Debug)]
struct State {
    stream: Stream,
    status: Status,
    reason: Option<String>,
    /// Whom the receiver does not want to hear of.
    removed: Vec<Subject>,
    verified: Option<UnixTime>,
    /// It was deleted: whoever delivers stops.
    gone: bool,
}

impl Transmitter {
    pub(super) fn new(config: &Config, engine: &Engine) -> Result<Self, SignalsError> {
        let store = engine.store();
        let bytes = store.secret_key(KEY, || SoftwareKey::generate().map(|key| key.to_pkcs8()))?;
        let key = SoftwareKey::from_pkcs8(bytes.expose()).map_err(|cause| SignalsError::Key(cause.to_string()))?;
        let receivers = config.signals.receivers.iter().map(|settings| {
            let secret = |path: &Option<_>| path.as_deref().map(|path| credential(&settings.name, path)).transpose();
            Ok(Arc::new(Receiver {
                token: secret(&settings.token_file)?,
                web: Web::new(&settings.name, settings.ca_file.as_deref(), settings.private)?,
                settings: Arc::clone(settings),
            }))
        });
        let receivers: Vec<_> = receivers.collect::<Result<_, SignalsError>>()?;
        let inner = Inner {
            issuer: config.resource(),
            engine: engine.clone(),
            key_id: key.public_key().thumbprint().to_string(),
            key,
            receivers,
            streams: Mutex::default(),
            changed: Notify::new(),
            spawner: Mutex::default(),
        };
        let transmitter = Self { inner: Arc::new(inner) };
        transmitter.restore();
        transmitter.configured()?;
        Ok(transmitter)
    }

    pub(super) fn start(&self, spawner: &Spawner) {
        *self.inner.spawner.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawner.clone());
        let (teller, ending) = (self.clone(), spawner.ending());
        let news = self.inner.engine.news();
        spawner.spawn(async move { teller.tell(news, ending).await });
        let entries: Vec<Arc<Entry>> = self.streams().values().cloned().collect();
        for entry in &entries {
            self.deliver(entry);
        }
    }

    /// Starts the delivery of a stream, when it is one that is pushed.
    fn deliver(&self, entry: &Arc<Entry>) {
        let spawner = self.inner.spawner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(spawner) = spawner else { return };
        let (entry, ending) = (Arc::clone(entry), spawner.ending());
        let engine = self.inner.engine.clone();
        spawner.spawn(async move {
            tokio::select! {
                () = ending => {}
                () = push::deliver(&entry, &engine) => {}
            }
        });
    }

    /// Restores what receivers agreed on before this start.
    fn restore(&self) {
        let store = self.inner.engine.store();
        let mut waiting = outbox::restored(store);
        for document in store.take_documents(subjects::DOCUMENT) {
            let record = serde_json::from_str::<Record>(&document.value).ok();
            let known = record.and_then(|record| {
                let receiver = self.inner.receivers.iter().find(|one| one.settings.name == record.receiver)?;
                Some((Arc::clone(receiver), record))
            });
            let Some((receiver, record)) = known else {
                // the configuration does not name it any more
                store.delete_document(subjects::DOCUMENT, &document.key);
                continue;
            };
            let tokens = waiting.remove(&document.key).unwrap_or_default();
            let entry = Entry {
                outbox: Outbox::new(store, &document.key, tokens),
                state: Mutex::new(record.state()),
                receiver,
                wake: Notify::new(),
            };
            self.streams().insert(document.key, Arc::new(entry));
        }
        for (stream, tokens) in waiting {
            Outbox::new(store, &stream, tokens).clear();
        }
    }

    /// Makes the streams that the configuration asks for, and ends those that it asks for no more.
    fn configured(&self) -> Result<(), SignalsError> {
        for receiver in &self.inner.receivers {
            let id = format!("configured-{}", receiver.settings.name);
            let Some(url) = &receiver.settings.push_url else {
                self.remove(&id);
                continue;
            };
            let token = receiver.settings.push_token_file.as_deref();
            let token = token.map(|path| credential(&receiver.settings.name, path)).transpose()?;
            let delivery = Delivery {
                method: PUSH.to_owned(),
                endpoint_url: Some(url.to_string()),
                authorization_header: token.map(|token| bearer(&token).expose().clone()),
            };
            let before = self.streams().get(&id).cloned();
            match before {
                Some(entry) => entry.state().stream.delivery = delivery,
                None => drop(self.add(receiver, id.clone(), delivery, None, None)),
            }
            if let Some(entry) = self.streams().get(&id) {
                self.keep(entry);
            }
        }
        Ok(())
    }

    /// Adds a stream of a receiver.
    fn add(
        &self,
        receiver: &Arc<Receiver>,
        id: String,
        delivery: Delivery,
        requested: Option<Vec<String>>,
        description: Option<String>,
    ) -> Arc<Entry> {
        let supported: Vec<String> = receiver.settings.events.iter().map(ztsa_proto::set::event::Kind::uri).collect();
        let requested = requested.unwrap_or_else(|| supported.clone());
        let stream = Stream {
            stream_id: id.clone(),
            iss: self.inner.issuer.clone(),
            aud: vec![receiver.settings.audience.clone()],
            events_delivered: supported.iter().filter(|event| requested.contains(event)).cloned().collect(),
            events_requested: requested,
            events_supported: supported,
            delivery,
            min_verification_interval: Some(VERIFY_PAUSE.as_secs()),
            inactivity_timeout: None,
            description,
        };
        let state =
            State { stream, status: Status::Enabled, reason: None, removed: Vec::new(), verified: None, gone: false };
        let entry = Arc::new(Entry {
            receiver: Arc::clone(receiver),
            outbox: Outbox::new(self.inner.engine.store(), &id, Vec::new()),
            state: Mutex::new(state),
            wake: Notify::new(),
        });
        self.streams().insert(id, Arc::clone(&entry));
        self.keep(&entry);
        self.deliver(&entry);
        entry
    }

    /// Keeps what was agreed on across restarts, and lets whoever delivers look again.
    fn keep(&self, entry: &Entry) {
        let state = entry.state().clone();
        let record = Record::of(&entry.receiver.settings.name, &state);
        let value = serde_json::to_string(&record).unwrap_or_default();
        let (key, at) = (state.stream.stream_id, self.inner.engine.now());
        self.inner.engine.store().put_document(crate::store::Document { kind: subjects::DOCUMENT, key, value, at });
        entry.wake.notify_waiters();
        self.inner.changed.notify_waiters();
    }

    /// Deletes a stream and what waits in it; says whether there was one.
    fn remove(&self, id: &str) -> bool {
        let Some(entry) = self.streams().remove(id) else { return false };
        entry.state().gone = true;
        entry.outbox.clear();
        self.inner.engine.store().delete_document(subjects::DOCUMENT, id);
        entry.wake.notify_waiters();
        true
    }

    /// Signs an event for a stream and puts it into its outbox.
    fn put(&self, entry: &Entry, subject: Subject, event: Event, txn: Option<&str>) {
        let stream = entry.state().stream.clone();
        let set = Set {
            iss: self.inner.issuer.clone(),
            aud: stream.aud,
            jti: random_id(),
            iat: self.inner.engine.now(),
            txn: txn.map(str::to_owned),
            subject: Some(subject),
            event,
        };
        match set.sign(&self.inner.key, &self.inner.key_id) {
            Ok(token) => {
                let lost = entry.outbox.push(set.jti, token, set.iat);
                let sent = &self.inner.engine.measures().sent;
                sent.add(Sent::Queued);
                (0..lost).for_each(|_| sent.add(Sent::Lost));
                if lost > 0 {
                    let receiver = &entry.receiver.settings.name;
                    tracing::warn!(
                        receiver,
                        lost,
                        "a receiver of signals is so far behind that the oldest are lost to it"
                    );
                }
                entry.wake.notify_waiters();
            }
            Err(error) => tracing::error!(%error, "a signal could not be signed"),
        }
    }

    /// Sends a heartbeat over a stream.
    fn verify(&self, entry: &Entry, state: Option<String>) {
        let id = entry.state().stream.stream_id.clone();
        let event = Event::new(ztsa_proto::set::Happening::Verification { state }, self.inner.engine.now());
        self.put(entry, Identifier::Opaque { id }.into(), event, None);
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.inner.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("issuer", &self.issuer)
            .field("receivers", &self.receivers)
            .finish_non_exhaustive()
    }
}
