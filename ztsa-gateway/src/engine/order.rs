//! What an administrator orders. Each order has reached the live tunnels concerned when it returns.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ztsa_proto::event::EventKind;
use ztsa_proto::name::{AppName, DeviceId, SessionId, UserId};
use ztsa_proto::problem::{self, Problem, Retry};
use ztsa_proto::time::UnixTime;
use ztsa_proto::why::WhyResponse;

use super::live::concerned;
use super::{Changed, Engine, News, record};
use crate::audit::{Activity, Audit, Entity};
use crate::authn::Session;
use crate::config::POSTURE;
use crate::lease::Selector;
use crate::measure::Why;
use crate::policy::{self, Monitored, Policies, PolicyError, View};
use crate::risk::Scores;
use crate::store::{Device, DeviceState, NewSignal, SessionRow, Store, Subject};

/// Counts what a revocation ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Sessions.
    pub sessions: usize,
    /// Live tunnels.
    pub tunnels: usize,
    /// Tickets.
    pub tickets: usize,
}

/// Explains to an administrator what one session would be answered.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The session.
    pub session: Arc<Session>,
    /// Where its person asked from last, and this answer is for; `None` when they have not asked since the gateway started:
    /// then it is for no address.
    pub peer: Option<IpAddr>,
    /// The explanation.
    pub why: WhyResponse,
    /// What policies in monitor mode would have done.
    pub monitored: Vec<Monitored>,
}

/// Says why an order cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No device has this id.
    #[error("no device is known as {0:?}")]
    UnknownDevice(String),
    /// Several devices' ids begin like this.
    #[error("{0:?} is the beginning of several devices' ids: {list}", list = .1.join(", "))]
    AmbiguousDevice(String, Vec<String>),
    /// No session has this id.
    #[error("no session is known as {0:?}")]
    UnknownSession(String),
    /// No app has this name.
    #[error("no app is named {0:?}; the apps are {list}", list = .1.join(", "))]
    UnknownApp(String, Vec<String>),
}

impl Engine {
    /// Gives the time.
    pub fn now(&self) -> UnixTime {
        self.inner.clock.now()
    }

    /// Gives the audit log.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// Explains what a person would be answered for an app, in each of their live sessions.
    ///
    /// # Errors
    /// There is no such app.
    pub fn explain_user(&self, user: &UserId, app: &AppName) -> Result<Vec<Explained>, OrderError> {
        let names = || self.config().apps.iter().map(|app| app.name.to_string()).collect();
        let app = self.named(app).map_err(|_| OrderError::UnknownApp(app.to_string(), names()))?;
        let sessions = self.sessions().of_user(user);
        let now = self.inner.clock.now();
        Ok(sessions
            .into_iter()
            .map(|session| {
                let peer = self.sessions().peer(&session.id);
                let from = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                let judged = self.judge_new(&session, &app, from, now, None);
                let view = View { groups: true, signals: true };
                let mut why = self.explained(&judged, &session, &app, from, now, view);
                // nobody decided anything: nothing in the audit log answers to a number
                why.problem.iter_mut().for_each(|problem| problem.decision = None);
                let monitored = self.monitored(&session, &app, from, now);
                Explained { session, peer, why, monitored }
            })
            .collect())
    }

    /// Forgets a device and ends its sessions; when it signs in again it is a new one, and unmanaged.
    ///
    /// # Errors
    /// The device is not known.
    pub fn device_remove(&self, device: &DeviceId) -> Result<Revoked, OrderError> {
        let selector = Selector::Device(device.clone());
        let revoked = self.because_of(Why::Device).revoke(&selector, "an administrator removed this device");
        let known = self.inner.store.device(device);
        if !self.inner.store.delete_device(device) {
            return Err(OrderError::UnknownDevice(device.to_string()));
        }
        if let Some(known) = known {
            self.forget_device(device, &known.user);
        }
        self.managed(Activity::Remove, Entity::Device(device.clone()), None, format!("device {device} is forgotten"));
        Ok(revoked)
    }

    /// Gives the durable state.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Ends what `selector` names, live and to come: tokens issued until now are refused, and signing in anew is needed.
    ///
    /// For an app, a grant or a ticket only what is open ends.
    pub fn revoke(&self, selector: &Selector, reason: &str) -> Revoked {
        let now = self.inner.clock.now();
        let reason = if reason.is_empty() { "an administrator ended it" } else { reason };
        // those that could still be renewed count too, though their last token has run out
        let mut asleep = self.list_sessions();
        asleep.retain(|row| selects(selector, row));
        let renewable = asleep.len();
        for subject in self.subjects(selector) {
            self.inner.store.revoke(subject, now, reason);
        }
        let mut problem = problem::new("session.revoked").with_detail(reason);
        if matches!(selector, Selector::App(_) | Selector::Grant(_) | Selector::Ticket(_)) {
            // the session stays: signing in again would change nothing
            problem = problem
                .with_remedy("Connect again; if you do not know why it was ended, ask your administrator.")
                .with_retry(Retry::After { seconds: None });
        }
        let problem = Arc::new(problem);
        self.managed(Activity::Revoke, record::entity(selector), None, format!("{selector}: {reason}"));
        // none of the others comes back from here on: its renewal is refused
        let awake: BTreeSet<SessionId> = self.ended_sessions(selector).into_iter().collect();
        let revoked = self.because_of(Why::Administrator).end(selector, &problem);
        for row in asleep.into_iter().filter(|row| !awake.contains(&row.id)) {
            self.announce(News::EndedAsleep(row.id, Arc::clone(&problem)));
        }
        Revoked { sessions: revoked.sessions.max(renewable), ..revoked }
    }

