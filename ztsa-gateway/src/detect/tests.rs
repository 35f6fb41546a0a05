//! The recorded stories: each detector speaks when it should, with the expected words and score, and is silent when it should.

mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ztsa_proto::jws::sha256_base64url;
use ztsa_proto::name::{AppName, DeviceId, SessionId, UserId};
use ztsa_proto::posture::{Accepted, Assurance, Check, ClientInfo, Os, Privilege, Report, State};
use ztsa_proto::time::UnixTime;

use super::{Event, observe};
use crate::config::Config;
use crate::config::StoreUrl;
use crate::config::risk::Detectors;
use crate::history::{Apps, Attempt, History, Person};
use crate::lookup::{Lookup, tests::lookup};
use crate::posture::Posture;
use crate::risk::{Risk, score};
use crate::store::Store;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    story: Vec<Story>,
}

/// One person, what they used to do, and what happens then.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    name: String,
    /// The detector must say nothing at all.
    #[serde(default)]
    silent: bool,
    /// More of `gateway.toml`.
    #[serde(default)]
    settings: String,
    #[serde(default)]
    past: Vec<Past>,
    event: Vec<Step>,
}

/// Something that was done every day before a day.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    until: String,
    days: u64,
    /// One day in so many.
    #[serde(default = "one")]
    every: u64,
    hours: Vec<u64>,
    from: String,
    #[serde(default)]
    apps: Vec<AppName>,
    #[serde(default)]
    mib: u64,
    /// Somebody else did it.
    #[serde(default)]
    other: bool,
    /// Only their client renewed.
    #[serde(default)]
    renewed: bool,
}

fn one() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: String,
    seen: Option<String>,
    renewed: Option<String>,
    opened: Option<AppName>,
    refused: Option<String>,
    login_failed: Option<String>,
    replayed: Option<String>,
    /// What the device reports.
    posture: Option<BTreeMap<String, State>>,
    carried_mib: Option<u64>,
    dialled: Option<String>,
    /// What is told of it: all of it.
    #[serde(default)]
    expect: Vec<Expected>,
    /// The highest score after it.
    score: Option<u8>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Expected {
    kind: String,
    reason: String,
    about: Option<String>,
}

struct Teller {
    history: History,
    risk: Risk,
    lookup: Lookup,
    posture: Posture,
    signals: Detectors,
}

fn user(name: &str) -> UserId {
    UserId { issuer: "https://idp.example".to_owned(), subject: name.to_owned() }
}

fn device() -> DeviceId {
    sha256_base64url(b"laptop").parse().unwrap()
}

fn session() -> SessionId {
    "s1".parse().unwrap()
}

/// A report of all that the device says.
fn report(states: &BTreeMap<String, State>, at: UnixTime) -> Accepted {
    let checks = states.iter().map(|(id, state)| Check {
        id: id.clone(),
        state: *state,
        reason: None,
        value: None,
        source: String::new(),
        assurance: Assurance::SelfReported,
        at,
        ttl: ztsa_proto::posture::ttl(id),
        took_ms: 0,
    });
    let report = Report {
        v: 1,
        id: "r".to_owned(),
        os: Os::default(),
        privilege: Privilege::User,
        client: ClientInfo::default(),
        checks: checks.collect(),
        partial: false,
        evidence: BTreeMap::new(),
    };
    Accepted { report, nonce: None, jti: "j".to_owned(), issued_at: at }
}

/// Reads `2026-11-02T08:30` and `2026-11-02`.
fn time(text: &str) -> UnixTime {
    let (date, clock) = text.split_once('T').unwrap_or((text, "00:00"));
    let date: Vec<u16> = date.split('-').map(|part| part.parse().unwrap()).collect();
    let clock: Vec<u64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
    let (month, day) = (u8::try_from(date[1]).unwrap(), u8::try_from(date[2]).unwrap());
    let seconds = clock[0] * 3600 + clock[1] * 60 + clock.get(2).unwrap_or(&0);
    UnixTime(UnixTime::from_date(date[0], month, day).unwrap().0 + seconds)
}

