//! How far two distributions over the same bins lie apart. Pure: counts in, figures out.
//!
//! All of them are none where either side is empty. `reference` and `current` are counts of the same bins. Formulas with
//! an example: `docs/reference/drift.md`.

use serde::{Deserialize, Serialize};

use crate::counts::{SideBySide, share};

/// The distances between two sides. Each is none where a side is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// Population stability index, as [`psi`].
    pub psi: Option<f64>,
    /// Jensen-Shannon distance, base 2, as [`js`].
    pub js: Option<f64>,
    /// Hellinger distance.
    pub hellinger: Option<f64>,
    /// Largest difference of a bin's shares (L∞).
    pub linf: Option<f64>,
    /// Total variation distance: half the sum of the differences of the bins' shares.
    pub tvd: Option<f64>,
}

impl Distances {
    /// Between the known values: nulls left out.
    pub fn of_known(bins: &SideBySide) -> Self {
        Self::of(&bins.reference, &bins.current)
    }

    /// With a last bin for the nulls of the reference and of the window, whether there are any or not.
    pub fn with_null(bins: &SideBySide, (reference, current): (u64, u64)) -> Self {
        let of = |bins: &[u64], nulls| bins.iter().copied().chain([nulls]).collect::<Vec<_>>();
        Self::of(&of(&bins.reference, reference), &of(&bins.current, current))
    }

    fn of(reference: &[u64], current: &[u64]) -> Self {
        Self {
            psi: psi(reference, current),
            js: js(reference, current),
            hellinger: hellinger(reference, current),
            linf: linf(reference, current),
            tvd: tvd(reference, current),
        }
    }
}

/// Population stability index, natural logarithm. Half a count is added to each bin (the prior of Jeffreys), so that an
/// empty one is not infinitely surprising. 0 and up.
pub fn psi(reference: &[u64], current: &[u64]) -> Option<f64> {
    let shares = |counts: &[u64]| -> Option<Vec<f64>> {
        let total: u64 = counts.iter().sum();
        let whole = float(total) + 0.5 * float(counts.len() as u64);
        (total > 0).then(|| counts.iter().map(|count| (float(*count) + 0.5) / whole).collect())
    };
    let (p, q) = (shares(reference)?, shares(current)?);
    Some(p.iter().zip(&q).map(|(p, q)| (q - p) * (q / p).ln()).sum())
}

/// The [`psi`] to expect of two samples of one distribution: `(bins - 1) (1/n + 1/m)`. None where a side is empty.
pub fn psi_expected(reference: &[u64], current: &[u64]) -> Option<f64> {
    let (n, m): (u64, u64) = (reference.iter().sum(), current.iter().sum());
    (n > 0 && m > 0).then(|| float(reference.len() as u64 - 1) * (float(n).recip() + float(m).recip()))
}

/// Jensen-Shannon distance: the square root of the divergence with logarithms to base 2. 0 to 1.
pub fn js(reference: &[u64], current: &[u64]) -> Option<f64> {
    let (p, q) = (shares(reference)?, shares(current)?);
    let part = |x: f64, middle: f64| if x > 0.0 { x * (x / middle).log2() } else { 0.0 };
    let terms = p.iter().zip(&q).map(|(&p, &q)| {
        let middle = f64::midpoint(p, q);
        part(p, middle) + part(q, middle)
    });
    // Rounding may leave it a little below zero for equal sides.
    Some((0.5 * terms.sum::<f64>()).max(0.0).sqrt())
}

/// Hellinger distance: `sqrt(1 - Σ sqrt(p q))`, written as half the squared differences of the roots, which leaves nothing
/// of rounding where the sides are equal. 0 to 1.
pub fn hellinger(reference: &[u64], current: &[u64]) -> Option<f64> {
    let (p, q) = (shares(reference)?, shares(current)?);
    let apart: f64 = p.iter().zip(&q).map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum();
    Some((0.5 * apart).sqrt())
}

/// Largest difference of a bin's shares (L∞). 0 to 1.
pub fn linf(reference: &[u64], current: &[u64]) -> Option<f64> {
    Some(differences(reference, current)?.into_iter().fold(0.0, f64::max))
}

/// Total variation distance: half the sum of the differences of the bins' shares. 0 to 1.
pub fn tvd(reference: &[u64], current: &[u64]) -> Option<f64> {
    Some(0.5 * differences(reference, current)?.into_iter().sum::<f64>())
}

