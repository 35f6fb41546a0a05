//! Remembers the habits of each person, for the detectors: when they work, from where, with which apps, how much.
//!
//! All of it is bounded, forgettable and durable. It is held in memory; what changed is handed to the store's writer once a
//! second, so that nothing on the data path waits for the disk.

mod person;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ztsa_proto::name::{AppName, UserId};
use ztsa_proto::time::UnixTime;

use crate::store::{Document, Store};

pub use person::{
    APPS, ATTEMPTS, Attempt, COUNTRIES, DAYS, Day, NETWORKS, Person, Seen, Sighting, TOLD, day_of, hour_of,
};

/// The most people that are remembered; those who were away longest give way.
pub const PEOPLE: usize = 100_000;

/// The documents that hold what is remembered.
const DOCUMENTS: &str = "history";
/// How much room a newcomer makes when nobody more can be remembered.
const ROOM: usize = PEOPLE / 100;
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Says when anybody opened an app for the first time.
#[derive(Debug, Default)]
pub struct Apps(HashMap<String, UnixTime>);

impl Apps {
    /// Gives that time; `None` when nobody has.
    pub fn first(&self, app: &AppName) -> Option<UnixTime> {
        self.0.get(app.as_str()).copied()
    }
}

/// Holds what is remembered of everybody.
#[derive(Debug)]
pub struct History {
    store: Store,
    known: Mutex<Known>,
    pruned: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    people: HashMap<UserId, Person>,
    apps: Apps,
    /// Who is to be written down.
    changed: HashSet<UserId>,
}

impl History {
    /// Restores what is remembered. What does not read is forgotten: a person then begins anew.
    pub fn restore(store: Store) -> Self {
        let mut known = Known::default();
        for document in store.take_documents(DOCUMENTS) {
            let read = document.key.parse().ok().zip(serde_json::from_str::<Person>(&document.value).ok());
            let Some((user, person)) = read else {
                store.delete_document(DOCUMENTS, &document.key);
                continue;
            };
            known.note_apps(&person);
            known.people.insert(user, person);
        }
        Self { store, known: Mutex::new(known), pruned: AtomicU64::new(0) }
    }

    /// Looks at what is remembered of a person, and adds to it.
    ///
    /// The second argument says since when anybody has opened an app.
    pub fn with<T>(&self, user: &UserId, look: impl FnOnce(&mut Person, &Apps) -> T) -> T {
        let mut known = self.known();
        let Known { people, apps, changed } = &mut *known;
        if !people.contains_key(user) {
            if people.len() >= PEOPLE {
                self.make_room(people);
            }
            people.insert(user.clone(), Person::default());
        }
        let person = people.entry(user.clone()).or_default();
        let result = look(person, apps);
        if let Some((app, at)) = person.take_opened() {
            apps.0.entry(app).or_insert(at);
        }
        if person.has_changed() && !changed.contains(user) {
            changed.insert(user.clone());
        }
        result
    }

    /// Gives what is remembered of a person.
    pub fn person(&self, user: &UserId) -> Option<Person> {
        self.known().people.get(user).cloned()
    }

    /// Forgets a person; says whether anything was remembered.
    pub fn forget(&self, user: &UserId) -> bool {
        let known = self.known().people.remove(user).is_some();
        self.store.delete_document(DOCUMENTS, &user.to_string());
        known
    }

    /// Forgets people who were away for longer than `keep`; looks at most once an hour.
    pub fn prune(&self, now: UnixTime, keep: Duration) {
        let last = self.pruned.load(Ordering::Relaxed);
        if last != 0 && now.since(UnixTime(last)) < PRUNE_EVERY {
            return;
        }
        self.pruned.store(now.0, Ordering::Relaxed);
        let since = now.minus(keep);
        let away = |_: &UserId, person: &mut Person| person.last_active() < since && person.is_quiet(now);
        let away: Vec<UserId> = self.known().people.extract_if(away).map(|(user, _)| user).collect();
        for user in away {
            self.store.delete_document(DOCUMENTS, &user.to_string());
        }
    }

    /// Hands what changed to the store's writer, without what is older than `keep`.
    pub fn keep(&self, now: UnixTime, keep: Duration) {
        let changed: Vec<(UserId, Person)> = {
            let mut known = self.known();
            let Known { people, changed, .. } = &mut *known;
            let mut copy = |user: UserId| {
                let person = people.get_mut(&user).filter(|person| person.has_changed())?;
                person.prune(now, keep);
                person.take_changed();
                Some((user, person.clone()))
            };
            changed.drain().filter_map(&mut copy).collect()
        };
        for (user, person) in changed {
            // numbers and texts alone: it always reads back
            let Ok(value) = serde_json::to_string(&person) else { continue };
            self.store.put_document(Document { kind: DOCUMENTS, key: user.to_string(), value, at: now });
        }
    }

    /// Counts the people of whom anything is remembered.
    pub fn len(&self) -> usize {
        self.known().people.len()
    }

    /// Says whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn make_room(&self, people: &mut HashMap<UserId, Person>) {
        let mut away: Vec<(UnixTime, UserId)> =
            people.iter().map(|(user, person)| (person.last_active(), user.clone())).collect();
        away.sort();
        for (_, user) in away.into_iter().take(ROOM) {
            people.remove(&user);
            self.store.delete_document(DOCUMENTS, &user.to_string());
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note_apps(&mut self, person: &Person) {
        for (app, seen) in person.apps() {
            let first = self.apps.0.entry(app.to_owned()).or_insert(seen.first);
            *first = seen.first.min(*first);
        }
    }
}

#[cfg(test)]
mod tests;
