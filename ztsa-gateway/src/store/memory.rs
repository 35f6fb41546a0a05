//! What the store holds in memory: all that is ever read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use ztsa_proto::name::{DeviceId, SessionId, TicketId, UserId};
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use super::error::FindUserError;
use super::row::{BoundToken, Device, Revocation, SessionRow, Signal, Subject, Ticket, User};

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) devices: HashMap<DeviceId, Device>,
    pub(super) users: HashMap<UserId, User>,
    sessions: HashMap<SessionId, SessionRow>,
    of_user: HashMap<UserId, HashSet<SessionId>>,
    of_device: HashMap<DeviceId, HashSet<SessionId>>,
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

fn tells_auth_time(row: &SessionRow) -> bool {
    serde_json::from_str::<serde_json::Value>(&row.identity)
        .is_ok_and(|identity| identity.get("auth_time").is_some_and(|time| !time.is_null()))
}

/// How many sessions of one person are remembered that have ended.
pub(super) const ENDED_MOST: usize = 256;

impl Memory {
    /// Keeps a session; where it is a new one, those of its person that ended first are forgotten, but for the last
    /// [`ENDED_MOST`], those that a ticket stands on, and the last that tells that the person's issuer says when they signed in:
    /// a revocation counts on that. Gives what was forgotten.
    pub(super) fn keep_session(&mut self, row: SessionRow) -> Vec<SessionId> {
        let (user, now) = (row.user.clone(), row.started_at);
        let new = self.insert_session(row);
        if !new || self.of_user.get(&user).is_none_or(|ids| ids.len() <= ENDED_MOST) {
            return Vec::new();
        }
        let ticketed: HashSet<&SessionId> = self.tickets.values().map(|ticket| &ticket.session).collect();
        let ended = self.sessions_of(&user).filter(|row| row.ends_at <= now && !ticketed.contains(&row.id));
        let mut ended: Vec<(UnixTime, SessionId)> = ended.map(|row| (row.ends_at, row.id.clone())).collect();
        ended.sort_by_key(|(at, _)| *at);
        ended.truncate(ended.len().saturating_sub(ENDED_MOST));
        let mut forgotten: Vec<SessionId> = ended.into_iter().map(|(_, id)| id).collect();
        if let Some(last) = forgotten.iter().rposition(|id| self.sessions.get(id).is_some_and(tells_auth_time)) {
            forgotten.remove(last);
        }
        for id in &forgotten {
            self.forget_session(id);
        }
        forgotten
    }

    /// Keeps a session and forgets none; says whether it is a new one.
    pub(super) fn insert_session(&mut self, row: SessionRow) -> bool {
        self.of_user.entry(row.user.clone()).or_default().insert(row.id.clone());
        self.of_device.entry(row.device.clone()).or_default().insert(row.id.clone());
        self.sessions.insert(row.id.clone(), row).is_none()
    }

    fn forget_session(&mut self, id: &SessionId) {
        if let Some(row) = self.sessions.remove(id) {
            unindex(&mut self.of_user, &row.user, id);
            unindex(&mut self.of_device, &row.device, id);
        }
    }

    pub(super) fn session(&self, id: &SessionId) -> Option<&SessionRow> {
        self.sessions.get(id)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &SessionRow> {
        self.sessions.values()
    }

    pub(super) fn sessions_of(&self, user: &UserId) -> impl Iterator<Item = &SessionRow> {
        self.of_user.get(user).into_iter().flatten().filter_map(|id| self.sessions.get(id))
    }

    pub(super) fn sessions_on(&self, device: &DeviceId) -> impl Iterator<Item = &SessionRow> {
        self.of_device.get(device).into_iter().flatten().filter_map(|id| self.sessions.get(id))
    }

    /// Says whether a session has neither ended, nor run out, nor been revoked.
    pub(super) fn goes_on(&self, row: &SessionRow, now: UnixTime) -> bool {
        let cut = self.cutoff_of(&row.user, &row.device, &row.id).is_some_and(|at| row.login_at <= at);
        row.ends_at > now && !cut
    }

    /// Brings the end of a session forward.
    pub(super) fn cut_short(&mut self, id: &SessionId, at: UnixTime) -> Option<SessionRow> {
        let row = self.sessions.get_mut(id)?;
        row.ends_at = row.ends_at.min(at);
        Some(row.clone())
    }

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

    /// Forgets sessions that ended before a time, and revocations of sessions and sign-outs before it; where the session is
    /// `forgotten` already, those before that time. Gives what was forgotten.
    pub(super) fn prune(&mut self, before: UnixTime, forgotten: UnixTime) -> (Vec<SessionId>, Vec<Subject>) {
        let ended = self.sessions.values().filter(|row| row.ends_at < before);
        let sessions: Vec<SessionId> = ended.map(|row| row.id.clone()).collect();
        for id in &sessions {
            self.forget_session(id);
        }
        let over = |id: &SessionId, at: UnixTime| at < before || (at < forgotten && !self.sessions.contains_key(id));
        let cut = self.sessions_cut.extract_if(|id, at| over(id, *at)).map(|(id, _)| Subject::Session(id));
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

fn unindex<K: Hash + Eq>(keys: &mut HashMap<K, HashSet<SessionId>>, key: &K, id: &SessionId) {
    if let Some(ids) = keys.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            keys.remove(key);
        }
    }
}