/// Kolmogorov-Smirnov statistic at the bins' edges: the largest difference of the cumulative shares. 0 to 1. For bins
/// in an order, so without nulls.
pub fn ks(reference: &[u64], current: &[u64]) -> Option<f64> {
    let (p, q) = (shares(reference)?, shares(current)?);
    let mut ahead = 0.0_f64;
    let largest = p.iter().zip(&q).map(|(p, q)| {
        ahead += p - q;
        ahead.abs()
    });
    Some(largest.fold(0.0, f64::max))
}

/// Kolmogorov-Smirnov statistic of two samples, exact: the largest difference of their distribution functions. Both are
/// ascending. 0 to 1.
pub fn ks_exact(reference: &[f64], current: &[f64]) -> Option<f64> {
    let (mut before, mut now, mut largest) = (0, 0, 0.0_f64);
    while let (Some(left), Some(right)) = (reference.get(before), current.get(now)) {
        let value = left.min(*right);
        before += reference[before..].iter().take_while(|x| **x <= value).count();
        now += current[now..].iter().take_while(|x| **x <= value).count();
        let below = share(before as u64, reference.len() as u64)?;
        largest = largest.max((below - share(now as u64, current.len() as u64)?).abs());
    }
    (!reference.is_empty() && !current.is_empty()).then_some(largest)
}

fn differences(reference: &[u64], current: &[u64]) -> Option<Vec<f64>> {
    let (p, q) = (shares(reference)?, shares(current)?);
    Some(p.iter().zip(&q).map(|(p, q)| (p - q).abs()).collect())
}

fn shares(counts: &[u64]) -> Option<Vec<f64>> {
    let total = counts.iter().sum();
    counts.iter().map(|count| share(*count, total)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nulls_that_come_up_are_drift_to_the_psi_that_counts_them() {
        let bins = SideBySide { reference: vec![500, 500], current: vec![350, 350], ..SideBySide::default() };
        assert!(Distances::with_null(&bins, (0, 300)).psi.unwrap() > 0.25);
        assert!(Distances::of_known(&bins).psi.unwrap() < 1e-6);
    }

    #[test]
    fn nothing_is_said_of_an_empty_side() {
        for figure in [psi, js, hellinger, ks, linf, tvd, psi_expected] {
            assert_eq!(figure(&[0, 0], &[1, 2]), None);
            assert_eq!(figure(&[1, 2], &[0, 0]), None);
        }
        assert_eq!((ks_exact(&[], &[1.0]), ks_exact(&[1.0], &[])), (None, None));
    }

    #[test]
    fn the_exact_statistic_sees_what_lies_within_a_bin() {
        assert_eq!(ks_exact(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), Some(0.0));
        assert_eq!(ks_exact(&[1.0, 1.0, 2.0], &[1.0, 2.0, 2.0]), Some(2.0 / 3.0 - 1.0 / 3.0));
        assert_eq!(ks_exact(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
    }

    proptest! {
        #[test]
        fn figures_keep_their_range(pairs in prop::collection::vec((0..1000_u64, 0..1000_u64), 1..20)) {
            let (p, q): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
            for figure in [js, hellinger, ks, linf, tvd] {
                let figure = figure(&p, &q).unwrap_or(0.0);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&figure));
            }
            prop_assert!(psi(&p, &q).unwrap_or(0.0) >= 0.0);
            for figure in [psi, js, hellinger, ks, linf, tvd] {
                prop_assert_eq!(figure(&p, &p).unwrap_or(0.0), 0.0);
            }
            prop_assert!(linf(&p, &q).unwrap_or(0.0) <= tvd(&p, &q).unwrap_or(0.0) + 1e-12);
        }

        /// Few distinct values, so that both samples have ties.
        #[test]
        fn the_exact_statistic_is_the_largest_difference_of_the_two_distribution_functions(
            mut a in prop::collection::vec(0..8_u32, 1..40), mut b in prop::collection::vec(0..8_u32, 1..40)
        ) {
            a.sort_unstable();
            b.sort_unstable();
            let below = |sample: &[u32], x: u32| share(sample.iter().filter(|y| **y <= x).count() as u64, sample.len() as u64).unwrap();
            let largest = (0..8).map(|x| (below(&a, x) - below(&b, x)).abs()).fold(0.0, f64::max);
            let floats = |sample: &[u32]| sample.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
            prop_assert_eq!(ks_exact(&floats(&a), &floats(&b)), Some(largest));
        }
    }
}
