//! The sessions this node has seen, from sign-in to sign-out, and the events that their clients listen to.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic;
use std::time::Duration;

use tokio::sync::broadcast;
use ztsa_net::clock::Clock;
use ztsa_proto::event::{Event, EventKind};
use ztsa_proto::name::{AppName, DeviceId, SessionId, TunnelId, UserId};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::session::SessionInfo;
use ztsa_proto::time::UnixTime;

use super::judge::unrecorded;
use super::{Engine, News, Revoked};
use crate::audit::{Activity, Actor, Outcome, Record};
use crate::authn::Session;
use crate::lease::Selector;
use crate::measure::{Exchange, Why};

/// How long tunnels stay after the last token of their session ran out: a client that slept or lost its network renews.
pub(super) const RENEWAL_GRACE: Duration = Duration::from_secs(60);

/// How many events a slow listener may be behind; then it has missed some and asks for the state anew.
const EVENTS: usize = 64;

/// How many may listen to one session at a time: each `ztsa connect`, `ztsa proxy` and `ztsa stdio` that runs is one.
const LISTENERS: usize = 256;

/// The sessions of this node: the newest token of each, and who listens.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: HashMap<SessionId, Live>,
    last_event: u64,
}

#[derive(Debug)]
struct Live {
    session: Arc<Session>,
    /// Where its person asked from last; a ticket's bearer may be somewhere else.
    peer: Option<IpAddr>,
    /// When it lapses unless it is renewed, by the steady clock: one that is set neither ends nor prolongs a session.
    lapses_at: UnixTime,
    events: Option<broadcast::Sender<Event>>,
}

impl Engine {
    /// Notes the newest token of a session, and gives what is known of it: what an older token says has been replaced.
    pub(super) fn seen(&self, session: &Arc<Session>) -> Arc<Session> {
        Arc::clone(&self.sessions().live(session, &self.inner.clock).session)
    }

    /// The same, and from where its person asks.
    pub(super) fn seen_from(&self, session: &Arc<Session>, peer: IpAddr) -> Arc<Session> {
        let mut sessions = self.sessions();
        let live = sessions.live(session, &self.inner.clock);
        live.peer = Some(peer);
        Arc::clone(&live.session)
    }

    /// Gives the newest of what is known of a tunnel's session.
    pub(super) fn newest(&self, session: &Arc<Session>) -> Arc<Session> {
        let known = self.sessions().live.get(&session.id).map(|live| Arc::clone(&live.session));
        let now = self.inner.clock.now();
        known.filter(|known| issued(known, now) >= issued(session, now)).unwrap_or_else(|| Arc::clone(session))
    }

    /// Follows what happens to the tunnels of a session.
    ///
    /// A listener that falls more than 64 events behind misses the oldest, and learns that it has.
    ///
    /// # Errors
    /// `gateway.limit`: as many listen to this session as may.
    pub fn events(&self, session: &Arc<Session>) -> Result<broadcast::Receiver<Event>, Box<Problem>> {
        let mut sessions = self.sessions();
        let live = sessions.live(session, &self.inner.clock);
        let events = live.events.get_or_insert_with(|| broadcast::channel(EVENTS).0);
        if events.receiver_count() >= LISTENERS {
            let detail = format!("{LISTENERS} programs follow the events of this session, as many as may");
            return Err(Box::new(problem::new("gateway.limit").with_detail(detail)));
        }
        Ok(events.subscribe())
    }

    /// Tells those who listen to a session.
    pub(super) fn tell(
        &self,
        session: &SessionId,
        kind: EventKind,
        tunnel: Option<TunnelId>,
        app: Option<&AppName>,
        problem: Option<&Arc<Problem>>,
    ) {
        let at = self.inner.clock.now();
        let mut sessions = self.sessions();
        let id = sessions.number();
        if let Some(live) = sessions.live.get(session) {
            live.tell(id, at, kind, tunnel, app, problem);
        }
    }

    /// Ends the tunnels whose session was not renewed, and forgets sessions that nothing holds on to. `now` is the steady
    /// clock's.
    pub(super) fn end_lapsed(&self, now: UnixTime) -> usize {
        let lapsed = self.sessions().lapsed(now);
        #[cfg(test)]
        crate::policy::step::note("lapsed");
        lapsed.iter().map(|session| self.lapse(session, now)).sum()
    }

