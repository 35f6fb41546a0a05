//! What is remembered of one person.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ztsa_proto::name::AppName;
use ztsa_proto::time::UnixTime;

use crate::lookup::Place;

/// The most days that are remembered.
pub const DAYS: usize = 90;
/// The most countries that are remembered.
pub const COUNTRIES: usize = 32;
/// The most networks that are remembered.
pub const NETWORKS: usize = 64;
/// The most apps that are remembered.
pub const APPS: usize = 256;
/// The most causes that are remembered as told.
pub const TOLD: usize = 64;
/// The most attempts that are counted; they are not written down.
pub const ATTEMPTS: usize = 1024;

/// Holds the habits of one person: some kilobytes at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Person {
    days: VecDeque<Day>,
    countries: BTreeMap<String, Seen>,
    networks: BTreeMap<String, Seen>,
    apps: BTreeMap<String, Seen>,
    told: BTreeMap<String, UnixTime>,
    last: Option<Sighting>,
    #[serde(skip)]
    attempts: VecDeque<Attempt>,
    /// The address of the last sighting.
    #[serde(skip)]
    peer: Option<IpAddr>,
    #[serde(skip)]
    opened: Option<(String, UnixTime)>,
    #[serde(skip)]
    changed: bool,
}

/// Holds one day of activity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// The day, counted from 1970-01-01 in UTC.
    pub number: u64,
    /// One bit for each hour in UTC with any activity.
    pub hours: u32,
    /// The bytes that tunnels carried, both ways.
    pub bytes: u64,
}

/// Says when something was seen of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The first time.
    pub first: UnixTime,
    /// The last time.
    pub last: UnixTime,
    /// On how many days.
    pub days: u32,
    /// What people call it, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Says where a person was last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// When.
    pub at: UnixTime,
    /// Where.
    pub place: Place,
}

/// Notes something that is counted for a few minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When.
    pub at: UnixTime,
    /// The kind of signal that it may lead to.
    pub kind: &'static str,
    /// What it is counted for: a device, a session, the person.
    pub whose: String,
    /// What tells it from others.
    pub what: u64,
}

/// Gives the day of a time, counted from 1970-01-01 in UTC.
pub fn day_of(at: UnixTime) -> u64 {
    at.0 / 86_400
}

/// Gives the hour of a time in UTC.
pub fn hour_of(at: UnixTime) -> u32 {
    u32::try_from(at.0 % 86_400 / 3600).unwrap_or(0)
}

impl Person {
    /// Gives the days before that of `now` on which there was any activity.
    pub fn days_before(&self, now: UnixTime) -> impl Iterator<Item = &Day> {
        let today = day_of(now);
        self.days.iter().filter(move |day| day.number < today && day.hours != 0)
    }

    /// Gives the day of `now`.
    pub fn today(&self, now: UnixTime) -> Day {
        let today = day_of(now);
        self.days.back().copied().filter(|day| day.number == today).unwrap_or(Day { number: today, ..Day::default() })
    }

    /// Says whether there was any activity in the hour that was `ago` hours before `now`.
    pub fn was_active(&self, now: UnixTime, ago: u32) -> bool {
        let then = now.minus(Duration::from_secs(u64::from(ago) * 3600));
        let day = self.days.iter().rev().find(|day| day.number == day_of(then));
        day.is_some_and(|day| day.hours & (1 << hour_of(then)) != 0)
    }

    /// Gives the countries that the person was seen in, by code.
    pub fn countries(&self) -> &BTreeMap<String, Seen> {
        &self.countries
    }

    /// Gives the networks that the person was seen in.
    pub fn networks(&self) -> &BTreeMap<String, Seen> {
        &self.networks
    }

    /// Goes through the apps that the person opened.
    pub fn apps(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.apps.iter().map(|(app, seen)| (app.as_str(), seen))
    }

    /// Says when the person opened an app.
    pub fn app(&self, app: &AppName) -> Option<&Seen> {
        self.apps.get(app.as_str())
    }

    /// Says where the person was last.
    pub fn last(&self) -> Option<&Sighting> {
        self.last.as_ref()
    }

    /// Says whether the person is where they were earlier in this hour, and notes the time of that.
    ///
    /// Else the address is noted, and the place has to be looked up.
    pub fn is_still_at(&mut self, peer: IpAddr, now: UnixTime) -> bool {
        let same = self.peer.replace(peer) == Some(peer);
        let Some(last) = self.last.as_mut().filter(|last| same && hour_of(last.at) == hour_of(now)) else {
            return false;
        };
        let still = day_of(last.at) == day_of(now);
        if still {
            last.at = last.at.max(now);
        }
        still
    }

    /// Says when the person was last active, by the hour.
    pub fn last_active(&self) -> UnixTime {
        self.days.back().map_or(UnixTime(0), |day| {
            let hour = u64::from(31_u32.saturating_sub(day.hours.leading_zeros()));
            UnixTime(day.number.saturating_mul(86_400).saturating_add(hour * 3600))
        })
    }

    /// Goes through the attempts of a kind that are counted for somebody, within a time before `now`.
    pub fn attempts(
        &self,
        kind: &'static str,
        whose: &str,
        window: Duration,
        now: UnixTime,
    ) -> impl Iterator<Item = &Attempt> {
        let since = now.minus(window);
        self.attempts.iter().filter(move |one| one.at > since && one.kind == kind && one.whose == whose)
    }

    /// Says when a cause was last told.
    pub fn told(&self, cause: &str) -> Option<UnixTime> {
        self.told.get(cause).copied()
    }

    /// Notes that a cause is told now.
    pub fn note_told(&mut self, cause: &str, now: UnixTime) {
        self.told.insert(cause.to_owned(), now);
        drop_oldest(&mut self.told, TOLD, |at| *at);
        self.changed = true;
    }

