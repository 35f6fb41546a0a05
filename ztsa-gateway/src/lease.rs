//! The live registry: which tunnels are open, for whom, and how each of them is paused or ended.
//!
//! A [`Lease`] is what a tunnel holds while it runs. Dropping it takes the tunnel out of the registry and reports it exactly
//! once. The registry is indexed by session, user, device, app, grant and ticket, so that ending some tunnels never looks at
//! the others.

mod table;
mod tunnel;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use ztsa_proto::name::{AppName, DeviceId, GrantId, SessionId, TicketId, TunnelId, UserId};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::time::UnixTime;

use crate::authn::Session;
use crate::config::{App, Limits};
use crate::measure::{Cause, Measures};

use table::Table;
pub use tunnel::{Closed, End, Opening, Tunnel};
pub use ztsa_net::relay::Access;

/// Names a set of tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Every tunnel.
    All,
    /// Those of one person, on all devices.
    User(UserId),
    /// Those of one device.
    Device(DeviceId),
    /// Those of one session.
    Session(SessionId),
    /// Those to one app.
    App(AppName),
    /// Those opened under one grant.
    Grant(GrantId),
    /// Those opened with one ticket.
    Ticket(TicketId),
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::User(user) => write!(f, "user {user}"),
            Self::Device(device) => write!(f, "device {device}"),
            Self::Session(session) => write!(f, "session {session}"),
            Self::App(app) => write!(f, "app {app}"),
            Self::Grant(grant) => write!(f, "grant {grant}"),
            Self::Ticket(ticket) => write!(f, "ticket {ticket}"),
        }
    }
}

/// Holds one tunnel open: as long as it lives the tunnel is in the registry.
///
/// Dropping it takes the tunnel out and reports its bytes, its duration and how it ended, exactly once.
#[derive(Debug)]
pub struct Lease {
    tunnel: Arc<Tunnel>,
    registry: Leases,
}

/// Holds every live tunnel of this node. A clone is another handle to the same registry.
#[derive(Clone)]
pub struct Leases {
    table: Arc<Mutex<Table>>,
    limits: Arc<ArcSwap<Limits>>,
    measures: Arc<Measures>,
    closed: Arc<dyn Fn(Closed<'_>) + Send + Sync>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases").field("open", &self.len()).finish_non_exhaustive()
    }
}