    /// Ends one session that was not renewed, unless it has been meanwhile; gives how many of its tunnels ended.
    fn lapse(&self, session: &SessionId, now: UnixTime) -> usize {
        // whoever is opening a tunnel looks again
        self.inner.changes.fetch_add(1, atomic::Ordering::SeqCst);
        // under one lock: what is renewed or opened from here on belongs to a session that is there again
        let (live, mut tunnels) = {
            let mut sessions = self.sessions();
            let Some(live) = sessions.take_if_lapsed(session, now) else { return 0 };
            (live, self.inner.leases.select(&Selector::Session(session.clone())))
        };
        self.grants().end_session(session);
        // a ticket lasts by itself
        tunnels.retain(|tunnel| tunnel.ticket.is_none());
        // nobody signed out: a client that comes back renews it and goes on
        let detail = "this device was not heard of, and its session was not renewed in time";
        let problem = Arc::new(problem::new("session.lapsed").with_detail(detail));
        tunnels.retain(|tunnel| self.inner.leases.end_tunnel(tunnel, &problem, self.cause));
        // told to those who listened to it: whoever listens to the session that is there again hears nothing of its end
        let at = self.inner.clock.now();
        let number = || self.sessions().number();
        for tunnel in &tunnels {
            live.tell(number(), at, EventKind::Ended, Some(tunnel.id), Some(&tunnel.app.name), Some(&problem));
        }
        live.tell(number(), at, EventKind::SessionEnded, None, None, Some(&problem));
        tunnels.len()
    }
}

impl Live {
    fn new(session: &Arc<Session>, clock: &Clock) -> Self {
        // what its token has left, and no more than it ever had: the clock may have been set since it was made
        let left = |from| session.expires_at.plus(RENEWAL_GRACE).since(from);
        let lapses_at = clock.steady().plus(left(clock.now()).min(left(session.issued_at)));
        Self { session: Arc::clone(session), peer: None, lapses_at, events: None }
    }

    /// Goes on with another token; those who listen stay.
    fn go_on(&mut self, session: &Arc<Session>, clock: &Clock) {
        *self = Self { peer: self.peer, events: self.events.take(), ..Self::new(session, clock) };
    }

    fn has_lapsed(&self, now: UnixTime) -> bool {
        self.lapses_at <= now
    }

    fn tell(
        &self,
        id: u64,
        at: UnixTime,
        kind: EventKind,
        tunnel: Option<TunnelId>,
        app: Option<&AppName>,
        problem: Option<&Arc<Problem>>,
    ) {
        if let Some(events) = &self.events {
            let problem = problem.map(|problem| Problem::clone(problem));
            // without a listener there is nobody to tell
            let _ = events.send(Event { id, at, kind, tunnel, app: app.cloned(), problem });
        }
    }
}

/// When a token was issued, to be compared: one from a time that is yet to come is from before the clock was set back. One
/// that follows a revocation at once is dated a second ahead.
fn issued(session: &Session, now: UnixTime) -> (bool, UnixTime) {
    (session.issued_at <= now.plus(RENEWAL_GRACE), session.issued_at)
}

/// How many sessions one person may have at a time, on all devices together.
pub const SESSIONS_PER_USER: usize = 64;

impl Engine {
    /// Notes a session that began or was renewed, judges its tunnels again, and tells it about itself.
    ///
    /// # Errors
    /// `gateway.limit`: the person has as many sessions as they may, and every one of them has open tunnels.
    pub fn begin_session(
        &self,
        session: &Arc<Session>,
        peer: IpAddr,
        renewed: bool,
    ) -> Result<SessionInfo, Arc<Problem>> {
        if !renewed {
            self.recordable(session, peer)?;
            self.make_room(session, peer)?;
        }
        let activity = if renewed { Activity::Renew } else { Activity::SignIn };
        self.noted(activity, session, peer, None, format!("signed in with {}", session.identity.issuer));
        self.seen_from(session, peer);
        if !renewed {
            self.announce(News::Began(Arc::clone(session)));
        }
        self.inner.measures.exchanges.add(if renewed { Exchange::Renewed } else { Exchange::Begun });
        // groups, acr and the age of the sign-in may be others now
        self.inner.tickets.renewed(session);
        self.because_of(Why::Renewal).reevaluate(&Selector::Session(session.id.clone()));
        Ok(self.session_info(session))
    }

    /// Ends a session because its person signs out.
    pub fn end_session(&self, session: &Session, peer: IpAddr) -> Revoked {
        let (store, now) = (&self.inner.store, self.inner.clock.now());
        let open = store.session(&session.id).is_some_and(|row| self.goes_on(&row));
        store.sign_out(&session.id, &session.identity.user, &session.device, now);
        let problem = Arc::new(problem::new("session.expired").with_detail("you signed out"));
        self.noted(Activity::SignOut, session, peer, None, "signed out".to_owned());
        let ended = self.because_of(Why::SignOut).end(&Selector::Session(session.id.clone()), &problem);
        if ended.sessions == 0 && open {
            self.announce(News::EndedAsleep(session.id.clone(), problem));
        }
        ended
    }

