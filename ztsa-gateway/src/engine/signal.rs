//! What other systems tell, applied to sessions, risk and devices; and what they are told.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::broadcast;
use ztsa_proto::name::{DeviceId, SessionId};
use ztsa_proto::posture::State;
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::time::UnixTime;

use super::{Changed, Engine, Revoked};
use crate::audit::{Activity, Entity, Outcome, Record};
use crate::authn::Session;
use crate::lease::Selector;
use crate::measure::Why;
use crate::posture::{Attested, COMPLIANT};
use crate::risk::Scores;
use crate::store::{Document, NewSignal, SessionRow, Subject};

/// How much news waits for those who tell others; what they cannot follow is lost to them, and they are told how much.
pub(super) const NEWS: usize = 4096;

/// The documents that hold what others said about devices.
const ATTESTED: &str = "attested";

/// Says what changed, for those who tell other systems.
#[derive(Clone, Debug)]
pub enum News {
    /// A session began.
    Began(Arc<Session>),
    /// A session was ended, for this reason.
    Ended(Arc<Session>, Arc<Problem>),
    /// A session that could have gone on was ended while it was not in memory: asleep, or from before a restart.
    EndedAsleep(SessionId, Arc<Problem>),
    /// The risk of a subject may be another.
    Risk(Subject),
    /// The state of a device may be another.
    Device(DeviceId),
}

/// Keeps the people of an issuer out for a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Why.
    pub problem: Problem,
    /// Whether live tunnels are suspended too.
    pub live: bool,
}

impl Engine {
    /// Follows what changes. Whoever falls behind loses the oldest and learns how much.
    pub fn news(&self) -> broadcast::Receiver<News> {
        self.inner.news.subscribe()
    }

    pub(super) fn announce(&self, news: News) {
        // without anybody to tell, nobody is told
        let _ = self.inner.news.send(news);
    }

    /// Ends what a subject began up to a time, and refuses what was signed in to before it; what began later stays.
    ///
    /// A login of one person on one device is named by [`Subject::Login`].
    pub fn cut(&self, subject: &Subject, at: UnixTime, reason: &str) -> Revoked {
        let engine = self.because_of(Why::Signal);
        let now = self.inner.clock.now();
        let at = at.min(now);
        let store = &self.inner.store;
        let live = |row: &SessionRow| row.ends_at > now || self.ticket_count(&row.id) > 0;
        let older = |row: &SessionRow| row.login_at <= at && live(row);
        let sessions: Vec<SessionRow> = match subject {
            Subject::User(user) => store.sessions_of(user).into_iter().filter(older).collect(),
            Subject::Login(user, device) | Subject::SignOut(user, device) => {
                let rows = store.sessions_of(user).into_iter();
                rows.filter(|row| row.device == *device && older(row)).collect()
            }
            Subject::Device(device) => {
                store.sessions(now).into_iter().filter(|row| row.device == *device && older(row)).collect()
            }
            Subject::Session(id) => store.session(id).into_iter().filter(older).collect(),
        };
        let open: BTreeSet<SessionId> =
            sessions.iter().filter(|row| self.goes_on(row)).map(|row| row.id.clone()).collect();
        // the sign-ins behind them begin nothing new; a session's own tokens are newer and are refused one by one
        match subject {
            Subject::Session(_) => {
                let logins = sessions.iter().map(|row| Subject::Login(row.user.clone(), row.device.clone()));
                logins.for_each(|login| store.revoke(login, at, reason));
            }
            wider => store.revoke(wider.clone(), at, reason),
        }
        let problem = Arc::new(problem::new("session.revoked").with_detail(reason));
        let mut revoked = Revoked::default();
        for row in sessions {
            store.end_session(&row.id, now);
            let ended = engine.end(&Selector::Session(row.id.clone()), &problem);
            if ended.sessions == 0 && open.contains(&row.id) {
                self.announce(News::EndedAsleep(row.id, Arc::clone(&problem)));
            }
            revoked.sessions += ended.sessions;
            revoked.tunnels += ended.tunnels;
            revoked.tickets += ended.tickets;
        }
        revoked
    }

    /// Says whether a session has neither ended, nor run out, nor been revoked.
    pub(super) fn goes_on(&self, row: &SessionRow) -> bool {
        let cutoff = self.inner.store.cutoff_of(&row.user, &row.device, &row.id);
        row.ends_at > self.inner.clock.now() && cutoff.is_none_or(|cutoff| row.login_at > cutoff)
    }

    /// Adds a signal in place of the one that its source gave of the same kind and cause, and judges those again whom it concerns.
    pub fn raise(&self, signal: NewSignal) -> Changed {
        let subject = signal.subject.clone();
        self.inner.risk.replace(signal);
        self.because_of(Why::Signal).risk_changed(&subject)
    }