impl Leases {
    /// Makes an empty registry; `closed` hears of every tunnel that ends, once.
    pub fn new(limits: Limits, measures: Arc<Measures>, closed: impl Fn(Closed<'_>) + Send + Sync + 'static) -> Self {
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        Self { table: Arc::default(), limits, measures, closed: Arc::new(closed) }
    }

    /// Changes the limits; what is open stays.
    pub fn limit(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Says whether one more tunnel of a session could be registered now.
    ///
    /// # Errors
    /// `gateway.limit` when the node, the person or the session has as many tunnels as it may have.
    pub fn room(&self, session: &Session) -> Result<(), Box<Problem>> {
        self.room_in(&self.table(), session)
    }

    fn room_in(&self, table: &Table, session: &Session) -> Result<(), Box<Problem>> {
        let limits = self.limits.load();
        let all = table.len();
        let of_person = table.count(&Selector::User(session.identity.user.clone()));
        let of_session = table.count(&Selector::Session(session.id.clone()));
        let detail = if all >= size(limits.max_tunnels) {
            format!("this gateway carries {all} tunnels, as many as it may")
        } else if of_person >= size(limits.tunnels_per_person) {
            format!("you have {of_person} open tunnels on all devices, as many as one person may")
        } else if of_session >= size(limits.tunnels_per_session) {
            format!("this session has {of_session} open tunnels, as many as it may")
        } else {
            return Ok(());
        };
        Err(Box::new(problem::new("gateway.limit").with_detail(detail)))
    }

    /// Registers a tunnel.
    ///
    /// # Errors
    /// `gateway.limit` when the node, the person or the session has as many tunnels as it may have.
    pub fn open(&self, opening: Opening) -> Result<Lease, Box<Problem>> {
        let mut table = self.table();
        self.room_in(&table, &opening.session)?;
        let tunnel = table.insert(opening);
        self.measures.opened.add(1);
        Ok(Lease { tunnel, registry: self.clone() })
    }

    /// Counts the live tunnels.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Says whether no tunnel is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts the tunnels that `selector` names.
    pub fn count(&self, selector: &Selector) -> usize {
        self.table().count(selector)
    }

    /// Counts the tunnels that are paused.
    pub fn suspended(&self) -> usize {
        self.table().waiting()
    }

    /// Counts the bytes that went up from clients and down to them, of all tunnels since the start.
    ///
    /// It adds up what the live ones have carried so far: for somebody who asks now and then.
    pub fn traffic(&self) -> (u64, u64) {
        self.table().traffic()
    }

    /// Says until when a paused tunnel waits, by the steady clock.
    pub fn waits_until(&self, tunnel: TunnelId) -> Option<UnixTime> {
        self.table().waits_until(tunnel)
    }

    /// Lists the tunnels that `selector` names.
    pub fn select(&self, selector: &Selector) -> Vec<Arc<Tunnel>> {
        self.table().select(selector)
    }

    /// Ends the tunnels that `selector` names and gives those that were not over already.
    pub fn end(&self, selector: &Selector, problem: &Arc<Problem>, cause: Option<Cause>) -> Vec<Arc<Tunnel>> {
        let mut ended = self.select(selector);
        ended.retain(|tunnel| self.end_tunnel(tunnel, problem, cause));
        ended
    }

    /// Ends one tunnel; says whether it was not over already.
    pub fn end_tunnel(&self, tunnel: &Tunnel, problem: &Arc<Problem>, cause: Option<Cause>) -> bool {
        tunnel.change(Access::Ended(Arc::clone(problem)), cause)
    }

    /// Pauses one tunnel until `until` of the steady clock at the latest; says whether that changed anything.
    pub fn suspend(&self, tunnel: &Arc<Tunnel>, problem: &Arc<Problem>, until: UnixTime, cause: Option<Cause>) -> bool {
        // one lock around both: a pause without a deadline would last for ever
        let mut table = self.table();
        let was = tunnel.is_suspended();
        let changed = tunnel.change(Access::Suspended(Arc::clone(problem)), cause);
        if tunnel.is_suspended() {
            // what has ended waits for nothing
            table.suspended(tunnel.id, until);
        }
        self.measures.suspensions.add(usize::from(changed && !was));
        changed
    }

    /// Lets bytes flow again through a paused tunnel; says whether that changed anything.
    pub fn restore(&self, tunnel: &Arc<Tunnel>) -> bool {
        let mut table = self.table();
        let restored = tunnel.change(Access::Open, None);
        if restored {
            self.measures.restorations.add(1);
            table.restored(tunnel.id);
        }
        restored
    }

    /// Ends the tunnels that stayed paused beyond their grace time, each for the reason it was paused for. `now` is the steady clock's.
    pub fn end_overdue(&self, now: UnixTime, cause: Option<Cause>) -> Vec<Arc<Tunnel>> {
        let mut overdue = self.table().overdue(now);
        overdue.retain(|tunnel| {
            let Access::Suspended(problem) = tunnel.access() else { return false };
            tunnel.change(Access::Ended(problem), cause)
        });
        overdue
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Gives the tunnel's number on this node.
    pub fn id(&self) -> TunnelId {
        self.tunnel.id
    }

    /// Gives the app that the tunnel leads to.
    pub fn app(&self) -> &Arc<App> {
        &self.tunnel.app
    }

    /// Gives the registry's record of the tunnel.
    pub fn tunnel(&self) -> &Arc<Tunnel> {
        &self.tunnel
    }

    /// Follows whether bytes may flow.
    pub fn access(&self) -> watch::Receiver<Access> {
        self.tunnel.watch()
    }

    /// Notes that no byte is passed on any more, for the time that it took.
    pub fn stopped(&self) {
        if let Some((cause, outcome)) = self.tunnel.stopped() {
            self.registry.measures.stopped(cause, outcome);
        }
    }

    /// Counts bytes from the client to the app.
    pub fn count_up(&self, bytes: u64) {
        self.tunnel.count_up(bytes);
    }

    /// Counts bytes from the app to the client.
    pub fn count_down(&self, bytes: u64) {
        self.tunnel.count_down(bytes);
    }

    /// Says how the tunnel ended; the first word counts, and an ending by the gateway counts before it.
    pub fn finish(&self, end: End) {
        self.tunnel.finish(end);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.registry.table().remove(&self.tunnel);
        let closed = self.tunnel.closed();
        self.registry.measures.ended.add(closed.end.how());
        (self.registry.closed)(closed);
    }
}

fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