    /// Forgets that a cause was told.
    pub fn forget_told(&mut self, cause: &str) {
        self.changed |= self.told.remove(cause).is_some();
    }

    /// Forgets what is of a later time than the next day: a clock that was ahead wrote it, and has been set right.
    pub fn forget_later(&mut self, now: UnixTime) {
        let latest = now.plus(Duration::from_secs(86_400));
        self.attempts.retain(|one| one.at <= latest);
        let days = self.days.back().is_some_and(|day| day.number > day_of(latest));
        if !days && self.told.values().all(|at| *at <= latest) {
            return;
        }
        self.days.retain(|day| day.number <= day_of(latest));
        self.told.retain(|_, at| *at <= latest);
        for seen in [&mut self.countries, &mut self.networks, &mut self.apps].into_iter().flat_map(BTreeMap::values_mut)
        {
            (seen.first, seen.last) = (seen.first.min(now), seen.last.min(now));
        }
        self.changed = true;
    }

    /// Notes activity now.
    pub fn note_active(&mut self, now: UnixTime) {
        let bit = 1 << hour_of(now);
        let Some(day) = self.day(now) else { return };
        if day.hours & bit == 0 {
            day.hours |= bit;
            self.changed = true;
        }
    }

    /// Notes bytes that tunnels carried.
    pub fn note_bytes(&mut self, bytes: u64, now: UnixTime) {
        if let Some(day) = self.day(now).filter(|_| bytes > 0) {
            day.bytes = day.bytes.saturating_add(bytes);
            self.changed = true;
        }
    }

    /// Notes where the person is now.
    pub fn note_place(&mut self, place: &Place, now: UnixTime) {
        let mut changed = false;
        if let Some(country) = &place.country {
            changed |= note(&mut self.countries, &country.code, Some(&country.name), now, COUNTRIES);
        }
        changed |= note(&mut self.networks, &place.network.id, place.network.name.as_ref(), now, NETWORKS);
        changed |= self.last.as_ref().is_none_or(|last| last.place != *place);
        self.last = Some(Sighting { at: now, place: place.clone() });
        self.changed |= changed;
    }

    /// Notes that the person opened an app.
    pub fn note_app(&mut self, app: &AppName, now: UnixTime) {
        if !self.apps.contains_key(app.as_str()) {
            self.opened = Some((app.to_string(), now));
        }
        self.changed |= note(&mut self.apps, app.as_str(), None, now, APPS);
    }

    /// Notes an attempt, unless the same one is counted already; the oldest gives way.
    ///
    /// At most `each` of the same sort are counted.
    pub fn note_attempt(&mut self, attempt: Attempt, each: usize, window: Duration) {
        let since = attempt.at.minus(window);
        let same = |one: &&Attempt| {
            one.at > since && (one.kind, &one.whose, one.what) == (attempt.kind, &attempt.whose, attempt.what)
        };
        if self.attempts.iter().filter(same).count() >= each {
            return;
        }
        if self.attempts.len() >= ATTEMPTS {
            self.attempts.pop_front();
        }
        self.attempts.push_back(attempt);
    }

    /// Forgets what was counted about a device or a session.
    pub fn forget_attempts(&mut self, whose: &str) {
        self.attempts.retain(|one| one.whose != whose);
    }

    pub(super) fn prune(&mut self, now: UnixTime, keep: Duration) {
        let since = now.minus(keep);
        let size = |person: &Self| {
            let maps = person.countries.len() + person.networks.len() + person.apps.len();
            person.days.len() + maps + person.told.len() + usize::from(person.last.is_some())
        };
        let before = size(self);
        self.days.retain(|day| day.number >= day_of(since));
        for map in [&mut self.countries, &mut self.networks, &mut self.apps] {
            map.retain(|_, seen| seen.last >= since);
        }
        self.told.retain(|_, at| *at >= since);
        self.last = self.last.take().filter(|last| last.at >= since);
        self.changed |= size(self) != before;
        self.attempts.retain(|one| now.since(one.at) <= Duration::from_secs(86_400));
    }

    /// Says whether nothing is being counted.
    pub(super) fn is_quiet(&self, now: UnixTime) -> bool {
        self.attempts.iter().all(|one| now.since(one.at) > Duration::from_secs(86_400))
    }

    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn take_opened(&mut self) -> Option<(String, UnixTime)> {
        self.opened.take()
    }

    /// The day of `now`; `None` when the clock went back behind what is known.
    fn day(&mut self, now: UnixTime) -> Option<&mut Day> {
        let number = day_of(now);
        if self.days.back().is_none_or(|day| day.number < number) {
            if self.days.len() >= DAYS {
                self.days.pop_front();
            }
            self.days.push_back(Day { number, ..Day::default() });
        }
        self.days.back_mut().filter(|day| day.number == number)
    }
}

/// Notes that something was seen; says whether that is worth writing down.
fn note(map: &mut BTreeMap<String, Seen>, key: &str, name: Option<&String>, now: UnixTime, most: usize) -> bool {
    if let Some(seen) = map.get_mut(key) {
        let another_day = day_of(now) > day_of(seen.last);
        seen.days = seen.days.saturating_add(u32::from(another_day));
        seen.last = seen.last.max(now);
        return another_day;
    }
    map.insert(key.to_owned(), Seen { first: now, last: now, days: 1, name: name.cloned() });
    drop_oldest(map, most, |seen| seen.last);
    true
}

fn drop_oldest<V>(map: &mut BTreeMap<String, V>, most: usize, at: impl Fn(&V) -> UnixTime) {
    while map.len() > most {
        let oldest = map.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone());
        oldest.map(|key| map.remove(&key));
    }
}
