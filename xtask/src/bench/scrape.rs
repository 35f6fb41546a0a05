//! What the gateway measures of itself, read from its metrics.

use std::io;
use std::net::SocketAddr;

use super::evaluation::get;
use super::sample::float;

/// A histogram: how many took no longer than each bound, in seconds.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Histogram(Vec<(f64, u64)>);

/// Reads one histogram of a gateway.
pub(super) fn scrape(address: SocketAddr, name: &str, labels: &[(&str, &str)]) -> io::Result<Histogram> {
    Ok(read(&get(address, "/metrics")?, name, labels))
}

/// Reads one sample without labels.
pub(super) fn sample(address: SocketAddr, name: &str) -> io::Result<u64> {
    let text = get(address, "/metrics")?;
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    found.ok_or_else(|| io::Error::other(format!("there is no {name}")))
}

fn read(text: &str, name: &str, labels: &[(&str, &str)]) -> Histogram {
    let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let bucket = format!("{name}_bucket{{");
    let buckets = text.lines().filter_map(|line| {
        let (inside, count) = line.strip_prefix(&bucket)?.split_once("} ")?;
        let parts: Vec<&str> = inside.split(',').collect();
        let bound = parts.iter().find_map(|part| part.strip_prefix("le=\"")?.strip_suffix('"'))?;
        let ours = wanted.iter().all(|wanted| parts.contains(&wanted.as_str()));
        ours.then_some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
    });
    // those of several series, as of all causes, are one
    let mut all: Vec<(f64, u64)> = Vec::new();
    for (bound, count) in buckets {
        match all.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
            Some((_, sum)) => *sum += count,
            None => all.push((bound, count)),
        }
    }
    Histogram(all)
}

impl Histogram {
    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, count)| *count)
    }

    /// What came since an earlier look at the same one.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |index: usize| before.0.get(index).map_or(0, |(_, count)| *count);
        let buckets = self.0.iter().enumerate();
        Self(buckets.map(|(index, (bound, count))| (*bound, count.saturating_sub(earlier(index)))).collect())
    }

    /// Adds another.
    pub(super) fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0 = other.0.iter().map(|(bound, _)| (*bound, 0)).collect();
        }
        for ((_, sum), (_, more)) in self.0.iter_mut().zip(&other.0) {
            *sum += more;
        }
    }

    /// The time in milliseconds that `percent` of all do not exceed, taken to lie evenly within its bucket, as
    /// Prometheus' `histogram_quantile` does; the last bound when it lies beyond.
    pub(super) fn percentile(&self, percent: u64) -> f64 {
        let rank = float(self.count() * percent) / 100.0;
        let (mut low, mut below) = (0.0, 0);
        for (bound, upto) in &self.0 {
            if float(*upto) >= rank && *upto > below {
                if bound.is_infinite() {
                    return low * 1e3;
                }
                return (low + (bound - low) * (rank - float(below)) / float(upto - below)) * 1e3;
            }
            (low, below) = (*bound, *upto);
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_read_and_its_percentiles_lie_within_their_buckets() {
        let text = "# TYPE t histogram\nt_bucket{a=\"x\",le=\"0.001\"} 10\nt_bucket{a=\"x\",le=\"0.002\"} 90\n\
                    t_bucket{a=\"x\",le=\"+Inf\"} 100\nt_bucket{a=\"y\",le=\"0.001\"} 7\nt_sum{a=\"x\"} 1\n";
        let read = read(text, "t", &[("a", "x")]);
        assert_eq!(read.count(), 100);
        for (percent, millis) in [(10, 1.0), (50, 1.5), (90, 2.0), (99, 2.0)] {
            assert!((read.percentile(percent) - millis).abs() < 1e-9, "{percent}: {}", read.percentile(percent));
        }
        assert_eq!(super::read(text, "t", &[]).0.first(), Some(&(0.001, 17)), "of all series");
        let mut sum = Histogram::default();
        sum.add(&read);
        sum.add(&read);
        assert_eq!((sum.count(), sum.since(&read)), (200, read));
    }
}
