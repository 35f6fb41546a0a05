//! The one place where a question is answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ztsa_proto::jws::random_id;
use ztsa_proto::name::{AppName, HostName};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::time::UnixTime;

use super::Engine;
use crate::audit::{Audit, By, Input};
use crate::authn::Session;
use crate::config::App;
use crate::measure::{self, Question};
use crate::policy::case::Expect;
use crate::policy::{self, Change, Decision, Explanation, Monitored, OnChange, Request, Verdict, View};
use crate::posture::Facts;
use crate::risk::Scores;
use crate::store::DeviceState;

/// An answer with its number, as it stands in the audit log and in front of the person.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) id: String,
    pub(super) decision: Decision,
    /// Who gave it.
    by: By,
    /// What it was made from.
    facets: Arc<Facets>,
}

impl Judged {
    fn new(mut decision: Decision, by: By, facets: Facets) -> Self {
        let id = random_id();
        match &mut decision.verdict {
            Verdict::Allow => {}
            Verdict::Deny(problem) | Verdict::StepUp(problem) => Arc::make_mut(problem).decision = Some(id.clone()),
        }
        Self { id, decision, by, facets: Arc::new(facets) }
    }

    /// Writes down what the answer was made from.
    pub(super) fn input(&self, session: &Session, app: &App, peer: IpAddr, now: UnixTime, audit: &Audit) -> Box<Input> {
        Box::new(self.facets.request(session, app, peer, now).input(self.by, audit))
    }

    /// Gives the reason, unless the answer is yes.
    pub(super) fn problem(&self) -> Option<&Arc<Problem>> {
        self.decision.problem()
    }

    /// Turns a yes into a no for a reason outside of policy.
    pub(super) fn refused(&self, problem: Problem) -> Self {
        let verdict = Verdict::Deny(Arc::new(Problem { decision: Some(self.id.clone()), ..problem }));
        let decision = Decision { verdict, ..self.decision.clone() };
        Self { decision, by: By::Gateway, ..self.clone() }
    }

    /// The same; a live tunnel waits meanwhile, unless policy wants it to end.
    pub(super) fn refused_for_now(&self, problem: Problem) -> Self {
        let mut refused = self.refused(problem);
        refused.decision.on_change = refused.decision.on_change.or(Some(OnChange::Suspend));
        refused
    }
}

/// What a decision is made from, gathered at one moment.
#[derive(Debug)]
pub(super) struct Facets {
    device_state: DeviceState,
    facts: Facts,
    pub(super) scores: Scores,
    country: String,
}

impl Engine {
    /// Answers whether the session may open the app now.
    pub(super) fn judge(&self, session: &Session, app: &App, peer: IpAddr, now: UnixTime) -> Judged {
        #[cfg(test)]
        policy::step::note("judge");
        let facets = self.facets(session, peer, now);
        let request = facets.request(session, app, peer, now);
        let policies = self.inner.policies.load();
        // what a person may not know of is answered alike whatever their risk
        let outside = policies.is_visible(&request).then(|| self.outside(session, &facets.scores)).flatten();
        let (by, decision) = outside.unwrap_or_else(|| (By::Policy, policies.decide(&request)));
        self.doubt_policies(&decision);
        self.doubt_allowance(Judged::new(decision, by, facets))
    }

    /// Answers for something new, which the gateway itself may have to refuse. `also` is a reason that only this question has.
    pub(super) fn judge_new(
        &self,
        session: &Session,
        app: &App,
        peer: IpAddr,
        now: UnixTime,
        also: Option<Box<Problem>>,
    ) -> Judged {
        let judged = self.judge(session, app, peer, now);
        match self.shut(session, also) {
            Some(problem) if judged.decision.is_allowed() => judged.refused(*problem),
            _ => judged,
        }
    }

    /// Refuses what is new whatever policy allows.
    fn shut(&self, session: &Session, also: Option<Box<Problem>>) -> Option<Box<Problem>> {
        self.admit().err().or(also).or_else(|| self.held(session, false).map(Box::new))
    }

    /// Refuses whatever policy says: what was revoked, who is blocked, and whose risk is above the thresholds.
    fn outside(&self, session: &Session, scores: &Scores) -> Option<(By, Decision)> {
        let standing = self.standing(session).map(|decision| (By::Standing, decision));
        standing.or_else(|| Some((By::Risk, self.risk_of(scores)?)))
    }

    /// Counts an answer.
    pub(super) fn counted(&self, question: Question, judged: &Judged) {
        let answer = match &judged.decision.verdict {
            Verdict::Allow => measure::Answer::Allow,
            Verdict::Deny(_) => measure::Answer::Deny,
            Verdict::StepUp(_) => measure::Answer::StepUp,
        };
        self.inner.measures.decided(question, answer);
        if !judged.decision.failed.is_empty() {
            self.inner.measures.policy_errors.add(1);
        }
    }

