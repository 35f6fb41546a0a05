//! Another configuration while the gateway runs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use ztsa_proto::problem::{self, Problem};

use super::{Changed, Engine, record};
use crate::audit::{Activity, Entity};
use crate::config::{App, Config, POSTURE};
use crate::lease::Selector;
use crate::measure::Why;
use crate::policy::{Policies, PolicyError};

/// Says what an adopted configuration did away with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The policies in force.
    pub policies: usize,
    /// The issuers, by identifier, that are no longer there.
    pub issuers_gone: Vec<String>,
}

impl Engine {
    /// Decides by another configuration and its policies from now on; [`Engine::settle`] tells the live tunnels.
    ///
    /// # Errors
    /// The policies cannot be read or have mistakes; all stays as it was.
    pub fn adopt(
        &self,
        config: Config,
        changed: &[&'static str],
        restart: &[&'static str],
    ) -> Result<Adopted, PolicyError> {
        let _reading = self.inner.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let catalogue = self.inner.posture.catalogue();
        let (seen, policies) = Policies::load_settled(&config.policy.dir, &config.apps, catalogue);
        let waits = restart.contains(&POSTURE);
        let policies = policies.map_err(|error| if waits { error.before_restart() } else { error })?;
        let before = self.config();
        let gone = before.identifiers().filter(|issuer| config.identifiers().all(|known| known != *issuer));
        let adopted = Adopted { policies: policies.len(), issuers_gone: gone.map(str::to_owned).collect() };
        self.inner.leases.limit(config.limits);
        record::loaded(&self.inner.audit, self.inner.clock.now(), &policies);
        self.inner.policies_seen.store(seen, Ordering::SeqCst);
        let asked = self.posture_wanted();
        self.inner.config.store(Arc::new(config));
        self.inner.policies.store(Arc::new(policies));
        if self.posture_wanted() != asked {
            self.want_posture();
        }
        let listed = |keys: &[&str]| if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
        let mut message = format!("the configuration was read again; changed: {}", listed(changed));
        if !restart.is_empty() {
            message = format!("{message}; after a restart only: {}", restart.join(", "));
            tracing::warn!("what changed in the configuration and needs a restart: {}", restart.join(", "));
        }
        tracing::info!("{message}");
        self.managed(Activity::Configuration, configuration(), None, message);
        Ok(adopted)
    }

    /// Ends the sessions of issuers that are gone, and judges every live tunnel by what holds now.
    pub fn settle(&self, adopted: &Adopted) -> (usize, Changed) {
        let engine = self.because_of(Why::Configuration);
        let rows = self.list_sessions();
        let mut sessions = 0;
        let mut ended = 0;
        for row in rows.iter().filter(|row| adopted.issuers_gone.contains(&row.user.issuer)) {
            let reason = format!("the gateway no longer accepts sign-ins at {}", row.user.issuer);
            let revoked = engine.revoke(&Selector::Session(row.id.clone()), &reason);
            sessions += 1;
            ended += revoked.tunnels;
        }
        let mut changed = engine.reevaluate(&Selector::All);
        changed.ended += ended;
        (sessions, changed)
    }

    /// Records that a configuration was refused; all stays as it was.
    pub fn reload_refused(&self, error: &str) {
        tracing::warn!("what was read again has a mistake, so all stays as it was:\n{error}");
        self.managed(Activity::Configuration, configuration(), Some("configuration.refused"), error.to_owned());
    }

    /// Says why a tunnel to an app cannot stay, when the configuration no longer leads there.
    pub(super) fn displaced(&self, app: &App) -> Option<Arc<Problem>> {
        let config = self.inner.config.load();
        let problem = match config.app_named(app.name.as_str()) {
            Some(now) if now.target == app.target && now.kind == app.kind => return None,
            Some(_) => problem::new("app.moved").with_detail(format!("{} has moved to another place", app.name)),
            None => problem::new("app.unknown").with_detail(format!("{} is no longer offered here", app.name)),
        };
        Some(Arc::new(problem.with_decision(ztsa_proto::jws::random_id())))
    }
}

fn configuration() -> Entity {
    Entity::Named("Configuration", "gateway.toml".to_owned())
}