    /// Takes back what a source said of one kind; `None` when it had said nothing.
    pub fn lower(&self, subject: &Subject, kind: &str, source: &str) -> Option<Changed> {
        self.lower_cause(subject, kind, source, "")
    }

    /// Takes back what a source said of one kind and cause; `None` when it had said nothing.
    pub(super) fn lower_cause(&self, subject: &Subject, kind: &str, source: &str, cause: &str) -> Option<Changed> {
        if !self.inner.risk.withdraw(subject, kind, source, cause) {
            return None;
        }
        Some(self.because_of(Why::Signal).risk_changed(subject))
    }

    /// Scores one subject by itself.
    pub fn score_of(&self, subject: &Subject) -> Scores {
        self.inner.risk.score_of(subject, self.inner.clock.now())
    }

    /// Takes what somebody other than the device says about facts of it, keeps it, and judges the device's tunnels again.
    ///
    /// Gives the ids of those that were taken.
    pub fn attest(&self, device: &DeviceId, facts: Vec<(String, Attested)>) -> (BTreeSet<String>, Changed) {
        let mut taken = BTreeSet::new();
        for (id, told) in facts {
            if self.inner.posture.attest(device, &id, told.clone()) {
                self.inner.store.put_document(Document {
                    kind: ATTESTED,
                    key: format!("{device} {id} {}", told.source),
                    value: format!("{} {} {}", told.state.as_str(), told.expires_at.0, told.source),
                    at: told.at,
                });
                taken.insert(id);
            }
        }
        self.announce(News::Device(device.clone()));
        (taken, self.because_of(Why::Signal).reevaluate(&Selector::Device(device.clone())))
    }

    pub(super) fn forget_attested(&self, device: &DeviceId, id: &str, source: &str) {
        self.inner.store.delete_document(ATTESTED, &format!("{device} {id} {source}"));
        self.announce(News::Device(device.clone()));
    }

    /// Restores what others said, but for those whom the configuration does not name any more: nobody could take that back.
    pub(super) fn restore_attested(&self) {
        let config = self.config();
        let speaks = |source: &str| config.signals.transmitters.iter().any(|one| one.name == source);
        for document in self.inner.store.take_documents(ATTESTED) {
            let read = || {
                let mut names = document.key.split(' ');
                let (device, id) = (names.next()?, names.next()?);
                let mut words = document.value.splitn(3, ' ');
                let state = if words.next()? == "pass" { State::Pass } else { State::Fail };
                let expires_at = UnixTime(words.next()?.parse().ok()?);
                // the key of older ones ended before the source
                let named = names.next();
                let is_named = |source: &&str| named.is_none_or(|named| named == *source);
                let source = words.next().filter(|source| speaks(source)).filter(is_named)?;
                let told = Attested { state, source: source.to_owned(), at: document.at, expires_at };
                Some(self.inner.posture.attest(&device.parse().ok()?, id, told))
            };
            let taken = read() == Some(true);
            let source = document.value.splitn(3, ' ').nth(2).unwrap_or_default();
            let older = taken && document.key.split(' ').count() == 2;
            if older {
                let key = format!("{} {source}", document.key);
                self.inner.store.put_document(Document { key, ..document.clone() });
            }
            if older || !taken {
                self.inner.store.delete_document(ATTESTED, &document.key);
            }
        }
    }

    /// Says whether a device is well as far as anybody says: not blocked, and no fact about it fails.
    ///
    /// `None` when nobody has said anything.
    pub fn is_compliant(&self, device: &DeviceId) -> Option<bool> {
        if self.inner.store.is_blocked(device) {
            return Some(false);
        }
        let facts = self.inner.posture.facts(device, self.inner.clock.now());
        let failed = facts.iter().any(|(_, fact)| fact.state == State::Fail);
        let known = facts.age(self.inner.clock.now()).is_some() || facts.fact(COMPLIANT).state != State::Unknown;
        known.then_some(!failed)
    }

    /// Keeps people of these issuers out, by the issuers' identifiers, until it is called again.
    pub fn hold(&self, held: HashMap<String, Hold>) -> Changed {
        if **self.inner.held.load() == held {
            return Changed::default();
        }
        self.inner.held.store(Arc::new(held));
        self.because_of(Why::Signal).reevaluate(&Selector::All)
    }

    pub(super) fn held(&self, session: &Session, live: bool) -> Option<Problem> {
        let held = self.inner.held.load();
        let hold = held.get(&session.identity.user.issuer)?;
        (hold.live || !live).then(|| hold.problem.clone())
    }

    /// Records what another system told, and what became of it.
    pub fn told(&self, outcome: Outcome, code: &str, about: Option<SessionId>, message: String) {
        let entity = about.map_or_else(|| Entity::Named("Signal", code.to_owned()), Entity::Session);
        self.inner.audit.record(Record {
            entity: Some(entity),
            code: Some(code.to_owned()),
            message: Some(message),
            ..Record::new(self.inner.clock.now(), Activity::Signal, outcome)
        });
    }
}
