//! Figures of model versions: counts and histograms that add up, over buckets of time and over serving processes. Pure.
//!
//! [`Figures`] is what people read: how a version fared in some seconds. [`Arms`] is what a rollout is judged by: what its
//! two arms did in one step, so that one can be compared with the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets grow by this factor, so a quantile is right within 5 %.
const GROWTH: f64 = 1.05;
/// Everything nearer to zero is in the first bucket on its side; of seconds: a nanosecond.
const SMALLEST: f64 = 1e-9;
/// The last bucket on each side begins beyond 1e18.
const LAST: i32 = 1_300;

/// Counts of numbers in buckets whose width is 5 % of their distance from zero. Negative numbers have buckets of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    counts: BTreeMap<i32, u64>,
}

impl Histogram {
    /// Counts one number; one that isn't finite is left out.
    pub fn observe(&mut self, number: f64) {
        if number.is_finite() {
            *self.counts.entry(bucket(number)).or_default() += 1;
        }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many lie in buckets beyond this one.
    pub fn above(&self, bucket: i32) -> u64 {
        self.counts.range(bucket.saturating_add(1)..).map(|(_, count)| count).sum()
    }

    /// The bucket that holds a quantile, 0 to 1; `None` if nothing was counted.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    pub fn quantile_bucket(&self, quantile: f64) -> Option<i32> {
        let rank = quantile * self.total() as f64;
        let mut seen = 0.0;
        for (bucket, count) in &self.counts {
            seen += *count as f64;
            if *count > 0 && seen >= rank {
                return Some(*bucket);
            }
        }
        None
    }

    /// The upper end of the bucket that holds a quantile, 0 to 1; `None` if nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        self.quantile_bucket(quantile).map(upper_end)
    }
}

/// The bucket of a number: 0 holds zero alone, those of greater numbers have greater ones.
#[expect(clippy::cast_possible_truncation, reason = "clamped to some hundreds")]
pub fn bucket(number: f64) -> i32 {
    if number == 0.0 {
        return 0;
    }
    let steps = ((number.abs() / SMALLEST).ln() / GROWTH.ln()).ceil().clamp(0.0, f64::from(LAST)) as i32 + 1;
    if number > 0.0 { steps } else { -steps }
}

fn upper_end(bucket: i32) -> f64 {
    match bucket {
        0 => 0.0,
        1.. => SMALLEST * GROWTH.powi(bucket - 1),
        _ => -SMALLEST * GROWTH.powi(-bucket - 2),
    }
}

/// How requests of one version fared in some stretch of time. Latencies are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Requests, those that failed included.
    pub requests: u64,
    /// Requests that failed as a whole.
    pub errors: u64,
    /// Entities of requests that didn't.
    pub entities: u64,
    /// Entities with a feature that no value was found for.
    pub defaulted: u64,
    /// From request to reply.
    pub whole: Histogram,
    /// The reads of features, and what is computed from them.
    pub hydrate: Histogram,
    /// The model's answer: waiting for a process, and its prediction.
    pub model: Histogram,
}

impl Figures {
    /// Adds those of another stretch, or of another process.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.entities += other.entities;
        self.defaulted += other.defaulted;
        self.whole.merge(&other.whole);
        self.hydrate.merge(&other.hydrate);
        self.model.merge(&other.model);
    }

    /// What people read of them.
    pub fn summary(&self) -> Summary {
        let stage = |latencies: &Histogram| Quantiles {
            p50_ms: milliseconds(latencies, 0.50),
            p95_ms: milliseconds(latencies, 0.95),
            p99_ms: milliseconds(latencies, 0.99),
        };
        Summary {
            requests: self.requests,
            errors: self.errors,
            entities: self.entities,
            defaulted: self.defaulted,
            whole: stage(&self.whole),
            hydrate: stage(&self.hydrate),
            model: stage(&self.model),
        }
    }
}

/// A quantile of latencies, 0 before the first; milliseconds, three decimals.
pub fn milliseconds(latencies: &Histogram, quantile: f64) -> f64 {
    (latencies.quantile(quantile).unwrap_or_default() * 1e6).round() / 1e3
}

/// Figures as people read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Requests, those that failed included.
    pub requests: u64,
    /// Requests that failed as a whole.
    pub errors: u64,
    /// Entities of requests that didn't.
    pub entities: u64,
    /// Entities with a feature that no value was found for.
    pub defaulted: u64,
    /// From request to reply.
    #[serde(flatten)]
    pub whole: Quantiles,
    /// The reads of features.
    pub hydrate: Quantiles,
    /// The model's answer.
    pub model: Quantiles,
}

