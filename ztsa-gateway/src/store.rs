//! Keeps what must outlive the process: devices, people, sessions, revocations, signals, tickets and the gateway's own keys.
//!
//! Everything is read from memory. Writes go to one thread, which batches them into SQLite; when they fail,
//! [`Store::outage`] says so, grants are refused, and the writer tries again until they succeed.

mod binding;
mod device;
mod error;
mod memory;
mod row;
mod schema;
mod writer;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use zeroize::Zeroizing;
use ztsa_proto::name::{DeviceId, SessionId, TicketId, UserId};
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use crate::config::StoreUrl;
use memory::Memory;
use schema::Opened;
use writer::{Write, Writer};

pub use ztsa_proto::session::DeviceState;

pub use binding::BindError;
pub use error::{FindUserError, StoreError};
pub use row::{BoundToken, Device, Document, NewSignal, Revocation, SessionRow, Signal, Subject, Ticket, User};

/// Holds the durable state; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    memory: RwLock<Memory>,
    writer: Writer,
    next_signal: AtomicI64,
    pruned: AtomicU64,
}

/// How long what has ended is remembered.
const KEEP: Duration = Duration::from_secs(31 * 24 * 3600);
/// How long the revocation of a session is remembered that is itself forgotten: no token lives longer than an hour.
const KEEP_FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

impl Store {
    /// Opens or creates the store and reads it into memory.
    ///
    /// Blocks for as long as the reading takes: call it while starting.
    ///
    /// # Errors
    /// The file cannot be opened, is held by another gateway, is no database, or was made by a newer version.
    pub fn open(url: &StoreUrl) -> Result<Store, StoreError> {
        Store::start(schema::open(url)?, url)
    }

    fn start(opened: Opened, url: &StoreUrl) -> Result<Store, StoreError> {
        let memory = schema::load(&opened.connection).map_err(|cause| StoreError::read(url, &cause))?;
        let next_signal = AtomicI64::new(memory.signals.keys().max().map_or(1, |id| id.saturating_add(1)));
        let writer = Writer::spawn(opened)?;
        Ok(Store {
            inner: Arc::new(Inner { memory: RwLock::new(memory), writer, next_signal, pruned: AtomicU64::new(0) }),
        })
    }

    /// Says what keeps writes from being durable now, or `None` when they are.
    pub fn outage(&self) -> Option<String> {
        self.inner.writer.outage()
    }

    /// Says whether writes are durable now: when they are not, nothing new may be granted.
    pub fn healthy(&self) -> bool {
        self.outage().is_none()
    }

