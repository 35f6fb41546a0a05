//! Whom a subject means here: people of the issuers that the transmitter may speak of, their devices and sessions.
//!
//! A subject that names nobody for certain means nobody. Where part of it is not known here, an event that takes trust away
//! is applied to all that the known part means, and one that gives trust to nobody.

use ztsa_proto::name::{DeviceId, SessionId, UserId};
use ztsa_proto::set::{Complex, Identifier, Subject as Named};
use ztsa_proto::time::UnixTime;

use crate::config::signals::{Transmitter, same_issuer};
use crate::store::{Store, Subject};

/// The most that one subject can mean here.
const MOST: usize = 64;
/// How a thumbprint is written as a URI (RFC 9278).
const THUMBPRINT: &str = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:";

/// Says whom a subject means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// These; `wider` when part of it was not known here.
    Some { about: Vec<Subject>, wider: bool },
    /// Nobody, and why.
    Nobody(&'static str),
}

/// Knows what one transmitter may speak of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finder<'a> {
    pub(super) config: &'a Transmitter,
    /// The gateway's own URL.
    pub(super) resource: &'a str,
    pub(super) store: &'a Store,
    /// The members of a complex subject that must be understood.
    pub(super) critical: &'a [String],
    /// Whether the event takes trust away.
    pub(super) takes: bool,
    pub(super) now: UnixTime,
}

