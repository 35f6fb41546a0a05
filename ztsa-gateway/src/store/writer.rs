//! The one thread that writes: it takes what has gathered, writes it in one transaction, and starts again.
//!
//! What waits is kept by row, so that a row changed twice is written once and what waits can never outgrow what is kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;
use zeroize::Zeroizing;
use ztsa_proto::name::{DeviceId, SessionId, TicketId};

use super::error::StoreError;
use super::row::{BoundToken, Device, Document, Revocation, SessionRow, Signal, Subject, Ticket, User};
use super::schema::Opened;

/// The pause after a failed write.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) enum Write {
    Device(Device),
    DeleteDevice(DeviceId),
    User(User),
    Session(SessionRow),
    DeleteSession(SessionId),
    Revocation(Revocation),
    DeleteRevocation(Subject),
    Signal(Signal),
    DeleteSignal(i64),
    Ticket(Ticket),
    DeleteTicket(TicketId),
    Secret(String, Zeroizing<Vec<u8>>),
    Bound(BoundToken),
    DeleteBound(String),
    Document(Document),
    DeleteDocument(&'static str, String),
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Batch,
    asking: Vec<Answer>,
    outage: Option<String>,
    closing: bool,
}

/// The last change of each row.
type Batch = HashMap<(&'static str, String), Write>;

type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;

impl Writer {
    pub(super) fn spawn(opened: Opened) -> Result<Writer, StoreError> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ztsa-store".to_owned())
            .spawn(move || run(&theirs, opened))
            .map_err(|cause| StoreError::Write(cause.to_string()))?;
        Ok(Writer { shared, thread: Some(thread) })
    }

    pub(super) fn send(&self, write: Write) {
        self.shared.lock().waiting.insert(write.row(), write);
        self.shared.wake.notify_one();
    }

    pub(super) fn write_now(&self, write: Write) -> Result<(), StoreError> {
        let (tell, told) = mpsc::channel();
        self.send(write);
        self.ask(Box::new(move |result| drop(tell.send(result))));
        answered(told.recv().ok())
    }

    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let (tell, told) = oneshot::channel();
        self.ask(Box::new(move |result| drop(tell.send(result))));
        answered(told.await.ok())
    }

    pub(super) fn outage(&self) -> Option<String> {
        self.shared.lock().outage.clone()
    }

    fn ask(&self, answer: Answer) {
        self.shared.lock().asking.push(answer);
        self.shared.wake.notify_one();
    }
}

fn answered(answer: Option<Result<(), String>>) -> Result<(), StoreError> {
    answer.unwrap_or_else(|| Err("the writer has ended".to_owned())).map_err(StoreError::Write)
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("outage", &self.outage()).finish_non_exhaustive()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; `None` when there will be none.
    fn next(&self) -> Option<(Batch, Vec<Answer>)> {
        let idle = |state: &mut State| state.waiting.is_empty() && state.asking.is_empty() && !state.closing;
        let mut state = self.wake.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() && state.asking.is_empty() {
            return None;
        }
        Some((std::mem::take(&mut state.waiting), std::mem::take(&mut state.asking)))
    }

    fn done(&self) {
        if self.lock().outage.take().is_some() {
            tracing::info!("the store can be written again");
        }
    }

    /// Keeps what could not be written, unless it has changed since.
    fn failed(&self, batch: Batch, cause: &str) {
        let mut state = self.lock();
        for (row, write) in batch {
            state.waiting.entry(row).or_insert(write);
        }
        if state.outage.is_none() {
            tracing::warn!(cause, "the store cannot be written: nothing new is granted until it can");
        }
        state.outage = Some(cause.to_owned());
    }

    /// Waits a while before the next try, unless somebody asks for one. Says whether to go on.
    fn pause(&self) -> bool {
        let patient = |state: &mut State| !state.closing && state.asking.is_empty();
        let waited = self.wake.wait_timeout_while(self.lock(), RETRY, patient);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.closing
    }
}

fn run(shared: &Shared, opened: Opened) {
    let Opened { mut connection, held } = opened;
    while let Some((batch, asking)) = shared.next() {
        let result = write(&mut connection, batch.values()).map_err(|cause| cause.to_string());
        // the state is right before anybody is told
        match &result {
            Ok(()) => shared.done(),
            Err(cause) => shared.failed(batch, cause),
        }
        for answer in asking {
            answer(result.clone());
        }
        if let Err(cause) = result
            && !shared.pause()
        {
            tracing::error!(cause, "the store closes with changes that could not be written");
            break;
        }
    }
    drop(connection);
    drop(held);
}

fn write<'a>(connection: &mut Connection, batch: impl Iterator<Item = &'a Write>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for write in batch {
        write.apply(&transaction)?;
    }
    transaction.commit()
}

fn seconds(time: ztsa_proto::time::UnixTime) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

impl Write {
    fn row(&self) -> (&'static str, String) {
        match self {
            Write::Device(device) => ("device", device.id.to_string()),
            Write::DeleteDevice(id) => ("device", id.to_string()),
            Write::User(user) => ("user", user.id.to_string()),
            Write::Session(session) => ("session", session.id.to_string()),
            Write::DeleteSession(id) => ("session", id.to_string()),
            Write::Revocation(row) => ("revocation", row.subject.to_string()),
            Write::DeleteRevocation(subject) => ("revocation", subject.to_string()),
            Write::Signal(signal) => ("signal", signal.id.to_string()),
            Write::DeleteSignal(id) => ("signal", id.to_string()),
            Write::Ticket(ticket) => ("ticket", ticket.id.to_string()),
            Write::DeleteTicket(id) => ("ticket", id.to_string()),
            Write::Secret(name, _) => ("secret", name.clone()),
            Write::Bound(bound) => ("token", bound.token.clone()),
            Write::DeleteBound(token) => ("token", token.clone()),
            Write::Document(document) => (document.kind, document.key.clone()),
            Write::DeleteDocument(kind, key) => (kind, key.clone()),
        }
    }

