//! What happens is told to the detectors; what they notice becomes a signal at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ztsa_proto::name::{AppName, DeviceId, SessionId, UserId};
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use super::live::concerned;
use super::{Engine, record};
use crate::audit::{Activity, Actor, Outcome, Record};
use crate::authn::{AuthnError, Session, TokenFault};
use crate::detect::{self, Event, PostureWorse};
use crate::history::Person;
use crate::lease::{Selector, Tunnel};
use crate::lookup::Lookup;
use crate::measure::Why;
use crate::store::Subject;

/// Adds up what the tunnels of each person carried, until it is looked at.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<HashMap<UserId, u64>>);

impl Tally {
    /// Adds what a tunnel carried since the last time.
    pub(super) fn add(&self, tunnel: &Tunnel) {
        let bytes = tunnel.take_carried();
        if bytes > 0 {
            let mut carried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let user = &tunnel.session.identity.user;
            match carried.get_mut(user) {
                Some(sum) => *sum = sum.saturating_add(bytes),
                None => drop(carried.insert(user.clone(), bytes)),
            }
        }
    }

    fn take(&self) -> HashMap<UserId, u64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// Notes where a person is who just signed in, or whose client just renewed.
    pub fn arrived(&self, session: &Session, peer: IpAddr, renewed: bool) {
        self.placed(session, peer, self.inner.clock.now(), renewed);
    }

    /// Notes where a person is who asks for something.
    pub(super) fn sighted(&self, session: &Session, peer: IpAddr, now: UnixTime) {
        self.placed(session, peer, now, false);
    }

    /// Notes where a person is, and that they are at work unless it is their client that renews by itself.
    ///
    /// Jobs have no habits: they run wherever their platform has room.
    fn placed(&self, session: &Session, peer: IpAddr, now: UnixTime, renewed: bool) {
        let user = &session.identity.user;
        let known = |person: &mut Person| person.is_still_at(peer, now) && (renewed || person.was_active(now, 0));
        if self.is_job(user) || self.inner.history.with(user, |person, _| known(person)) {
            return;
        }
        let place = self.inner.lookup.load().place(peer);
        let event = if renewed { Event::Renewed { place: &place } } else { Event::Seen { place: &place } };
        self.observe(user, &actor_of(session), Some(peer), &event, now);
    }

    /// Notes that a person was let into an app.
    pub(super) fn entered(&self, session: &Session, app: &AppName, peer: IpAddr, now: UnixTime) {
        let user = &session.identity.user;
        if !self.is_job(user) {
            self.observe(user, &actor_of(session), Some(peer), &Event::Opened { app }, now);
        }
    }

    /// Notes that a person was refused: by policy, or because there is no such app. What risk, posture or the gateway itself
    /// refuses is none of it: a risk must not raise itself.
    pub(super) fn turned_down(&self, session: &Session, asked: &str, problem: &Problem, peer: IpAddr, now: UnixTime) {
        // nor is a policy that cannot be evaluated the person's doing
        let policy = problem.code.starts_with("policy.") && problem.code != "policy.error";
        if policy || problem.code == "app.unknown" {
            let user = &session.identity.user;
            self.observe(user, &actor_of(session), Some(peer), &Event::Refused { asked }, now);
        }
    }

    /// Notes where a tunnel really leads.
    pub fn dialled(&self, tunnel: &Tunnel, address: IpAddr) {
        let lookup = self.inner.lookup.load();
        let app = &tunnel.app;
        let names = std::iter::once(&app.target.host).chain(&app.hosts).map(ToString::to_string);
        let listed =
            lookup.listed_address(address).or_else(|| names.into_iter().find_map(|name| lookup.listed_name(&name)));
        if let Some(listed) = listed {
            let session = &tunnel.session;
            let event = Event::Dialled { app: &app.name, listed: &listed };
            let now = self.inner.clock.now();
            self.observe(&session.identity.user, &actor_of(session), Some(tunnel.peer), &event, now);
        }
    }

    /// Notes a proof that came a second time.
    pub(super) fn replayed(&self, error: &AuthnError, session: Option<&SessionId>, peer: Option<IpAddr>) {
        let AuthnError::Replay { device, session: with, proof } = error else { return };
        let event = Event::Replayed { device, session: with.as_ref().or(session), proof };
        self.observe_device(device, peer, &event);
    }

    /// Notes a sign-in that was refused, when the device is known: a stranger's key is about nobody.
    pub(super) fn login_failed(&self, error: &AuthnError, device: &DeviceId, proof: &str, peer: IpAddr) {
        if is_suspicious(error) {
            self.observe_device(device, Some(peer), &Event::LoginFailed { device, proof });
        }
    }

    /// Compares a device's facts with what was told of them: what fails now is told, what holds again is taken back.
    pub(super) fn posture_moved(&self, device: &DeviceId, worse: &[String], now: UnixTime) {
        let facts = self.inner.posture.facts(device, now);
        for check in detect::failed(worse, &facts) {
            self.observe_device(device, None, &Event::Worse { device, check });
        }
        let subject = Subject::Device(device.clone());
        let told = self.inner.risk.signals(Some(&subject), now);
        for signal in told.iter().filter(|signal| signal.kind == PostureWorse::KIND) {
            let check = signal.cause.rsplit(' ').next().unwrap_or_default();
            let over = |cause| self.lower_cause(&subject, PostureWorse::KIND, detect::SOURCE, cause).is_some();
            if facts.fact(check).holds() && over(&signal.cause) {
                if let Some(known) = self.inner.store.device(device) {
                    // what fails again a moment later is told again, however soon
                    let told = detect::key(PostureWorse::KIND, &signal.cause);
                    self.inner.history.with(&known.user, |person, _| person.forget_told(&told));
                }
                let entity = record::entity(&concerned(&subject));
                let message = format!("{} of {subject} is over: {check} passes", signal.kind);
                self.managed(Activity::Risk, entity, None, message);
            }
        }
    }

