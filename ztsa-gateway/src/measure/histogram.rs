//! Counts of one kind: by label, and by how long something took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The values that one label may have. They are few and known, so that no name of anybody ever becomes one.
pub trait Label: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [Self];
    /// The value, as it stands in a scrape.
    fn as_str(self) -> &'static str;
}

/// Counts by a label.
#[derive(Debug)]
pub struct Counters<L> {
    counts: Box<[AtomicU64]>,
    labels: std::marker::PhantomData<L>,
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self { counts: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(), labels: std::marker::PhantomData }
    }
}

impl<L: Label> Counters<L> {
    /// Counts one more.
    pub fn add(&self, label: L) {
        let index = L::ALL.iter().position(|known| *known == label);
        if let Some(count) = index.and_then(|index| self.counts.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives every label with its count.
    pub fn read(&self) -> impl Iterator<Item = (L, u64)> {
        L::ALL.iter().copied().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// The upper ends of the buckets, in microseconds: fine from 1 ms to 1 s, where what is promised lies.
pub const BOUNDS: [u64; 16] = [
    500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 25_000, 50_000, 75_000, 100_000, 150_000, 250_000, 500_000,
    1_000_000,
];

/// Counts durations by buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many fell between the bound before and this one.
    within: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let index = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(within) = self.within.get(index) {
            within.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads it at one moment.
    pub fn read(&self) -> Read {
        let mut so_far = 0;
        let upto: Vec<u64> = self
            .within
            .iter()
            .map(|within| {
                so_far += within.load(Ordering::Relaxed);
                so_far
            })
            .collect();
        // what is added meanwhile is in one and not yet in the other: no bucket may hold more than there are
        let count = self.count.load(Ordering::Relaxed).max(so_far);
        Read { upto, count, micros: self.micros.load(Ordering::Relaxed) }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// How many took no longer than each of [`BOUNDS`].
    pub upto: Vec<u64>,
    /// How many there were.
    pub count: u64,
    /// How long they took together, in microseconds.
    pub micros: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_every_bucket_that_reaches_it() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 1_000_000, 1_000_001] {
            histogram.add(Duration::from_micros(micros));
        }
        let read = histogram.read();
        assert_eq!((read.count, read.micros), (5, 2_001_002));
        let upto = |bound: u64| read.upto[BOUNDS.iter().position(|known| *known == bound).unwrap()];
        assert_eq!((upto(500), upto(1_000), upto(500_000), upto(1_000_000)), (2, 3, 3, 4));
        assert!(BOUNDS.is_sorted());
    }
}