    /// Waits until everything written so far is durable.
    ///
    /// # Errors
    /// The writes fail; they are kept and tried again.
    ///
    /// # Cancel safety
    /// Cancel-safe: the writes stay queued.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.inner.writer.flush().await
    }

    // ---- people

    /// Notes who was seen, under which name and address.
    pub fn record_user(&self, user: User) {
        let changed = self.write().users.insert(user.id.clone(), user.clone());
        if changed.as_ref() != Some(&user) {
            self.send(Write::User(user));
        }
    }

    /// Finds a person.
    pub fn user(&self, id: &UserId) -> Option<User> {
        self.read().users.get(id).cloned()
    }

    /// Finds the one person that an administrator's word means: `ISSUER|SUBJECT`, an e-mail address, a subject or a name.
    ///
    /// # Errors
    /// Nobody is meant, or several are: never a guess.
    pub fn find_user(&self, text: &str) -> Result<UserId, FindUserError> {
        self.read().find_user(text)
    }

    /// Lists the people that `wanted` picks.
    pub fn users_where(&self, wanted: impl Fn(&User) -> bool) -> Vec<UserId> {
        self.read().users.values().filter(|user| wanted(user)).map(|user| user.id.clone()).collect()
    }

    // ---- sessions

    /// Keeps a session, new or changed. Of a person's sessions that have ended, the last 256 are remembered.
    pub fn keep_session(&self, session: SessionRow) {
        let forgotten = self.write().keep_session(session.clone());
        self.send(Write::Session(session));
        for id in forgotten {
            self.send(Write::DeleteSession(id));
        }
    }

    /// Finds a session.
    pub fn session(&self, id: &SessionId) -> Option<SessionRow> {
        self.read().session(id).cloned()
    }

    /// Lists the sessions that have neither ended, nor run out, nor been revoked.
    pub fn sessions(&self, now: UnixTime) -> Vec<SessionRow> {
        let memory = self.read();
        memory.sessions().filter(|row| memory.goes_on(row, now)).cloned().collect()
    }

    /// Lists all that is known of a person's sessions, ended ones too.
    pub fn sessions_of(&self, user: &UserId) -> Vec<SessionRow> {
        self.read().sessions_of(user).cloned().collect()
    }

    /// Lists who has a session on a device that has neither ended, nor run out, nor been revoked.
    pub fn people_on(&self, device: &DeviceId, now: UnixTime) -> Vec<UserId> {
        let memory = self.read();
        let mut people: Vec<UserId> =
            memory.sessions_on(device).filter(|row| memory.goes_on(row, now)).map(|row| row.user.clone()).collect();
        people.sort();
        people.dedup();
        people
    }

    /// Forgets sessions that ended, revocations of sessions, and sign-outs, more than 31 days ago, and revocations of sessions that were
    /// forgotten before, after a day; looks at most once an hour.
    ///
    /// Revocations of people, devices and sign-ins stay for good: an issuer's refresh token may be older than any session.
    pub fn prune(&self, now: UnixTime) {
        let last = self.inner.pruned.load(Ordering::Relaxed);
        if last != 0 && now.since(UnixTime(last)) < PRUNE_EVERY {
            return;
        }
        self.inner.pruned.store(now.0, Ordering::Relaxed);
        let (sessions, revocations) = self.write().prune(now.minus(KEEP), now.minus(KEEP_FORGOTTEN));
        self.prune_bound(now);
        for id in sessions {
            self.send(Write::DeleteSession(id));
        }
        for subject in revocations {
            self.send(Write::DeleteRevocation(subject));
        }
    }

    // ---- revocations

    /// Refuses everything of a subject that was issued up to `at`.
    ///
    /// A session is ended for good, and with it the sign-in behind it: only a new one begins another session there.
    /// It holds in memory at once and on disk after [`Store::flush`].
    pub fn revoke(&self, subject: Subject, at: UnixTime, reason: &str) {
        let session = match &subject {
            Subject::Session(id) => self.cut_short(id, at),
            _ => None,
        };
        self.cut(subject, at, reason);
        if let Some(row) = session {
            self.cut(Subject::Login(row.user, row.device), at, reason);
        }
    }

    /// Ends a session because its person signs out on this device: what their issuer had given them there begins no other.
    pub fn sign_out(&self, id: &SessionId, user: &UserId, device: &DeviceId, at: UnixTime) {
        self.end_session(id, at);
        self.cut(Subject::SignOut(user.clone(), device.clone()), at, "signed out");
    }

    /// Ends a session without blame: its tokens are refused; the sign-in behind it may begin another.
    pub fn end_session(&self, id: &SessionId, at: UnixTime) {
        self.cut_short(id, at);
        self.cut(Subject::Session(id.clone()), at, "signed out");
    }

    fn cut_short(&self, id: &SessionId, at: UnixTime) -> Option<SessionRow> {
        let row = self.write().cut_short(id, at)?;
        self.send(Write::Session(row.clone()));
        Some(row)
    }

    fn cut(&self, subject: Subject, at: UnixTime, reason: &str) {
        let row = {
            let mut memory = self.write();
            let at = memory.cutoff(&subject).map_or(at, |earlier| earlier.max(at));
            let row = Revocation { subject, at, reason: reason.to_owned() };
            memory.insert_revocation(&row);
            row
        };
        self.send(Write::Revocation(row));
    }

    /// The time up to which everything of a subject is refused.
    pub fn cutoff(&self, subject: &Subject) -> Option<UnixTime> {
        self.read().cutoff(subject)
    }

    /// The latest cutoff that concerns a session of this person on this device.
    pub fn cutoff_of(&self, user: &UserId, device: &DeviceId, session: &SessionId) -> Option<UnixTime> {
        self.read().cutoff_of(user, device, session)
    }

    /// The reason of a subject's cutoff, where one was given.
    pub fn reason(&self, subject: &Subject) -> Option<String> {
        self.read().reason(subject)
    }

    /// The reason of the latest cutoff that concerns a session of this person on this device.
    pub fn reason_of(&self, user: &UserId, device: &DeviceId, session: &SessionId) -> Option<String> {
        self.read().reason_of(user, device, session)
    }

    // ---- signals

    /// Keeps a risk signal and answers with it, numbered.
    pub fn insert_signal(&self, signal: NewSignal) -> Signal {
        let id = self.inner.next_signal.fetch_add(1, Ordering::Relaxed);
        let signal = Signal { id, signal };
        self.write().signals.insert(id, signal.clone());
        self.send(Write::Signal(signal.clone()));
        signal
    }

    /// Forgets a risk signal; says whether there was one.
    pub fn delete_signal(&self, id: i64) -> bool {
        let known = self.write().signals.remove(&id).is_some();
        if known {
            self.send(Write::DeleteSignal(id));
        }
        known
    }

    /// Lists all signals, the oldest first.
    pub fn signals(&self) -> Vec<Signal> {
        self.read().signals.values().cloned().collect()
    }

    // ---- tickets

    /// Keeps a ticket, new or changed.
    pub fn put_ticket(&self, ticket: Ticket) {
        self.write().tickets.insert(ticket.id.clone(), ticket.clone());
        self.send(Write::Ticket(ticket));
    }

    /// Forgets a ticket; says whether there was one.
    pub fn delete_ticket(&self, id: &TicketId) -> bool {
        let known = self.write().tickets.remove(id).is_some();
        if known {
            self.send(Write::DeleteTicket(id.clone()));
        }
        known
    }

    /// Lists all tickets.
    pub fn tickets(&self) -> Vec<Ticket> {
        self.read().tickets.values().cloned().collect()
    }

    // ---- documents

    /// Takes the documents of a kind that were kept before this start, in the order of their keys; gives them once.
    pub fn take_documents(&self, kind: &'static str) -> Vec<Document> {
        let found = self.write().loaded.remove(kind).unwrap_or_default();
        found.into_iter().map(|(key, value, at)| Document { kind, key, value, at }).collect()
    }

    /// Keeps a document, new or changed; durable after [`Store::flush`].
    pub fn put_document(&self, document: Document) {
        self.send(Write::Document(document));
    }

    /// Forgets a document.
    pub fn delete_document(&self, kind: &'static str, key: &str) {
        self.send(Write::DeleteDocument(kind, key.to_owned()));
    }

    // ---- keys

    /// The gateway's own secret of this name, made once and durable before it is returned.
    ///
    /// Blocks on the disk: call it while starting.
    ///
    /// # Errors
    /// It cannot be made durable.
    pub fn secret_key<E>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Secret<Vec<u8>>, E>,
    ) -> Result<Secret<Vec<u8>>, StoreError>
    where
        E: std::fmt::Display,
    {
        if let Some(value) = self.read().secrets.get(name) {
            return Ok(value.clone());
        }
        let value = make().map_err(|cause| StoreError::Key(cause.to_string()))?;
        self.inner.writer.write_now(Write::Secret(name.to_owned(), Zeroizing::new(value.expose().clone())))?;
        self.write().secrets.insert(name.to_owned(), value.clone());
        Ok(value)
    }

    fn send(&self, write: Write) {
        self.inner.writer.send(write);
    }

    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.inner.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.inner.memory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
