//! The decision explained: which policies decide, and what would have to change.

use ztsa_proto::posture::{State, describe};

use super::annotation::Annotated;
use super::case::Expect;
use super::decide::{unknown, unmet};
use super::slice::could_be;
use super::{Decision, Policies, Request, Verdict};

/// Explains a [`Decision`].
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The answer that [`Policies::decide`] gives.
    pub decision: Decision,
    /// The policies that decided.
    pub rules: Vec<Rule>,
    /// What is not as those policies want it.
    pub missing: Vec<Missing>,
}

/// Names one policy in an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// What its annotation says.
    pub reason: Option<String>,
    /// Whether it is only logged.
    pub monitor: bool,
}

/// Names one fact that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The fact, such as `disk.root`, or `auth` for the sign-in.
    pub fact: String,
    /// What it is now, where it is a posture check.
    pub state: Option<State>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Policies {
    /// Explains the answer that [`Policies::decide`] gives for the same request.
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        self.explained(request, self.decide(request))
    }

    /// Explains an answer that was given to a request.
    pub fn explained(&self, request: &Request<'_>, decision: Decision) -> Explanation {
        let slice = self.slices.get(&request.app.name);
        let hidden = decision.problem().is_some_and(|problem| problem.code == unknown().code);
        let Some(slice) = slice.filter(|_| !hidden) else {
            return Explanation { decision, rules: Vec::new(), missing: Vec::new() };
        };
        let named = |ids: &[String]| -> Vec<&Annotated> { ids.iter().filter_map(|id| slice.rule(id)).collect() };
        let deciding = named(&decision.policies);
        let rules = deciding.iter().copied().chain(named(&decision.shadow)).map(Rule::of).collect();
        let mut missing = Vec::new();
        match &decision.verdict {
            Verdict::Allow => {}
            Verdict::Deny(_) if deciding.is_empty() => {
                // no permit matched: what do those want that are about this person?
                let user = self.vocabulary.user(request.identity);
                let about = |rule: &&Annotated| could_be(&rule.principal(), &user, request.identity, &self.vocabulary);
                let permits = slice.rules.iter().filter(|rule| rule.is_permit() && !rule.monitor).filter(about);
                permits.for_each(|rule| lacking(rule, request, &mut missing));
            }
            Verdict::Deny(_) => deciding.iter().for_each(|rule| lacking(rule, request, &mut missing)),
            Verdict::StepUp(problem) => {
                missing.push(Missing { fact: "auth".to_owned(), state: None, remedy: problem.remedy.clone() });
                for rule in &deciding {
                    lacking(rule, request, &mut missing);
                }
            }
        }
        Explanation { decision, rules, missing }
    }
}

/// Tells what one policy in monitor mode would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitored {
    /// The policy.
    pub rule: Rule,
    /// What would be answered if it were enforced.
    pub would: Expect,
    /// The code of that answer.
    pub code: Option<String>,
}

impl Policies {
    /// Names the permits in monitor mode that would let a person know of an app that is hidden from them.
    ///
    /// Never part of a decision: to look at them takes longer than for an app that is not there.
    pub(super) fn revealing(&self, request: &Request<'_>) -> Vec<String> {
        let Some(slice) = self.slices.get(&request.app.name) else { return Vec::new() };
        if slice.shadow_permits.is_empty() || self.is_visible(request) {
            return Vec::new();
        }
        let mut shadow = self.decide_by(slice, request).shadow;
        shadow.retain(|id| slice.rule(id).is_some_and(Annotated::is_permit));
        shadow
    }

    /// Tells what each policy in monitor mode that applies to a request would do if it were enforced.
    pub fn monitored(&self, request: &Request<'_>) -> Vec<Monitored> {
        let Some(slice) = self.slices.get(&request.app.name) else { return Vec::new() };
        let mut shadow = self.decide(request).shadow;
        shadow.extend(self.revealing(request));
        let one = |id: &String| {
            let decision = self.decide_by(&slice.enforcing(id).ok()?, request);
            let code = decision.problem().map(|problem| problem.code.clone());
            Some(Monitored { rule: Rule::of(slice.rule(id)?), would: Expect::of(&decision.verdict), code })
        };
        shadow.iter().filter_map(one).collect()
    }
}

impl Rule {
    fn of(rule: &Annotated) -> Self {
        Self {
            id: rule.id.clone(),
            effect: if rule.is_permit() { "permit" } else { "forbid" },
            reason: rule.reason.clone(),
            monitor: rule.monitor,
        }
    }
}

/// What the policy says, else what mends this check.
fn remedy(rule: &Annotated, id: &str) -> Option<String> {
    rule.remedy.clone().or_else(|| describe(id).map(|known| known.remedy.to_owned()))
}

/// Adds the posture checks that `rule` names and that do not pass, each once.
fn lacking(rule: &Annotated, request: &Request<'_>, missing: &mut Vec<Missing>) {
    for (id, state) in unmet(rule, request) {
        if missing.iter().all(|known| known.fact != id) {
            missing.push(Missing { fact: id.to_owned(), state: Some(state), remedy: remedy(rule, id) });
        }
    }
}
