//! What the gateway refuses whatever policy says, as far as it depends on the request alone.

use std::sync::Arc;

use ztsa_proto::problem::{self, Problem};

use super::case::Expect;
use super::{Decision, Explanation, Monitored, OnChange, Policies, Request, Verdict};
use crate::config::Thresholds;
use crate::risk::{Scores, Tolerance, tolerance};
use crate::store::DeviceState;

impl Decision {
    /// Refuses for a reason that is not policy's; `on_change` is what that does to a live tunnel.
    pub fn outside(problem: Problem, on_change: OnChange) -> Self {
        Self {
            verdict: Verdict::Deny(Arc::new(problem)),
            policies: Vec::new(),
            shadow: Vec::new(),
            failed: Vec::new(),
            strict: false,
            on_change: Some(on_change),
        }
    }

    /// Refuses a device that an administrator blocked.
    pub fn blocked() -> Self {
        let problem = problem::new("device.blocked").with_detail("an administrator blocked this device");
        Self::outside(problem, OnChange::Terminate)
    }

    /// Refuses scores that are at the thresholds.
    pub fn risky(scores: &Scores, thresholds: &Thresholds) -> Option<Self> {
        match tolerance(scores, thresholds) {
            Tolerance::Within => None,
            Tolerance::Suspend(problem) => Some(Self::outside(problem, OnChange::Suspend)),
            Tolerance::Terminate(problem) => Some(Self::outside(problem, OnChange::Terminate)),
        }
    }
}

impl Request<'_> {
    /// Gives the refusal that comes before policy: of a blocked device, and of scores at the thresholds.
    pub fn outside(&self, thresholds: &Thresholds) -> Option<Decision> {
        let blocked = (self.device_state == DeviceState::Blocked.as_str()).then(Decision::blocked);
        blocked.or_else(|| Decision::risky(self.scores, thresholds))
    }
}

impl Policies {
    /// Explains what the gateway answers: as [`Policies::explain`], with what it refuses before policy is asked.
    pub fn explain_whole(&self, request: &Request<'_>, thresholds: &Thresholds) -> Explanation {
        // what a person may not know of is answered alike whatever their risk
        let outside = self.is_visible(request).then(|| request.outside(thresholds)).flatten();
        match outside {
            Some(decision) => Explanation { decision, rules: Vec::new(), missing: Vec::new() },
            None => self.explain(request),
        }
    }
}

impl Monitored {
    /// Says that the gateway would refuse for this reason all the same.
    #[must_use]
    pub fn refused(self, problem: &Problem) -> Self {
        Self { would: Expect::Deny, code: Some(problem.code.clone()), ..self }
    }
}
