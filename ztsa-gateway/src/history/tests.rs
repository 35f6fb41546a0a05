//! What is remembered is bounded, outlives a restart, and can be forgotten.

use super::*;
use crate::config::StoreUrl;
use crate::lookup::tests::lookup;

const NOW: UnixTime = UnixTime(1_795_000_000);
const KEEP: Duration = Duration::from_secs(60 * 86_400);

fn user(name: &str) -> UserId {
    UserId { issuer: "https://idp.example".to_owned(), subject: name.to_owned() }
}

fn later(days: u64) -> UnixTime {
    UnixTime(NOW.0 + days * 86_400)
}

#[tokio::test]
async fn habits_outlive_a_restart_without_what_is_too_old() {
    let path = std::env::temp_dir().join(format!("ztsa-history-{}.db", std::process::id()));
    let url = StoreUrl::Sqlite(path.clone());
    let store = Store::open(&url).unwrap();
    let history = History::restore(store.clone());
    let berlin = lookup().place("192.0.2.10".parse().unwrap());
    for (name, day) in [("alice", 0), ("alice", 50), ("bob", 0), ("carol", 50)] {
        history.with(&user(name), |person, _| {
            person.note_active(later(day));
            person.note_place(&berlin, later(day));
            person.note_app(&"wiki".parse().unwrap(), later(day));
            person.note_bytes(1 << 30, later(day));
            person.note_told("country.new NO", later(day));
        });
    }
    history.keep(later(50), KEEP);
    assert!(history.forget(&user("carol")));
    let before = history.person(&user("alice")).unwrap();
    drop(history);
    store.flush().await.unwrap();
    drop(store);
    let store = Store::open(&url).unwrap();
    let history = History::restore(store);
    assert_eq!(history.person(&user("alice")).unwrap(), before);
    assert_eq!(before.days_before(later(60)).count(), 2);
    assert_eq!(before.networks()["AS64496"].days, 2);
    assert_eq!(before.told("country.new NO"), Some(later(50)));
    assert_eq!(history.person(&user("carol")), None, "who was forgotten stays so");
    assert_eq!(
        history.with(&user("dave"), |_, apps| apps.first(&"wiki".parse().unwrap())),
        Some(NOW),
        "since when anybody used it"
    );
    // what is too old goes when it is written again, and people who stay away go as a whole
    history.with(&user("alice"), |person, _| person.note_active(later(70)));
    history.keep(later(70), KEEP);
    assert_eq!(history.person(&user("alice")).unwrap().days_before(later(99)).count(), 2, "day 0 is gone");
    history.prune(later(70), KEEP);
    assert_eq!(history.person(&user("bob")), None);
    assert!(history.person(&user("alice")).is_some());
    drop(history);
    for end in ["", "-wal", "-shm", ".lock"] {
        drop(std::fs::remove_file(format!("{}{end}", path.display())));
    }
}

#[test]
fn one_person_is_some_kilobytes_whatever_they_do() {
    let history = History::restore(Store::open(&StoreUrl::Memory).unwrap());
    let lookup = lookup();
    history.with(&user("alice"), |person, _| {
        for step in 0..3000_u64 {
            let at = UnixTime(NOW.0 + step * 7200);
            let six = std::net::Ipv6Addr::from((0x2001_0db8_u128 << 96) | (u128::from(step) << 80));
            person.note_active(at);
            person.note_place(&lookup.place(six.into()), at);
            person.note_app(&format!("an-app-with-a-name-of-usual-length-{step}").parse().unwrap(), at);
            person.note_told(&format!("app.unusual {step}"), at);
            for what in 0..10 {
                let attempt = Attempt { at, kind: "grant.refused", whose: String::new(), what: step * 10 + what };
                person.note_attempt(attempt, 3, Duration::from_secs(600));
            }
        }
        let at = UnixTime(NOW.0 + 3000 * 7200);
        assert_eq!(person.days_before(later(1000)).count(), DAYS);
        assert_eq!((person.networks().len(), person.apps().count()), (NETWORKS, APPS));
        assert!(person.attempts("grant.refused", "", KEEP * 99, at).count() <= ATTEMPTS);
        let written = serde_json::to_string(person).unwrap().len();
        assert!(written < 40_960, "{written} bytes");
        assert!(person.told("app.unusual 2999").is_some() && person.told("app.unusual 1").is_none());
    });
}

#[test]
fn a_clock_that_goes_back_changes_no_earlier_day() {
    let mut person = Person::default();
    person.note_active(later(5));
    person.note_bytes(100, later(5));
    let before = person.clone();
    person.note_active(later(2));
    person.note_bytes(100, later(2));
    assert_eq!(person, before);
    assert_eq!(person.last_active(), UnixTime(later(5).0 / 3600 * 3600));
}
