//! What an event does.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use ztsa_proto::set::event::{Kind, Level};

use super::super::duration::{Number, Span};
use super::raw::EventName;

/// Says what an event does to those it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing; it is in the audit log.
    Ignore,
    /// Ends their sessions that began before it; signing in again is needed.
    Terminate,
    /// Suspends them for a time: a signal as high as the threshold.
    Suspend {
        /// For how long.
        lasts: Duration,
    },
    /// Adds a risk signal.
    Score {
        /// What it counts, at each level where the event has levels.
        low: u8,
        /// As `low`.
        medium: u8,
        /// As `low`; what it counts where the event has no levels.
        high: u8,
        /// After how long it counts half.
        half_life: Option<Duration>,
        /// Until when it counts at all.
        lasts: Duration,
    },
    /// Notes that the device is not compliant, for policies to judge.
    Noncompliant,
}

impl Action {
    const fn score(high: u8, half_life: Option<Duration>) -> Self {
        Self::Score { low: 0, medium: high, high, half_life, lasts: DAY }
    }

    /// What a risk counts at a level.
    pub fn points(low: u8, medium: u8, high: u8, level: Option<Level>) -> u8 {
        match level {
            Some(Level::Low) => low,
            Some(Level::Medium) => medium,
            Some(Level::High) | None => high,
        }
    }

    /// What an event does unless the configuration says otherwise.
    pub fn default_of(kind: &Kind) -> Self {
        let fades = Some(Duration::from_secs(6 * 3600));
        match kind {
            Kind::SessionRevoked
            | Kind::SessionsRevoked
            | Kind::TokensRevoked
            | Kind::AccountDisabled
            | Kind::AccountPurged => Self::Terminate,
            Kind::DeviceComplianceChange => Self::Noncompliant,
            Kind::RiskLevelChange => Self::Score { low: 0, medium: 40, high: 70, half_life: None, lasts: DAY },
            Kind::CredentialCompromise => Self::score(70, None),
            Kind::AccountCredentialChangeRequired => Self::score(40, fades),
            Kind::AssuranceLevelChange | Kind::RecoveryActivated => Self::score(30, fades),
            Kind::CredentialChange | Kind::RecoveryInformationChanged => Self::score(20, fades),
            _ => Self::Ignore,
        }
    }
}

/// Maps events to what they do; what is not in it does what [`Action::default_of`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions(BTreeMap<Kind, Action>);

impl Actions {
    /// Says what an event does.
    pub fn of(&self, kind: &Kind) -> Action {
        self.0.get(kind).copied().unwrap_or_else(|| Action::default_of(kind))
    }

    /// Puts others above these.
    pub(super) fn with(mut self, others: &Self) -> Self {
        self.0.extend(others.0.clone());
        self
    }
}

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = BTreeMap::<EventName, Action>::deserialize(deserializer)?;
        if let Some((EventName(kind), _)) = named.iter().find(|(EventName(kind), _)| kind.is_of_stream()) {
            return Err(D::Error::custom(format_args!(
                "`{kind}` speaks of the stream itself: it does nothing to people"
            )));
        }
        Ok(Self(named.into_iter().map(|(EventName(kind), action)| (kind, action)).collect()))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    score: Option<Number<0, 100>>,
    low: Option<Number<0, 100>>,
    medium: Option<Number<0, 100>>,
    high: Option<Number<0, 100>>,
    suspend: Option<Span<1, 2_678_400>>,
    half_life: Option<Span<60, 2_678_400>>,
    lasts: Option<Span<1, 2_678_400>>,
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Action;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Action, E> {
                Ok(match word {
                    "ignore" => Action::Ignore,
                    "terminate" => Action::Terminate,
                    "suspend" => Action::Suspend { lasts: Duration::from_secs(3600) },
                    "noncompliant" => Action::Noncompliant,
                    other => return Err(E::custom(format_args!("{other:?} is no action; write {EXPECTED}"))),
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Action, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                if let Some(Span(lasts)) = table.suspend {
                    return Ok(Action::Suspend { lasts });
                }
                let points = |number: Option<Number<0, 100>>| number.and_then(|number| u8::try_from(number.0).ok());
                let high = points(table.score).or(points(table.high));
                let high = high.ok_or_else(|| A::Error::custom(format_args!("write {EXPECTED}")))?;
                Ok(Action::Score {
                    low: points(table.low).unwrap_or(0),
                    medium: points(table.medium).unwrap_or(high / 2),
                    high,
                    half_life: table.half_life.map(|span| span.0),
                    lasts: table.lasts.map_or(DAY, |span| span.0),
                })
            }
        }
        deserializer.deserialize_any(Written)
    }
}

const EXPECTED: &str = "\"ignore\", \"terminate\", \"suspend\", \"noncompliant\", { score = 40, half_life = \"6h\", lasts = \"24h\" }, \
     { medium = 40, high = 70 } or { suspend = \"1h\" }";
const DAY: Duration = Duration::from_secs(86_400);
