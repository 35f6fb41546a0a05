//! The registry's table and its indexes, under one short lock.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use ztsa_proto::name::{AppName, DeviceId, GrantId, SessionId, TicketId, TunnelId, UserId};
use ztsa_proto::time::UnixTime;

use super::{Opening, Selector, Tunnel};

type Ids = BTreeSet<TunnelId>;

/// Every live tunnel, and where to find those of one session, user, device, app, grant or ticket.
#[derive(Debug, Default)]
pub(super) struct Table {
    last: u64,
    tunnels: HashMap<TunnelId, Arc<Tunnel>>,
    sessions: HashMap<SessionId, Ids>,
    users: HashMap<UserId, Ids>,
    devices: HashMap<DeviceId, Ids>,
    apps: HashMap<AppName, Ids>,
    grants: HashMap<GrantId, Ids>,
    tickets: HashMap<TicketId, Ids>,
    /// By the steady clock.
    deadlines: BTreeSet<(UnixTime, TunnelId)>,
    suspended: HashMap<TunnelId, UnixTime>,
    /// What those that are over have carried, up and down.
    carried: (u64, u64),
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.tunnels.len()
    }

    pub(super) fn insert(&mut self, opening: Opening) -> Arc<Tunnel> {
        self.last += 1;
        let id = TunnelId(self.last);
        let tunnel = Arc::new(Tunnel::new(id, opening));
        let session = &tunnel.session;
        index(&mut self.sessions, &session.id, id);
        index(&mut self.users, &session.identity.user, id);
        index(&mut self.devices, &session.device, id);
        index(&mut self.apps, &tunnel.app.name, id);
        tunnel.grant.iter().for_each(|grant| index(&mut self.grants, grant, id));
        tunnel.ticket.iter().for_each(|ticket| index(&mut self.tickets, ticket, id));
        self.tunnels.insert(id, Arc::clone(&tunnel));
        tunnel
    }

    pub(super) fn remove(&mut self, tunnel: &Tunnel) {
        let id = tunnel.id;
        let session = &tunnel.session;
        unindex(&mut self.sessions, &session.id, id);
        unindex(&mut self.users, &session.identity.user, id);
        unindex(&mut self.devices, &session.device, id);
        unindex(&mut self.apps, &tunnel.app.name, id);
        tunnel.grant.iter().for_each(|grant| unindex(&mut self.grants, grant, id));
        tunnel.ticket.iter().for_each(|ticket| unindex(&mut self.tickets, ticket, id));
        self.restored(id);
        if self.tunnels.remove(&id).is_some() {
            self.carried.0 += tunnel.up();
            self.carried.1 += tunnel.down();
        }
    }

    /// Adds up what all tunnels have carried, those that are over and those that live: it never falls.
    pub(super) fn traffic(&self) -> (u64, u64) {
        self.tunnels.values().fold(self.carried, |(up, down), tunnel| (up + tunnel.up(), down + tunnel.down()))
    }

    /// Counts the tunnels that are paused.
    pub(super) fn waiting(&self) -> usize {
        self.suspended.len()
    }

    pub(super) fn waits_until(&self, id: TunnelId) -> Option<UnixTime> {
        self.suspended.get(&id).copied()
    }

    fn ids(&self, selector: &Selector) -> Option<&Ids> {
        match selector {
            Selector::All => None,
            Selector::User(user) => self.users.get(user),
            Selector::Device(device) => self.devices.get(device),
            Selector::Session(session) => self.sessions.get(session),
            Selector::App(app) => self.apps.get(app),
            Selector::Grant(grant) => self.grants.get(grant),
            Selector::Ticket(ticket) => self.tickets.get(ticket),
        }
    }

    pub(super) fn count(&self, selector: &Selector) -> usize {
        if *selector == Selector::All { self.len() } else { self.ids(selector).map_or(0, BTreeSet::len) }
    }

    pub(super) fn select(&self, selector: &Selector) -> Vec<Arc<Tunnel>> {
        if *selector == Selector::All {
            return self.tunnels.values().cloned().collect();
        }
        let ids = self.ids(selector).into_iter().flatten();
        ids.filter_map(|id| self.tunnels.get(id).cloned()).collect()
    }

    /// Notes how long a paused tunnel may wait; the first deadline stays while it is paused.
    pub(super) fn suspended(&mut self, id: TunnelId, until: UnixTime) {
        if self.tunnels.contains_key(&id) && !self.suspended.contains_key(&id) {
            self.suspended.insert(id, until);
            self.deadlines.insert((until, id));
        }
    }

    pub(super) fn restored(&mut self, id: TunnelId) {
        if let Some(until) = self.suspended.remove(&id) {
            self.deadlines.remove(&(until, id));
        }
    }

    /// Takes the tunnels whose grace time is over.
    pub(super) fn overdue(&mut self, now: UnixTime) -> Vec<Arc<Tunnel>> {
        let mut overdue = Vec::new();
        while let Some((until, id)) = self.deadlines.first().copied().filter(|(until, _)| *until <= now) {
            self.deadlines.remove(&(until, id));
            self.suspended.remove(&id);
            overdue.extend(self.tunnels.get(&id).cloned());
        }
        overdue
    }

    /// Counts the keys of every index, which a registry without tunnels must not have.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        let ids = self.sessions.len() + self.users.len() + self.devices.len() + self.apps.len();
        ids + self.grants.len() + self.tickets.len() + self.deadlines.len() + self.suspended.len()
    }
}

fn index<K: Hash + Eq + Clone>(keys: &mut HashMap<K, Ids>, key: &K, id: TunnelId) {
    if let Some(ids) = keys.get_mut(key) {
        ids.insert(id);
    } else {
        keys.insert(key.clone(), Ids::from([id]));
    }
}

fn unindex<K: Hash + Eq>(keys: &mut HashMap<K, Ids>, key: &K, id: TunnelId) {
    if let Some(ids) = keys.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            keys.remove(key);
        }
    }
}
