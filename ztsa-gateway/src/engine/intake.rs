//! What the enforcement point hears and the engine must know: posture reports and failed sign-ins.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ztsa_proto::event::EventKind;
use ztsa_proto::name::DeviceId;
use ztsa_proto::posture::{Accepted, Wanted};
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use super::judge::unknown;
use super::record::{actor, standing_for};
use super::{Engine, News};
use crate::audit::{Activity, Actor, Outcome, Record};
use crate::authn::{AuthnError, ExchangeFailure, Session};
use crate::lease::Selector;
use crate::measure::{Exchange, Why};
use crate::pace::Pace;

/// The pause between two lines about one blocked device.
const AGAIN: Duration = Duration::from_secs(60);
/// How many refused sign-ins of strangers are written down: they must not push what matters out of files that are kept.
const STRANGERS: Pace = Pace { at_once: 100, a_minute: 600 };

impl Engine {
    /// Keeps a device's checked posture report and judges the device's tunnels by it.
    pub fn posture_reported(&self, device: &DeviceId, accepted: Accepted) {
        let os = &accepted.report.os;
        let words = [os.id.as_str(), os.version.as_str()];
        let os = if os.id.is_empty() { os.family.clone() } else { words.join(" ").trim_end().to_owned() };
        self.inner.store.describe_device(device, None, Some(os).filter(|os| !os.is_empty()));
        let worse = self.inner.posture.receive(device, accepted, self.inner.clock.now());
        if !worse.is_empty() {
            tracing::info!(%device, checks = worse.join(" "), "the posture of a device got worse");
        }
        self.announce(News::Device(device.clone()));
        let engine = self.because_of(Why::Posture);
        engine.posture_moved(device, &worse, self.inner.clock.now());
        engine.reevaluate(&Selector::Device(device.clone()));
    }

    /// Lists what devices are asked for: what the policies name, and what the configuration adds.
    pub fn posture_wanted(&self) -> Vec<Wanted> {
        self.inner.posture.catalogue().wanted(self.inner.policies.load().facts().into_iter())
    }

    /// Tells everybody who listens that devices are asked for something else now.
    pub(super) fn want_posture(&self) {
        let sessions = self.sessions().list(|_| true);
        for session in sessions {
            self.tell(&session.id, EventKind::PostureWanted, None, None, None);
        }
    }

    /// Answers somebody who asked for what is no app, and records it: whoever tries names leaves a trace.
    ///
    /// It takes the same steps as for an app that is hidden from them: not even the time may tell the two apart.
    pub fn not_found(&self, activity: Activity, session: &Arc<Session>, peer: IpAddr, asked: &str) -> Arc<Problem> {
        let now = self.inner.clock.now();
        let session = self.seen_from(session, peer);
        self.sighted(&session, peer, now);
        let judged = self.judge(&session, &self.inner.nothing, peer, now);
        // an answer about the gateway comes before one about the app only when the app is there and open
        let problem = unknown(judged.id.clone());
        if let Some(others) = self.written_down(&session.device, now) {
            let message = format!("asked for {asked}, which is no app here");
            self.inner.audit.record(Record {
                actor: Some(actor(&session)),
                peer: Some(peer),
                code: Some(problem.code.clone()),
                message: Some(standing_for(message, others)),
                decision: problem.decision.clone(),
                input: Some(judged.input(&session, &self.inner.nothing, peer, now, &self.inner.audit)),
                ..Record::new(now, activity, Outcome::Failure)
            });
        }
        self.turned_down(&session, asked, &problem, peer, now);
        problem
    }

    /// Records that a blocked device still sends requests, at most one line a minute and device; counts proofs that came twice.
    pub fn request_refused(&self, error: &AuthnError) {
        self.replayed(error, None, None);
        let AuthnError::DeviceBlocked { device } = error else { return };
        let now = self.inner.clock.now();
        if self.is_turned_away(device, now) {
            return;
        }
        let user = self.inner.store.device(device).map(|device| device.user);
        let actor = Actor { user, device: Some(device.clone()), ..Actor::default() };
        self.inner.audit.record(Record {
            actor: Some(actor),
            code: Some(error.problem().code),
            message: Some("a request of a blocked device was refused".to_owned()),
            ..Record::new(now, Activity::Connect, Outcome::Failure)
        });
    }

    /// Says whether a line about this blocked device was written less than a minute ago; else there is one now.
    fn is_turned_away(&self, device: &DeviceId, now: UnixTime) -> bool {
        let mut turned_away = self.inner.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
        turned_away.retain(|_, at| now.since(*at) < AGAIN);
        let lately = turned_away.contains_key(device);
        if !lately {
            turned_away.insert(device.clone(), now);
        }
        lately
    }

    /// Records an exchange that failed; of a blocked device at most one line a minute. Asking for a nonce is part of every first
    /// exchange and is not recorded.
    pub fn exchange_failed(&self, failure: &ExchangeFailure, peer: IpAddr) {
        let ExchangeFailure { error, device, session, proof, .. } = failure;
        if matches!(error, AuthnError::UseNonce) {
            return;
        }
        self.inner.measures.exchanges.add(Exchange::Refused);
        let now = self.inner.clock.now();
        // being blocked is the whole story: no detector asks about it
        if matches!(error, AuthnError::DeviceBlocked { device } if self.is_turned_away(device, now)) {
            return;
        }
        if let Some(message) = self.told_of_failure(error, device.as_ref(), now) {
            self.failure_recorded(failure, message, peer, now);
        }
        self.replayed(error, session.as_ref(), Some(peer));
        if let (Some(device), Some(proof)) = (device, proof) {
            self.login_failed(error, device, proof, peer);
        }
    }

    /// Words the line about an exchange that failed, unless the device caused as many as are written down.
    fn told_of_failure(&self, error: &AuthnError, device: Option<&DeviceId>, now: UnixTime) -> Option<String> {
        let message = error.to_string();
        if let Some(device) = device.filter(|device| self.inner.store.device(device).is_some()) {
            return Some(standing_for(message, self.written_down(device, now)?));
        }
        let mut strangers = self.inner.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match strangers.admit(STRANGERS, now).ok()? {
            0 => message,
            others => format!("{message} (and {others} more of unknown devices, not written down one by one)"),
        })
    }

    fn failure_recorded(&self, failure: &ExchangeFailure, message: String, peer: IpAddr, now: UnixTime) {
        let ExchangeFailure { error, user, device, session, .. } = failure;
        let person = user.as_ref().and_then(|user| self.inner.store.user(user));
        let actor = Actor {
            user: user.clone(),
            name: person.as_ref().and_then(|person| person.name.clone()),
            email: person.and_then(|person| person.email),
            device: device.clone(),
            session: session.clone(),
        };
        let activity = if session.is_some() { Activity::Renew } else { Activity::SignIn };
        self.inner.audit.record(Record {
            actor: device.is_some().then_some(actor),
            peer: Some(peer),
            code: Some(error.problem().code),
            message: Some(message),
            ..Record::new(now, activity, Outcome::Failure)
        });
    }
}
