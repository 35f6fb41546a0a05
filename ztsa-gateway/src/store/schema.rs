//! The tables, their version, and how they are read into memory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Row};
use ztsa_proto::name::UserId;
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use super::error::StoreError;
use super::memory::Memory;
use super::row::{BoundToken, Device, NewSignal, Revocation, SessionRow, Signal, Subject, Ticket, User};
use crate::config::StoreUrl;
use ztsa_proto::session::DeviceState;

/// The schema that this version writes (`PRAGMA user_version`).
const VERSION: i64 = 3;

/// How long another program (a backup, a report) may hold the file before a write counts as failed.
const BUSY: Duration = Duration::from_secs(5);

/// What version 1 had.
pub(super) const SCHEMA: &str = "
CREATE TABLE devices (id TEXT PRIMARY KEY, issuer TEXT NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL) STRICT;
CREATE TABLE users (issuer TEXT NOT NULL, subject TEXT NOT NULL, name TEXT, email TEXT, PRIMARY KEY (issuer, subject)) STRICT;
CREATE TABLE sessions (id TEXT PRIMARY KEY, issuer TEXT NOT NULL, subject TEXT NOT NULL, device TEXT NOT NULL, started_at INTEGER NOT NULL, login_at INTEGER NOT NULL, ends_at INTEGER NOT NULL, identity TEXT NOT NULL) STRICT;
CREATE TABLE revocations (kind TEXT NOT NULL, subject TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (kind, subject)) STRICT;
CREATE TABLE signals (id INTEGER PRIMARY KEY, subject_kind TEXT NOT NULL, subject TEXT NOT NULL, kind TEXT NOT NULL, score INTEGER NOT NULL, reason TEXT NOT NULL, source TEXT NOT NULL, at INTEGER NOT NULL, expires_at INTEGER, half_life INTEGER) STRICT;
CREATE TABLE tickets (id TEXT PRIMARY KEY, secret_sha256 TEXT NOT NULL, app TEXT NOT NULL, issuer TEXT NOT NULL, subject TEXT NOT NULL, device TEXT NOT NULL, session TEXT NOT NULL, issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, uses_left INTEGER, used INTEGER NOT NULL, identity TEXT NOT NULL) STRICT;
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
PRAGMA user_version = 1;
";

/// What version 2 has more: what devices call themselves, and which keys tokens were exchanged with.
const SECOND: &str = "
ALTER TABLE devices ADD COLUMN name TEXT;
ALTER TABLE devices ADD COLUMN os TEXT;
CREATE TABLE tokens (token TEXT PRIMARY KEY, devices TEXT NOT NULL, until INTEGER NOT NULL) STRICT;
PRAGMA user_version = 2;
";
/// What version 3 has more: what tells signals of one kind and source from each other.
const THIRD: &str = "
ALTER TABLE signals ADD COLUMN cause TEXT NOT NULL DEFAULT '';
PRAGMA user_version = 3;
";
/// What was added without changing a table that an older version knows.
const DOCUMENTS: &str = "CREATE TABLE IF NOT EXISTS documents (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, key)) STRICT;";

/// Holds an open store: the connection, and the lock that keeps other gateways away.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) held: Option<File>,
}

/// Opens or creates the file, alone, mode 0600, at the current schema.
pub(super) fn open(url: &StoreUrl) -> Result<Opened, StoreError> {
    match url {
        StoreUrl::Memory => {
            let path = PathBuf::from(":memory:");
            let connection = Connection::open_in_memory().map_err(|cause| StoreError::sqlite(&path, &cause))?;
            prepare(&connection, &path)?;
            Ok(Opened { connection, held: None })
        }
        StoreUrl::Sqlite(path) => {
            private(path)?;
            let held = hold(path)?;
            let connection = Connection::open(path).map_err(|cause| StoreError::sqlite(path, &cause))?;
            prepare(&connection, path)?;
            Ok(Opened { connection, held: Some(held) })
        }
    }
}

/// Makes the file before SQLite does, so that it is never readable by others.
fn private(path: &Path) -> Result<(), StoreError> {
    let failed = |cause: std::io::Error| StoreError::Open { path: path.to_owned(), cause: cause.to_string() };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}

/// Takes `FILE.lock`, which the system frees when the process ends, however it ends.
fn hold(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|cause| StoreError::Open { path: PathBuf::from(&name), cause: cause.to_string() })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Held { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(cause)) => {
            Err(StoreError::Open { path: PathBuf::from(name), cause: cause.to_string() })
        }
    }
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |cause: rusqlite::Error| StoreError::sqlite(path, &cause);
    connection.busy_timeout(BUSY).map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    match found {
        0 if tables == 0 => {
            connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} {SECOND} {THIRD} COMMIT;")).map_err(failed)?;
        }
        1 => connection.execute_batch(&format!("BEGIN IMMEDIATE; {SECOND} {THIRD} COMMIT;")).map_err(failed)?,
        2 => connection.execute_batch(&format!("BEGIN IMMEDIATE; {THIRD} COMMIT;")).map_err(failed)?,
        VERSION => {}
        0 => {
            return Err(StoreError::Foreign {
                path: path.to_owned(),
                cause: "it holds tables of another program".to_owned(),
            });
        }
        found => return Err(StoreError::Newer { path: path.to_owned(), found, known: VERSION }),
    }
    connection.execute_batch(DOCUMENTS).map_err(failed)?;
    connection.pragma_update(None, "synchronous", "full").map_err(failed)
}