    /// Makes a subject's risk exactly `score`, for a time or until it is cleared.
    pub fn risk_set(&self, subject: &Subject, score: u8, reason: &str, lasts: Option<Duration>) -> Changed {
        self.inner.risk.set(subject.clone(), score, reason, self.inner.clock.now(), lasts);
        let changed = self.because_of(Why::Administrator).risk_changed(subject);
        self.managed(
            Activity::Risk,
            record::entity(&concerned(subject)),
            None,
            format!("risk of {subject} set to {score}: {reason}"),
        );
        changed
    }

    /// Takes the administrator's word about a subject back; `None` when there was none.
    pub fn risk_clear(&self, subject: &Subject) -> Option<Changed> {
        if !self.inner.risk.clear(subject) {
            return None;
        }
        let changed = self.because_of(Why::Administrator).risk_changed(subject);
        self.managed(Activity::Risk, record::entity(&concerned(subject)), None, format!("risk of {subject} cleared"));
        Some(changed)
    }

    /// Adds a signal that the gateway itself noticed, and judges those again whom it concerns.
    pub fn signal(&self, signal: NewSignal) -> Changed {
        let engine = self.because_of(Why::Detector);
        let subject = signal.subject.clone();
        self.inner.risk.add(signal);
        engine.risk_changed(&subject)
    }

    /// Tells of a subject's changed risk, and judges those again whom it concerns.
    pub(super) fn risk_changed(&self, subject: &Subject) -> Changed {
        self.inner.measures.risk.add(self.cause.map_or(Why::Detector, |cause| cause.why));
        self.announce(News::Risk(subject.clone()));
        self.reevaluate(&concerned(subject))
    }

    /// Lists the signals that count now, of one subject or of all.
    pub fn signals(&self, subject: Option<&Subject>) -> Vec<NewSignal> {
        self.inner.risk.signals(subject, self.inner.clock.now())
    }

    /// Scores one session of one person on one device.
    pub fn scores(&self, user: &UserId, device: &DeviceId, session: &SessionId) -> Scores {
        self.inner.risk.scores(user, device, session, self.inner.clock.now())
    }

    /// Lists the sessions that have neither ended nor run out.
    pub fn list_sessions(&self) -> Vec<SessionRow> {
        let now = self.inner.clock.now();
        let mut rows = self.inner.store.sessions(now);
        rows.sort_by(|a, b| a.started_at.cmp(&b.started_at).then_with(|| a.id.cmp(&b.id)));
        rows
    }

    /// Counts the grants and the tickets that are good now.
    pub fn permissions(&self) -> (usize, usize) {
        (self.grants().live(self.inner.clock.now()), self.inner.tickets.list(None).len())
    }

    /// Counts the live tickets of a session.
    pub fn ticket_count(&self, session: &SessionId) -> usize {
        self.inner.tickets.count(session)
    }

    /// Approves, blocks or releases a device.
    ///
    /// # Errors
    /// The device is not known.
    pub fn device_set(&self, device: &DeviceId, state: DeviceState) -> Result<(Device, Changed), OrderError> {
        let changed = self.inner.store.set_device_state(device, state);
        let changed = changed.ok_or_else(|| OrderError::UnknownDevice(device.to_string()))?;
        self.announce(News::Device(device.clone()));
        let ended = self.because_of(Why::Device).reevaluate(&Selector::Device(device.clone()));
        if state == DeviceState::Blocked {
            self.inner.tickets.end(&Selector::Device(device.clone()));
        }
        let activity = match state {
            DeviceState::Approved => Activity::Approve,
            DeviceState::Blocked => Activity::Block,
            DeviceState::Unmanaged => Activity::Release,
        };
        let message = format!("device {device} is {}", state.as_str());
        self.managed(activity, Entity::Device(device.clone()), None, message);
        Ok((changed, ended))
    }

    /// Finds a device by its id or the beginning of it.
    ///
    /// # Errors
    /// No device or several are meant.
    pub fn find_device(&self, text: &str) -> Result<DeviceId, OrderError> {
        let devices = self.inner.store.devices();
        let found: Vec<&DeviceId> = devices
            .iter()
            .map(|device| &device.id)
            .filter(|id| !text.is_empty() && id.as_str().starts_with(text))
            .collect();
        match found.as_slice() {
            [] => Err(OrderError::UnknownDevice(text.to_owned())),
            [one] => Ok((*one).clone()),
            several => {
                let several = several.iter().take(5).map(ToString::to_string).collect();
                Err(OrderError::AmbiguousDevice(text.to_owned(), several))
            }
        }
    }

