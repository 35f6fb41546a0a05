//! The policy administrator: joins identity, posture, risk and policy into one answer, and keeps every live tunnel to it.
//!
//! `judge` is the one place where a question is answered; opening a tunnel, a grant, a ticket, the list of apps and the
//! continuous evaluation of what is live all go through it.

mod answer;
mod doubt;
mod grant;
mod intake;
mod judge;
mod live;
mod observe;
mod open;
mod order;
mod record;
mod reload;
mod session;
mod signal;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::broadcast;
use ztsa_net::clock::Clock;
use ztsa_proto::name::{DeviceId, SessionId};
use ztsa_proto::time::UnixTime;

use crate::audit::Audit;
use crate::config::{App, Config};
use crate::history::History;
use crate::lease::{Closed, Leases};
use crate::lookup::Lookup;
use crate::measure::{Cause, Measures, Why};
use crate::pace::{Bucket, Paces};
use crate::policy::{self, Policies, PolicyError};
use crate::posture::Posture;
use crate::risk::Risk;
use crate::store::Store;
use crate::ticket::Tickets;

pub use answer::Asking;
pub use judge::NoApp;
pub use live::Changed;
pub use order::{Explained, OrderError, Revoked};
pub use reload::Adopted;
pub use session::SESSIONS_PER_USER;
pub use signal::{Hold, News};

/// Decides and administers; a clone is another handle to the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    /// What this handle's orders are put down to.
    cause: Option<Cause>,
}

/// Names what an engine works with.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The durable state.
    pub store: Store,
    /// The audit log.
    pub audit: Audit,
    /// What devices say about themselves.
    pub posture: Arc<Posture>,
    /// Where addresses are, and which destinations have an ill repute.
    pub lookup: Lookup,
    /// The time.
    pub clock: Clock,
}

#[derive(Debug)]
struct Inner {
    config: ArcSwap<Config>,
    store: Store,
    audit: Audit,
    posture: Arc<Posture>,
    clock: Clock,
    risk: Risk,
    history: History,
    lookup: ArcSwap<Lookup>,
    tally: Arc<observe::Tally>,
    tickets: Tickets,
    leases: Leases,
    measures: Arc<Measures>,
    policies: ArcSwap<Policies>,
    /// Stands for whatever is no app, so that a question about it takes the way of any other.
    nothing: App,
    /// What the policy directory looked like when it was last read.
    policies_seen: AtomicU64,
    /// What it looked like a step ago: only what stands still is read.
    policies_pending: AtomicU64,
    grants: Mutex<grant::Grants>,
    sessions: Mutex<session::Sessions>,
    /// The sessions whose question why is being answered.
    asking: Mutex<HashSet<SessionId>>,
    /// When the requests of a blocked device were last written down.
    turned_away: Mutex<HashMap<DeviceId, UnixTime>>,
    /// How much strangers have made it write down.
    strangers: Mutex<Bucket>,
    /// How much each device has made it write down of what was refused.
    refusals: Paces<DeviceId>,
    explanations: Paces<DeviceId>,
    /// Grows with every change that can turn an answer.
    changes: AtomicU64,
    /// Held while policies are read, so that those of an older configuration never follow those of a newer one.
    reading: Mutex<()>,
    /// Held while one answer is found and applied to live tunnels, so that an older answer never overwrites a newer one.
    turn: Mutex<()>,
    /// What is to be told of tunnels, in the order in which it happened.
    words: Mutex<VecDeque<live::Word>>,
    /// Held while it is told.
    telling: Mutex<()>,
    draining: AtomicBool,
    doubt: doubt::Doubt,
    /// Why people of an issuer, by its identifier, are not let in for now.
    held: ArcSwap<HashMap<String, Hold>>,
    /// For those who tell other systems; nobody waits for them.
    news: broadcast::Sender<News>,
}

impl Engine {
    /// Loads the policies and restores risk and tickets.
    ///
    /// # Errors
    /// The policies cannot be read or have mistakes.
    pub fn new(parts: Parts) -> Result<Self, PolicyError> {
        let Parts { config, store, audit, posture, lookup, clock } = parts;
        let now = clock.now();
        let (seen, policies) = Policies::load_settled(&config.policy.dir, &config.apps, posture.catalogue());
        let policies = policies?;
        record::loaded(&audit, now, &policies);
        let tally = Arc::new(observe::Tally::default());
        let (reporter, carried) = ((audit.clone(), clock.clone()), Arc::clone(&tally));
        let measures = Arc::<Measures>::default();
        let closed = move |closed: Closed<'_>| {
            record::closed(&reporter.0, reporter.1.now(), &closed);
            carried.add(closed.tunnel);
        };
        let leases = Leases::new(config.limits, Arc::clone(&measures), closed);
        let inner = Inner {
            risk: Risk::restore(store.clone(), now),
            history: History::restore(store.clone()),
            lookup: ArcSwap::from_pointee(lookup),
            tally,
            tickets: Tickets::restore(store.clone(), now),
            config: ArcSwap::new(config),
            store,
            audit,
            posture,
            clock,
            leases,
            measures,
            policies: ArcSwap::from_pointee(policies),
            nothing: policy::nothing()?,
            policies_seen: AtomicU64::new(seen),
            policies_pending: AtomicU64::new(seen),
            grants: Mutex::default(),
            sessions: Mutex::default(),
            asking: Mutex::default(),
            turned_away: Mutex::default(),
            strangers: Mutex::default(),
            refusals: Paces::new(record::REFUSALS),
            explanations: Paces::new(record::REFUSALS),
            changes: AtomicU64::new(0),
            reading: Mutex::default(),
            turn: Mutex::default(),
            words: Mutex::default(),
            telling: Mutex::default(),
            draining: AtomicBool::new(false),
            doubt: doubt::Doubt::default(),
            held: ArcSwap::default(),
            news: broadcast::channel(signal::NEWS).0,
        };
        let engine = Self { inner: Arc::new(inner), cause: None };
        engine.restore_attested();
        Ok(engine)
    }

    /// Gives a handle whose orders are put down to a cause: the time from it to the last byte is measured.
    #[must_use]
    pub fn because(&self, cause: Cause) -> Self {
        Self { inner: Arc::clone(&self.inner), cause: Some(cause) }
    }

    /// Gives a handle whose orders are put down to what they already were, else to `why` and this moment.
    fn because_of(&self, why: Why) -> Self {
        self.because(self.cause.unwrap_or_else(|| Cause::now(why)))
    }

    /// Gives what is counted.
    pub fn measures(&self) -> &Measures {
        &self.inner.measures
    }

    /// Gives the registry of live tunnels.
    pub fn leases(&self) -> &Leases {
        &self.inner.leases
    }

    /// Gives the configuration.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config.load_full()
    }

    /// Refuses new tunnels, grants and tickets from now on, because the gateway is going down.
    pub fn drain(&self) {
        self.inner.draining.store(true, Ordering::SeqCst);
    }

    fn sessions(&self) -> MutexGuard<'_, session::Sessions> {
        self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grants(&self) -> MutexGuard<'_, grant::Grants> {
        self.inner.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests;
