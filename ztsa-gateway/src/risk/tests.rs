use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::config::StoreUrl;

const NOW: UnixTime = UnixTime(1_795_000_000);

fn user() -> UserId {
    UserId { issuer: "https://idp.example".to_owned(), subject: "alice".to_owned() }
}

fn device() -> DeviceId {
    "0123456789012345678901234567890123456789abc".parse().unwrap()
}

fn session() -> SessionId {
    "s1".parse().unwrap()
}

fn signal(subject: Subject, score: u8) -> NewSignal {
    NewSignal {
        subject,
        kind: "login.failed".to_owned(),
        score,
        reason: format!("{score} points"),
        source: "edr".to_owned(),
        cause: String::new(),
        at: NOW,
        expires_at: None,
        half_life: None,
    }
}

fn thresholds() -> Thresholds {
    Thresholds { suspend: 60, terminate: 85 }
}

#[test]
fn points_add_up_fade_and_end() {
    let fading = NewSignal { half_life: Some(100), ..signal(Subject::User(user()), 40) };
    let ending = NewSignal { expires_at: Some(UnixTime(NOW.0 + 60)), ..signal(Subject::User(user()), 30) };
    let table = [(0, 70), (59, 58), (60, 28), (100, 20), (200, 10), (1_000, 0)];
    for (later, expected) in table {
        let scores = score([&fading, &ending], UnixTime(NOW.0 + later));
        assert_eq!(scores.user, expected, "after {later} s");
    }
}

#[test]
fn of_one_detector_the_heaviest_signal_counts() {
    let detected = |kind: &str, cause: &str, score| NewSignal {
        kind: kind.to_owned(),
        source: DETECTED.to_owned(),
        cause: cause.to_owned(),
        ..signal(Subject::User(user()), score)
    };
    let mut signals: Vec<_> = (0..9).map(|app| detected("app.unusual", &app.to_string(), 10)).collect();
    assert_eq!(score(&signals, NOW).user, 10, "nine new apps on a first day with a task");
    signals.push(detected("app.unusual", "payroll", 15));
    signals.push(detected("country.new", "", 30));
    assert_eq!(score(&signals, NOW).user, 45, "two detectors that agree");
    signals.extend([signal(Subject::User(user()), 20), signal(Subject::User(user()), 20)]);
    assert_eq!(score(&signals, NOW).user, 85, "what others say adds up");
}

#[test]
fn every_score_counts_its_own_signals_only() {
    let signals = [
        signal(Subject::User(user()), 10),
        signal(Subject::Device(device()), 20),
        signal(Subject::Session(session()), 30),
    ];
    let scores = score(&signals, NOW);
    assert_eq!((scores.user, scores.device, scores.session), (10, 20, 30));
    assert_eq!(scores.info().signals.first().map(|signal| signal.score), Some(30), "the heaviest first");
}

#[test]
fn tolerance_names_the_worst_score_and_its_reason() {
    let table = [
        (59, 0, "within", ""),
        (60, 0, "suspend", "risk.user"),
        (84, 0, "suspend", "risk.user"),
        (85, 0, "terminate", "risk.user"),
        (60, 90, "terminate", "risk.device"),
        (100, 90, "terminate", "risk.user"),
    ];
    for (user_score, device_score, expected, code) in table {
        let signals = [signal(Subject::User(user()), user_score), signal(Subject::Device(device()), device_score)];
        let (answer, problem) = match tolerance(&score(&signals, NOW), &thresholds()) {
            Tolerance::Within => ("within", None),
            Tolerance::Suspend(problem) => ("suspend", Some(problem)),
            Tolerance::Terminate(problem) => ("terminate", Some(problem)),
        };
        assert_eq!(answer, expected, "{user_score} {device_score}");
        if let Some(problem) = problem {
            assert_eq!(problem.code, code);
            assert!(problem.detail.contains("points"), "the reason is named: {}", problem.detail);
        }
    }
}

#[test]
fn an_administrators_word_is_the_score_while_it_lasts() {
    let store = Store::open(&StoreUrl::Memory).unwrap();
    let risk = Risk::restore(store, NOW);
    let about = Subject::User(user());
    let now = |later| UnixTime(NOW.0 + later);
    let score = |later| risk.scores(&user(), &device(), &session(), now(later)).user;
    risk.add(signal(about.clone(), 70));
    assert_eq!(score(0), 70);
    risk.set(about.clone(), 90, "lost laptop", NOW, Some(Duration::from_secs(3_600)));
    assert_eq!((score(0), score(3_599), score(3_600)), (90, 90, 70));
    risk.set(about.clone(), 0, "it was a false alarm", NOW, None);
    assert_eq!(score(1), 0, "the word holds the score down, too");
    assert!(risk.clear(&about));
    assert_eq!(score(1), 70);
    assert!(!risk.clear(&about), "there is no word any more");
}

