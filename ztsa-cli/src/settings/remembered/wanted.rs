//! What a refusal asked of the next sign-in (RFC 9470), kept for a while, so that `ztsa login` asks for it.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ztsa_core::login::Demand;
use ztsa_proto::problem::Problem;
use ztsa_proto::text::printable;
use ztsa_proto::time::UnixTime;

const FILE: &str = "step-up.json";
/// How long it is kept: a person who was refused signs in soon, or not for this reason.
const KEPT: Duration = Duration::from_secs(600);

/// What a refusal asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The app that was refused.
    pub(crate) app: String,
    acr_values: Option<String>,
    max_age: Option<u64>,
    at: UnixTime,
}

impl Wanted {
    /// Reads it from a refusal.
    pub(crate) fn of(app: &str, problem: &Problem, now: UnixTime) -> Self {
        let (acr_values, max_age) = (problem.acr_values.clone(), problem.max_age);
        Self { app: app.to_owned(), acr_values, max_age, at: now }
    }

    /// How the sign-in has to be; where nobody said, the person has to sign in anew.
    pub(crate) fn demand(&self) -> Demand {
        let fresh = self.acr_values.is_none() && self.max_age.is_none();
        Demand { acr_values: self.acr_values.clone(), max_age: self.max_age, fresh }
    }

    /// Reads what is kept in a profile's directory and not too old.
    pub(crate) fn read(dir: &Path, now: UnixTime) -> Option<Self> {
        let wanted: Self = serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()?;
        let fresh = now.since(wanted.at) <= KEPT && wanted.at <= now.plus(KEPT);
        fresh.then(|| Self { app: printable(&wanted.app, 80), ..wanted })
    }

    /// Keeps it in a profile's directory.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(crate) fn write(&self, dir: &Path) -> std::io::Result<()> {
        super::create_private(dir)?;
        super::replace(&dir.join(FILE), &serde_json::to_vec(self)?)
    }

    /// Forgets it: it has been asked for.
    pub(crate) fn forget(dir: &Path) {
        let _absent = std::fs::remove_file(dir.join(FILE));
    }
}

#[cfg(test)]
mod tests {
    use ztsa_proto::problem;

    use super::*;

    #[test]
    fn it_is_asked_for_once_and_not_for_long() {
        let dir = std::env::temp_dir().join(format!("ztsa-wanted-{}", std::process::id()));
        let problem = problem::new("auth.step_up").with_step_up(Some("mfa".to_owned()), Some(300));
        let at = |seconds: u64| UnixTime(1000 + seconds);
        Wanted::of("payroll", &problem, at(0)).write(&dir).unwrap();
        let demand = Demand { acr_values: Some("mfa".to_owned()), max_age: Some(300), fresh: false };
        assert_eq!(Wanted::read(&dir, at(600)).map(|wanted| wanted.demand()), Some(demand));
        assert_eq!(Wanted::read(&dir, at(601)), None);
        Wanted::forget(&dir);
        assert_eq!(Wanted::read(&dir, at(1)), None);
        assert!(Wanted::of("wiki", &problem::new("auth.step_up"), at(0)).demand().fresh);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
