//! What others tell: each token is proved, understood, and applied once; then the transmitter is told so.

mod effect;
mod freshness;
mod poll;
pub(super) mod push;
mod stream;
mod subject;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use ztsa_net::task::Spawner;
use ztsa_proto::jws::sha256_base64url;
use ztsa_proto::problem;
use ztsa_proto::secret::Secret;
use ztsa_proto::set::delivery::{Fault, FaultCode};
use ztsa_proto::set::event::Kind;
use ztsa_proto::set::stream::{self as wire, Status};
use ztsa_proto::set::{Happening, Identifier, Set, Subject, TYP};
use ztsa_proto::text::printable;
use ztsa_proto::time::UnixTime;

use super::keys::{Keys, Proof};
use super::ledger::Ledger;
use super::web::{Web, bearer};
use super::{SignalsError, credential};
use crate::audit::Outcome;
use crate::authn::{PublicKeys, Signed};
use crate::config::Config;
use crate::config::signals::{self as settings, WhenStale};
use crate::engine::{Engine, Hold};
use crate::measure::{Cause, Received, Why};

pub use freshness::{Freshness, Sign};

/// How long a token may be on its way; one that is older does nothing. Identifiers are remembered for as long.
const OLDEST: Duration = Duration::from_secs(7 * 86_400);
/// How many identifiers, and times of what was said last, are remembered of all transmitters together.
const MOST_SEEN: usize = 200_000;
/// How long the store may take to keep what a token did, before the transmitter is asked to send it again.
const FLUSH: Duration = Duration::from_secs(5);
/// How often a push without the credential is written down at most.
const STRANGE: Duration = Duration::from_secs(3600);
/// How many heartbeats may be on their way.
const MOST_STATES: usize = 8;

/// Listens to all transmitters; a clone is another handle.
#[derive(Clone, Debug)]
pub struct Receivers {
    receivers: Arc<Vec<Arc<Receiver>>>,
    engine: Engine,
}

/// Listens to one transmitter.
#[derive(Debug)]
pub struct Receiver {
    config: Arc<settings::Transmitter>,
    /// The gateway's own URL, for the stream's delivery.
    resource: String,
    engine: Engine,
    web: Web,
    keys: Keys,
    push_token: Option<Arc<Secret<String>>>,
    authorization: Option<Arc<Secret<String>>>,
    seen: Arc<Ledger>,
    order: Arc<Ledger>,
    /// One token at a time: two copies of it never both find that it is new.
    turn: tokio::sync::Mutex<()>,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    document: Option<(Arc<wire::Transmitter>, UnixTime)>,
    stream: Option<wire::Stream>,
    /// What the heartbeats on their way must echo.
    states: VecDeque<String>,
    /// What the last ones echoed: whoever was not heard to take one sends it again.
    echoed: VecDeque<String>,
    freshness: Freshness,
    /// When a refusal was last written down.
    refused: Option<UnixTime>,
    /// When a push without our credential was last written down.
    strange: Option<UnixTime>,
    /// How often our credential was offered since the start.
    offers: u8,
}

/// Says what became of a token that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was applied, or rightly did nothing.
    Applied,
    /// It had been taken before.
    Again,
}

/// Says why a token was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It never will be.
    Fault(Fault),
    /// It cannot be now: the transmitter should send it again.
    Later(String),
}

