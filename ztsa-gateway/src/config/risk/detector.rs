//! `[risk.signals]`: one table for each built-in detector, all of the same make.

use std::time::Duration;

use serde::Deserialize;

use super::super::duration::{Number, Span};

/// Says what one signal of a detector counts, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Whether the detector looks at all.
    pub enabled: bool,
    /// What a fresh signal counts, 0 to 100.
    pub points: u8,
    /// After how long it counts half; `None` when it does not fade.
    pub half_life: Option<Duration>,
    /// After how long it is gone.
    pub lasts: Duration,
    /// How long the same cause is not told again.
    pub again: Duration,
}

/// What every table may say.
#[derive(Clone, Copy, Debug)]
struct Common {
    enabled: Option<bool>,
    weight: Option<Number<0, 100>>,
    half_life: Option<Span<0, 7_776_000>>,
    lasts: Option<Span<60, 7_776_000>>,
    again: Option<Span<60, 7_776_000>>,
}

impl Common {
    fn weight(self, standard: (u8, Duration, Duration, Duration)) -> Weight {
        let (points, half_life, lasts, again) = standard;
        Weight {
            enabled: self.enabled.unwrap_or(true),
            points: self.weight.and_then(|points| u8::try_from(points.0).ok()).unwrap_or(points),
            half_life: Some(self.half_life.map_or(half_life, |span| span.0)).filter(|life| !life.is_zero()),
            lasts: self.lasts.map_or(lasts, |span| span.0),
            again: self.again.map_or(again, |span| span.0),
        }
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

const fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

const fn days(count: u64) -> Duration {
    hours(count * 24)
}

/// One line says all about a detector's table: its name in the file, what it counts (points, half-life, how long it lasts,
/// how long the same cause is not told again), and the bounds and defaults of its own keys.
macro_rules! detectors {
    ($(
        $(#[$doc:meta])*
        $group:ident.$member:ident => $name:ident $standard:tt {
            $( $(#[$key_doc:meta])* $key:ident: $bound:ty as $value:ty = $default:expr, )*
        }
    )*) => {
        /// Holds what each built-in detector counts, and its own bounds.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Detectors {
            $( $(#[$doc])* pub $group: $name, )*
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name {
                /// What a signal counts.
                pub weight: Weight,
                $( $(#[$key_doc])* pub $key: $value, )*
            }

            impl $name {
                /// The kind of its signals.
                pub const KIND: &str = concat!(stringify!($group), ".", stringify!($member));
            }

            mod $group {
                use super::{Deserialize, Number, Span};

                #[derive(Clone, Copy, Debug, Default, Deserialize)]
                #[serde(deny_unknown_fields)]
                pub(super) struct Group {
                    #[serde(default)]
                    pub(super) $member: Table,
                }

                #[derive(Clone, Copy, Debug, Default, Deserialize)]
                #[serde(deny_unknown_fields)]
                pub(super) struct Table {
                    pub(super) enabled: Option<bool>,
                    pub(super) weight: Option<Number<0, 100>>,
                    pub(super) half_life: Option<Span<0, 7_776_000>>,
                    pub(super) lasts: Option<Span<60, 7_776_000>>,
                    pub(super) again: Option<Span<60, 7_776_000>>,
                    $( pub(super) $key: Option<$bound>, )*
                }
            }
        )*

        /// What `[risk.signals]` says.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(in crate::config) struct Raw {
            $( #[serde(default)] $group: $group::Group, )*
        }

        impl Raw {
            pub(super) fn checked(&self) -> Detectors {
                Detectors {
                    $( $group: {
                        let table = &self.$group.$member;
                        let $group::Table { enabled, weight, half_life, lasts, again, .. } = *table;
                        $name {
                            weight: Common { enabled, weight, half_life, lasts, again }.weight($standard),
                            $( $key: table.$key.map_or($default, |written| written.0), )*
                        }
                    }, )*
                }
            }

            /// Takes over what a further file says.
            pub(super) fn merge(&mut self, extra: Self) {
                $(
                    let (table, more) = (&mut self.$group.$member, extra.$group.$member);
                    table.enabled = more.enabled.or(table.enabled);
                    table.weight = more.weight.or(table.weight);
                    table.half_life = more.half_life.or(table.half_life);
                    table.lasts = more.lasts.or(table.lasts);
                    table.again = more.again.or(table.again);
                    $( table.$key = more.$key.or(table.$key); )*
                )*
            }
        }

        impl Detectors {
            /// Lists the kinds with what their signals count.
            pub fn weights(&self) -> impl Iterator<Item = (&'static str, Weight)> {
                [ $( ($name::KIND, self.$group.weight), )* ].into_iter()
            }
        }

        impl Default for Detectors {
            fn default() -> Self {
                Raw::default().checked()
            }
        }
    };
}

detectors! {
    /// Sign-ins and renewals that were refused though a known device's key asked for them.
    login.failed => LoginFailed (25, hours(1), days(1), minutes(10)) {
        /// How many are needed.
        count: Number<2, 1000> as u32 = 5,
        /// Within how long.
        window: Span<60, 86_400> as Duration = minutes(10),
    }
    /// Requests of a session that were sent again by somebody who had read them.
    dpop.replay => DpopReplay (30, hours(6), days(2), minutes(10)) {
        /// How many different ones are needed.
        count: Number<1, 100> as u32 = 3,
        /// Within how long.
        window: Span<60, 86_400> as Duration = minutes(10),
    }
    /// A check of a device that passed and now fails; gone when it passes again.
    posture.worse => PostureWorse (20, hours(12), days(3), minutes(1)) {}
    /// A country that a person was not seen in before.
    country.new => CountryNew (30, days(1), days(7), days(1)) {
        /// The days of activity that must be known of a person.
        min_days: Number<1, 60> as u32 = 5,
    }
    /// A network that a person was not seen in before.
    network.new => NetworkNew (10, hours(12), days(3), days(1)) {
        /// The days of activity that must be known of a person.
        min_days: Number<1, 60> as u32 = 5,
        /// Whoever is known in more networks than this is on the move, and a new one says nothing.
        roaming: Number<1, 60> as u32 = 8,
    }
    /// Two places that nobody can have been in between two requests.
    travel.impossible => TravelImpossible (40, days(1), days(7), hours(12)) {
        /// The fastest that people travel, in km/h.
        speed: Number<100, 100_000> as u32 = 1000,
        /// Places nearer to each other than this, in km and without their uncertainty, are one.
        distance: Number<50, 20_000> as u32 = 500,
    }
    /// An hour at which a person is not usually at work.
    hours.unusual => HoursUnusual (10, hours(4), days(1), hours(12)) {
        /// The days of activity that must be known of a person.
        min_days: Number<5, 60> as u32 = 15,
        /// An hour is usual when the person was active then on more than this many of a hundred days.
        share: Number<0, 50> as u32 = 5,
        /// How many hours earlier or later still are the same.
        slack: Number<0, 6> as u32 = 1,
    }
    /// An app that a person has not opened before.
    app.unusual => AppUnusual (10, hours(12), days(2), days(1)) {
        /// The days of activity that must be known of a person.
        min_days: Number<1, 60> as u32 = 10,
        /// An app that anybody opened for the first time less than this ago is new to all.
        settle: Span<0, 7_776_000> as Duration = days(7),
    }
    /// Far more bytes in a day than a person usually moves.
    volume.unusual => VolumeUnusual (30, hours(12), days(3), days(1)) {
        /// The days of activity that must be known of a person.
        min_days: Number<3, 60> as u32 = 10,
        /// How many times the person's median day it takes.
        factor: Number<2, 1000> as u32 = 10,
        /// A day with less than this many MiB is never unusual.
        floor: Number<1, 1_048_576> as u32 = 1024,
    }
    /// A person who tries what they may not have.
    grant.refused => GrantRefused (30, hours(1), days(1), minutes(10)) {
        /// How many refusals are needed.
        count: Number<2, 1000> as u32 = 10,
        /// How many of them may be about one and the same destination.
        each: Number<1, 100> as u32 = 3,
        /// Within how long.
        window: Span<60, 86_400> as Duration = minutes(10),
    }
    /// An app that leads to a destination of ill repute.
    destination.listed => DestinationListed (50, Duration::ZERO, days(1), days(1)) {}
}
