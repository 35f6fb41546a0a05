//! Why access ended lately, for a tunnel whose own word was lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ztsa_proto::event::{Event as Told, EventKind};
use ztsa_proto::name::{AppName, HostName};
use ztsa_proto::problem::Problem;

/// How long an ending speaks for the others.
const LATELY: Duration = Duration::from_secs(5);
/// Most endings that are remembered, of different apps.
const MOST: usize = 64;

/// The endings of the last seconds, the latest of each app at the back.
#[derive(Debug, Default)]
pub(super) struct Endings(VecDeque<Ending>);

#[derive(Debug)]
struct Ending {
    at: Instant,
    /// All apps where there is none.
    app: Option<AppName>,
    /// The name by which this client had opened the app, where the tunnel is one of this client's.
    host: Option<HostName>,
    problem: Arc<Problem>,
}

impl Endings {
    /// Remembers an event that says that access has ended; `host` is where the tunnel led that it names.
    pub(super) fn hear(&mut self, told: &Told, host: Option<&HostName>) {
        let app = match told.kind {
            EventKind::Ended if told.app.is_some() || host.is_some() => told.app.clone(),
            EventKind::SessionEnded => None,
            _ => return,
        };
        let Some(problem) = &told.problem else { return };
        let (at, host) = (Instant::now(), host.cloned());
        self.0.retain(|ending| at.duration_since(ending.at) < LATELY && (&ending.app, &ending.host) != (&app, &host));
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Ending { at, app, host, problem: Arc::new(problem.clone()) });
    }

    /// Gives the latest reason that concerns an app.
    pub(super) fn lately(&self, host: &HostName, now: Instant) -> Option<Arc<Problem>> {
        let concerns = |ending: &&Ending| match (&ending.app, &ending.host) {
            (None, None) => true,
            (app, known) => known.as_ref() == Some(host) || app.as_ref().is_some_and(|app| is_name(host, app)),
        };
        let recent = self.0.iter().rev().filter(|ending| now.duration_since(ending.at) < LATELY);
        recent.filter(concerns).map(|ending| Arc::clone(&ending.problem)).next()
    }
}

/// Tells whether a host is an app's name, with or without the zone.
fn is_name(host: &HostName, app: &AppName) -> bool {
    host.dns().is_some_and(|host| host.strip_suffix(".ztsa").unwrap_or(host) == app.as_str())
}

#[cfg(test)]
mod tests {
    use ztsa_proto::name::TunnelId;
    use ztsa_proto::problem;
    use ztsa_proto::time::UnixTime;

    use super::*;

    fn told(kind: EventKind, app: Option<&str>, code: &str) -> Told {
        let app = app.map(|app| app.parse().unwrap());
        Told { id: 1, at: UnixTime(0), kind, tunnel: Some(TunnelId(9)), app, problem: Some(problem::new(code)) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_ending_of_the_app_or_the_session_speaks_for_some_seconds() {
        let mut endings = Endings::default();
        let code = |endings: &Endings, host: &str| {
            endings.lately(&host.parse().unwrap(), Instant::now()).map(|problem| problem.code.clone())
        };
        endings.hear(&told(EventKind::Suspended, Some("db"), "risk.user"), None);
        assert_eq!(code(&endings, "db"), None, "a pause is no ending");
        endings.hear(&told(EventKind::Ended, Some("db"), "risk.user"), None);
        endings.hear(&told(EventKind::Ended, Some("wiki"), "policy.forbidden"), Some(&"wiki.corp".parse().unwrap()));
        for (host, expected) in [
            ("db", Some("risk.user")),
            ("db.ztsa", Some("risk.user")),
            ("wiki.corp", Some("policy.forbidden")),
            ("wiki", Some("policy.forbidden")),
            ("db.corp", None),
        ] {
            assert_eq!(code(&endings, host).as_deref(), expected, "{host}");
        }
        tokio::time::advance(LATELY / 2).await;
        endings.hear(&told(EventKind::SessionEnded, None, "session.revoked"), None);
        assert_eq!(code(&endings, "db").as_deref(), Some("session.revoked"), "the latest");
        tokio::time::advance(LATELY).await;
        assert_eq!(code(&endings, "db"), None);
        for number in 0..3 * MOST {
            endings.hear(&told(EventKind::Ended, Some(&format!("app-{number}")), "risk.user"), None);
        }
        assert_eq!(endings.0.len(), MOST);
    }
}