impl Receivers {
    pub(super) fn new(config: &Config, engine: &Engine) -> Result<Self, SignalsError> {
        let store = engine.store();
        let seen = Arc::new(Ledger::restore("ssf.seen", store, OLDEST, MOST_SEEN));
        let order = Arc::new(Ledger::restore("ssf.order", store, OLDEST, MOST_SEEN));
        let remembered: HashMap<String, String> =
            store.take_documents(stream::DOCUMENT).into_iter().map(|one| (one.key, one.value)).collect();
        let receivers = config.signals.transmitters.iter().map(|own| {
            let keys = match &own.keys_file {
                Some(path) => Keys::fixed(key_file(&own.name, path)?),
                None => Keys::fetched(),
            };
            let secret = |path: &Option<_>| path.as_deref().map(|path| credential(&own.name, path)).transpose();
            let mut live = Live { freshness: Freshness::begin(engine.now()), ..Live::default() };
            live.stream = remembered.get(&own.name).and_then(|id| stream::remembered(id, own));
            Ok(Arc::new(Receiver {
                resource: config.resource(),
                engine: engine.clone(),
                web: Web::new(&own.name, own.ca_file.as_deref(), own.private)?,
                keys,
                push_token: secret(&own.push_token_file)?,
                authorization: secret(&own.api_token_file)?.map(|token| bearer(&token)),
                seen: Arc::clone(&seen),
                order: Arc::clone(&order),
                turn: tokio::sync::Mutex::default(),
                live: Mutex::new(live),
                config: Arc::clone(own),
            }))
        });
        Ok(Self { receivers: Arc::new(receivers.collect::<Result<_, SignalsError>>()?), engine: engine.clone() })
    }

    /// Finds what listens to the transmitter of a name.
    pub fn named(&self, name: &str) -> Option<&Arc<Receiver>> {
        self.receivers.iter().find(|receiver| receiver.config.name == name)
    }

    pub(super) fn start(&self, spawner: &Spawner) {
        for receiver in self.receivers.iter() {
            stream::start(receiver, spawner);
        }
        if !self.receivers.is_empty() {
            let (receivers, ending) = (self.clone(), spawner.ending());
            spawner.spawn(async move {
                let mut ending = std::pin::pin!(ending);
                let mut steps = tokio::time::interval(Duration::from_secs(1));
                loop {
                    tokio::select! {
                        () = &mut ending => return,
                        _ = steps.tick() => {}
                    }
                    // a silence can concern every tunnel: never on a thread that carries bytes
                    let watched = receivers.clone();
                    let round = tokio::task::spawn_blocking(move || watched.watch(watched.engine.now()));
                    if let Err(error) = round.await {
                        tracing::error!(%error, "a look at the transmitters of signals failed");
                    }
                }
            });
        }
    }

    /// Says which transmitters are silent, and keeps out those people whose table asks for it.
    pub fn watch(&self, now: UnixTime) {
        let mut held = HashMap::new();
        for receiver in self.receivers.iter() {
            let Some(silent) = receiver.silence(now) else { continue };
            let live = match receiver.config.when_stale {
                WhenStale::Warn => continue,
                WhenStale::Refuse => false,
                WhenStale::Suspend => true,
            };
            for issuer in &receiver.config.people {
                let detail = format!("{} has told nothing of changed trust for too long", receiver.config.name);
                let problem = problem::new("gateway.signals").with_detail(&*detail);
                let hold = held.entry(issuer.clone()).or_insert(Hold { problem, live });
                hold.live |= live;
            }
            tracing::debug!(transmitter = receiver.config.name, ?silent, "silent");
        }
        self.engine.hold(held);
    }
}

impl Receiver {
    /// Proves one token, applies it, and keeps it.
    ///
    /// # Errors
    /// [`Refusal`] says whether it is the token's fault.
    ///
    /// # Cancel safety
    /// A token whose application began is applied; sent again, it counts as taken.
    pub async fn take(self: &Arc<Self>, token: &str) -> Result<Taken, Refusal> {
        let now = self.engine.now();
        let cause = Cause::now(Why::Signal);
        let taken = match self.proved(token, now).await {
            Ok(set) => self.apply_once(set, now, cause).await,
            Err(refusal) => Err(refusal),
        };
        self.engine.measures().received.add(match &taken {
            Ok(Taken::Applied) => Received::Applied,
            Ok(Taken::Again) => Received::Again,
            Err(Refusal::Fault(_)) => Received::Refused,
            Err(Refusal::Later(_)) => Received::Later,
        });
        match &taken {
            Ok(_) => {
                let flushed = tokio::time::timeout(FLUSH, self.engine.store().flush()).await;
                flushed
                    .is_ok_and(|flushed| flushed.is_ok())
                    .then_some(())
                    .ok_or_else(|| Refusal::Later("the gateway cannot keep it now: send it again".to_owned()))?;
            }
            Err(Refusal::Fault(fault)) => self.refused(fault, now),
            Err(Refusal::Later(cause)) => {
                if self.live().refused.replace(now) != Some(now) {
                    tracing::warn!(transmitter = self.config.name, cause, "a security event token cannot be taken now");
                }
            }
        }
        taken
    }

