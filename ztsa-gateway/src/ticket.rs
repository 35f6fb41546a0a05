//! Tickets: one-app bearer credentials of minutes, for clients that cannot hold a device key.
//!
//! Only the SHA-256 of a ticket is kept. Every use is decided anew, and a ticket ends with the session that made it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ztsa_proto::jws::{random_id, sha256_base64url};
use ztsa_proto::name::{AppName, SessionId, TicketId};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use crate::authn::{Identity, Session};
use crate::lease::Selector;
use crate::store::{Store, Ticket};

/// How long a ticket lasts when nobody says.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

/// How long a ticket may last.
pub const MAX_LIFETIME: Duration = Duration::from_secs(3_600);

/// How many live tickets one session may have.
const MAX_PER_SESSION: usize = 100;

/// Tickets start with this, so that one in a log or in a repository is recognised.
const PREFIX: &str = "ztk_";

/// Holds the live tickets by the hash of their secret; the store keeps them for the next start.
#[derive(Debug, Clone)]
pub struct Tickets {
    store: Store,
    live: Arc<Mutex<Table>>,
}

/// The live tickets by the hash of their secret, and the hashes of each session's.
#[derive(Debug, Default)]
struct Table {
    tickets: HashMap<String, Live>,
    sessions: HashMap<SessionId, HashSet<String>>,
}

/// Pairs a ticket with whom it stands for.
#[derive(Debug, Clone)]
pub struct Live {
    /// The ticket.
    pub ticket: Ticket,
    /// Whom it stands for, as last known, on the device that made it.
    pub session: Arc<Session>,
}

impl Tickets {
    /// Restores the tickets that are still good, and forgets the others.
    pub fn restore(store: Store, now: UnixTime) -> Self {
        let mut live = Table::default();
        for ticket in store.tickets() {
            match serde_json::from_str::<Identity>(&ticket.identity) {
                Ok(identity) if ticket.expires_at > now => {
                    let session = Arc::new(stand_in(&ticket, Arc::new(identity)));
                    live.insert(Live { ticket, session });
                }
                _ => {
                    store.delete_ticket(&ticket.id);
                }
            }
        }
        Self { store, live: Arc::new(Mutex::new(live)) }
    }

    /// Says whether a session could have such a ticket now.
    ///
    /// # Errors
    /// `request.invalid` for a time of zero or above [`MAX_LIFETIME`], or for no use at all; `gateway.limit` when the
    /// session has as many tickets as it may have.
    pub fn room(&self, session: &SessionId, lasts: Option<Duration>, uses: Option<u32>) -> Result<(), Box<Problem>> {
        if lasts.is_some_and(|lasts| lasts.is_zero() || lasts > MAX_LIFETIME) {
            return Err(invalid("a ticket lasts between one second and one hour"));
        }
        if uses == Some(0) {
            return Err(invalid("a ticket is good for one use at least"));
        }
        self.live().room(session)
    }

    /// Makes a ticket for one app.
    ///
    /// # Errors
    /// As for [`Tickets::room`].
    pub fn mint(
        &self,
        session: &Session,
        app: &AppName,
        lasts: Option<Duration>,
        uses: Option<u32>,
        now: UnixTime,
    ) -> Result<(Secret<String>, Ticket), Box<Problem>> {
        self.room(&session.id, lasts, uses)?;
        let lasts = lasts.unwrap_or(DEFAULT_LIFETIME);
        let identity =
            serde_json::to_string(&*session.identity).map_err(|_| Box::new(problem::new("gateway.unavailable")))?;
        let secret = format!("{PREFIX}{}{}", random_id(), random_id());
        let ticket = Ticket {
            id: TicketId::random(),
            secret_sha256: sha256_base64url(secret.as_bytes()),
            app: app.clone(),
            user: session.identity.user.clone(),
            device: session.device.clone(),
            session: session.id.clone(),
            issued_at: now,
            expires_at: now.plus(lasts),
            uses_left: uses,
            used: 0,
            identity,
        };
        let session = Arc::new(stand_in(&ticket, Arc::clone(&session.identity)));
        let mut live = self.live();
        live.room(&ticket.session)?;
        live.insert(Live { ticket: ticket.clone(), session });
        self.store.put_ticket(ticket.clone());
        Ok((Secret::new(secret), ticket))
    }

    /// Finds a ticket that can be used now.
    pub fn find(&self, secret: &str, now: UnixTime) -> Option<Live> {
        let hash = sha256_base64url(secret.as_bytes());
        let found = self.live().tickets.get(&hash).cloned()?;
        let Ticket { expires_at, uses_left, issued_at, .. } = found.ticket;
        let ticket = &found.ticket;
        let cutoff = self.store.cutoff_of(&ticket.user, &ticket.device, &ticket.session);
        let good = expires_at > now && uses_left != Some(0) && cutoff.is_none_or(|cutoff| issued_at > cutoff);
        good.then_some(found)
    }

