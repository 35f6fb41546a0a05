//! Samples and what is told of them.

use std::time::Duration;

use super::cost::Cost;

/// Times, of which percentiles are told.
#[derive(Debug, Default, Clone)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub(super) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Adds those of another.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The time that `percent` of all do not exceed, in microseconds.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    }
}

/// The ways that bulk is measured over: TCP, TLS, two relays, the tunnel.
pub(super) const WAYS: usize = 4;

/// One load's rounds over each way: rates in 10^6 bytes a second, and who spent the processors' time.
#[derive(Debug, Default, Clone)]
pub(super) struct Throughput {
    rates: [Vec<f64>; WAYS],
    costs: [Vec<Cost>; WAYS],
}

impl Throughput {
    /// Adds a round.
    pub(super) fn add(&mut self, rates: [f64; WAYS], costs: [Cost; WAYS]) {
        for (all, rate) in self.rates.iter_mut().zip(rates) {
            all.push(rate);
        }
        for (all, cost) in self.costs.iter_mut().zip(costs) {
            all.push(cost);
        }
    }

    /// The rates over each way: medians of the rounds.
    pub(super) fn rates(&self) -> [f64; WAYS] {
        self.rates.each_ref().map(|rates| median(rates))
    }

    /// The tunnel's rate as a part of TCP's, of TLS' and of the relays': medians of each round's own ratio.
    pub(super) fn ratios(&self) -> [f64; WAYS - 1] {
        let [tcp, tls, relays, tunnel] = &self.rates;
        [tcp, tls, relays].map(|bound| {
            let ratios: Vec<f64> = tunnel.iter().zip(bound).map(|(rate, bound)| rate / bound).collect();
            median(&ratios)
        })
    }

    /// Seconds per GiB over each way: medians of the rounds.
    pub(super) fn costs(&self) -> [Cost; WAYS] {
        self.costs.each_ref().map(|costs| Cost::median(costs))
    }
}

/// The middle of some numbers, 0 of none.
pub(super) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// A positive number without its fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is what is wanted"
)]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_the_nearest_rank() {
        let mut times = Times::default();
        assert!(times.percentile(50).abs() < f64::EPSILON);
        for millis in (1..=100).rev() {
            times.add(Duration::from_millis(millis));
        }
        for (percent, micros) in [(50, 50_000.0), (99, 99_000.0), (100, 100_000.0)] {
            assert!((times.percentile(percent) - micros).abs() < 1e-6, "{percent}");
        }
    }

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        for (numbers, middle) in [(vec![], 0.0), (vec![3.0], 3.0), (vec![4.0, 1.0], 2.5), (vec![9.0, 1.0, 5.0], 5.0)] {
            assert!((median(&numbers) - middle).abs() < f64::EPSILON, "{numbers:?}");
        }
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let mut load = Throughput::default();
        load.add([100.0, 50.0, 20.0, 25.0], [Cost::default(); WAYS]);
        load.add([1000.0, 500.0, 200.0, 250.0], [Cost::default(); WAYS]);
        for (ratio, expected) in load.ratios().iter().zip([0.25, 0.5, 1.25]) {
            assert!((ratio - expected).abs() < 1e-9, "{ratio} {expected}");
        }
    }
}