    /// Writes a refusal down: strangers can cause these where no credential is asked for, so one a second.
    fn refused(&self, Fault { err, description }: &Fault, now: UnixTime) {
        if self.live().refused.replace(now) != Some(now) {
            let message = format!("{}: a token was refused: {description}", self.config.name);
            tracing::warn!(transmitter = self.config.name, err, description, "a token was refused");
            self.engine.told(Outcome::Failure, &format!("signal.{err}"), None, message);
        }
    }

    /// Proves who made a token and for whom, and reads it.
    async fn proved(&self, token: &str, now: UnixTime) -> Result<Set, Refusal> {
        let fault = |code: FaultCode, description: &str| Refusal::Fault(code.because(description));
        let signed = Signed::parse(token).map_err(|cause| {
            let code = match cause {
                crate::authn::TokenFault::Algorithm(_) => FaultCode::InvalidKey,
                _ => FaultCode::InvalidRequest,
            };
            fault(code, &cause.to_string())
        })?;
        let kind = signed.kind();
        let relaxed = self.config.relaxed_typ && (kind.is_empty() || kind.eq_ignore_ascii_case("jwt"));
        if !kind.eq_ignore_ascii_case(TYP) && !relaxed {
            return Err(fault(FaultCode::InvalidRequest, "its type is not \"secevent+jwt\""));
        }
        if signed.claims().get("iss").and_then(Value::as_str) != Some(&self.config.issuer) {
            return Err(fault(FaultCode::InvalidIssuer, "it is of another issuer than this endpoint's transmitter"));
        }
        match self.keys.verify(&signed, &self.web, now, async || self.jwks_url(now).await).await {
            Proof::Good => {}
            Proof::Bad(why) => return Err(fault(FaultCode::InvalidKey, why)),
            Proof::Unknown(why) => return Err(Refusal::Later(why)),
        }
        let set = Set::from_claims(signed.claims());
        let set = set.map_err(|cause| fault(FaultCode::InvalidRequest, &cause.to_string()))?;
        if !set.aud.iter().any(|audience| self.config.audiences.contains(audience)) {
            let found = printable(&set.aud.join(", "), 200);
            let description = format!("it is for {found}; add that to `audiences` if it should be taken here");
            return Err(fault(FaultCode::InvalidAudience, &description));
        }
        Ok(set)
    }

    /// Applies a token unless it was before.
    async fn apply_once(self: &Arc<Self>, set: Set, now: UnixTime, cause: Cause) -> Result<Taken, Refusal> {
        let key = format!("{}|{}", self.config.name, sha256_base64url(set.jti.as_bytes()));
        let _turn = self.turn.lock().await;
        if self.seen.of(&key).is_some() {
            return Ok(Taken::Again);
        }
        if set.event.kind().is_of_stream() && self.is_of_another(&set) {
            let description = "it is about another stream than the one that delivers to this gateway";
            return Err(Refusal::Fault(FaultCode::InvalidRequest.because(description)));
        }
        // a heartbeat changes nothing: a copy of it does no harm, and it is not worth a row
        if let Happening::Verification { state } = &set.event.happening {
            return self.verified(state.as_deref(), now);
        }
        self.live().freshness.hear(Sign::Token, now);
        if let Happening::StreamUpdated { status, reason } = &set.event.happening {
            self.updated(status, reason.as_deref(), now);
            self.seen.keep(&key, now, now);
            return Ok(Taken::Applied);
        }
        let receiver = Arc::clone(self);
        // thousands of tunnels take a while: never on a thread that carries bytes
        let applied = tokio::task::spawn_blocking(move || {
            receiver.apply(&set, now, cause);
            receiver.seen.keep(&key, now, now);
        });
        applied.await.map_err(|_| Refusal::Later("it could not be applied".to_owned()))?;
        Ok(Taken::Applied)
    }

