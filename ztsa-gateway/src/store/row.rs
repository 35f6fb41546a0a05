//! The rows of the store.

use std::fmt;
use std::sync::Arc;

use ztsa_proto::name::{AppName, DeviceId, SessionId, TicketId, UserId};
use ztsa_proto::session::DeviceState;
use ztsa_proto::time::UnixTime;

/// Describes a device that has signed in at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The thumbprint of its key.
    pub id: DeviceId,
    /// The person last seen on it.
    pub user: UserId,
    /// What an administrator decided.
    pub state: DeviceState,
    /// When it signed in for the first time.
    pub first_seen: UnixTime,
    /// When it last signed in or renewed.
    pub last_seen: UnixTime,
    /// What it calls itself: for administrators to recognise it, never for deciding.
    pub name: Option<String>,
    /// The system that it last reported, such as `debian 13`.
    pub os: Option<String>,
}

/// Notes with which devices' keys an issuer's token was exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundToken {
    /// The SHA-256 of the token, base64url: no token is kept.
    pub token: String,
    /// The devices, the first one first.
    pub devices: Vec<DeviceId>,
    /// Until when the token could be used.
    pub until: UnixTime,
}

/// Describes a person who has signed in at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Issuer and subject.
    pub id: UserId,
    /// The name that the issuer gave.
    pub name: Option<String>,
    /// The address that the issuer gave: for finding people, never for deciding.
    pub email: Option<String>,
}

/// Describes a session across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The session.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// The device that it is bound to.
    pub device: DeviceId,
    /// When it began.
    pub started_at: UnixTime,
    /// When the person last proved who they are to the issuer, as far as its tokens tell.
    pub login_at: UnixTime,
    /// When it can no longer be renewed; brought forward when it is ended.
    pub ends_at: UnixTime,
    /// Who it is, as JSON of [`crate::authn::Identity`]; shared, since it may be long.
    pub identity: Arc<str>,
}

/// Names what a revocation or a signal is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A person, on every device.
    User(UserId),
    /// A device, whoever uses it.
    Device(DeviceId),
    /// One session.
    Session(SessionId),
    /// What a person signed in to on one device: the logins behind a revoked session.
    Login(UserId, DeviceId),
    /// The tokens that a person had on one device when they signed out there.
    SignOut(UserId, DeviceId),
}

impl Subject {
    /// The word for what it is: `user`, `device`, `session`, `login` or `sign-out`.
    pub fn kind(&self) -> &'static str {
        match self {
            Subject::User(_) => "user",
            Subject::Device(_) => "device",
            Subject::Session(_) => "session",
            Subject::Login(..) => "login",
            Subject::SignOut(..) => "sign-out",
        }
    }

    /// The identifier, as kept in the store.
    pub fn key(&self) -> String {
        match self {
            Subject::User(user) => user.to_string(),
            Subject::Device(device) => device.to_string(),
            Subject::Session(session) => session.to_string(),
            Subject::Login(user, device) | Subject::SignOut(user, device) => format!("{device} {user}"),
        }
    }

    /// Reads kind and key back.
    pub fn parse(kind: &str, key: &str) -> Option<Subject> {
        match kind {
            "user" => key.parse().ok().map(Subject::User),
            "device" => key.parse().ok().map(Subject::Device),
            "session" => key.parse().ok().map(Subject::Session),
            "login" => {
                let (device, user) = key.split_once(' ')?;
                Some(Subject::Login(user.parse().ok()?, device.parse().ok()?))
            }
            "sign-out" => {
                let (device, user) = key.split_once(' ')?;
                Some(Subject::SignOut(user.parse().ok()?, device.parse().ok()?))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.key())
    }
}

/// Refuses everything of a subject that was issued up to a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What is refused.
    pub subject: Subject,
    /// Issued up to when.
    pub at: UnixTime,
    /// Why, for people.
    pub reason: String,
}

/// Describes a risk signal that is not kept yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSignal {
    /// Whom it is about.
    pub subject: Subject,
    /// What happened: `admin`, `login.failed`, `dpop.replay`...
    pub kind: String,
    /// How much it counts when fresh, 0 to 100.
    pub score: u8,
    /// Why, for people.
    pub reason: String,
    /// Who says so.
    pub source: String,
    /// What tells it from others of its kind and source; empty where there is one of them only.
    pub cause: String,
    /// When.
    pub at: UnixTime,
    /// When it stops counting.
    pub expires_at: Option<UnixTime>,
    /// The seconds after which it counts half, when it fades.
    pub half_life: Option<u64>,
}

/// Describes a risk signal that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Its number, growing.
    pub id: i64,
    /// What it says.
    pub signal: NewSignal,
}

/// Holds a small state that a part of the gateway keeps for itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// Whose, and of what sort.
    pub kind: &'static str,
    /// Its name, unique within its kind.
    pub key: String,
    /// What it says.
    pub value: String,
    /// The time that belongs to it.
    pub at: UnixTime,
}

/// Says of what sort it is, and nothing of its value: credentials can be in it.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("kind", &self.kind).field("at", &self.at).finish_non_exhaustive()
    }
}

/// Describes a one-app bearer credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its public name.
    pub id: TicketId,
    /// The SHA-256 of its secret, base64url.
    pub secret_sha256: String,
    /// The only app that it opens.
    pub app: AppName,
    /// Who made it.
    pub user: UserId,
    /// On which device.
    pub device: DeviceId,
    /// In which session.
    pub session: SessionId,
    /// When it was made.
    pub issued_at: UnixTime,
    /// When it stops working.
    pub expires_at: UnixTime,
    /// How often it can still be used, when that is limited.
    pub uses_left: Option<u32>,
    /// How often it has been used.
    pub used: u32,
    /// Who it stands for, as JSON of [`crate::authn::Identity`].
    pub identity: String,
}