fn settings(more: &str) -> Detectors {
    let text = "public_url = \"https://gw.example\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n[[issuer]]\nname = \"i\"\nissuer = \"https://idp.example\"\nclient_id = \"c\"\n";
    Config::parse(&format!("{text}{more}"), Path::new("/")).unwrap().risk.signals
}

impl Teller {
    fn new(more: &str) -> Self {
        let store = Store::open(&StoreUrl::Memory).unwrap();
        let (history, risk) = (History::restore(store.clone()), Risk::restore(store, UnixTime(0)));
        Self { history, risk, lookup: lookup(), posture: Posture::default(), signals: settings(more) }
    }

    fn tell(&self, who: &UserId, event: &Event<'_>, now: UnixTime) -> Vec<Expected> {
        let found = self.history.with(who, |person, apps| observe(person, apps, event, &self.signals, now));
        let told = found.into_iter().map(|finding| {
            let signal = finding.signal(who, now);
            self.risk.withdraw(&signal.subject, &signal.kind, &signal.source, &signal.cause);
            let about = Some(signal.subject.kind().to_owned()).filter(|about| about != "user");
            let expected = Expected { kind: signal.kind.clone(), reason: signal.reason.clone(), about };
            self.risk.add(signal);
            expected
        });
        told.collect()
    }

    fn score(&self, now: UnixTime) -> u8 {
        let scores = self.risk.scores(&user("alice"), &device(), &session(), now);
        scores.user.max(scores.device).max(scores.session)
    }

    fn live(&self, past: &[Past]) {
        let mut all = Vec::new();
        for past in past {
            for ago in (1..=past.days).filter(|ago| ago % past.every == 0) {
                let day = time(&past.until).0 - ago * 86_400;
                all.extend(past.hours.iter().map(|hour| (UnixTime(day + hour * 3600 + 600), past)));
            }
        }
        all.sort_by_key(|(at, _)| *at);
        for (now, past) in all {
            let who = user(if past.other { "bob" } else { "alice" });
            let place = self.lookup.place(past.from.parse().unwrap());
            let place = &place;
            self.tell(&who, &if past.renewed { Event::Renewed { place } } else { Event::Seen { place } }, now);
            for app in &past.apps {
                self.tell(&who, &Event::Opened { app }, now);
            }
            let bytes = (past.mib << 20) / u64::try_from(past.hours.len()).unwrap();
            self.tell(&who, &Event::Carried { bytes }, now);
        }
    }

    fn step(&self, step: &Step) -> Vec<Expected> {
        let (who, now) = (user("alice"), time(&step.at));
        let mut told = Vec::new();
        let mut tell = |event: Event<'_>| told.extend(self.tell(&who, &event, now));
        if let Some(from) = &step.seen {
            tell(Event::Seen { place: &self.lookup.place(from.parse().unwrap()) });
        }
        if let Some(from) = &step.renewed {
            tell(Event::Renewed { place: &self.lookup.place(from.parse().unwrap()) });
        }
        if let Some(app) = &step.opened {
            tell(Event::Opened { app });
        }
        if let Some(asked) = &step.refused {
            tell(Event::Refused { asked });
        }
        if let Some(proof) = &step.login_failed {
            tell(Event::LoginFailed { device: &device(), proof });
        }
        if let Some(proof) = &step.replayed {
            tell(Event::Replayed { device: &device(), session: Some(&session()), proof });
        }
        if let Some(states) = &step.posture {
            let worse = self.posture.receive(&device(), report(states, now), now);
            for check in super::failed(&worse, &self.posture.facts(&device(), now)) {
                tell(Event::Worse { device: &device(), check });
            }
        }
        if let Some(mib) = step.carried_mib {
            tell(Event::Carried { bytes: mib << 20 });
        }
        if let Some(to) = &step.dialled {
            let listed = to.parse().map_or_else(|_| self.lookup.listed_name(to), |to| self.lookup.listed_address(to));
            let app: AppName = "wiki".parse().unwrap();
            if let Some(listed) = &listed {
                tell(Event::Dialled { app: &app, listed });
            }
        }
        told
    }
}

