//! One live tunnel as the registry knows it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;
use ztsa_proto::name::{GrantId, TicketId, TunnelId};
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use super::Access;
use crate::authn::Session;
use crate::config::App;
use crate::measure::{Cause, How, Outcome, Pending};
use crate::policy::OnChange;

/// Says what a tunnel is opened for.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Whose it is.
    pub session: Arc<Session>,
    /// Where it leads.
    pub app: Arc<App>,
    /// Where the client is.
    pub peer: IpAddr,
    /// The grant it is opened under, when one was named.
    pub grant: Option<GrantId>,
    /// The ticket it is opened with, when there is one.
    pub ticket: Option<TicketId>,
    /// The id of the decision that let it open.
    pub decision: String,
    /// What the policies that permitted it want done when they no longer do.
    pub on_change: Option<OnChange>,
    /// When.
    pub at: UnixTime,
}

/// Describes one live tunnel.
#[derive(Debug)]
pub struct Tunnel {
    /// Its number on this node.
    pub id: TunnelId,
    /// Whose it is.
    pub session: Arc<Session>,
    /// Where it leads.
    pub app: Arc<App>,
    /// Where the client is.
    pub peer: IpAddr,
    /// The grant it was opened under, when one was named.
    pub grant: Option<GrantId>,
    /// The ticket it was opened with, when there is one.
    pub ticket: Option<TicketId>,
    /// The id of the decision that let it open.
    pub decision: String,
    /// When it was opened.
    pub opened_at: UnixTime,
    up: AtomicU64,
    down: AtomicU64,
    /// How much of both was counted for the person already.
    carried: AtomicU64,
    on_change: Mutex<Option<OnChange>>,
    access: watch::Sender<Access>,
    /// What made it stop, from when it was told until its last byte has moved.
    stopping: Pending,
    end: OnceLock<End>,
}

/// Says how a tunnel ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Both sides finished.
    Completed,
    /// The client broke it off.
    Client,
    /// The app broke it off.
    App,
    /// Nothing moved for too long after one side had finished.
    Idle,
    /// The app could not be reached.
    Unreachable(Arc<Problem>),
    /// The gateway ended it.
    Gateway(Arc<Problem>),
}

/// Reports a tunnel that is over.
#[derive(Debug)]
pub struct Closed<'a> {
    /// The tunnel.
    pub tunnel: &'a Tunnel,
    /// How it ended.
    pub end: End,
}

impl Tunnel {
    pub(super) fn new(id: TunnelId, opening: Opening) -> Self {
        Self {
            id,
            session: opening.session,
            app: opening.app,
            peer: opening.peer,
            grant: opening.grant,
            ticket: opening.ticket,
            decision: opening.decision,
            opened_at: opening.at,
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            on_change: Mutex::new(opening.on_change),
            access: watch::Sender::new(Access::Open),
            stopping: Pending::default(),
            end: OnceLock::new(),
        }
    }

    /// Gives the bytes from the client to the app so far.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Gives the bytes from the app to the client so far.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    /// Gives the bytes both ways since the last call; each byte is given once.
    pub fn take_carried(&self) -> u64 {
        let total = self.up().saturating_add(self.down());
        total.saturating_sub(self.carried.fetch_max(total, Ordering::Relaxed))
    }

    /// Gives what the policies that permitted it last want done when they no longer do.
    pub fn on_change(&self) -> Option<OnChange> {
        *self.on_change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the policies that permit it now want done when they no longer do.
    pub(crate) fn permitted(&self, on_change: Option<OnChange>) {
        *self.on_change.lock().unwrap_or_else(PoisonError::into_inner) = on_change;
    }

    /// Says whether bytes may flow now.
    pub fn access(&self) -> Access {
        self.access.borrow().clone()
    }

    /// Says whether it is paused.
    pub fn is_suspended(&self) -> bool {
        matches!(*self.access.borrow(), Access::Suspended(_))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Access> {
        let access = self.access.subscribe();
        // what stopped it before the first byte could move took no time of anybody's
        let _ = self.stopped();
        access
    }

    /// Takes what made the tunnel stop, once.
    pub(super) fn stopped(&self) -> Option<(Cause, Outcome)> {
        self.stopping.take()
    }

    pub(super) fn count_up(&self, bytes: u64) {
        self.up.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn finish(&self, end: End) {
        // the first word counts
        let _ = self.end.set(end);
    }

    /// Moves to `next` and tells those who watch; says whether that changed anything. What has ended stays ended.
    pub(super) fn change(&self, next: Access, cause: Option<Cause>) -> bool {
        #[cfg(test)]
        crate::policy::step::note("change");
        self.access.send_if_modified(|now| {
            let changes = match (&*now, &next) {
                (Access::Ended(_), _) | (Access::Open, Access::Open) => false,
                (Access::Suspended(old), Access::Suspended(new)) => old.code != new.code,
                _ => true,
            };
            if changes {
                let stops = match (&*now, &next) {
                    (_, Access::Ended(_)) => Some(Outcome::Ended),
                    (Access::Open, Access::Suspended(_)) => Some(Outcome::Suspended),
                    _ => None,
                };
                // another reason for the same pause: whether the first has been felt is still to be heard
                if !matches!((&*now, &next), (Access::Suspended(_), Access::Suspended(_))) {
                    self.stopping.set(cause.zip(stops));
                }
                *now = next;
            }
            changes
        })
    }

    pub(super) fn closed(&self) -> Closed<'_> {
        let end = match self.access() {
            Access::Ended(problem) => End::Gateway(problem),
            // nobody said: whoever held the lease was itself dropped, as when the client's connection is lost
            Access::Open | Access::Suspended(_) => self.end.get().cloned().unwrap_or(End::Client),
        };
        Closed { tunnel: self, end }
    }
}

impl End {
    /// Names the ending by one of a few words.
    pub fn how(&self) -> How {
        match self {
            Self::Completed => How::Completed,
            Self::Client => How::Client,
            Self::App => How::App,
            Self::Idle => How::Idle,
            Self::Unreachable(_) => How::Unreachable,
            Self::Gateway(_) => How::Gateway,
        }
    }

    /// Names the ending in one word, for the audit log.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Completed => "completed",
            Self::Client => "client",
            Self::App => "app",
            Self::Idle => "idle",
            Self::Unreachable(problem) | Self::Gateway(problem) => &problem.code,
        }
    }
}