/// Reads everything.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Memory> {
    let mut memory = Memory::default();
    each(connection, "SELECT id, issuer, subject, state, first_seen, last_seen, name, os FROM devices", |row| {
        let state: String = row.get(3)?;
        let device = Device {
            id: parsed(row, 0)?,
            user: user(row, 1)?,
            // an unknown word is no reason to let a device in
            state: state_of(&state),
            first_seen: time(row, 4)?,
            last_seen: time(row, 5)?,
            name: row.get(6)?,
            os: row.get(7)?,
        };
        memory.devices.insert(device.id.clone(), device);
        Ok(())
    })?;
    each(connection, "SELECT issuer, subject, name, email FROM users", |row| {
        let person = User { id: user(row, 0)?, name: row.get(2)?, email: row.get(3)? };
        memory.users.insert(person.id.clone(), person);
        Ok(())
    })?;
    each(
        connection,
        "SELECT id, issuer, subject, device, started_at, login_at, ends_at, identity FROM sessions",
        |row| {
            let session = SessionRow {
                id: parsed(row, 0)?,
                user: user(row, 1)?,
                device: parsed(row, 3)?,
                started_at: time(row, 4)?,
                login_at: time(row, 5)?,
                ends_at: time(row, 6)?,
                identity: row.get::<_, String>(7)?.into(),
            };
            memory.insert_session(session);
            Ok(())
        },
    )?;
    each(connection, "SELECT kind, subject, at, reason FROM revocations", |row| {
        let revocation = Revocation { subject: subject(row, 0, 1)?, at: time(row, 2)?, reason: row.get(3)? };
        memory.insert_revocation(&revocation);
        Ok(())
    })?;
    each(connection, "SELECT token, devices, until FROM tokens", |row| {
        let devices: String = row.get(1)?;
        let devices = devices.split(' ').filter_map(|id| id.parse().ok()).collect();
        let bound = BoundToken { token: row.get(0)?, devices, until: time(row, 2)? };
        memory.bound.insert(bound.token.clone(), bound);
        Ok(())
    })?;
    load_signals(connection, &mut memory)?;
    load_tickets(connection, &mut memory)?;
    each(connection, "SELECT kind, key, value, at FROM documents ORDER BY key", |row| {
        memory.loaded.entry(row.get(0)?).or_default().push((row.get(1)?, row.get(2)?, time(row, 3)?));
        Ok(())
    })?;
    each(connection, "SELECT name, value FROM secrets", |row| {
        memory.secrets.insert(row.get(0)?, Secret::new(row.get(1)?));
        Ok(())
    })?;
    Ok(memory)
}

fn load_signals(connection: &Connection, memory: &mut Memory) -> rusqlite::Result<()> {
    let sql =
        "SELECT id, subject_kind, subject, kind, score, reason, source, at, expires_at, half_life, cause FROM signals";
    each(connection, sql, |row| {
        let id = row.get(0)?;
        let signal = NewSignal {
            subject: subject(row, 1, 2)?,
            kind: row.get(3)?,
            score: row.get(4)?,
            reason: row.get(5)?,
            source: row.get(6)?,
            at: time(row, 7)?,
            expires_at: row.get::<_, Option<i64>>(8)?.map(seconds),
            half_life: row.get::<_, Option<i64>>(9)?.map(i64::unsigned_abs),
            cause: row.get(10)?,
        };
        memory.signals.insert(id, Signal { id, signal });
        Ok(())
    })
}

fn load_tickets(connection: &Connection, memory: &mut Memory) -> rusqlite::Result<()> {
    let sql = "SELECT id, secret_sha256, app, issuer, subject, device, session, issued_at, expires_at, uses_left, used, identity FROM tickets";
    each(connection, sql, |row| {
        let ticket = Ticket {
            id: parsed(row, 0)?,
            secret_sha256: row.get(1)?,
            app: parsed(row, 2)?,
            user: user(row, 3)?,
            device: parsed(row, 5)?,
            session: parsed(row, 6)?,
            issued_at: time(row, 7)?,
            expires_at: time(row, 8)?,
            uses_left: row.get(9)?,
            used: row.get(10)?,
            identity: row.get(11)?,
        };
        memory.tickets.insert(ticket.id.clone(), ticket);
        Ok(())
    })
}

fn each(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|cause: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(cause))
    })
}

fn user(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    Ok(UserId { issuer: row.get(column)?, subject: row.get(column + 1)? })
}

fn subject(row: &Row<'_>, kind: usize, key: usize) -> rusqlite::Result<Subject> {
    let (word, text): (String, String) = (row.get(kind)?, row.get(key)?);
    Subject::parse(&word, &text).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(key, rusqlite::types::Type::Text, format!("{word} {text:?}").into())
    })
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<UnixTime> {
    row.get(column).map(seconds)
}

fn seconds(value: i64) -> UnixTime {
    UnixTime(u64::try_from(value).unwrap_or(0))
}

fn state_of(word: &str) -> DeviceState {
    match word {
        "unmanaged" => DeviceState::Unmanaged,
        "approved" => DeviceState::Approved,
        _ => DeviceState::Blocked,
    }
}
