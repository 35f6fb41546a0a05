//! `[audit]`: where the audit log goes, how it is kept, and who else is sent it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::duration::{Number, Span};
use super::error::{ConfigError, Fault};
use super::size::Size;

/// Says where the audit log goes, and how it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file that OCSF events are appended to, one a line.
    ///
    /// # Defaults
    /// `audit.ndjson`, beside the configuration file.
    pub file: PathBuf,
    /// How many events wait in memory for a disk that is slow or full.
    ///
    /// # Defaults
    /// 16384; 64 to 1000000.
    pub queue: usize,
    /// What happens when no more can wait.
    pub when_full: WhenFull,
    /// How often the log is signed.
    pub checkpoint: Checkpoints,
    /// When the gateway itself begins a new file.
    ///
    /// # Defaults
    /// Never: another program may, or nobody.
    pub rotate: Option<Rotate>,
    /// The collector that is sent every event.
    pub otlp: Option<Otlp>,
}

/// Says what happens when no more events can wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// Events are lost, and counted in the log.
    #[default]
    Drop,
    /// Nothing new is admitted until there is room; what is open goes on.
    Refuse,
}

/// Says how often the log is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// After this many events.
    ///
    /// # Defaults
    /// 10000; 1 to 1000000.
    pub events: u64,
    /// After this time, when there was any event.
    ///
    /// # Defaults
    /// 5 min; 1 s to 1 day.
    pub every: Duration,
}

/// Says when the gateway begins a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// When the next lines would make the file larger than this.
    ///
    /// # Defaults
    /// 100 MiB; 64 KiB to 1 TiB.
    pub size: u64,
    /// When its first line is this old.
    ///
    /// # Defaults
    /// Whatever its age; 1 min to 366 days.
    pub age: Option<Duration>,
    /// How many older files stay.
    ///
    /// # Defaults
    /// All; 1 to 100000.
    pub keep: Option<usize>,
}

/// Names a collector of OpenTelemetry, and how it is sent events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Where it takes logs: `/v1/logs` is added to an address without a path.
    pub endpoint: Url,
    /// A file of headers that it wants, one `name: value` a line: credentials.
    pub headers_file: Option<PathBuf>,
    /// Extra roots, PEM.
    pub ca_file: Option<PathBuf>,
    /// The most events in one request.
    ///
    /// # Defaults
    /// 512; 1 to 10000.
    pub batch: usize,
    /// How long events wait for others to go with them.
    ///
    /// # Defaults
    /// 1 s; 100 ms to 1 min.
    pub every: Duration,
    /// How long an answer may take.
    ///
    /// # Defaults
    /// 10 s; 1 s to 5 min.
    pub timeout: Duration,
    /// How many events of the log may wait for the collector.
    ///
    /// # Defaults
    /// 1000000; 100 to 100000000.
    pub outbox: u64,
}