    fn apply(&self, to: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Write::Device(d) => to.prepare_cached("INSERT OR REPLACE INTO devices (id, issuer, subject, state, first_seen, last_seen, name, os) VALUES (?,?,?,?,?,?,?,?)")?.execute(params![
                d.id.to_string(),
                d.user.issuer,
                d.user.subject,
                d.state.as_str(),
                seconds(d.first_seen),
                seconds(d.last_seen),
                d.name,
                d.os
            ]),
            Write::User(u) => to
                .prepare_cached("INSERT OR REPLACE INTO users (issuer, subject, name, email) VALUES (?,?,?,?)")?
                .execute(params![u.id.issuer, u.id.subject, u.name, u.email]),
            Write::Session(s) => to
                .prepare_cached("INSERT OR REPLACE INTO sessions (id, issuer, subject, device, started_at, login_at, ends_at, identity) VALUES (?,?,?,?,?,?,?,?)")?
                .execute(params![
                    s.id.to_string(),
                    s.user.issuer,
                    s.user.subject,
                    s.device.to_string(),
                    seconds(s.started_at),
                    seconds(s.login_at),
                    seconds(s.ends_at),
                    &*s.identity
                ]),
            Write::Revocation(r) => to
                .prepare_cached("INSERT OR REPLACE INTO revocations (kind, subject, at, reason) VALUES (?,?,?,?)")?
                .execute(params![r.subject.kind(), r.subject.key(), seconds(r.at), r.reason]),
            Write::DeleteDevice(id) => {
                to.prepare_cached("DELETE FROM devices WHERE id = ?")?.execute([id.to_string()])
            }
            Write::DeleteSession(id) => {
                to.prepare_cached("DELETE FROM sessions WHERE id = ?")?.execute([id.to_string()])
            }
            Write::DeleteRevocation(subject) => to
                .prepare_cached("DELETE FROM revocations WHERE kind = ? AND subject = ?")?
                .execute(params![subject.kind(), subject.key()]),
            Write::Signal(s) => insert_signal(to, s),
            Write::DeleteSignal(id) => to.prepare_cached("DELETE FROM signals WHERE id = ?")?.execute([id]),
            Write::Ticket(t) => insert_ticket(to, t),
            Write::DeleteTicket(id) => to.prepare_cached("DELETE FROM tickets WHERE id = ?")?.execute([id.to_string()]),
            Write::Bound(bound) => {
                let devices = bound.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                to.prepare_cached("INSERT OR REPLACE INTO tokens (token, devices, until) VALUES (?,?,?)")?.execute(params![bound.token, devices, seconds(bound.until)])
            }
            Write::DeleteBound(token) => to.prepare_cached("DELETE FROM tokens WHERE token = ?")?.execute([token]),
            Write::Document(d) => to
                .prepare_cached("INSERT OR REPLACE INTO documents (kind, key, value, at) VALUES (?,?,?,?)")?
                .execute(params![d.kind, d.key, d.value, seconds(d.at)]),
            Write::DeleteDocument(kind, key) => {
                to.prepare_cached("DELETE FROM documents WHERE kind = ? AND key = ?")?.execute(params![kind, key])
            }
            Write::Secret(name, value) => {
                to.prepare_cached("INSERT OR REPLACE INTO secrets (name, value) VALUES (?,?)")?.execute(params![name, value.as_slice()])
            }
        }
        .map(drop)
    }
}

fn insert_signal(to: &Transaction<'_>, signal: &Signal) -> rusqlite::Result<usize> {
    let s = &signal.signal;
    to.prepare_cached("INSERT OR REPLACE INTO signals (id, subject_kind, subject, kind, score, reason, source, at, expires_at, half_life, cause) VALUES (?,?,?,?,?,?,?,?,?,?,?)")?
        .execute(params![
            signal.id,
            s.subject.kind(),
            s.subject.key(),
            s.kind,
            s.score,
            s.reason,
            s.source,
            seconds(s.at),
            s.expires_at.map(seconds),
            s.half_life.map(|life| i64::try_from(life).unwrap_or(i64::MAX)),
            s.cause
        ])
}

fn insert_ticket(to: &Transaction<'_>, ticket: &Ticket) -> rusqlite::Result<usize> {
    to.prepare_cached(
        "INSERT OR REPLACE INTO tickets (id, secret_sha256, app, issuer, subject, device, session, issued_at, expires_at, uses_left, used, identity) \
         VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
    )?
    .execute(params![
        ticket.id.to_string(),
        ticket.secret_sha256,
        ticket.app.to_string(),
        ticket.user.issuer,
        ticket.user.subject,
        ticket.device.to_string(),
        ticket.session.to_string(),
        seconds(ticket.issued_at),
        seconds(ticket.expires_at),
        ticket.uses_left,
        ticket.used,
        ticket.identity
    ])
}
