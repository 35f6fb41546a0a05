//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use crate::measure::{BOUNDS, Counters, Label, Read};

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// Counts by buckets.
    Histogram,
}

/// A text that grows family by family.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    name: &'static str,
}

impl Text {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, about: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        self.line(format_args!("# HELP {name} {about}\n# TYPE {name} {kind}"));
    }

    /// Writes one sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        let (name, labels) = (self.name, Labels(labels, None));
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// Writes one histogram of the family.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], read: &Read) {
        let name = self.name;
        for (bound, upto) in BOUNDS.iter().zip(&read.upto) {
            self.line(format_args!("{name}_bucket{} {upto}", Labels(labels, Some(&seconds(*bound)))));
        }
        self.line(format_args!("{name}_bucket{} {}", Labels(labels, Some("+Inf")), read.count));
        self.line(format_args!("{name}_sum{} {}", Labels(labels, None), seconds(read.micros)));
        self.line(format_args!("{name}_count{} {}", Labels(labels, None), read.count));
    }

    /// Writes a family of one gauge.
    pub(super) fn gauge(&mut self, name: &'static str, about: &str, value: usize) {
        self.family(name, Kind::Gauge, about);
        self.sample(&[], u64::try_from(value).unwrap_or(u64::MAX));
    }

    /// Writes a family of one counter.
    pub(super) fn counter(&mut self, name: &'static str, about: &str, value: u64) {
        self.family(name, Kind::Counter, about);
        self.sample(&[], value);
    }

    /// Writes a family of counters by one label.
    pub(super) fn counts<L: Label>(&mut self, name: &'static str, about: &str, label: &str, counters: &Counters<L>) {
        self.family(name, Kind::Counter, about);
        for (value, count) in counters.read() {
            self.sample(&[(label, value.as_str())], count);
        }
    }

    /// Gives the text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // writing to a String does not fail
        let _ = writeln!(self.text, "{line}");
    }
}

/// Labels with their values, and the upper end of a bucket. No value here needs an escape: all are words of our own.
struct Labels<'a>(&'a [(&'a str, &'a str)], Option<&'a str>);

impl std::fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.0.iter().copied().chain(self.1.map(|bound| ("le", bound)));
        let mut before = "{";
        for (name, value) in all {
            write!(f, "{before}{name}=\"{value}\"")?;
            before = ",";
        }
        if before == "," { f.write_str("}") } else { Ok(()) }
    }
}

/// Writes microseconds as seconds, without a rounding.
fn seconds(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    if part == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{part:06}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Histogram;

    #[test]
    fn a_histogram_reads_as_prometheus_wants_it() {
        let histogram = Histogram::default();
        histogram.add(Duration::from_micros(7_400));
        histogram.add(Duration::from_secs(3));
        let mut text = Text::default();
        text.family("t", Kind::Histogram, "What.");
        text.histogram(&[("a", "b")], &histogram.read());
        let text = text.finish();
        assert!(text.starts_with("# HELP t What.\n# TYPE t histogram\nt_bucket{a=\"b\",le=\"0.0005\"} 0\n"), "{text}");
        for line in [
            "t_bucket{a=\"b\",le=\"0.005\"} 0",
            "t_bucket{a=\"b\",le=\"0.0075\"} 1",
            "t_bucket{a=\"b\",le=\"1\"} 1",
            "t_bucket{a=\"b\",le=\"+Inf\"} 2",
            "t_sum{a=\"b\"} 3.0074",
            "t_count{a=\"b\"} 2",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
        }
    }
}