    /// Finds the app that a destination means: its name, `NAME.ztsa` or one of its hosts.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, host: &HostName, port: u16) -> Result<Arc<App>, NoApp> {
        self.config().app(host, port).cloned().ok_or(NoApp)
    }

    /// Finds the app of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(&self, name: &AppName) -> Result<Arc<App>, NoApp> {
        self.config().apps.iter().find(|app| app.name == *name).cloned().ok_or(NoApp)
    }

    /// Explains an answer, and what would change it. What the gateway itself refuses nobody who asks can change.
    pub(super) fn explain(
        &self,
        judged: &Judged,
        session: &Session,
        app: &App,
        peer: IpAddr,
        now: UnixTime,
        view: View,
    ) -> (Explanation, Vec<Change>, Scores) {
        let request = judged.facets.request(session, app, peer, now);
        let (decision, scores) = (judged.decision.clone(), judged.facets.scores.clone());
        let plain = |decision| Explanation { decision, rules: Vec::new(), missing: Vec::new() };
        let policies = self.inner.policies.load();
        let explanation = match judged.by {
            By::Gateway => return (plain(decision), Vec::new(), scores),
            By::Policy => policies.explained(&request, decision),
            By::Risk | By::Standing => plain(decision),
        };
        let decide = |request: &Request<'_>| {
            let outside = self.outside(session, request.scores);
            outside.map_or_else(|| policies.decide(request), |(_, decision)| decision)
        };
        (explanation, policies.changes(&request, view, &decide), scores)
    }

    /// Tells what policies in monitor mode would have done; what is not policy's they would not have turned.
    pub(super) fn monitored(&self, session: &Session, app: &App, peer: IpAddr, now: UnixTime) -> Vec<Monitored> {
        let facets = self.facets(session, peer, now);
        let monitored = self.inner.policies.load().monitored(&facets.request(session, app, peer, now));
        let outside = self.outside(session, &facets.scores).and_then(|(_, decision)| decision.problem().cloned());
        let shut = self.shut(session, None);
        let told = |one: Monitored| {
            let refused = outside.as_deref().or_else(|| shut.as_deref().filter(|_| one.would == Expect::Allow));
            match refused {
                Some(problem) => one.refused(problem),
                None => one,
            }
        };
        monitored.into_iter().map(told).collect()
    }

    pub(super) fn facets(&self, session: &Session, peer: IpAddr, now: UnixTime) -> Facets {
        #[cfg(test)]
        policy::step::note("facets");
        let device = &session.device;
        Facets {
            device_state: self.inner.store.device(device).map(|device| device.state).unwrap_or_default(),
            facts: self.inner.posture.facts(device, now),
            scores: self.inner.risk.scores(&session.identity.user, device, &session.id, now),
            country: self.inner.lookup.load().country(peer),
        }
    }

    /// Refuses what was revoked and devices that are blocked, whatever policy says.
    pub(super) fn standing(&self, session: &Session) -> Option<Decision> {
        let store = &self.inner.store;
        if store.is_blocked(&session.device) {
            return Some(Decision::blocked());
        }
        let cutoff = store.cutoff_of(&session.identity.user, &session.device, &session.id);
        let revoked = cutoff.is_some_and(|cutoff| session.issued_at <= cutoff);
        if revoked {
            let reason = store.reason_of(&session.identity.user, &session.device, &session.id);
            let problem = problem::new("session.revoked").with_detail(reason.unwrap_or_default());
            return Some(Decision::outside(problem, OnChange::Terminate));
        }
        self.held(session, true).map(|problem| Decision::outside(problem, OnChange::Suspend))
    }

    fn risk_of(&self, scores: &Scores) -> Option<Decision> {
        Decision::risky(scores, &self.inner.config.load().risk.thresholds)
    }

    /// Refuses everything new while the gateway goes down, or cannot keep or write down what it decides.
    pub(super) fn admit(&self) -> Result<(), Box<Problem>> {
        if self.inner.draining.load(Ordering::SeqCst) {
            return Err(Box::new(problem::new("gateway.draining")));
        }
        if self.inner.audit.refuses() {
            return Err(Box::new(unrecorded()));
        }
        match self.inner.store.outage() {
            None => Ok(()),
            Some(outage) => {
                tracing::warn!(%outage, "nothing new is granted while the store is out");
                Err(Box::new(problem::new("gateway.unavailable").with_detail("the gateway cannot write to its store")))
            }
        }
    }
}

impl Facets {
    fn request<'a>(&'a self, session: &'a Session, app: &'a App, peer: IpAddr, now: UnixTime) -> Request<'a> {
        Request {
            identity: &session.identity,
            device: &session.device,
            device_state: self.device_state.as_str(),
            facts: &self.facts,
            scores: &self.scores,
            peer,
            country: &self.country,
            app,
            now,
        }
    }
}

/// Says that what is decided could not be written down.
pub(super) fn unrecorded() -> Problem {
    problem::new("gateway.unavailable").with_detail("the gateway cannot write its audit log")
}

/// A decision id too: nothing may tell an app that is not there from one that is hidden.
pub(super) fn unknown(decision: String) -> Arc<Problem> {
    Arc::new(policy::unknown().with_decision(decision))
}

/// Says that there is no app of a name; what the person is told comes from [`Engine::not_found`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such app")]
pub struct NoApp;