    /// Says whether an event of a stream names another than ours (SSF section 8.1.4), as far as ours is known.
    fn is_of_another(&self, set: &Set) -> bool {
        match (&set.subject, &self.live().stream) {
            (Some(Subject::Simple(Identifier::Opaque { id })), Some(own)) => *id != own.stream_id,
            _ => false,
        }
    }

    fn verified(&self, state: Option<&str>, now: UnixTime) -> Result<Taken, Refusal> {
        let mut live = self.live();
        // a stream that was made by hand is verified by hand: what is echoed then was asked for by somebody else
        if let Some(state) = state.filter(|_| self.authorization.is_some()) {
            let Some(place) = live.states.iter().position(|expected| expected == state) else {
                // a copy is no sign of life
                if live.echoed.iter().any(|echoed| echoed == state) {
                    return Ok(Taken::Again);
                }
                let description = "its `state` is none that was asked for";
                return Err(Refusal::Fault(FaultCode::InvalidState.because(description)));
            };
            // only this one: two that are on their way may come in any order
            let echoed = live.states.remove(place);
            live.echoed.extend(echoed);
            while live.echoed.len() > MOST_STATES {
                live.echoed.pop_front();
            }
        }
        live.freshness.hear(Sign::Heartbeat, now);
        Ok(Taken::Applied)
    }

    fn updated(&self, status: &str, reason: Option<&str>, now: UnixTime) {
        let flows = status == Status::Enabled.as_str();
        self.live().freshness.hear(if flows { Sign::Resumed } else { Sign::Paused }, now);
        let message = format!(
            "{}: the transmitter says that its stream is {status}{}",
            self.config.name,
            reason.map(|reason| format!(": {reason}")).unwrap_or_default()
        );
        if flows {
            tracing::info!("{message}");
        } else {
            tracing::warn!("{message}; what happens meanwhile is not told");
        }
        let outcome = if flows { Outcome::Success } else { Outcome::Failure };
        self.engine.told(outcome, "signal.stream-updated", None, message);
    }

    /// Says for how long nothing was heard, when that is too long; tells it once.
    fn silence(&self, now: UnixTime) -> Option<Duration> {
        // without an API nobody can be asked for a sign of life, and silence means nothing
        self.authorization.as_ref()?;
        let (most, asked) = (self.patience(), self.is_asked());
        let (silent, turned) = self.live().freshness.silence(most, asked, now);
        match (silent, turned) {
            (Some(silent), true) => {
                let message = format!("{}: no sign of life for {} s", self.config.name, silent.as_secs());
                tracing::warn!("{message}: look at its stream and at the network between");
                self.engine.told(Outcome::Failure, "signal.silent", None, message);
            }
            (None, true) => {
                let message = format!("{}: signs of life come again", self.config.name);
                tracing::info!("{message}");
                self.engine.told(Outcome::Success, "signal.heard", None, message);
            }
            _ => {}
        }
        silent
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events that are asked for: those that do something.
    fn wanted(&self) -> Vec<String> {
        let does = |kind: &Kind| !kind.is_of_stream() && self.config.actions.of(kind) != settings::Action::Ignore;
        Kind::all().filter(does).map(|kind| kind.uri()).collect()
    }
}

pub(super) fn key_file(name: &str, path: &std::path::Path) -> Result<PublicKeys, SignalsError> {
    let error = |cause: String| SignalsError::File { name: name.to_owned(), path: path.to_owned(), cause };
    let text = std::fs::read(path).map_err(|cause| error(format!("cannot be read: {cause}")))?;
    let set: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|_| error("is no JSON Web Key Set: {\"keys\": [..]}".to_owned()))?;
    let keys = PublicKeys::parse(&Value::Object(set));
    if keys.is_empty() { Err(error("holds no key that can be used".to_owned())) } else { Ok(keys) }
}