impl Audit {
    /// A log in this file, and all else as it is when nothing is said.
    pub fn at(file: PathBuf) -> Self {
        Self {
            file,
            queue: 16_384,
            when_full: WhenFull::Drop,
            checkpoint: Checkpoints { events: 10_000, every: Duration::from_secs(300) },
            rotate: None,
            otlp: None,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    file: Option<PathBuf>,
    queue: Option<Number<64, 1_000_000>>,
    when_full: Option<WhenFull>,
    checkpoint: Option<RawCheckpoints>,
    rotate: Option<RawRotate>,
    otlp: Option<RawOtlp>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheckpoints {
    events: Option<Number<1, 1_000_000>>,
    every: Option<Span<1, 86_400>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRotate {
    size: Option<Size<65_536, 1_099_511_627_776>>,
    age: Option<Span<60, 31_622_400>>,
    keep: Option<Number<1, 100_000>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOtlp {
    endpoint: String,
    headers_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    batch: Option<Number<1, 10_000>>,
    every: Option<Span<0, 60>>,
    timeout: Option<Span<1, 300>>,
    outbox: Option<Number<100, 100_000_000>>,
}

impl Raw {
    /// The paths in it, to be resolved.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let otlp = self.otlp.iter_mut().flat_map(|otlp| otlp.headers_file.iter_mut().chain(&mut otlp.ca_file));
        self.file.iter_mut().chain(otlp)
    }

    /// Takes over what a further file says.
    pub(super) fn merge(&mut self, extra: Raw) {
        self.file = extra.file.or(self.file.take());
        self.queue = extra.queue.or(self.queue);
        self.when_full = extra.when_full.or(self.when_full);
        self.checkpoint = extra.checkpoint.or(self.checkpoint);
        self.rotate = extra.rotate.or(self.rotate);
        self.otlp = extra.otlp.or(self.otlp.take());
    }
}

/// Turns what the files say into what holds.
pub(super) fn check(raw: &Raw, path: &Path) -> Result<Audit, ConfigError> {
    let base = path.parent().unwrap_or(Path::new(""));
    let mut audit = Audit::at(raw.file.clone().unwrap_or_else(|| base.join("audit.ndjson")));
    audit.queue = raw.queue.map_or(audit.queue, |queue| count(queue.0));
    audit.when_full = raw.when_full.unwrap_or_default();
    if let Some(checkpoint) = raw.checkpoint {
        audit.checkpoint.events = checkpoint.events.map_or(audit.checkpoint.events, |events| events.0.into());
        audit.checkpoint.every = checkpoint.every.map_or(audit.checkpoint.every, |every| every.0);
    }
    audit.rotate = raw.rotate.map(|rotate| Rotate {
        size: rotate.size.map_or(100 << 20, |size| size.0),
        age: rotate.age.map(|age| age.0),
        keep: rotate.keep.map(|keep| count(keep.0)),
    });
    audit.otlp = raw.otlp.as_ref().map(|otlp| collector(otlp, path)).transpose()?;
    Ok(audit)
}

fn collector(raw: &RawOtlp, path: &Path) -> Result<Otlp, ConfigError> {
    let rule = |reason: String| {
        let remedy =
            "Use endpoint = \"https://collector.example.com:4318\"; http:// only for an agent on this machine.";
        ConfigError::at(path, None, Fault::Rule { reason, remedy })
    };
    let text = &raw.endpoint;
    let mut endpoint =
        Url::parse(text).map_err(|error| rule(format!("[audit.otlp] endpoint: {text:?} is not a URL ({error})")))?;
    let plain = endpoint.scheme() == "http" && super::is_loopback(&endpoint);
    if (endpoint.scheme() != "https" && !plain) || endpoint.host().is_none() {
        return Err(rule(format!("[audit.otlp] endpoint: {text:?} would send the log in the clear")));
    }
    if !endpoint.username().is_empty() || endpoint.password().is_some() {
        return Err(rule("[audit.otlp] endpoint: credentials go into headers_file, not into the URL".to_owned()));
    }
    if endpoint.path() == "/" {
        endpoint.set_path("/v1/logs");
    }
    let every = raw.every.map_or(Duration::from_secs(1), |every| every.0.max(Duration::from_millis(100)));
    Ok(Otlp {
        endpoint,
        headers_file: raw.headers_file.clone(),
        ca_file: raw.ca_file.clone(),
        batch: raw.batch.map_or(512, |batch| count(batch.0)),
        every,
        timeout: raw.timeout.map_or(Duration::from_secs(10), |timeout| timeout.0),
        outbox: raw.outbox.map_or(1_000_000, |outbox| outbox.0.into()),
    })
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Audit, String> {
        let mut raw: Raw = toml::from_str(text).map_err(|error| error.to_string())?;
        let base = Path::new("/etc/ztsa");
        raw.paths().for_each(|path| *path = base.join(&*path));
        check(&raw, &base.join("gateway.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_one_file_that_grows_and_is_signed() {
        assert_eq!(read("").unwrap(), Audit::at(PathBuf::from("/etc/ztsa/audit.ndjson")));
    }

    #[test]
    fn what_is_said_holds() {
        let audit = read(
            "file = \"log/a.ndjson\"\nqueue = 100\nwhen_full = \"refuse\"\ncheckpoint = { events = 5, every = \"1m\" }\n\
             rotate = { size = \"1MiB\", age = \"24h\", keep = 30 }\n\
             [otlp]\nendpoint = \"https://c.example.com:4318\"\nheaders_file = \"h\"\nca_file = \"ca.pem\"\nbatch = 7\nevery = \"0s\"\n",
        )
        .unwrap();
        assert_eq!((audit.file, audit.queue), (PathBuf::from("/etc/ztsa/log/a.ndjson"), 100));
        assert_eq!(audit.when_full, WhenFull::Refuse);
        assert_eq!(audit.checkpoint, Checkpoints { events: 5, every: Duration::from_secs(60) });
        let rotate = Rotate { size: 1 << 20, age: Some(Duration::from_secs(86_400)), keep: Some(30) };
        assert_eq!(audit.rotate, Some(rotate));
        let otlp = audit.otlp.unwrap();
        assert_eq!(otlp.endpoint.as_str(), "https://c.example.com:4318/v1/logs");
        assert_eq!(
            (otlp.headers_file.unwrap(), otlp.ca_file.unwrap()),
            ("/etc/ztsa/h".into(), "/etc/ztsa/ca.pem".into())
        );
        assert_eq!((otlp.batch, otlp.every, otlp.outbox), (7, Duration::from_millis(100), 1_000_000));
        assert_eq!(read("[rotate]\n").unwrap().rotate, Some(Rotate { size: 100 << 20, age: None, keep: None }));
    }

    #[test]
    fn what_cannot_hold_is_refused_with_words() {
        for (text, words) in [
            ("when_full = \"wait\"", "refuse"),
            ("rotate = { size = \"1KiB\" }", "must be from 64KiB"),
            ("rotate = { size = \"big\" }", "is not a size"),
            ("queue = 1", "must be from 64"),
            ("[otlp]\nendpoint = \"http://collector:4318\"", "in the clear"),
            ("[otlp]\nendpoint = \"collector\"", "is not a URL"),
            ("[otlp]\nendpoint = \"https://a:b@collector\"", "headers_file"),
            ("[otlp]\nheaders = \"x\"\nendpoint = \"https://a\"", "headers"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(read("[otlp]\nendpoint = \"http://127.0.0.1:4318/own/path\"").is_ok());
    }
}
