//! Grants: for one app, one session and one device, and short.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ztsa_proto::grant::{GrantRequest, GrantResponse, Limits};
use ztsa_proto::name::{AppName, DeviceId, GrantId, SessionId};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::time::UnixTime;

use super::Engine;
use super::record::Ask;
use crate::audit::Activity;
use crate::authn::Session;

/// How many live grants one session may have.
const MAX_PER_SESSION: usize = 1_000;

/// How long a grant that ran out is still known, so that the answer says so.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How long before a grant runs out its session is told.
const NOTICE: Duration = Duration::from_secs(60);

/// The grants of this node.
#[derive(Debug, Default)]
pub(super) struct Grants {
    grants: HashMap<GrantId, Grant>,
    sessions: HashMap<SessionId, HashSet<GrantId>>,
}

#[derive(Debug, Clone)]
struct Grant {
    session: SessionId,
    device: DeviceId,
    app: AppName,
    expires_at: UnixTime,
    told: bool,
}

impl Engine {
    /// Decides and grants one app to one session for the length of a session token.
    ///
    /// # Errors
    /// The reason, for the person.
    pub fn grant(
        &self,
        session: &Arc<Session>,
        request: &GrantRequest,
        peer: IpAddr,
    ) -> Result<GrantResponse, Arc<Problem>> {
        let now = self.inner.clock.now();
        let session = self.seen_from(session, peer);
        self.sighted(&session, peer, now);
        let unknown = |_| self.not_found(Activity::Grant, &session, peer, request.app.as_str());
        let app = self.named(&request.app).map_err(unknown)?;
        let full = self.grants().of(&session.id, now) >= MAX_PER_SESSION;
        let full = full
            .then(|| Box::new(problem::new("gateway.limit").with_detail("this session has as many grants as it may")));
        let ask = Ask { activity: Activity::Grant, reason: request.reason.as_deref() };
        let refused = |problem: &Arc<Problem>| self.turned_down(&session, app.name.as_str(), problem, peer, now);
        self.asked(ask, &session, &app, peer, now, full).inspect_err(refused)?;
        let expires_at = now.plus(self.inner.config.load().session.token_lifetime);
        let grant = GrantId::random();
        self.grants().add(grant.clone(), &session, &app.name, expires_at);
        Ok(GrantResponse { grant, app: app.name.clone(), expires_at, limits: Limits::default() })
    }
}

impl Grants {
    /// Counts the grants that are good now.
    pub(super) fn live(&self, now: UnixTime) -> usize {
        self.grants.values().filter(|grant| grant.expires_at > now).count()
    }

    fn add(&mut self, id: GrantId, session: &Session, app: &AppName, expires_at: UnixTime) {
        let grant = Grant {
            session: session.id.clone(),
            device: session.device.clone(),
            app: app.clone(),
            expires_at,
            told: false,
        };
        self.sessions.entry(session.id.clone()).or_default().insert(id.clone());
        self.grants.insert(id, grant);
    }

    fn of(&self, session: &SessionId, now: UnixTime) -> usize {
        let of = self.sessions.get(session).into_iter().flatten().filter_map(|id| self.grants.get(id));
        of.filter(|grant| grant.expires_at > now).count()
    }

    /// Says whether a grant is good for this session, device and app.
    pub(super) fn check(
        &self,
        id: &GrantId,
        session: &Session,
        app: &AppName,
        now: UnixTime,
    ) -> Result<(), Box<Problem>> {
        let grant = self.grants.get(id);
        let own = |grant: &&Grant| grant.session == session.id && grant.device == session.device && grant.app == *app;
        match grant.filter(own) {
            None => Err(Box::new(problem::new("grant.unknown"))),
            Some(grant) if grant.expires_at <= now => Err(Box::new(problem::new("grant.expired"))),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn end_session(&mut self, session: &SessionId) {
        for id in self.sessions.remove(session).unwrap_or_default() {
            self.grants.remove(&id);
        }
    }

    /// Forgets what ran out long ago, and gives the sessions to tell of grants about to run out.
    pub(super) fn sweep(&mut self, now: UnixTime) -> Vec<(SessionId, AppName)> {
        for (id, grant) in self.grants.extract_if(|_, grant| grant.expires_at.plus(REMEMBERED) <= now) {
            if let Some(of) = self.sessions.get_mut(&grant.session) {
                of.remove(&id);
                if of.is_empty() {
                    self.sessions.remove(&grant.session);
                }
            }
        }
        let mut ending = Vec::new();
        for grant in self.grants.values_mut() {
            if !grant.told && grant.expires_at > now && grant.expires_at <= now.plus(NOTICE) {
                grant.told = true;
                ending.push((grant.session.clone(), grant.app.clone()));
            }
        }
        ending
    }
}
