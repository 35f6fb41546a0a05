//! What makes the gateway doubt its own answers: policies that cannot be evaluated, and a store that it cannot write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ztsa_proto::problem;
use ztsa_proto::time::UnixTime;

use super::judge::Judged;
use super::{Changed, Engine};
use crate::lease::Selector;
use crate::policy::Decision;

/// The pause between two warnings about one policy.
const AGAIN: Duration = Duration::from_secs(60);

/// Counts and remembers.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// When each policy was last warned of, by the steady clock; those that fail are few.
    warned: Mutex<HashMap<String, UnixTime>>,
    stale: Mutex<Stale>,
}

#[derive(Debug, Default)]
struct Stale {
    /// Since when the store cannot be written, by the steady clock.
    since: Option<UnixTime>,
    /// Whether the tunnels concerned were told.
    told: bool,
}

impl Engine {
    /// Warns of policies that could not be evaluated: at most once a minute and policy.
    pub(super) fn doubt_policies(&self, decision: &Decision) {
        if decision.failed.is_empty() {
            return;
        }
        let (doubt, now) = (&self.inner.doubt, self.inner.clock.steady());
        let mut warned = doubt.warned.lock().unwrap_or_else(PoisonError::into_inner);
        for policy in &decision.failed {
            if warned.get(policy).is_some_and(|at| now.since(*at) < AGAIN) {
                continue;
            }
            warned.insert(policy.clone(), now);
            let enforced = decision.policies.contains(policy);
            let effect =
                if enforced { "what it concerns is denied" } else { "it is in monitor mode, so nobody is denied" };
            tracing::warn!(%policy, "a policy could not be evaluated (arithmetic out of range?): {effect}; mend it");
        }
    }

    /// Says no where a policy that allows is strict and the gateway has not been able to write its store for too long.
    pub(super) fn doubt_allowance(&self, judged: Judged) -> Judged {
        if !judged.decision.strict || !judged.decision.is_allowed() || !self.is_stale() {
            return judged;
        }
        let detail =
            "the gateway has not been able to write to its store for a while, and this app is not reached on trust";
        judged.refused_for_now(problem::new("gateway.unavailable").with_detail(detail))
    }

    /// Judges live tunnels again when the store has been out for too long, and when it is back.
    pub(super) fn sweep_stale(&self) -> Changed {
        let is_stale = self.is_stale();
        let was = std::mem::replace(&mut self.inner.doubt.stale().told, is_stale);
        if is_stale == was { Changed::default() } else { self.reevaluate(&Selector::All) }
    }

    fn is_stale(&self) -> bool {
        let now = self.inner.clock.steady();
        let mut stale = self.inner.doubt.stale();
        if self.inner.store.healthy() {
            stale.since = None;
            return false;
        }
        let since = *stale.since.get_or_insert(now);
        now.since(since) >= self.inner.config.load().risk.max_staleness
    }
}

impl Doubt {
    fn stale(&self) -> std::sync::MutexGuard<'_, Stale> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
