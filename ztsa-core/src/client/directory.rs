//! What this person may reach, remembered for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use ztsa_proto::app::AppList;
use ztsa_proto::grant::GrantResponse;
use ztsa_proto::name::{AppName, Destination, GrantId};
use ztsa_proto::time::UnixTime;

use crate::api::{Api, ApiError};
use crate::listener::pac;

/// How long a list of apps is used without asking again.
const FRESH: Duration = Duration::from_secs(30);

/// Remembers the list of apps, and the grants that were asked for.
#[derive(Debug)]
pub(super) struct Directory {
    api: Api,
    asking: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    apps: Option<(Instant, Arc<AppList>)>,
    grants: HashMap<AppName, (GrantId, UnixTime)>,
}

impl Directory {
    pub(super) fn new(api: Api) -> Self {
        Self { api, asking: tokio::sync::Mutex::default(), known: Mutex::default() }
    }

    /// Asks for the list.
    pub(super) async fn fresh(&self) -> Result<Arc<AppList>, ApiError> {
        let apps = Arc::new(self.api.apps().await?);
        self.known().apps = Some((Instant::now(), Arc::clone(&apps)));
        Ok(apps)
    }

    /// Gives a list that is at most half a minute old; any number of callers ask once.
    pub(super) async fn recent(&self) -> Result<Arc<AppList>, ApiError> {
        if let Some(apps) = self.remembered() {
            return Ok(apps);
        }
        let _one = self.asking.lock().await;
        match self.remembered() {
            Some(apps) => Ok(apps),
            None => self.fresh().await,
        }
    }

    fn remembered(&self) -> Option<Arc<AppList>> {
        self.known().apps.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, apps)| Arc::clone(apps))
    }

    /// Gives the list that was heard last, however old it is; asks nobody.
    pub(super) fn known_apps(&self) -> Option<Arc<AppList>> {
        self.known().apps.as_ref().map(|(_, apps)| Arc::clone(apps))
    }

    /// Keeps a grant for the tunnels to come.
    pub(super) fn keep(&self, grant: GrantResponse) {
        self.known().grants.insert(grant.app, (grant.grant, grant.expires_at));
    }

    /// Finds the grant for a destination that is still good at `now`.
    pub(super) fn grant(&self, to: &Destination, now: UnixTime) -> Option<GrantId> {
        let mut known = self.known();
        known.grants.retain(|_, (_, expires_at)| now < *expires_at);
        if known.grants.is_empty() {
            return None;
        }
        let listed = known.apps.as_ref().and_then(|(_, apps)| pac::app_of(apps, &to.host)).map(|app| app.name.clone());
        let name = listed.or_else(|| pac::name_of(&to.host))?;
        known.grants.get(&name).map(|(grant, _)| grant.clone())
    }

    /// Forgets everything: another person may have signed in.
    pub(super) fn forget(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
