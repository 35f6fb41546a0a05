//! The decision itself: a pure function of the request and the compiled slice.

use std::sync::Arc;

use cedar_policy::{Entities, PolicySet};
use ztsa_proto::posture::{State, problem_code};
use ztsa_proto::problem::{self, Problem};

use super::annotation::{Annotated, OnChange};
use super::slice::Slice;
use super::{Decision, Policies, Request, Verdict};
use crate::authn::Identity;

impl Policies {
    /// Decides whether the app may be opened.
    ///
    /// What no policy permits is denied; an error while evaluating denies; an app that the person may not know of is
    /// answered like one that does not exist.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        if !self.is_visible(request) {
            return Decision::deny(unknown(), Vec::new());
        }
        let Some(slice) = self.slices.get(&request.app.name) else {
            return Decision::deny(unknown(), Vec::new());
        };
        self.decide_by(slice, request)
    }

    pub(super) fn decide_by(&self, slice: &Slice, request: &Request<'_>) -> Decision {
        match self.vocabulary.cedar(request, &slice.app) {
            Ok((cedar, entities)) => self.evaluate(slice, request, &cedar, &entities),
            Err(cause) => {
                tracing::warn!(%cause, "a request could not be put to the policies");
                Decision::deny(problem::new("policy.error"), Vec::new())
            }
        }
    }

    /// Says whether the person may know that the app exists.
    pub fn is_visible(&self, request: &Request<'_>) -> bool {
        let slice = self.slices.get(&request.app.name);
        // looked at either way: what is not there takes as long as what is hidden
        let visible = slice.unwrap_or(&self.nothing).is_visible(request.identity, &self.vocabulary);
        visible && slice.is_some()
    }

    fn evaluate(
        &self,
        slice: &Slice,
        request: &Request<'_>,
        cedar: &cedar_policy::Request,
        entities: &Entities,
    ) -> Decision {
        let matched = |set: &PolicySet| self.matched(set, cedar, entities);
        let base = matched(&slice.base);
        let step_up = matched(&slice.step_up);
        let shadow_permits = matched(&slice.shadow_permits);
        let shadow_forbids = matched(&slice.shadow_forbids);
        let shadow = sorted(shadow_permits.ids.into_iter().chain(shadow_forbids.ids));
        let unheard = shadow_permits.failed.into_iter().chain(shadow_forbids.failed);
        let failed = sorted(base.failed.into_iter().chain(step_up.failed));
        let mut decision = if !failed.is_empty() {
            let mut problem = problem::new("policy.error");
            problem.detail = format!("the policy {} could not be evaluated", failed.join(", "));
            Decision::deny(problem, failed.clone())
        } else if !base.allowed {
            refused(slice, request, base.ids)
        } else if !step_up.ids.is_empty() {
            stepped_up(slice, request, step_up.ids)
        } else {
            let on_change = on_change(slice, &base.ids);
            let strict = base.ids.iter().any(|id| slice.rule(id).is_some_and(|rule| rule.strict));
            let verdict = Verdict::Allow;
            Decision { verdict, policies: base.ids, shadow: Vec::new(), failed: Vec::new(), strict, on_change }
        };
        decision.shadow = shadow;
        decision.failed = sorted(failed.into_iter().chain(unheard));
        decision
    }

    pub(super) fn matched(&self, set: &PolicySet, request: &cedar_policy::Request, entities: &Entities) -> Matched {
        if set.is_empty() {
            return Matched::default();
        }
        let response = self.authorizer.is_authorized(request, set, entities);
        Matched {
            allowed: response.decision() == cedar_policy::Decision::Allow,
            ids: sorted(response.diagnostics().reason().map(|id| AsRef::<str>::as_ref(id).to_owned())),
            failed: sorted(response.diagnostics().errors().map(failing)),
        }
    }
}

/// What Cedar answered for one set of policies.
#[derive(Debug, Default)]
pub(super) struct Matched {
    pub(super) allowed: bool,
    pub(super) ids: Vec<String>,
    pub(super) failed: Vec<String>,
}

impl Decision {
    fn deny(mut problem: Problem, policies: Vec<String>) -> Self {
        problem.policy.clone_from(&policies);
        let verdict = Verdict::Deny(Arc::new(problem));
        Self { verdict, policies, shadow: Vec::new(), failed: Vec::new(), strict: false, on_change: None }
    }

    /// Says whether the app may be opened.
    pub fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allow
    }

    /// Gives the reason, unless the app may be opened.
    pub fn problem(&self) -> Option<&Arc<Problem>> {
        match &self.verdict {
            Verdict::Allow => None,
            Verdict::Deny(problem) | Verdict::StepUp(problem) => Some(problem),
        }
    }
}

/// Answers for an app that does not exist, and word for word so for one that the person may not know of.
pub fn unknown() -> Problem {
    problem::new("app.unknown").with_detail("there is no such app for you here")
}