fn play(file: &str, text: &str) -> BTreeSet<String> {
    let file_of_stories: File = toml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut spoke = BTreeSet::new();
    for story in file_of_stories.story {
        let teller = Teller::new(&story.settings);
        teller.live(&story.past);
        for signal in teller.risk.signals(None, UnixTime(0)) {
            // what the past itself caused is none of the story
            teller.risk.withdraw(&signal.subject, &signal.kind, &signal.source, &signal.cause);
        }
        assert!(!story.silent || story.event.iter().all(|step| step.expect.is_empty()), "{file}: {}", story.name);
        for step in &story.event {
            let told = teller.step(step);
            assert_eq!(told, step.expect, "{file}: {}: {}", story.name, step.at);
            spoke.extend(told.into_iter().map(|told| told.kind));
            if let Some(expected) = step.score {
                assert_eq!(teller.score(time(&step.at)), expected, "{file}: {}: score at {}", story.name, step.at);
            }
        }
        let loud = story.event.iter().any(|step| !step.expect.is_empty());
        assert!(loud != story.silent, "{file}: {}: it must speak, or be called silent", story.name);
    }
    spoke
}

#[test]
fn every_recorded_story_is_told_as_it_should_be() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/detect/stories");
    let mut spoke = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        spoke.extend(play(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap()));
    }
    let kinds: BTreeSet<String> = Detectors::default().weights().map(|(kind, _)| kind.to_owned()).collect();
    assert_eq!(spoke, kinds, "every detector has a story in which it speaks");
}

#[test]
fn every_detector_has_a_false_alarm_story() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/detect/stories");
    for (kind, _) in Detectors::default().weights() {
        let text = std::fs::read_to_string(dir.join(format!("{kind}.toml"))).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        let speaks = |story: &Story| {
            let (_, weight) = settings(&story.settings).weights().find(|(own, _)| *own == kind).unwrap();
            weight.enabled && weight.points > 0
        };
        let quiet = file.story.iter().any(|story| story.silent && speaks(story));
        assert!(quiet, "{kind} has no story in which it must be silent though nobody muted it");
    }
}

#[test]
fn a_detector_that_is_switched_off_says_nothing() {
    let teller = Teller::new("[risk.signals.destination.listed]\nenabled = false\n");
    let listed = teller.lookup.listed_name("bad.example").unwrap();
    let app = "wiki".parse().unwrap();
    assert_eq!(teller.tell(&user("alice"), &Event::Dialled { app: &app, listed: &listed }, time("2026-11-02")), []);
    let signals = teller.risk.signals(None, time("2026-11-02"));
    assert_eq!(score(&signals, time("2026-11-02")).user, 0);
}

#[test]
fn what_a_clock_wrote_that_was_years_ahead_is_forgotten_when_it_is_set_right() {
    let later = |days: u64| UnixTime(1_795_000_000 + days * 86_400);
    let mut person = Person::default();
    let signals = Detectors::default();
    let place = lookup().place("192.0.2.10".parse().unwrap());
    let see = |person: &mut Person, at| {
        let event = Event::Seen { place: &place };
        observe(person, &Apps::default(), &event, &signals, at)
    };
    see(&mut person, later(1));
    person.note_told("country.new NO", later(1));
    let ahead = later(3650);
    see(&mut person, ahead);
    person.note_told("country.new JP", ahead);
    let attempt = |what, at| Attempt { at, kind: "grant.refused", whose: String::new(), what };
    person.note_attempt(attempt(1, ahead), 3, Duration::from_secs(600));
    // set right: life goes on where it was
    see(&mut person, later(2));
    assert_eq!(person.days_before(later(3)).count(), 2);
    assert_eq!((person.told("country.new JP"), person.told("country.new NO")), (None, Some(later(1))));
    assert_eq!(person.attempts("grant.refused", "", Duration::from_secs(600), later(2)).count(), 0);
    assert_eq!((person.networks()["AS64496"].first, person.networks()["AS64496"].last), (later(1), later(2)));
    person.note_bytes(100, later(2));
    assert_eq!(person.today(later(2)).bytes, 100);
}