impl Finder<'_> {
    /// Finds whom a subject means.
    pub(super) fn find(&self, subject: Option<&Named>) -> Found {
        let found = match subject {
            None => return Found::Nobody("it names no subject"),
            Some(Named::Simple(one)) => self.simple(one),
            Some(Named::Complex(complex)) => self.complex(complex),
        };
        match found {
            Found::Some { about, .. } if about.is_empty() => Found::Nobody("its subject is nobody here"),
            Found::Some { about, .. } if about.len() > MOST => Found::Nobody("its subject means too many at once"),
            found => found,
        }
    }

    /// One identifier: a session, else a device, else a person; ids of ours are random and name nothing else.
    fn simple(&self, one: &Identifier) -> Found {
        let sessions = self.sessions(one).into_iter().map(Subject::Session);
        let devices = self.devices(one).into_iter().map(Subject::Device);
        let people = self.people(one).into_iter().map(Subject::User);
        let mut about: Vec<Subject> = sessions.collect();
        if about.is_empty() {
            about.extend(devices);
        }
        if about.is_empty() {
            about.extend(people);
        }
        Found::Some { about, wider: false }
    }

    fn complex(&self, complex: &Complex) -> Found {
        if let Some(refused) = self.excluded(complex) {
            return refused;
        }
        let members = ["user", "device", "session"].map(|name| complex.member(name));
        let [user, device, session] = members;
        if members == [None; 3] {
            return Found::Nobody("its subject names neither person, device nor session");
        }
        let people = user.map(|user| self.people(user));
        // a person who is nobody here has no devices or sessions here
        if people.as_ref().is_some_and(Vec::is_empty) {
            return Found::Nobody("its subject is nobody here");
        }
        let devices = device.map(|device| self.devices(device));
        let sessions = session.map(|session| self.sessions(session));
        let unknown = |ids: Option<usize>| ids == Some(0);
        let wider = unknown(devices.as_ref().map(Vec::len)) || unknown(sessions.as_ref().map(Vec::len));
        if wider && !self.takes {
            return Found::Nobody("part of its subject is not known here, and it would give trust");
        }
        let about = match (people, devices.filter(|ids| !ids.is_empty()), sessions.filter(|ids| !ids.is_empty())) {
            (people, devices, Some(sessions)) => {
                let fits = |id: &SessionId| {
                    self.store.session(id).is_some_and(|row| {
                        people.as_ref().is_none_or(|people| people.contains(&row.user))
                            && devices.as_ref().is_none_or(|devices| devices.contains(&row.device))
                    })
                };
                sessions.into_iter().filter(fits).map(Subject::Session).collect()
            }
            (Some(people), Some(devices), None) => {
                let pairs = people.iter().flat_map(|user| devices.iter().map(move |device| (user, device)));
                pairs.map(|(user, device)| Subject::Login(user.clone(), device.clone())).collect()
            }
            (Some(people), None, None) => people.into_iter().map(Subject::User).collect(),
            (None, Some(devices), None) => devices.into_iter().map(Subject::Device).collect(),
            (None, None, None) => Vec::new(),
        };
        Found::Some { about, wider }
    }

    /// Subjects of another tenant or application, and those with a member that must be understood and is not.
    fn excluded(&self, complex: &Complex) -> Option<Found> {
        let text = |identifier: &Identifier| match identifier {
            Identifier::Opaque { id } => Some(id.clone()),
            Identifier::IssSub { sub, .. } => Some(sub.clone()),
            Identifier::Uri { uri } | Identifier::Account { uri } => Some(uri.clone()),
            Identifier::Did { url } => Some(url.clone()),
            _ => None,
        };
        let tenant = complex.member("tenant").map(text);
        match (&tenant, &self.config.tenant) {
            (Some(theirs), Some(ours)) if theirs.as_deref() != Some(ours) => {
                return Some(Found::Nobody("its subject is of another tenant"));
            }
            _ => {}
        }
        let application = complex.member("application").map(text);
        let is_ours = |id: &String| same_issuer(id, self.resource) || self.config.audiences.contains(id);
        if application.as_ref().is_some_and(|id| !id.as_ref().is_some_and(is_ours)) {
            return Some(Found::Nobody("its subject is of another application"));
        }
        let understood = |name: &str| match name {
            "user" | "device" | "session" | "application" => true,
            "tenant" => self.config.tenant.is_some(),
            _ => false,
        };
        let critical = complex
            .members()
            .map(|(name, _)| name)
            .find(|name| self.critical.iter().any(|critical| critical == name) && !understood(name));
        critical.map(|_| Found::Nobody("its subject has a critical member that is not understood here"))
    }

    /// People whom an identifier means. Only people who have signed in are known.
    fn people(&self, identifier: &Identifier) -> Vec<UserId> {
        let known = |issuer: &str, subject: &str| {
            let id = UserId::new(issuer, subject).ok()?;
            self.store.user(&id).map(|user| user.id)
        };
        match identifier {
            Identifier::IssSub { iss, sub } => self.issuer(iss).and_then(|iss| known(iss, sub)).into_iter().collect(),
            Identifier::Email { email } => self.at_address(email),
            Identifier::Account { uri } => {
                uri.strip_prefix("acct:").map(|address| self.at_address(address)).unwrap_or_default()
            }
            // a bare word is a subject where only one issuer can be meant
            Identifier::Opaque { id } => match self.config.people.as_slice() {
                [only] => known(only, id).into_iter().collect(),
                _ => Vec::new(),
            },
            Identifier::Aliases { identifiers } => self.all(identifiers, Self::people),
            _ => Vec::new(),
        }
    }

    /// The issuer here that a transmitter means.
    fn issuer(&self, iss: &str) -> Option<&str> {
        let own = self.config.people.iter().find(|known| same_issuer(known, iss));
        let alias = || self.config.aliases.iter().find(|(theirs, _)| same_issuer(theirs, iss)).map(|(_, ours)| ours);
        let only = || match self.config.people.as_slice() {
            [only] if same_issuer(iss, &self.config.issuer) => Some(only),
            _ => None,
        };
        own.or_else(alias).or_else(only).map(String::as_str)
    }

    /// People of the transmitter's issuers at an address of a domain that it speaks for.
    ///
    /// An address is no identity: another issuer's person who claims the same one is not meant.
    fn at_address(&self, address: &str) -> Vec<UserId> {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
        if !domain.is_some_and(|domain| self.config.email_domains.contains(&domain)) {
            return Vec::new();
        }
        self.store.users_where(|user| {
            self.config.people.contains(&user.id.issuer)
                && user.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(address))
        })
    }

    /// Devices of people of the transmitter's issuers: those whom it was seen with last, and those who have a session on it.
    fn devices(&self, identifier: &Identifier) -> Vec<DeviceId> {
        let id = match identifier {
            Identifier::Opaque { id } => id.as_str(),
            Identifier::IssSub { iss, sub } if self.is_our_word(iss) => sub.as_str(),
            Identifier::Uri { uri } => uri.strip_prefix(THUMBPRINT).unwrap_or_default(),
            Identifier::Aliases { identifiers } => return self.all(identifiers, Self::devices),
            _ => return Vec::new(),
        };
        let device = id.parse().ok().and_then(|id: DeviceId| self.store.device(&id));
        let ours = |user: &UserId| self.config.people.contains(&user.issuer);
        device
            .filter(|device| ours(&device.user) || self.store.people_on(&device.id, self.now).iter().any(ours))
            .map(|device| device.id)
            .into_iter()
            .collect()
    }

    /// Sessions of people of the transmitter's issuers.
    fn sessions(&self, identifier: &Identifier) -> Vec<SessionId> {
        let id = match identifier {
            Identifier::Opaque { id } => id.as_str(),
            Identifier::IssSub { iss, sub } if self.is_our_word(iss) => sub.as_str(),
            Identifier::Aliases { identifiers } => return self.all(identifiers, Self::sessions),
            _ => return Vec::new(),
        };
        let session = id.parse().ok().and_then(|id: SessionId| self.store.session(&id));
        session.filter(|row| self.config.people.contains(&row.user.issuer)).map(|row| row.id).into_iter().collect()
    }

    /// Whether an issuer's identifiers for devices and sessions are those that we told it.
    fn is_our_word(&self, iss: &str) -> bool {
        same_issuer(iss, self.resource) || same_issuer(iss, &self.config.issuer)
    }

    fn all<T: PartialEq>(&self, identifiers: &[Identifier], of: impl Fn(&Self, &Identifier) -> Vec<T>) -> Vec<T> {
        let mut found = Vec::new();
        for one in identifiers.iter().flat_map(|identifier| of(self, identifier)) {
            if !found.contains(&one) {
                found.push(one);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