/// Gives the posture checks that a policy names and that do not pass.
pub(super) fn unmet<'r>(rule: &'r Annotated, request: &Request<'_>) -> impl Iterator<Item = (&'r str, State)> {
    rule.facts.iter().map(|id| (id.as_str(), request.facts.fact(id).state)).filter(|(_, state)| *state != State::Pass)
}

fn refused(slice: &Slice, request: &Request<'_>, ids: Vec<String>) -> Decision {
    let rules: Vec<&Annotated> = ids.iter().filter_map(|id| slice.rule(id)).collect();
    if rules.is_empty() {
        let detail = format!("no policy lets you open {} as you are signed in now, on this device", request.app.name);
        return Decision::deny(problem::new("policy.no_match").with_detail(detail), ids);
    }
    let facts: Vec<(&str, State)> = rules.iter().flat_map(|rule| unmet(rule, request)).collect();
    let code = rules.iter().find_map(|rule| rule.code.clone());
    let code = code.or_else(|| facts.first().map(|(id, _)| problem_code(id)));
    let mut problem = problem::new(code.as_deref().unwrap_or("policy.forbidden"));
    if let Some(reason) = texts(&rules, |rule| rule.reason.as_deref()) {
        problem.detail = reason;
    } else if !facts.is_empty() {
        let facts: Vec<String> = facts.iter().map(|(id, state)| format!("{id} ({state})")).collect();
        problem.detail = format!("{} needs what this device does not show: {}", request.app.name, facts.join(", "));
    }
    if let Some(remedy) = texts(&rules, |rule| rule.remedy.as_deref()) {
        problem.remedy = Some(remedy);
    }
    // what the device was never asked for is no change for the worse: a live tunnel waits until it is told
    let untold = !facts.is_empty() && facts.iter().all(|(id, _)| request.facts.fact(id).age.is_none());
    let on_change = if untold { Some(OnChange::Suspend) } else { on_change(slice, &ids) };
    Decision { on_change, ..Decision::deny(problem, ids) }
}

fn stepped_up(slice: &Slice, request: &Request<'_>, ids: Vec<String>) -> Decision {
    let rules: Vec<&Annotated> = ids.iter().filter_map(|id| slice.rule(id)).collect();
    let mut problem = problem::new("auth.step_up");
    if let Some(detail) = texts(&rules, |rule| rule.reason.as_deref()) {
        problem.detail = detail;
    }
    if let Some(remedy) = texts(&rules, |rule| rule.remedy.as_deref()) {
        problem.remedy = Some(remedy);
    }
    let wanted = || rules.iter().filter_map(|rule| rule.step_up.as_ref());
    // the first by the policies' ids: the issuer takes the values as alternatives (OpenID Connect 3.1.2.1)
    problem.acr_values = wanted().find_map(|step_up| step_up.acr_values.clone());
    problem.max_age = wanted().filter_map(|step_up| step_up.max_age).min().map(|age| age.as_secs());
    if let Some(untold) = untold(&problem, request.identity) {
        problem.detail = if problem.detail.is_empty() { untold } else { format!("{}; {untold}", problem.detail) };
    }
    let on_change = on_change(slice, &ids).or(Some(OnChange::Suspend));
    let decision = Decision::deny(problem, ids);
    let Verdict::Deny(problem) = decision.verdict else { return decision };
    Decision { verdict: Verdict::StepUp(problem), on_change, ..decision }
}

/// Names what a policy asks for and the issuer has not told of this sign-in: without it a new one would change nothing.
fn untold(problem: &Problem, identity: &Identity) -> Option<String> {
    let acr = (problem.acr_values.is_some() && identity.acr.is_none()).then_some("how you signed in (`acr`)");
    let time =
        (problem.max_age.is_some() && identity.auth_time.is_none()).then_some("when you signed in (`auth_time`)");
    let missing: Vec<&str> = acr.into_iter().chain(time).collect();
    if missing.is_empty() {
        return None;
    }
    let (issuer, missing) = (&identity.issuer, missing.join(" and "));
    Some(format!(
        "issuer `{issuer}` does not tell {missing}: if that stays so after signing in again, its administrator has to add the claim"
    ))
}

/// One policy that wants the tunnel to end is enough; without any word there is none.
fn on_change(slice: &Slice, ids: &[String]) -> Option<OnChange> {
    let said = || ids.iter().filter_map(|id| slice.rule(id)?.on_change);
    if said().any(|change| change == OnChange::Terminate) { Some(OnChange::Terminate) } else { said().next() }
}

fn texts(rules: &[&Annotated], text: impl Fn(&Annotated) -> Option<&str>) -> Option<String> {
    let mut texts: Vec<&str> = Vec::new();
    for text in rules.iter().filter_map(|rule| text(rule)) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn failing(error: &cedar_policy::AuthorizationError) -> String {
    let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
    AsRef::<str>::as_ref(error.policy_id()).to_owned()
}

fn sorted(ids: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<String> = ids.into_iter().collect();
    ids.sort();
    ids
}