    /// Counts what the tunnels carried since the last time, and keeps what is remembered of people.
    pub(super) fn remember(&self, now: UnixTime) {
        for tunnel in self.inner.leases.select(&Selector::All) {
            self.inner.tally.add(&tunnel);
        }
        let people = self.inner.tally.take().into_iter().filter(|(user, _)| !self.is_job(user));
        for (user, bytes) in people {
            let actor = Actor { user: Some(user.clone()), ..Actor::default() };
            self.observe(&user, &actor, None, &Event::Carried { bytes }, now);
        }
        self.inner.history.prune(now, self.config().risk.history);
        self.keep_history();
    }

    /// Hands what is remembered of people to the store's writer.
    pub fn keep_history(&self) {
        self.inner.history.keep(self.inner.clock.now(), self.inner.config.load().risk.history);
    }

    /// Gives what is remembered of a person's habits.
    pub fn habits(&self, user: &UserId) -> Option<Person> {
        self.inner.history.person(user)
    }

    /// Forgets a person's habits; says whether anything was remembered.
    pub fn forget_habits(&self, user: &UserId) -> bool {
        let known = self.inner.history.forget(user);
        if known {
            let entity = record::entity(&Selector::User(user.clone()));
            self.managed(Activity::Risk, entity, None, format!("the habits of {user} were forgotten"));
        }
        known
    }

    /// Forgets what a removed device leaves behind: the habits of whoever has no other device.
    pub(super) fn forget_device(&self, device: &DeviceId, user: &UserId) {
        if self.inner.store.devices().iter().any(|other| other.user == *user && other.id != *device) {
            self.inner.history.with(user, |person, _| person.forget_attempts(device.as_str()));
        } else {
            self.forget_habits(user);
        }
    }

    /// Looks places and destinations up in other files from now on.
    pub fn look_up_in(&self, lookup: Lookup) {
        self.inner.lookup.store(std::sync::Arc::new(lookup));
    }

    fn observe_device(&self, device: &DeviceId, peer: Option<IpAddr>, event: &Event<'_>) {
        let Some(known) = self.inner.store.device(device) else { return };
        let session = match event {
            Event::Replayed { session, .. } => session.cloned(),
            _ => None,
        };
        let now = self.inner.clock.now();
        let whose = session.as_ref().and_then(|id| self.inner.store.session(id)).map(|row| row.user);
        let people = match whose {
            Some(user) => vec![user],
            // a finding about the device is one, whoever is on it
            None if matches!(event, Event::Worse { .. }) => vec![known.user],
            // somebody who signs in there as somebody else as well leaves nobody's count behind
            None => {
                let mut people = self.inner.store.people_on(device, now);
                people.retain(|user| *user != known.user);
                people.insert(0, known.user);
                people
            }
        };
        for user in people {
            let (device, session) = (Some(device.clone()), session.clone());
            let actor = Actor { user: Some(user.clone()), device, session, ..Actor::default() };
            self.observe(&user, &actor, peer, event, now);
        }
    }

    fn observe(&self, user: &UserId, actor: &Actor, peer: Option<IpAddr>, event: &Event<'_>, now: UnixTime) {
        let config = self.inner.config.load();
        let found = self
            .inner
            .history
            .with(user, |person, apps| detect::observe(person, apps, event, &config.risk.signals, now));
        for finding in found {
            tracing::info!(kind = finding.kind, about = ?finding.about, "a risk was noticed");
            let signal = finding.signal(user, now);
            self.inner.audit.record(Record {
                actor: Some(actor.clone()),
                peer,
                entity: Some(record::entity(&concerned(&signal.subject))),
                code: Some(finding.kind.to_owned()),
                message: Some(format!("{} of 100: {}", finding.weight.points, finding.reason)),
                ..Record::new(now, Activity::Risk, Outcome::Success)
            });
            self.because_of(Why::Detector).raise(signal);
        }
    }

    fn is_job(&self, user: &UserId) -> bool {
        let config = self.inner.config.load();
        config.issuer(&user.issuer).is_none() && config.workloads.iter().any(|job| job.issuer == user.issuer)
    }
}

fn actor_of(session: &Session) -> Actor {
    record::actor(session)
}

/// Says whether a refused sign-in is one that nothing but a mistake or an attack explains: not an issuer that is out, a token
/// that ran out, or a clock that is wrong.
fn is_suspicious(error: &AuthnError) -> bool {
    match error {
        AuthnError::UnknownIssuer(_) => true,
        AuthnError::Refused { fault, .. } => matches!(
            fault,
            TokenFault::Malformed
                | TokenFault::Algorithm(_)
                | TokenFault::Critical
                | TokenFault::Signature
                | TokenFault::Issuer
                | TokenFault::Subject
                | TokenFault::AccessHash
                | TokenFault::Device
                | TokenFault::Shared
        ),
        _ => false,
    }
}