    /// Notes who a session's person is now: its tickets stand for them as they are, not as they were, whatever becomes of the
    /// session.
    pub fn renewed(&self, session: &Session) {
        let mut live = self.live();
        let Table { tickets, sessions } = &mut *live;
        for hash in sessions.get(&session.id).into_iter().flatten() {
            let Some(Live { ticket, session: stands }) = tickets.get_mut(hash) else { continue };
            if *stands.identity != *session.identity {
                // what cannot be written is nobody's at the next start
                ticket.identity = serde_json::to_string(&*session.identity).unwrap_or_default();
                *stands = Arc::new(stand_in(ticket, Arc::clone(&session.identity)));
                self.store.put_ticket(ticket.clone());
            }
        }
    }

    /// Counts one use; says whether there was one left.
    pub fn count_use(&self, ticket: &Ticket) -> bool {
        let mut live = self.live();
        let Some(Live { ticket, .. }) = live.tickets.get_mut(&ticket.secret_sha256) else { return false };
        if ticket.uses_left == Some(0) {
            return false;
        }
        ticket.uses_left = ticket.uses_left.map(|left| left - 1);
        ticket.used = ticket.used.saturating_add(1);
        self.store.put_ticket(ticket.clone());
        true
    }

    /// Counts the live tickets of one session.
    pub fn count(&self, session: &SessionId) -> usize {
        self.live().sessions.get(session).map_or(0, HashSet::len)
    }

    /// Lists the live tickets, of one session or of all.
    pub fn list(&self, session: Option<&SessionId>) -> Vec<Ticket> {
        let live = self.live();
        let of = live.tickets.values().filter(|live| session.is_none_or(|session| live.ticket.session == *session));
        of.map(|live| live.ticket.clone()).collect()
    }

    /// Takes back the tickets that `selector` names, and gives them.
    pub fn end(&self, selector: &Selector) -> Vec<Ticket> {
        self.remove(|ticket| match selector {
            Selector::All => true,
            Selector::User(user) => ticket.user == *user,
            Selector::Device(device) => ticket.device == *device,
            Selector::Session(session) => ticket.session == *session,
            Selector::App(app) => ticket.app == *app,
            Selector::Ticket(id) => ticket.id == *id,
            Selector::Grant(_) => false,
        })
    }

    /// Forgets the tickets that ran out, and gives them.
    pub fn expire(&self, now: UnixTime) -> Vec<Ticket> {
        self.remove(|ticket| ticket.expires_at <= now)
    }

    fn remove(&self, unwanted: impl Fn(&Ticket) -> bool) -> Vec<Ticket> {
        let removed = self.live().remove(unwanted);
        for ticket in &removed {
            self.store.delete_ticket(&ticket.id);
        }
        removed
    }

    fn live(&self) -> MutexGuard<'_, Table> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn room(&self, session: &SessionId) -> Result<(), Box<Problem>> {
        if self.sessions.get(session).map_or(0, HashSet::len) < MAX_PER_SESSION {
            return Ok(());
        }
        let mut problem = problem::new("gateway.limit");
        problem.detail = format!("this session has {MAX_PER_SESSION} tickets, as many as it may");
        Err(Box::new(problem))
    }

    fn insert(&mut self, live: Live) {
        let (session, hash) = (live.ticket.session.clone(), live.ticket.secret_sha256.clone());
        self.sessions.entry(session).or_default().insert(hash.clone());
        self.tickets.insert(hash, live);
    }

    fn remove(&mut self, unwanted: impl Fn(&Ticket) -> bool) -> Vec<Ticket> {
        let removed: Vec<Ticket> =
            self.tickets.extract_if(|_, live| unwanted(&live.ticket)).map(|(_, live)| live.ticket).collect();
        for ticket in &removed {
            if let Some(of) = self.sessions.get_mut(&ticket.session) {
                of.remove(&ticket.secret_sha256);
                if of.is_empty() {
                    self.sessions.remove(&ticket.session);
                }
            }
        }
        removed
    }
}

/// The session that a ticket stands in for: as long as the ticket lasts, whether or not the client is still there.
fn stand_in(ticket: &Ticket, identity: Arc<Identity>) -> Session {
    Session {
        id: ticket.session.clone(),
        identity,
        device: ticket.device.clone(),
        started_at: ticket.issued_at,
        issued_at: ticket.issued_at,
        expires_at: ticket.expires_at,
    }
}

fn invalid(detail: &str) -> Box<Problem> {
    let mut problem = problem::new("request.invalid");
    detail.clone_into(&mut problem.detail);
    Box::new(problem)
}
