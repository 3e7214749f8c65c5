//! Percentiles within a relative error: `DDSketch` (Masson, Rim and Lee, 2019). Values are counted in buckets whose bounds
//! grow by the factor γ, so whatever a bucket holds is within 1 % of its middle. Buckets are never merged: joining is
//! adding counts, in any order.

use std::collections::BTreeMap;

use super::bytes::{Damaged, Reader, Writer};

const VERSION: u8 = 1;

/// The relative error.
const ERROR: f64 = 0.01;
const GAMMA: f64 = (1.0 + ERROR) / (1.0 - ERROR);
/// Values nearer to 0 are taken for 0: there would be no end of buckets.
const LEAST: f64 = 1e-12;

/// Counts by bucket: `k` holds `(γ^(k-1), γ^k]`.
type Buckets = BTreeMap<i64, u64>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sketch {
    /// By the bucket of their absolute value.
    negative: Buckets,
    zeros: u64,
    positive: Buckets,
}

impl Sketch {
    pub(super) fn add(&mut self, number: f64) {
        if number.abs() < LEAST {
            self.zeros += 1;
            return;
        }
        let buckets = if number > 0.0 { &mut self.positive } else { &mut self.negative };
        *buckets.entry(bucket(number.abs())).or_default() += 1;
    }

    pub(super) fn join(&mut self, later: Self) {
        self.zeros = self.zeros.saturating_add(later.zeros);
        for (buckets, later) in [(&mut self.negative, later.negative), (&mut self.positive, later.positive)] {
            for (bucket, count) in later {
                let counted = buckets.entry(bucket).or_default();
                *counted = counted.saturating_add(count);
            }
        }
    }

    /// About the value of rank `⌊p·(n-1)⌋` among n, from 0.
    #[expect(clippy::cast_precision_loss, reason = "windows hold fewer than 2^52 rows")]
    pub(super) fn percentile(&self, p: f64) -> Option<f64> {
        let negative = self.negative.iter().rev().map(|(bucket, count)| (-middle(*bucket), *count));
        let positive = self.positive.iter().map(|(bucket, count)| (middle(*bucket), *count));
        let ascending = || negative.clone().chain([(0.0, self.zeros)]).chain(positive.clone());
        let rows = ascending().fold(0_u64, |rows, (_, count)| rows.saturating_add(count));
        let rank = (p * rows.checked_sub(1)? as f64).floor();
        let mut below = 0_u64;
        ascending().find_map(|(value, count)| {
            below = below.saturating_add(count);
            (below as f64 > rank).then_some(value)
        })
    }

    pub(super) fn write(&self) -> String {
        let mut out = Writer::new(VERSION);
        out.whole(self.zeros);
        for buckets in [&self.negative, &self.positive] {
            out.length(buckets.len());
            let mut before = 0;
            for (bucket, count) in buckets {
                out.signed(bucket - before);
                out.whole(*count);
                before = *bucket;
            }
        }
        out.text()
    }

    pub(super) fn read(text: &str) -> Result<Self, Damaged> {
        let mut from = Reader::new(text, VERSION)?;
        let zeros = from.whole()?;
        let (negative, positive) = (buckets(&mut from)?, buckets(&mut from)?);
        from.end()?;
        Ok(Self { negative, zeros, positive })
    }
}

fn buckets(from: &mut Reader) -> Result<Buckets, Damaged> {
    let count = from.length()?;
    let mut bucket = 0_i64;
    let mut next = || {
        bucket = bucket.checked_add(from.signed()?).ok_or(Damaged("a bucket is out of range"))?;
        Ok((bucket, from.whole()?))
    };
    (0..count).map(|_| next()).collect()
}

/// The bucket of a positive value.
#[expect(clippy::cast_possible_truncation, reason = "a logarithm of a finite float is small")]
fn bucket(number: f64) -> i64 {
    (number.ln() / GAMMA.ln()).ceil() as i64
}

/// What lies in a bucket is within [`ERROR`] of this.
#[expect(clippy::cast_precision_loss, reason = "buckets are numbered by small ints")]
fn middle(bucket: i64) -> f64 {
    (bucket as f64 * GAMMA.ln()).exp() * (2.0 / (GAMMA + 1.0))
}
