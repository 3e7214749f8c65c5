//! What a figure means against its limits. Pure.

use serde::{Deserialize, Serialize};

/// Rows that a window must have before its figures are judged.
pub const ROWS_MIN: u64 = 200;

/// What is said of one check, or of a whole window. The greater, the more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within its limits.
    Ok,
    /// Too little to say anything: neither well nor ill.
    Insufficient,
    /// Shown.
    Warn,
    /// Opens an incident.
    Fail,
}

impl Verdict {
    /// The word that SQL and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Insufficient => "insufficient",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// Judges a figure of which less is better: none, NaN, or one of fewer than [`ROWS_MIN`] rows, is insufficient.
pub fn judge(figure: Option<f64>, rows: u64, warn: Option<f64>, fail: f64) -> Verdict {
    match figure {
        Some(figure) if rows >= ROWS_MIN && !figure.is_nan() => at_most(figure, warn, fail),
        _ => Verdict::Insufficient,
    }
}

/// Judges a figure that needs no rows behind it.
pub fn at_most(figure: f64, warn: Option<f64>, fail: f64) -> Verdict {
    if figure > fail {
        Verdict::Fail
    } else if warn.is_some_and(|warn| figure > warn) {
        Verdict::Warn
    } else {
        Verdict::Ok
    }
}

/// The most urgent of them; insufficient where there is none.
pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    verdicts.into_iter().max().unwrap_or(Verdict::Insufficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_still_within() {
        let check = |figure, expected| assert_eq!(judge(Some(figure), 200, Some(0.1), 0.2), expected);
        check(0.1, Verdict::Ok);
        check(0.11, Verdict::Warn);
        check(0.2, Verdict::Warn);
        check(0.21, Verdict::Fail);
    }

    #[test]
    fn few_rows_are_neither_well_nor_ill() {
        assert_eq!(judge(Some(9.0), 199, None, 0.2), Verdict::Insufficient);
        assert_eq!(judge(Some(0.0), 199, None, 0.2), Verdict::Insufficient);
        assert_eq!(judge(None, 500, None, 0.2), Verdict::Insufficient);
        assert_eq!(judge(Some(f64::NAN), 500, None, 0.2), Verdict::Insufficient);
    }

    #[test]
    fn the_most_urgent_speaks_for_all() {
        use Verdict::{Fail, Insufficient, Ok, Warn};
        assert_eq!(worst([Ok, Fail, Warn]), Fail);
        assert_eq!(worst([Ok, Insufficient]), Insufficient);
        assert_eq!(worst([Insufficient, Warn]), Warn);
        assert_eq!(worst([]), Insufficient);
    }
}
