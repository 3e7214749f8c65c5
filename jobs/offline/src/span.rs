//! The moments whose rows a read can't do without. Files that hold none of them are not fetched.

use tidemill_core::Time;
use tidemill_rows::VALID_AT;

use crate::sql;

/// Rows with a `valid_at` within these moments, both included; `None`: without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Option<Time>,
    pub(crate) upto: Option<Time>,
}

impl Span {
    /// Everything.
    pub(crate) const ALL: Self = Self { from: None, upto: None };

    /// No row is valid within it.
    pub(crate) const NOTHING: Self = Self { from: Some(Time::MAX_UTC), upto: Some(Time::MIN_UTC) };

    /// Between two instants in microseconds; what lies outside all times is no bound.
    pub(crate) fn of_us(from: Option<i64>, upto: i64) -> Self {
        Self { from: from.and_then(Time::from_timestamp_micros), upto: Time::from_timestamp_micros(upto) }
    }

    /// The first and the last instant, in microseconds.
    pub(crate) fn bounds_us(&self) -> (i64, i64) {
        let from = self.from.map_or(i64::MIN, |from| from.timestamp_micros());
        (from, self.upto.map_or(i64::MAX, |upto| upto.timestamp_micros()))
    }

    /// Whether a file can hold such rows. `range`: the least and greatest `valid_at` in it, if that is known.
    pub(crate) fn meets(&self, range: Option<(Time, Time)>) -> bool {
        range.is_none_or(|(least, greatest)| {
            self.from.is_none_or(|from| greatest >= from) && self.upto.is_none_or(|upto| least <= upto)
        })
    }

    /// The shortest span that holds all of some; `None` without any.
    pub(crate) fn hull(spans: &[Self]) -> Option<Self> {
        let wider = |a: Self, b: Self| Self {
            from: a.from.zip(b.from).map(|(a, b)| a.min(b)),
            upto: a.upto.zip(b.upto).map(|(a, b)| a.max(b)),
        };
        spans.iter().copied().reduce(wider)
    }

    /// What holds of just these rows, in SQL.
    pub(crate) fn condition(&self) -> String {
        if *self == Self::NOTHING {
            return "false".to_owned();
        }
        let from = self.from.map(|from| format!("{VALID_AT} >= {}", sql::instant(from)));
        let upto = self.upto.map(|upto| format!("{VALID_AT} <= {}", sql::instant(upto)));
        let conditions: Vec<String> = from.into_iter().chain(upto).collect();
        if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Time {
        Time::from_timestamp(second, 0).unwrap()
    }

    proptest! {
        #[test]
        fn no_file_is_left_out_that_holds_a_row_of_the_span(
            rows in prop::collection::vec(0..20_i64, 1..5),
            from in prop::option::of(0..20_i64),
            upto in prop::option::of(0..20_i64),
        ) {
            let span = Span { from: from.map(at), upto: upto.map(at) };
            let inside = |row: &i64| from.is_none_or(|from| *row >= from) && upto.is_none_or(|upto| *row <= upto);
            let range = rows.iter().min().zip(rows.iter().max()).map(|(least, greatest)| (at(*least), at(*greatest)));
            prop_assert!(span.meets(range) || !rows.iter().any(inside));
            prop_assert!(span.meets(None));
        }
    }
}
