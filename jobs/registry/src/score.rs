//! How well probabilities rank and fit what happened: AUC, log loss, means. Pure.

/// Area under the ROC curve: the chance that a positive row scores above a negative one, ties counting half.
///
/// Computed exactly from mid-ranks (Mann and Whitney, 1947). `None` where one class is absent or a score is NaN.
pub fn auc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    debug_assert_eq!(scores.len(), positive.len());
    let positives = positive.iter().filter(|&&truth| truth).count();
    let negatives = positive.len() - positives;
    if positives == 0 || negatives == 0 || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    // Twice the number of (positive, negative) pairs in the right order, ties once: whole numbers stay exact.
    let mut twice_won: u128 = 0;
    let mut negatives_below: u128 = 0;
    // -0.0 and 0.0 are ties although `total_cmp` orders them, hence `==` here.
    #[expect(clippy::float_cmp, reason = "ties are equal scores, bit for bit or zeros of either sign")]
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let won = tied.iter().filter(|&&row| positive[row]).count() as u128;
        let lost = tied.len() as u128 - won;
        twice_won += won * (2 * negatives_below + lost);
        negatives_below += lost;
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
    Some(twice_won as f64 / (2 * positives as u128 * negatives as u128) as f64)
}

/// Mean negative log likelihood of the outcomes, natural logarithm. Probabilities are kept `1e-15` away from 0 and 1,
/// so that one sure mistake doesn't make it infinite. `None` over nothing or where a score is NaN.
pub fn log_loss(scores: &[f64], positive: &[bool]) -> Option<f64> {
    debug_assert_eq!(scores.len(), positive.len());
    if scores.is_empty() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let sum: f64 = scores
        .iter()
        .zip(positive)
        .map(|(&score, &truth)| {
            let score = score.clamp(1e-15, 1.0 - 1e-15);
            if truth { -score.ln() } else { -(1.0 - score).ln() }
        })
        .sum();
    Some(sum / count(scores.len()))
}

/// Mean negative log likelihood of what happened, given the probability of it in each row; see [`log_loss`].
pub fn log_loss_of(probabilities: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    mean(probabilities.map(|probability| -probability.max(1e-15).ln()))
}

/// Mean; `None` over nothing.
pub fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let rows = values.len();
    (rows > 0).then(|| values.sum::<f64>() / count(rows))
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
fn count(rows: usize) -> f64 {
    rows as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(scores: &[f64], positive: &[u8], expected: Option<f64>) {
        let positive: Vec<bool> = positive.iter().map(|&truth| truth == 1).collect();
        assert_eq!(auc(scores, &positive), expected);
    }

    #[test]
    fn auc_of_known_cases() {
        check(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1], Some(0.75)); // the example of scikit-learn's documentation
        check(&[0.1, 0.2, 0.3, 0.4], &[0, 0, 1, 1], Some(1.0));
        check(&[0.4, 0.3, 0.2, 0.1], &[0, 0, 1, 1], Some(0.0));
        check(&[0.5, 0.5, 0.5, 0.5], &[0, 1, 0, 1], Some(0.5));
        check(&[-0.0, 0.0], &[1, 0], Some(0.5));
        check(&[0.1, 0.9], &[1, 1], None);
        check(&[f64::NAN, 0.9], &[0, 1], None);
        check(&[], &[], None);
    }

    #[test]
    fn log_loss_of_known_cases() {
        let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
        close(log_loss(&[0.5, 0.5], &[true, false]), std::f64::consts::LN_2);
        close(log_loss(&[0.9, 0.2], &[true, false]), -(0.9_f64.ln() + 0.8_f64.ln()) / 2.0);
        assert!(log_loss(&[0.0], &[true]).unwrap().is_finite());
        assert_eq!(log_loss(&[], &[]), None);
        // Three classes; the probability of the one that came.
        close(log_loss_of([0.7, 0.2].into_iter()), -(0.7_f64.ln() + 0.2_f64.ln()) / 2.0);
        assert!(log_loss_of([0.0].into_iter()).unwrap().is_finite());
    }

    proptest! {
        /// Few distinct scores, so that ties are frequent.
        #[test]
        fn auc_counts_pairs(rows in prop::collection::vec((0_u8..6, any::<bool>()), 1..60)) {
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0) / 5.0).collect();
            let positive: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for (a, _) in rows.iter().filter(|row| row.1) {
                for (b, _) in rows.iter().filter(|row| !row.1) {
                    pairs += 1.0;
                    won += match a.cmp(b) { std::cmp::Ordering::Greater => 1.0, std::cmp::Ordering::Equal => 0.5, std::cmp::Ordering::Less => 0.0 };
                }
            }
            prop_assert_eq!(auc(&scores, &positive), (pairs > 0.0).then(|| won / pairs));
        }
    }
}