    /// Refuses a new session while it could not be written down.
    fn recordable(&self, session: &Session, peer: IpAddr) -> Result<(), Arc<Problem>> {
        if !self.inner.audit.refuses() {
            return Ok(());
        }
        self.inner.store.end_session(&session.id, self.inner.clock.now());
        let problem = unrecorded();
        self.noted(Activity::SignIn, session, peer, Some(&problem.code), problem.to_string());
        Err(Arc::new(problem))
    }

    /// Makes room for a session beyond the limit: the one that was used longest ago and has no tunnel gives way.
    fn make_room(&self, session: &Session, peer: IpAddr) -> Result<(), Arc<Problem>> {
        let (store, now) = (&self.inner.store, self.inner.clock.now());
        let mut others = store.sessions_of(&session.identity.user);
        others.retain(|row| {
            let cutoff = store.cutoff_of(&row.user, &row.device, &row.id);
            row.id != session.id && row.ends_at > now && cutoff.is_none_or(|cutoff| row.login_at > cutoff)
        });
        let excess = (others.len() + 1).saturating_sub(SESSIONS_PER_USER);
        if excess == 0 {
            return Ok(());
        }
        others.retain(|row| self.inner.leases.count(&Selector::Session(row.id.clone())) == 0);
        if others.len() < excess {
            let detail = format!("you have {SESSIONS_PER_USER} sessions, and each of them has open connections");
            let problem = problem::new("gateway.limit").with_detail(detail);
            let problem =
                problem.with_remedy("Close connections on another device, or sign out there with `ztsa logout`.");
            self.noted(Activity::SignIn, session, peer, Some("gateway.limit"), problem.to_string());
            store.end_session(&session.id, now);
            return Err(Arc::new(problem));
        }
        let used = |device: &DeviceId| store.device(device).map(|device| device.last_seen);
        // whoever asks from one device pushes out their own first: a stolen token does not end its owner's sessions
        others.sort_by_cached_key(|row| (row.device != session.device, used(&row.device), row.started_at));
        for row in others.iter().take(excess) {
            store.end_session(&row.id, now);
            let detail =
                format!("you signed in on more than {SESSIONS_PER_USER} devices, and this one was used longest ago");
            let problem = Arc::new(problem::new("session.expired").with_detail(detail.as_str()));
            self.inner.audit.record(Record {
                actor: Some(Actor {
                    user: Some(row.user.clone()),
                    device: Some(row.device.clone()),
                    session: Some(row.id.clone()),
                    ..Actor::default()
                }),
                message: Some(format!("session {} of {} gave way: {detail}", row.id, row.user)),
                ..Record::new(now, Activity::SignOut, Outcome::Success)
            });
            if self.end(&Selector::Session(row.id.clone()), &problem).sessions == 0 {
                self.announce(News::EndedAsleep(row.id.clone(), problem));
            }
        }
        Ok(())
    }
}

impl Sessions {
    fn live(&mut self, session: &Arc<Session>, clock: &Clock) -> &mut Live {
        let live = self.live.entry(session.id.clone()).or_insert_with(|| Live::new(session, clock));
        let now = clock.now();
        let age = |session: &Session| (issued(session, now), session.expires_at);
        match age(session).cmp(&age(&live.session)) {
            Ordering::Greater => live.go_on(session, clock),
            Ordering::Equal => live.session = Arc::clone(session),
            Ordering::Less => {}
        }
        live
    }

    fn lapsed(&self, now: UnixTime) -> Vec<SessionId> {
        self.live.iter().filter(|(_, live)| live.has_lapsed(now)).map(|(id, _)| id.clone()).collect()
    }

    /// Takes a session that has lapsed still.
    fn take_if_lapsed(&mut self, session: &SessionId, now: UnixTime) -> Option<Live> {
        self.live.get(session).filter(|live| live.has_lapsed(now))?;
        self.live.remove(session)
    }

    /// Gives the next event its number.
    fn number(&mut self) -> u64 {
        self.last_event += 1;
        self.last_event
    }

    pub(super) fn forget(&mut self, session: &SessionId) -> Option<Arc<Session>> {
        self.live.remove(session).map(|live| live.session)
    }

    /// Gives where the person of a session asked from last, when they have since the session was first seen here.
    pub(super) fn peer(&self, session: &SessionId) -> Option<IpAddr> {
        self.live.get(session)?.peer
    }

    /// Lists the sessions that `wanted` picks.
    pub(super) fn list(&self, wanted: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        self.live.values().map(|live| &live.session).filter(|session| wanted(session)).cloned().collect()
    }

    pub(super) fn of_user(&self, user: &UserId) -> Vec<Arc<Session>> {
        self.list(|session| session.identity.user == *user)
    }

    pub(super) fn of_device(&self, device: &DeviceId) -> Vec<Arc<Session>> {
        self.list(|session| session.device == *device)
    }
}
