//! What holds whatever happens.

use proptest::prelude::*;

use super::*;
use crate::lookup::Place;

/// Any event, by number; `what` picks whom and what it is about.
fn event(kind: u8, what: u64, places: &[Place], apps: &[AppName], words: &[String], tell: &mut dyn FnMut(Event<'_>)) {
    let pick = usize::try_from(what).unwrap() % 4;
    let (device, session) = (device(), session());
    tell(match kind % 7 {
        0 => Event::Seen { place: &places[pick] },
        1 => Event::Opened { app: &apps[pick] },
        2 => Event::Refused { asked: &words[pick] },
        3 => Event::LoginFailed { device: &device, proof: &words[pick] },
        4 => Event::Replayed { device: &device, session: Some(&session), proof: &words[pick] },
        5 => Event::Renewed { place: &places[pick] },
        _ => Event::Carried { bytes: what << 26 },
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One cause counts once: it is never told again before its time, and never adds up.
    #[test]
    fn one_cause_counts_once_and_the_score_stays_in_bounds(
        events in proptest::collection::vec((0..7_u8, 0..100_u64, 0..7200_u64), 1..300),
    ) {
        let teller = Teller::new("");
        let places: Vec<Place> = ["192.0.2.10", "198.51.100.10", "203.0.113.1", "2001:db8:2::1"]
            .into_iter().map(|from| teller.lookup.place(from.parse().unwrap())).collect();
        let apps: Vec<AppName> = ["wiki", "db", "git", "payroll"].into_iter().map(|app| app.parse().unwrap()).collect();
        let words: Vec<String> = (0..4).map(|word| format!("p{word}")).collect();
        let mut now = time("2026-11-02");
        let mut last = std::collections::HashMap::new();
        for (kind, what, wait) in events {
            now = UnixTime(now.0 + wait);
            let mut found = Vec::new();
            event(kind, what, &places, &apps, &words, &mut |event| {
                found = teller.history.with(&user("alice"), |person, apps| {
                    observe(person, apps, &event, &teller.signals, now)
                });
            });
            for finding in found {
                let key = (finding.kind, finding.cause.clone());
                if let Some(before) = last.insert(key, now) {
                    prop_assert!(now.since(before) >= finding.weight.again, "{finding:?}");
                }
                let signal = finding.signal(&user("alice"), now);
                teller.risk.withdraw(&signal.subject, &signal.kind, &signal.source, &signal.cause);
                teller.risk.add(signal);
            }
            prop_assert!(teller.score(now) <= 100);
        }
        // without anything new a score only falls
        let mut before = 100;
        for hours in [0, 1, 3, 12, 24, 72, 168, 400] {
            let after = teller.score(UnixTime(now.0 + hours * 3600));
            prop_assert!(after <= before);
            before = after;
        }
        prop_assert_eq!(before, 0, "everything ends");
        let signals = teller.risk.signals(None, UnixTime(0));
        let causes: BTreeSet<_> = signals.iter().map(|signal| (signal.subject.key(), &signal.kind, &signal.cause)).collect();
        prop_assert_eq!(causes.len(), signals.len(), "one signal for each cause");
    }

    /// A score does not depend on the order in which signals are listed.
    #[test]
    fn the_score_is_the_same_in_whatever_order_signals_stand(
        points in proptest::collection::vec((0..=100_u8, 0..5000_u64, 0..5000_u64), 0..20),
        seed in any::<u64>(),
    ) {
        let now = time("2026-11-02");
        let signal = |(points, ago, half_life): (u8, u64, u64)| crate::store::NewSignal {
            subject: crate::store::Subject::User(user("alice")),
            kind: "country.new".to_owned(),
            score: points,
            reason: String::new(),
            source: super::super::SOURCE.to_owned(),
            cause: ago.to_string(),
            at: UnixTime(now.0 - ago),
            expires_at: None,
            half_life: Some(half_life),
        };
        let signals: Vec<_> = points.into_iter().map(signal).collect();
        let mut turned = signals.clone();
        turned.reverse();
        let by = usize::try_from(seed % 19).unwrap() % turned.len().max(1);
        turned.rotate_left(by);
        let (one, other) = (score(&signals, now), score(&turned, now));
        prop_assert_eq!((one.user, one.device, one.session), (other.user, other.device, other.session));
        prop_assert_eq!(one.info().signals.len(), other.info().signals.len());
    }
}
