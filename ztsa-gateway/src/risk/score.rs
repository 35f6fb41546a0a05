//! The score as a pure function of signals and time.

use std::collections::BTreeMap;

use ztsa_proto::name::UserId;
use ztsa_proto::session::{RiskInfo, SignalInfo};
use ztsa_proto::time::UnixTime;

use super::ADMINISTRATOR;
use crate::store::{NewSignal, Subject};

/// The source of signals that the gateway's own detectors raise.
pub const DETECTED: &str = "gateway";

/// Holds the scores of one session, 0 to 100 each, and the signals behind them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// Of the person.
    pub user: u8,
    /// Of the device.
    pub device: u8,
    /// Of the session.
    pub session: u8,
    /// What counts now, with the points it has left; the heaviest first.
    pub signals: Vec<Counted>,
}

/// Holds one signal with what is left of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The signal.
    pub signal: NewSignal,
    /// What it counts now.
    pub points: u8,
}

/// Scores the signals of one user, one device and one session.
///
/// Points of one subject add up, to 100 at most; a signal with a half-life fades. Of one detector of the gateway's own only the
/// heaviest signal counts: many that say the same say it once. An administrator's word replaces the sum: the newest one is the
/// score for as long as it lasts.
pub fn score<'a>(signals: impl IntoIterator<Item = &'a NewSignal>, now: UnixTime) -> Scores {
    let mut scores = Scores::default();
    for signal in signals {
        if counts(signal, now) {
            scores.signals.push(Counted { signal: signal.clone(), points: points(signal, now) });
        }
    }
    scores.signals.sort_by(|a, b| b.points.cmp(&a.points).then_with(|| a.signal.at.cmp(&b.signal.at)));
    scores.user = sum(&scores.signals, |subject| matches!(subject, Subject::User(_)));
    scores.device = sum(&scores.signals, |subject| matches!(subject, Subject::Device(_)));
    scores.session = sum(&scores.signals, |subject| matches!(subject, Subject::Session(_)));
    scores
}

impl Scores {
    /// Puts together scores that were once; of the signals behind them only the kinds are known.
    pub fn recalled([user, device, session]: [u8; 3], kinds: &[String], about: &UserId, at: UnixTime) -> Self {
        let signal = |kind: &String| NewSignal {
            subject: Subject::User(about.clone()),
            kind: kind.clone(),
            score: 0,
            reason: String::new(),
            cause: String::new(),
            source: String::new(),
            at,
            expires_at: None,
            half_life: None,
        };
        let signals = kinds.iter().map(|kind| Counted { signal: signal(kind), points: 0 }).collect();
        Self { user, device, session, signals }
    }

    /// Gives the reasons behind one of the scores, the heaviest first; `code` is `risk.user`, `risk.device` or `risk.session`.
    pub fn reasons(&self, code: &str) -> Vec<&str> {
        let about = |counted: &&Counted| code.strip_prefix("risk.") == Some(counted.signal.subject.kind());
        let reasons = self.signals.iter().filter(about).map(|counted| counted.signal.reason.as_str());
        reasons.filter(|reason| !reason.is_empty()).take(3).collect()
    }

    /// Gives the kinds of the signals that count.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.signals.iter().map(|counted| counted.signal.kind.as_str())
    }

    /// Writes the scores as they travel to the person they are about.
    pub fn info(&self) -> RiskInfo {
        let signals = self.signals.iter().map(|Counted { signal, points }| SignalInfo {
            kind: signal.kind.clone(),
            score: *points,
            reason: signal.reason.clone(),
            source: signal.source.clone(),
            expires_at: signal.expires_at,
            half_life: signal.half_life,
        });
        RiskInfo { user: self.user, device: self.device, session: self.session, signals: signals.collect() }
    }
}

/// Says whether a signal still counts: it has not expired, and has not faded to nothing.
pub(super) fn counts(signal: &NewSignal, now: UnixTime) -> bool {
    let alive = signal.expires_at.is_none_or(|expires| now < expires);
    // an administrator's "no risk" counts: it holds the score down
    alive && (signal.kind == ADMINISTRATOR || points(signal, now) > 0)
}

/// What is left of a signal's points.
fn points(signal: &NewSignal, now: UnixTime) -> u8 {
    let score = signal.score.min(100);
    let Some(half_life) = signal.half_life.filter(|seconds| *seconds > 0) else { return score };
    let age = now.since(signal.at).as_secs();
    let halvings = u32::try_from(age / half_life).unwrap_or(u32::MAX).min(63);
    // between two halvings it falls in a straight line: whole numbers, the same on every machine
    let start = (u64::from(score) << 16) >> halvings;
    let passed = u128::from(age % half_life) * u128::from(start / 2) / u128::from(half_life);
    let left = start.saturating_sub(u64::try_from(passed).unwrap_or(start));
    u8::try_from((left + (1 << 15)) >> 16).unwrap_or(score)
}

fn sum(signals: &[Counted], about: impl Fn(&Subject) -> bool) -> u8 {
    let of = || signals.iter().filter(|counted| about(&counted.signal.subject));
    let word = of().filter(|counted| counted.signal.kind == ADMINISTRATOR).max_by_key(|counted| counted.signal.at);
    if let Some(word) = word {
        return word.points;
    }
    let mut detected: BTreeMap<&str, u32> = BTreeMap::new();
    let mut sum = 0;
    for counted in of() {
        let points = u32::from(counted.points);
        if counted.signal.source == DETECTED {
            let heaviest = detected.entry(&counted.signal.kind).or_default();
            *heaviest = points.max(*heaviest);
        } else {
            sum += points;
        }
    }
    sum += detected.values().sum::<u32>();
    u8::try_from(sum.min(100)).unwrap_or(100)
}