/// Latencies, right within 5 %; 0 where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 95 % of them took no longer.
    pub p95_ms: f64,
    /// 99 % of them took no longer.
    pub p99_ms: f64,
}

/// What one arm did in one step of a rollout. `requests`, `errors` and `latency` count every request; the others but `fell_back` count
/// each entity once, at its first request of the step, so that an entity that asks a thousand times is not a thousand
/// witnesses; of a request that failed as a whole they count one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Requests, or parts of them, that the arm was asked.
    pub requests: u64,
    /// Those that failed by its doing.
    pub errors: u64,
    /// Entities that the control answered in its place.
    pub fell_back: u64,
    /// How long each took, in seconds.
    pub latency: Histogram,
    /// Entities that were asked for.
    pub entities: u64,
    /// Those whose first prediction failed.
    pub failed: u64,
    /// Those for whom a feature had no value.
    pub defaulted: u64,
    /// How long the requests of these took, each once, in seconds.
    pub took: Histogram,
    /// The first output of each, where it is a number.
    pub numbers: Histogram,
    /// The first output of each, where it is a class, a truth or a text; at most 50 of them.
    pub labels: BTreeMap<String, u64>,
}

/// Labels that a tally tells apart.
const LABELS_MAX: usize = 50;

impl Tally {
    /// Counts a label, unless there are too many.
    pub fn label(&mut self, label: &str) {
        if let Some(count) = self.labels.get_mut(label) {
            *count += 1;
        } else if self.labels.len() < LABELS_MAX {
            self.labels.insert(label.to_owned(), 1);
        }
    }

    /// Adds that of another process.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.fell_back += other.fell_back;
        self.latency.merge(&other.latency);
        self.entities += other.entities;
        self.failed += other.failed;
        self.defaulted += other.defaulted;
        self.took.merge(&other.took);
        self.numbers.merge(&other.numbers);
        for (label, count) in &other.labels {
            *self.labels.entry(label.clone()).or_default() += count;
        }
    }

    /// Failed requests of all, 0 to 1; 0 before the first.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
    pub fn error_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }
}

/// What both arms did in one step of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arms {
    /// The version that the alias names.
    pub control: Tally,
    /// The version on trial.
    pub candidate: Tally,
}

impl Arms {
    /// What both arms did over some serving processes.
    pub fn over<'a>(processes: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for arms in processes {
            all.merge(arms);
        }
        all
    }

    /// Adds those of another process.
    pub fn merge(&mut self, other: &Self) {
        self.control.merge(&other.control);
        self.candidate.merge(&other.candidate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_five_percent_and_add_up() {
        let (mut odd, mut even) = (Histogram::default(), Histogram::default());
        for micros in 1..=10_000 {
            let latencies = if micros % 2 == 0 { &mut even } else { &mut odd };
            latencies.observe(f64::from(micros) * 1e-6);
        }
        odd.merge(&even);
        for (quantile, expected) in [(0.50, 5.0), (0.95, 9.5), (0.99, 9.9)] {
            let got = milliseconds(&odd, quantile);
            assert!(got >= expected * 0.999 && got <= expected * 1.051, "{got} for {expected}");
        }
        assert_eq!((odd.total(), Histogram::default().quantile(0.5)), (10_000, None));
    }

    #[test]
    fn buckets_are_ordered_as_their_numbers_and_the_extremes_fit() {
        let numbers = [f64::MIN, -3.0, -1.0, -0.1, -1e-300, 0.0, 1e-300, 1e-9, 0.2, 0.25, 1.0, 7e3, f64::MAX];
        let buckets: Vec<i32> = numbers.map(bucket).into();
        assert!(buckets.is_sorted(), "{buckets:?}");
        for number in [-3.0, -0.1, 0.2, 0.25, 1.0, 7e3] {
            let end = upper_end(bucket(number));
            assert!(end >= number - 1e-9 && end - number <= 0.051 * number.abs(), "{end} for {number}");
        }
        let mut counted = Histogram::default();
        for number in [f64::NAN, f64::INFINITY, 1.0, 2.0, 3.0] {
            counted.observe(number);
        }
        assert_eq!((counted.total(), counted.above(bucket(1.0)), counted.above(bucket(3.0))), (3, 2, 0));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut arms = Arms::default();
        arms.candidate.numbers.observe(-0.5);
        arms.candidate.took.observe(0.001);
        arms.control.label("setosa");
        let text = serde_json::to_string(&arms).unwrap();
        assert_eq!(serde_json::from_str::<Arms>(&text).unwrap(), arms);
    }
}
