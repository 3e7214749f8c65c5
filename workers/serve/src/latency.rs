//! Latencies of one model version: counts in buckets that grow by 5 %, so quantiles are right within 5 %.
//!
//! Counts add up over replicas. Since the process started; scrape `/metrics` for rates over time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;

const GROWTH: f64 = 1.05;
/// The first bucket ends at 10 µs, the last at about 3 minutes.
const SMALLEST_SECONDS: f64 = 1e-5;
const BUCKETS: usize = 342;

/// Counts of latencies.
#[derive(Debug)]
pub(crate) struct Latencies {
    buckets: Vec<AtomicU64>,
    errors: AtomicU64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), errors: AtomicU64::new(0) }
    }
}

impl Latencies {
    /// Counts one request.
    pub(crate) fn observe(&self, took: Duration, failed: bool) {
        let steps = (took.as_secs_f64() / SMALLEST_SECONDS).max(1.0).ln() / GROWTH.ln();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a few hundred")]
        let bucket = (steps.ceil() as usize).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// What was measured so far; quantiles are 0 before the first request.
    pub(crate) fn summary(&self) -> Summary {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Summary {
            requests: counts.iter().sum(),
            errors: self.errors.load(Ordering::Relaxed),
            p50_ms: quantile_ms(&counts, 0.50),
            p95_ms: quantile_ms(&counts, 0.95),
            p99_ms: quantile_ms(&counts, 0.99),
        }
    }
}

/// Upper end of the bucket that holds the quantile.
#[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
fn quantile_ms(counts: &[u64], quantile: f64) -> f64 {
    let rank = quantile * counts.iter().sum::<u64>() as f64;
    let mut seen = 0.0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += *count as f64;
        if *count > 0 && seen >= rank {
            let end_ms = SMALLEST_SECONDS * GROWTH.powf(bucket as f64) * 1e3;
            return (end_ms * 1e3).round() / 1e3;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_five_percent() {
        let latencies = Latencies::default();
        for micros in 1..=10_000 {
            latencies.observe(Duration::from_micros(micros), micros % 100 == 0);
        }
        let summary = latencies.summary();
        assert_eq!((summary.requests, summary.errors), (10_000, 100));
        for (got, expected) in [(summary.p50_ms, 5.0), (summary.p95_ms, 9.5), (summary.p99_ms, 9.9)] {
            assert!(got >= expected && got <= expected * 1.051, "{got} for {expected}");
        }
    }

    #[test]
    fn nothing_measured_is_zero_and_the_extremes_fit() {
        let latencies = Latencies::default();
        assert_eq!(latencies.summary().p99_ms.to_bits(), 0);
        latencies.observe(Duration::ZERO, false);
        latencies.observe(Duration::from_secs(100_000), false);
        assert_eq!(latencies.summary().requests, 2);
    }
}
