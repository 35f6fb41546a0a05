//! The shape of `[risk]`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::super::duration::{Number, Span};
use super::detector;

/// What `[risk]` says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Raw {
    pub(super) interval: Option<Span<1, 3600>>,
    pub(super) suspend_grace: Option<Span<0, 3600>>,
    pub(super) max_staleness: Option<Span<0, 3600>>,
    #[serde(default)]
    pub(super) thresholds: Thresholds,
    pub(super) geoip: Option<Files>,
    pub(super) destinations: Option<Files>,
    pub(super) history: Option<Span<604_800, 7_776_000>>,
    #[serde(default)]
    pub(super) signals: detector::Raw,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Thresholds {
    pub(super) suspend: Option<Number<1, 100>>,
    pub(super) terminate: Option<Number<1, 100>>,
}

/// One path, or a list of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Files(pub(super) Vec<PathBuf>);

impl Raw {
    /// Makes relative paths absolute.
    pub(in crate::config) fn resolve(&mut self, base: &Path) {
        let files = self.geoip.iter_mut().chain(&mut self.destinations);
        files.flat_map(|files| &mut files.0).for_each(|path| *path = base.join(&*path));
    }

    /// Takes over what a further file says.
    pub(in crate::config) fn merge(&mut self, extra: Self) {
        self.interval = extra.interval.or(self.interval);
        self.suspend_grace = extra.suspend_grace.or(self.suspend_grace);
        self.max_staleness = extra.max_staleness.or(self.max_staleness);
        self.thresholds.suspend = extra.thresholds.suspend.or(self.thresholds.suspend);
        self.thresholds.terminate = extra.thresholds.terminate.or(self.thresholds.terminate);
        self.geoip = extra.geoip.or(self.geoip.take());
        self.destinations = extra.destinations.or(self.destinations.take());
        self.history = extra.history.or(self.history);
        self.signals.merge(extra.signals);
    }
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Files;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path, or a list of paths")
            }
            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Files, E> {
                Ok(Files(vec![PathBuf::from(path)]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Files, A::Error> {
                let mut files = Vec::new();
                while let Some(path) = list.next_element()? {
                    files.push(path);
                }
                Ok(Files(files))
            }
        }
        deserializer.deserialize_any(Written)
    }
}
