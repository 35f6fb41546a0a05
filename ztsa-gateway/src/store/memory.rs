//! What the store holds in memory: all that is ever read.

use std::collections::{BTreeMap, HashMap};

use ztsa_proto::name::{DeviceId, SessionId, TicketId, UserId};
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use super::error::FindUserError;
use super::row::{BoundToken, Device, Revocation, SessionRow, Signal, Subject, Ticket, User};

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) devices: HashMap<DeviceId, Device>,
    pub(super) users: HashMap<UserId, User>,
    pub(super) sessions: HashMap<SessionId, SessionRow>,
    pub(super) signals: BTreeMap<i64, Signal>,
    pub(super) tickets: HashMap<TicketId, Ticket>,
    pub(super) secrets: HashMap<String, Secret<Vec<u8>>>,
    pub(super) bound: HashMap<String, BoundToken>,
    /// Documents as they were found at the start, by kind: whoever keeps them takes them.
    pub(super) loaded: HashMap<String, Vec<(String, String, UnixTime)>>,
    users_cut: HashMap<UserId, UnixTime>,
    devices_cut: HashMap<DeviceId, UnixTime>,
    sessions_cut: HashMap<SessionId, UnixTime>,
    logins_cut: HashMap<DeviceId, HashMap<UserId, UnixTime>>,
    signed_out: HashMap<(UserId, DeviceId), UnixTime>,
    reasons: HashMap<Subject, String>,
}

impl Memory {
    pub(super) fn insert_revocation(&mut self, row: &Revocation) {
        self.reasons.insert(row.subject.clone(), row.reason.clone());
        match row.subject.clone() {
            Subject::User(user) => self.users_cut.insert(user, row.at),
            Subject::Device(device) => self.devices_cut.insert(device, row.at),
            Subject::Session(session) => self.sessions_cut.insert(session, row.at),
            Subject::Login(user, device) => self.logins_cut.entry(device).or_default().insert(user, row.at),
            Subject::SignOut(user, device) => self.signed_out.insert((user, device), row.at),
        };
    }

    pub(super) fn cutoff(&self, subject: &Subject) -> Option<UnixTime> {
        match subject {
            Subject::User(user) => self.users_cut.get(user),
            Subject::Device(device) => self.devices_cut.get(device),
            Subject::Session(session) => self.sessions_cut.get(session),
            Subject::Login(user, device) => self.logins_cut.get(device).and_then(|logins| logins.get(user)),
            Subject::SignOut(user, device) => self.signed_out.get(&(user.clone(), device.clone())),
        }
        .copied()
    }

    pub(super) fn cutoff_of(&self, user: &UserId, device: &DeviceId, session: &SessionId) -> Option<UnixTime> {
        let found = [self.users_cut.get(user), self.devices_cut.get(device), self.sessions_cut.get(session)];
        found.into_iter().flatten().copied().max()
    }

    /// Gives the reason of the latest cutoff that [`Memory::cutoff_of`] looks at.
    pub(super) fn reason_of(&self, user: &UserId, device: &DeviceId, session: &SessionId) -> Option<String> {
        let subjects =
            [Subject::User(user.clone()), Subject::Device(device.clone()), Subject::Session(session.clone())];
        let cut = subjects.iter().filter_map(|subject| Some((self.cutoff(subject)?, subject)));
        let (_, latest) = cut.max_by_key(|(at, _)| *at)?;
        self.reason(latest)
    }

    pub(super) fn reason(&self, subject: &Subject) -> Option<String> {
        self.reasons.get(subject).cloned().filter(|reason| !reason.is_empty())
    }

    /// Forgets sessions that ended before a time, and revocations of sessions and sign-outs before it; gives what was forgotten.
    pub(super) fn prune(&mut self, before: UnixTime) -> (Vec<SessionId>, Vec<Subject>) {
        let sessions = self.sessions.extract_if(|_, row| row.ends_at < before).map(|(id, _)| id).collect();
        let cut = self.sessions_cut.extract_if(|_, at| *at < before).map(|(id, _)| Subject::Session(id));
        let out = self.signed_out.extract_if(|_, at| *at < before);
        let out = out.map(|((user, device), _)| Subject::SignOut(user, device));
        let revocations: Vec<Subject> = cut.chain(out).collect();
        for subject in &revocations {
            self.reasons.remove(subject);
        }
        (sessions, revocations)
    }

    pub(super) fn find_user(&self, text: &str) -> Result<UserId, FindUserError> {
        if let Some(user) = text.parse().ok().filter(|user| self.users.contains_key(user)) {
            return Ok(user);
        }
        let email = |user: &User| user.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(text));
        let subject = |user: &User| user.id.subject == text;
        let name = |user: &User| user.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(text));
        let meant = |matches: &dyn Fn(&User) -> bool| {
            self.users.values().filter(|user| matches(user)).map(|user| &user.id).collect::<Vec<_>>()
        };
        let found = [meant(&email), meant(&subject), meant(&name)];
        let mut all: Vec<&UserId> = found.into_iter().flatten().collect();
        all.sort();
        all.dedup();
        match all.as_slice() {
            [] => Err(FindUserError::Unknown(text.to_owned())),
            [one] => Ok((*one).clone()),
            several => Err(FindUserError::Ambiguous {
                word: text.to_owned(),
                candidates: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }
}
