//! What an event is made of, in the words of this project; `event` writes it in those of OCSF.

use std::net::IpAddr;
use std::time::Duration;

use ztsa_proto::name::{AppName, DeviceId, SessionId, TunnelId, UserId};
use ztsa_proto::time::UnixTime;

use super::Input;

/// Describes one event, in the words of this project; the log writes it in those of OCSF.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When.
    pub at: UnixTime,
    /// What happened.
    pub activity: Activity,
    /// How it came out.
    pub outcome: Outcome,
    /// Who, where known.
    pub actor: Option<Actor>,
    /// The address that the client came from.
    pub peer: Option<IpAddr>,
    /// The app and its port.
    pub app: Option<(AppName, u16)>,
    /// The address that was dialled for it.
    pub dialled: Option<IpAddr>,
    /// What an administrator, a signal or the gateway itself changed.
    pub entity: Option<Entity>,
    /// The tunnel.
    pub tunnel: Option<TunnelId>,
    /// The stable reason code: a problem's `code`, or how a tunnel ended.
    pub code: Option<String>,
    /// The reason in words. Never a secret.
    pub message: Option<String>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// The shadow policies that would have decided otherwise.
    pub shadow: Vec<String>,
    /// The policies that could not be evaluated.
    pub failed: Vec<String>,
    /// The decision's id, as people see it in a refusal.
    pub decision: Option<String>,
    /// What the decision was made from.
    pub input: Option<Box<Input>>,
    /// What an ended tunnel carried.
    pub traffic: Option<Traffic>,
}

/// Names who acted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// Issuer and subject.
    pub user: Option<UserId>,
    /// The person's name.
    pub name: Option<String>,
    /// The person's address.
    pub email: Option<String>,
    /// The device.
    pub device: Option<DeviceId>,
    /// The session.
    pub session: Option<SessionId>,
}

/// Says what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// An issuer's token was exchanged for a new session.
    SignIn,
    /// A session was renewed.
    Renew,
    /// A session was ended by its person.
    SignOut,
    /// A tunnel was asked for and judged.
    Connect,
    /// A grant was asked for and judged.
    Grant,
    /// A ticket was asked for and judged.
    Ticket,
    /// Somebody asked why an app answers as it does.
    Explain,
    /// A tunnel reached its app.
    Open,
    /// A live tunnel was suspended.
    Suspend,
    /// A suspended tunnel was restored.
    Restore,
    /// A tunnel ended.
    End,
    /// A tunnel did not reach its app.
    Fail,
    /// An administrator, or the gateway itself, revoked something.
    Revoke,
    /// A risk signal was set or cleared.
    Risk,
    /// A device was approved.
    Approve,
    /// A device was blocked.
    Block,
    /// A device is neither approved nor blocked any more.
    Release,
    /// A device was forgotten.
    Remove,
    /// The policies were loaded or refused.
    Policy,
    /// Another system told something about a person, a device or a session.
    Signal,
    /// The configuration was read again, or refused.
    Configuration,
}

/// Names what was changed, for the events about what the gateway manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entity {
    /// A person, on all devices.
    User(UserId),
    /// A device.
    Device(DeviceId),
    /// A session.
    Session(SessionId),
    /// Anything else, by its sort and its name.
    Named(&'static str, String),
}

/// Says how it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was allowed, or done.
    Success,
    /// It was refused, or failed.
    Failure,
}

/// Counts what a tunnel carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes from the client to the app.
    pub up: u64,
    /// Bytes from the app to the client.
    pub down: u64,
    /// How long it was open.
    pub duration: Duration,
}

impl Activity {
    /// The word that the log has for it (`metadata.event_code`).
    pub fn code(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Renew => "renew",
            Self::SignOut => "sign-out",
            Self::Connect => "connect",
            Self::Grant => "grant",
            Self::Ticket => "ticket",
            Self::Explain => "explain",
            Self::Open => "open",
            Self::Suspend => "suspend",
            Self::Restore => "restore",
            Self::End => "end",
            Self::Fail => "fail",
            Self::Revoke => "revoke",
            Self::Risk => "risk",
            Self::Approve => "device-approve",
            Self::Block => "device-block",
            Self::Release => "device-release",
            Self::Remove => "device-remove",
            Self::Policy => "policy",
            Self::Signal => "signal",
            Self::Configuration => "configuration",
        }
    }
}

impl Record {
    /// Begins a record; the caller fills in what is known.
    pub fn new(at: UnixTime, activity: Activity, outcome: Outcome) -> Record {
        Record {
            at,
            activity,
            outcome,
            actor: None,
            peer: None,
            app: None,
            dialled: None,
            entity: None,
            tunnel: None,
            code: None,
            message: None,
            policies: Vec::new(),
            shadow: Vec::new(),
            failed: Vec::new(),
            decision: None,
            input: None,
            traffic: None,
        }
    }
}
