//! What a session is told: its apps, why an app answers as it does, and about itself.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use ztsa_proto::app::{Access, AppInfo, AppList};
use ztsa_proto::name::AppName;
use ztsa_proto::posture::State;
use ztsa_proto::problem::{self, Problem, Retry};
use ztsa_proto::session::{DeviceInfo, SessionInfo, UserInfo};
use ztsa_proto::time::UnixTime;
use ztsa_proto::why::{self, MissingFact, PolicyInfo, WhyResponse};

use super::Engine;
use super::judge::Judged;
use crate::audit::Activity;
use crate::authn::Session;
use crate::config::App;
use crate::policy::{Change, Verdict, View};

/// The code of the answer for an app that the person may not know of.
pub(super) const HIDDEN: &str = "app.unknown";

/// Holds the one place that a session has for the question why, until it is dropped.
#[derive(Debug)]
pub struct Asking {
    engine: Engine,
    session: Arc<Session>,
}

impl Asking {
    /// Explains what the session would be answered for an app now. It takes hundreds of answers to find what would change one:
    /// never on a thread that carries bytes.
    ///
    /// # Errors
    /// `app.unknown` for an app that the person may not know of.
    pub fn why(&self, name: &AppName, peer: IpAddr) -> Result<WhyResponse, Arc<Problem>> {
        self.engine.why(&self.session, name, peer)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.engine.inner.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.session.id);
    }
}

impl Engine {
    /// Begins to explain something to a session.
    ///
    /// # Errors
    /// `gateway.limit` while another question of the session is being answered.
    pub fn asking(&self, session: &Arc<Session>) -> Result<Asking, Arc<Problem>> {
        let mut asking = self.inner.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.insert(session.id.clone()) {
            return Ok(Asking { engine: self.clone(), session: Arc::clone(session) });
        }
        let mut problem = problem::new("gateway.limit")
            .with_detail("another question of this session is being answered")
            .with_remedy("Ask again in a moment.")
            .with_retry(Retry::After { seconds: Some(1) });
        problem.status = 429;
        Err(Arc::new(problem))
    }

    /// Lists the apps that the person may know of, each with what they would be answered now.
    pub fn apps(&self, session: &Arc<Session>, peer: IpAddr) -> AppList {
        let now = self.inner.clock.now();
        let session = self.seen_from(session, peer);
        let mut apps = Vec::new();
        let policies = self.inner.policies.load();
        for app in &self.config().apps {
            let access = match self.judge(&session, app, peer, now).decision.verdict {
                Verdict::Allow => Access::open(),
                Verdict::Deny(problem) if problem.code == HIDDEN => continue,
                Verdict::Deny(problem) => Access::denied(listed(problem)),
                Verdict::StepUp(problem) => Access::step_up(listed(problem)),
            };
            let needs = policies.facts_of(&app.name).into_iter().map(str::to_owned).collect();
            apps.push(AppInfo { needs, ..info(app, access) });
        }
        AppList { apps }
    }

    pub(super) fn why(
        &self,
        session: &Arc<Session>,
        name: &AppName,
        peer: IpAddr,
    ) -> Result<WhyResponse, Arc<Problem>> {
        let unknown = |_| self.not_found(Activity::Explain, session, peer, name.as_str());
        let app = self.named(name).map_err(unknown)?;
        let session = self.seen_from(session, peer);
        // what is asked and answered is on record, as for any other question
        let now = self.inner.clock.now();
        let judged = self.judge_new(&session, &app, peer, now, None);
        self.decided(Activity::Explain.into(), &session, &app, peer, now, &judged);
        match judged.problem() {
            Some(problem) if problem.code == HIDDEN => {
                // it leaves what asking for an app that is not there leaves: the person sees their own risk
                self.sighted(&session, peer, now);
                self.turned_down(&session, name.as_str(), problem, peer, now);
                Err(Arc::clone(problem))
            }
            // who else may what, and by which groups, is not theirs to know
            _ => Ok(self.explained(&judged, &session, &app, peer, now, View { groups: false, signals: true })),
        }
    }

    /// Explains an answer; to an administrator also about what the person may not know of.
    pub(super) fn explained(
        &self,
        judged: &Judged,
        session: &Session,
        app: &App,
        peer: IpAddr,
        now: UnixTime,
        view: View,
    ) -> WhyResponse {
        let (explanation, changes, scores) = self.explain(judged, session, app, peer, now, view);
        let (decision, problem) = match explanation.decision.verdict {
            Verdict::Allow => (why::Decision::Allow, None),
            Verdict::Deny(problem) => (why::Decision::Deny, Some(problem)),
            Verdict::StepUp(problem) => (why::Decision::StepUp, Some(problem)),
        };
        let rules = explanation.rules.into_iter().filter(|rule| !rule.monitor);
        let missing = explanation.missing.into_iter().map(|missing| MissingFact {
            fact: missing.fact,
            state: missing.state.unwrap_or(State::Unknown),
            remedy: missing.remedy,
        });
        WhyResponse {
            app: app.name.clone(),
            decision,
            problem: problem.map(Arc::unwrap_or_clone),
            policies: rules
                .map(|rule| PolicyInfo { id: rule.id, effect: rule.effect.to_owned(), reason: rule.reason })
                .collect(),
            missing: missing.collect(),
            risk: scores.info(),
            changes: changes.into_iter().map(Change::told).collect(),
        }
    }

    /// Tells a session about itself.
    pub fn session_info(&self, session: &Arc<Session>) -> SessionInfo {
        let now = self.inner.clock.now();
        let session = self.seen(session);
        let identity = &session.identity;
        let state = self.inner.store.device(&session.device).map(|device| device.state).unwrap_or_default();
        SessionInfo {
            session: session.id.clone(),
            user: UserInfo {
                issuer: identity.user.issuer.clone(),
                subject: identity.user.subject.clone(),
                name: identity.name.clone(),
                email: identity.email.clone(),
                groups: identity.groups.clone(),
            },
            device: DeviceInfo { id: session.device.clone(), state },
            expires_at: session.expires_at,
            renew_before: self.inner.store.session(&session.id).map(|row| row.ends_at),
            risk: self.inner.risk.scores(&identity.user, &session.device, &session.id, now).info(),
            posture: self.inner.posture.checks(&session.device, now),
        }
    }
}

/// A list is no decision, and nothing in the audit log answers to a number in it.
fn listed(problem: Arc<Problem>) -> Problem {
    Problem { decision: None, ..Arc::unwrap_or_clone(problem) }
}

fn info(app: &App, access: Access) -> AppInfo {
    AppInfo {
        name: app.name.clone(),
        kind: app.kind,
        hosts: app.hosts.clone(),
        port: app.target.port,
        local_port: app.local_port,
        tags: app.tags.clone(),
        access,
        needs: Vec::new(),
    }
}