    /// Reads the policies again and judges every live tunnel by them.
    ///
    /// # Errors
    /// The policies have mistakes; those that ran before stay.
    pub fn reload_policies(&self) -> Result<(usize, Changed), PolicyError> {
        let _reading = self.inner.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let config = self.config();
        let catalogue = self.inner.posture.catalogue();
        let (seen, loaded) = Policies::load_settled(&config.policy.dir, &config.apps, catalogue);
        self.inner.policies_seen.store(seen, Ordering::SeqCst);
        let now = self.inner.clock.now();
        match loaded {
            Ok(policies) => {
                record::loaded(&self.inner.audit, now, &policies);
                let count = policies.len();
                let asked = self.posture_wanted();
                self.inner.policies.store(Arc::new(policies));
                if self.posture_wanted() != asked {
                    self.want_posture();
                }
                Ok((count, self.because_of(Why::Policy).reevaluate(&Selector::All)))
            }
            Err(error) => {
                let waits = config.reread().is_ok_and(|reread| reread.restart.contains(&POSTURE));
                let error = if waits { error.before_restart() } else { error };
                record::refused(&self.inner.audit, now, &error);
                Err(error)
            }
        }
    }

    /// Counts the policies that decide now.
    pub fn policy_count(&self) -> usize {
        self.inner.policies.load().len()
    }

    /// Reads the policies again when the names, sizes or times of their files changed and then stood still for one step.
    ///
    /// Most programs save a file, and copy a directory, piece by piece: what is half there would end tunnels that the whole
    /// lets be, or let in whom the missing half keeps out.
    pub(super) fn reload_changed_policies(&self) {
        // an unreadable directory is reported by the reload, once
        let seen = policy::fingerprint(&self.config().policy.dir).unwrap_or_default();
        let pending = self.inner.policies_pending.swap(seen, Ordering::SeqCst);
        if seen == pending && seen != self.inner.policies_seen.load(Ordering::SeqCst) {
            // the error is in the log and in the audit log
            let _ = self.reload_policies();
        }
    }

    pub(super) fn end(&self, selector: &Selector, problem: &Arc<Problem>) -> Revoked {
        // first: a tunnel that is opened with one of them from now on is refused when its use is counted
        let tickets = self.inner.tickets.end(selector).len();
        self.inner.changes.fetch_add(1, Ordering::SeqCst);
        let tunnels = self.inner.leases.select(selector);
        #[cfg(test)]
        policy::step::note("ending");
        let ended = tunnels.iter().filter(|tunnel| self.end_tunnel(tunnel, problem)).count();
        self.speak_out();
        let sessions = self.ended_sessions(selector);
        for session in &sessions {
            self.tell(session, EventKind::SessionEnded, None, None, Some(problem));
            self.grants().end_session(session);
            if let Some(session) = self.sessions().forget(session) {
                self.announce(News::Ended(session, Arc::clone(problem)));
            }
        }
        self.inner.measures.sessions_ended.add(sessions.len());
        Revoked { sessions: sessions.len(), tunnels: ended, tickets }
    }

    /// What must be refused from now on so that `selector` is revoked.
    fn subjects(&self, selector: &Selector) -> Vec<Subject> {
        match selector {
            Selector::User(user) => vec![Subject::User(user.clone())],
            Selector::Device(device) => vec![Subject::Device(device.clone())],
            Selector::Session(session) => vec![Subject::Session(session.clone())],
            Selector::All => {
                let rows = self.inner.store.sessions(self.inner.clock.now());
                let users = rows.into_iter().map(|row| row.user);
                let live = self.sessions().list(|_| true).into_iter().map(|session| session.identity.user.clone());
                users.chain(live).collect::<BTreeSet<_>>().into_iter().map(Subject::User).collect()
            }
            Selector::App(_) | Selector::Grant(_) | Selector::Ticket(_) => Vec::new(),
        }
    }

    fn ended_sessions(&self, selector: &Selector) -> Vec<SessionId> {
        let sessions = self.sessions();
        let ended = match selector {
            Selector::All => sessions.list(|_| true),
            Selector::User(user) => sessions.of_user(user),
            Selector::Device(device) => sessions.of_device(device),
            Selector::Session(id) => sessions.list(|session| session.id == *id),
            Selector::App(_) | Selector::Grant(_) | Selector::Ticket(_) => Vec::new(),
        };
        ended.iter().map(|session| session.id.clone()).collect()
    }
}

/// Says whether what is revoked has a session in it.
fn selects(selector: &Selector, row: &SessionRow) -> bool {
    match selector {
        Selector::All => true,
        Selector::User(user) => row.user == *user,
        Selector::Device(device) => row.device == *device,
        Selector::Session(id) => row.id == *id,
        Selector::App(_) | Selector::Grant(_) | Selector::Ticket(_) => false,
    }
}