#[test]
fn signals_survive_a_restart_unless_they_ran_out() {
    let store = Store::open(&StoreUrl::Memory).unwrap();
    let risk = Risk::restore(store.clone(), NOW);
    risk.set(Subject::User(user()), 90, "lost laptop", NOW, Some(Duration::from_secs(60)));
    risk.set(Subject::Device(device()), 50, "old", NOW, None);
    let again = Risk::restore(store.clone(), UnixTime(NOW.0 + 30));
    assert_eq!(again.scores(&user(), &device(), &session(), UnixTime(NOW.0 + 30)).user, 90);
    let later = Risk::restore(store.clone(), UnixTime(NOW.0 + 90));
    let scores = later.scores(&user(), &device(), &session(), UnixTime(NOW.0 + 90));
    assert_eq!((scores.user, scores.device), (0, 50));
    assert_eq!(store.signals().len(), 1, "what ran out is forgotten");
}

#[test]
fn a_flood_of_signals_never_pushes_an_administrators_word_out() {
    let store = Store::open(&StoreUrl::Memory).unwrap();
    let risk = Risk::restore(store.clone(), NOW);
    risk.set(Subject::User(user()), 90, "lost laptop", NOW, None);
    (0..500).for_each(|_| risk.add(signal(Subject::User(user()), 0)));
    assert_eq!(risk.scores(&user(), &device(), &session(), NOW).user, 90);
    assert!(store.signals().len() <= MAX_SIGNALS + 1);
}

proptest! {
    #[test]
    fn scores_stay_within_bounds_and_never_rise_by_waiting(
        signals in proptest::collection::vec((0..3_u8, any::<u8>(), 0..1_000_u64, proptest::option::of(0..500_u64), proptest::option::of(0..500_u64)), 0..20),
        first in 1_000..2_000_u64,
        wait in 0..2_000_u64,
    ) {
        let signals: Vec<NewSignal> = signals.into_iter().map(|(about, score, at, half_life, lasts)| {
            let subject = match about {
                0 => Subject::User(user()),
                1 => Subject::Device(device()),
                _ => Subject::Session(session()),
            };
            let at = UnixTime(NOW.0 + at);
            NewSignal { at, half_life, expires_at: lasts.map(|lasts| UnixTime(at.0 + lasts)), ..signal(subject, score) }
        }).collect();
        let early = score(&signals, UnixTime(NOW.0 + first));
        let late = score(&signals, UnixTime(NOW.0 + first + wait));
        for (early, late) in [(early.user, late.user), (early.device, late.device), (early.session, late.session)] {
            prop_assert!(early <= 100 && late <= early);
        }
    }
}

#[test]
fn a_signal_takes_the_place_of_its_like_and_of_nothing_else() {
    let risk = Risk::restore(Store::open(&StoreUrl::Memory).unwrap(), NOW);
    let about = Subject::User(user());
    let caused = |cause: &str, score| NewSignal { cause: cause.to_owned(), ..signal(about.clone(), score) };
    risk.replace(caused("a", 10));
    risk.replace(caused("b", 20));
    risk.replace(NewSignal { source: "mdm".to_owned(), ..caused("a", 30) });
    risk.replace(caused("a", 5));
    let mut scores: Vec<u8> = risk.signals(Some(&about), NOW).iter().map(|signal| signal.score).collect();
    scores.sort_unstable();
    assert_eq!(scores, [5, 20, 30]);
    assert_eq!(risk.signals(Some(&Subject::Device(device())), NOW), []);
    assert_eq!(risk.signals(None, NOW).len(), 3);
}

#[test]
fn a_word_takes_the_place_of_the_last_one_and_at_no_moment_is_neither_there() {
    let store = Store::open(&StoreUrl::Memory).unwrap();
    let risk = Risk::restore(store.clone(), NOW);
    let about = Subject::User(user());
    risk.set(about.clone(), 70, "odd hours", NOW, None);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let lowest = scope.spawn(|| {
            let mut lowest = u8::MAX;
            while !over.load(Ordering::Relaxed) {
                lowest = lowest.min(risk.score_of(&about, NOW).user);
            }
            lowest
        });
        for _ in 0..10_000 {
            risk.set(about.clone(), 75, "odder hours", NOW, None);
        }
        over.store(true, Ordering::Relaxed);
        assert!(lowest.join().unwrap() >= 70, "somebody saw no word at all");
    });
    assert_eq!(store.signals().len(), 1, "and the store keeps one");
}
