//! `[risk]`: when a score acts, what the built-in detectors count, and the files they look things up in.

mod detector;
mod raw;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{ConfigError, Fault};

pub use detector::{
    AppUnusual, CountryNew, DestinationListed, Detectors, DpopReplay, GrantRefused, HoursUnusual, LoginFailed,
    NetworkNew, PostureWorse, TravelImpossible, VolumeUnusual, Weight,
};
pub(super) use raw::Raw;

/// Says how risk is found, and how it acts on tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    /// How often every live tunnel is judged again.
    ///
    /// # Defaults
    /// 30 s; 1 s to 1 h.
    pub interval: Duration,
    /// The scores at which tunnels are suspended and ended.
    pub thresholds: Thresholds,
    /// How long a suspended tunnel waits for its trust to come back before it is ended.
    ///
    /// # Defaults
    /// 60 s; 0 s to 1 h.
    pub suspend_grace: Duration,
    /// How long tunnels that a policy marks `@strict` go on while the store cannot be written.
    ///
    /// # Defaults
    /// 60 s; 0 s to 1 h.
    pub max_staleness: Duration,
    /// MaxMind-format databases that say where addresses are; what one does not know, the next may.
    ///
    /// # Defaults
    /// None: no address has a country then. At most 8.
    pub geoip: Vec<PathBuf>,
    /// Lists of destinations of ill repute.
    ///
    /// # Defaults
    /// None. At most 32.
    pub destinations: Vec<PathBuf>,
    /// How long a person's habits are remembered.
    ///
    /// # Defaults
    /// 60 days; 7 to 90.
    pub history: Duration,
    /// What each built-in detector counts.
    pub signals: Detectors,
}

/// Holds the risk scores at which tunnels are suspended and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A tunnel whose score is at least this is suspended, and none is opened.
    ///
    /// # Defaults
    /// 60.
    pub suspend: u8,
    /// A tunnel whose score is at least this is ended.
    ///
    /// # Defaults
    /// 85.
    pub terminate: u8,
}

const MOST_DATABASES: usize = 8;
const MOST_LISTS: usize = 32;
const DAY: Duration = Duration::from_secs(86_400);

/// Turns what the files say into how risk is found and acts.
pub(super) fn check(raw: &Raw, file: &Path) -> Result<Risk, ConfigError> {
    let fault = |reason: String, remedy| Err(ConfigError::at(file, None, Fault::Rule { reason, remedy }));
    let suspend = raw.thresholds.suspend.map_or(60, |score| score.0);
    let terminate = raw.thresholds.terminate.map_or(suspend.max(85), |score| score.0);
    if terminate < suspend {
        let reason = format!("[risk.thresholds]: terminate ({terminate}) is below suspend ({suspend})");
        return fault(reason, "A tunnel is suspended first and ended at a higher score.");
    }
    let (geoip, destinations) =
        (raw.geoip.clone().unwrap_or_default().0, raw.destinations.clone().unwrap_or_default().0);
    for (key, files, most) in [("geoip", &geoip, MOST_DATABASES), ("destinations", &destinations, MOST_LISTS)] {
        if files.len() > most {
            let reason = format!("[risk] {key}: {} files, more than {most}", files.len());
            return fault(reason, "Join some of them into one file.");
        }
    }
    let score = |value: u32| u8::try_from(value).unwrap_or(100);
    Ok(Risk {
        interval: raw.interval.map_or(Duration::from_secs(30), |span| span.0),
        thresholds: Thresholds { suspend: score(suspend), terminate: score(terminate) },
        suspend_grace: raw.suspend_grace.map_or(Duration::from_secs(60), |span| span.0),
        max_staleness: raw.max_staleness.map_or(Duration::from_secs(60), |span| span.0),
        geoip,
        destinations,
        history: raw.history.map_or(DAY * 60, |span| span.0),
        signals: raw.signals.checked(),
    })
}

#[cfg(test)]
mod tests;
