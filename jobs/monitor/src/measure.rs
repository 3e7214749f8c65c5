//! How far two distributions over the same bins lie apart. Pure: counts in, figures out.
//!
//! All of them are none where either side is empty. `reference` and `current` are counts of the same bins.

use crate::counts::{Counts, share};

/// Counts of both sides bin by bin, nulls last. The null bin is left out where neither side has one, since it would
/// only dilute the half counts of [`psi`].
pub fn aligned(reference: &Counts, current: &Counts) -> (Vec<u64>, Vec<u64>) {
    let nulls = reference.nulls + current.nulls > 0;
    let of = |counts: &Counts| {
        counts.bins.iter().copied().chain(nulls.then_some(counts.nulls)).collect::<Vec<_>>()
    };
    (of(reference), of(current))
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

/// Hellinger distance. 0 to 1.
pub fn hellinger(reference: &[u64], current: &[u64]) -> Option<f64> {
    let (p, q) = (shares(reference)?, shares(current)?);
    let overlap: f64 = p.iter().zip(&q).map(|(p, q)| (p * q).sqrt()).sum();
    Some((1.0 - overlap).max(0.0).sqrt())
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
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array};
    use proptest::prelude::*;

    use super::*;
    use crate::counts::Bins;

    /// Figures of another implementation have ten digits.
    #[track_caller]
    fn check(reference: &Counts, current: &Counts, [psi_, js_, hellinger_, ks_]: [f64; 4]) {
        let (p, q) = aligned(reference, current);
        let figures = [psi(&p, &q), js(&p, &q), hellinger(&p, &q), ks(&reference.bins, &current.bins)];
        for (figure, expected) in figures.into_iter().zip([psi_, js_, hellinger_, ks_]) {
            let figure = figure.unwrap();
            assert!((figure - expected).abs() <= 1e-9 * expected.max(0.1), "{figure} instead of {expected}");
        }
    }

    fn splitmix(seed: u64, count: u64) -> impl Iterator<Item = f64> {
        (1..=count).map(move |i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            float((z ^ (z >> 31)) >> 11) * 2.0_f64.powi(-53)
        })
    }

    #[test]
    fn figures_of_numbers_agree_with_another_implementation() {
        let reference: ArrayRef = Arc::new(Float64Array::from_iter_values(splitmix(42, 4000)));
        let current: ArrayRef =
            Arc::new(Float64Array::from_iter_values(splitmix(43, 4000).map(|x| x.powf(1.1))));
        let bins = Bins::freeze(&reference).unwrap();
        let (reference, current) = (bins.count(&reference).unwrap(), bins.count(&current).unwrap());
        check(&reference, &current, [0.012_998_421_78, 0.048_435_637_86, 0.040_341_919_19, 0.038]);
    }

    #[test]
    fn figures_of_categories_agree_with_another_implementation() {
        let counts = |bins: [u64; 5]| Counts { bins: bins.to_vec(), ..Counts::default() };
        let (reference, current) = (counts([205, 189, 214, 192, 0]), counts([208, 206, 200, 186, 0]));
        check(&reference, &current, [0.003_288_347_647, 0.024_417_317_52, 0.020_329_982_56, 0.025]);
    }

    #[test]
    fn nulls_that_come_up_are_drift() {
        let without = Counts { bins: vec![500, 500], ..Counts::default() };
        let with = Counts { bins: vec![350, 350], nulls: 300, infinite: 0 };
        let (p, q) = aligned(&without, &with);
        assert!(psi(&p, &q).unwrap() > 0.25);
        assert_eq!(aligned(&without, &without).0.len(), 2);
    }

    #[test]
    fn nothing_is_said_of_an_empty_side() {
        for figure in [psi, js, hellinger, ks] {
            assert_eq!(figure(&[0, 0], &[1, 2]), None);
            assert_eq!(figure(&[1, 2], &[0, 0]), None);
        }
    }

    proptest! {
        #[test]
        fn figures_keep_their_range(pairs in prop::collection::vec((0..1000_u64, 0..1000_u64), 1..20)) {
            let (p, q): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
            for figure in [js, hellinger, ks] {
                let figure = figure(&p, &q).unwrap_or(0.0);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&figure));
            }
            prop_assert!(psi(&p, &q).unwrap_or(0.0) >= 0.0);
            prop_assert!(psi(&p, &p).unwrap_or(0.0).abs() < 1e-12);
        }
    }
}
