//! Bins frozen from a reference column, and exact counts in them. Pure.
//!
//! Counts of the same bins add up, so that a window may be counted in parts. Numbers are counted in cells that are finer
//! than the bins: an edge is a value of the reference and has a cell of its own, so that what lies below it can be told
//! from it ([`Bins::side_by_side`]). Nulls have a place of their own, infinities and values of another type none: no
//! quantile is told from them. NaN is a null.

use arrow::{
    array::{ArrayRef, AsArray as _},
    compute::cast,
    datatypes::{DataType, Float64Type, TimeUnit},
    error::ArrowError,
};
use chrono::DateTime;
use serde::{Deserialize, Serialize};

/// Quantile bins of a number.
const QUANTILES: usize = 10;
/// The most that may move within one bin unseen: what a bin of a reference without ties holds.
const HIDDEN_MAX: f64 = 0.1;

/// What a column's values are. Columns of different kinds can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Numbers; a time of day counts as one.
    Number,
    /// Days since 1970.
    Date,
    /// Microseconds since 1970.
    Timestamp,
    /// Strings and bools.
    Category,
}

impl Scale {
    /// The scale of a type, if its values have an order or are text.
    pub fn of(ty: &DataType) -> Option<Self> {
        match ty {
            DataType::Boolean
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Null => Some(Self::Category),
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::Date32 | DataType::Date64 => Some(Self::Date),
            DataType::Timestamp(_, _) => Some(Self::Timestamp),
            DataType::Time32(_) | DataType::Time64(_) => Some(Self::Number),
            ty if ty.is_numeric() => Some(Self::Number),
            _ => None,
        }
    }

    /// `number`, `date`, `timestamp` or `category`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Category => "category",
        }
    }
}

/// Bins of a column, as its reference had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bins {
    /// Of what has an order: bin `i` holds `edges[i - 1] < x <= edges[i]`, the first and last are open. Ascending, none
    /// twice: ties of the reference make fewer bins.
    Ordered {
        /// What the edges count.
        scale: Scale,
        /// Between the bins.
        edges: Vec<f64>,
    },
    /// Of strings and bools: one for each value, sorted, and a last one for what the reference had not.
    Categories(Vec<String>),
}

/// How many values of a column lie in each cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In order: of what has an order, below each edge and above the one before it, then the edge itself, and last what
    /// lies above all; of categories, one for each and one for what the reference had not.
    pub cells: Vec<u64>,
    /// Nulls and NaN.
    pub nulls: u64,
    /// Infinities.
    pub infinite: u64,
    /// Values of another type.
    pub wrong: u64,
}

/// The bins of both sides, in order, over which distances are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideBySide {
    /// What each holds, for people.
    pub labels: Vec<String>,
    /// Rows of the reference.
    pub reference: Vec<u64>,
    /// Rows of the window.
    pub current: Vec<u64>,
}

impl Bins {
    /// Freezes the bins of a reference: deciles by the inverse of its distribution function (no interpolation), or its
    /// distinct values. Decile `k` of `n` known values is the `⌈k n / 10⌉`-th smallest.
    ///
    /// # Errors
    /// The column can't be read on this scale.
    pub fn freeze(reference: &ArrayRef, scale: Scale) -> Result<Self, ArrowError> {
        if scale == Scale::Category {
            let mut values: Vec<String> =
                words(reference)?.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
            values.sort_unstable();
            values.dedup();
            return Ok(Self::Categories(values));
        }
        let known = sorted(reference)?;
        let quantile = |part: usize| known.get((known.len() * part).div_ceil(QUANTILES).max(1) - 1).copied();
        let mut edges: Vec<f64> = (1..QUANTILES).filter_map(quantile).collect();
        edges.dedup();
        Ok(Self::Ordered { scale, edges })
    }

    /// Counts a column, the reference's own or another's; values are read as the reference's kind of value, and what
    /// can't be is null.
    ///
    /// # Errors
    /// The column's type can't be read so.
    pub fn count(&self, column: &ArrayRef) -> Result<Counts, ArrowError> {
        let mut counts = Counts { cells: vec![0; self.cells()], ..Counts::default() };
        match self {
            Self::Ordered { edges, .. } => {
                for value in numbers(column)?.as_primitive::<Float64Type>() {
                    match value {
                        Some(value) if value.is_infinite() => counts.infinite += 1,
                        Some(value) if !value.is_nan() => {
                            let place = edges.partition_point(|edge| *edge < value);
                            let on_edge = edges.get(place).is_some_and(|edge| *edge == value);
                            counts.cells[2 * place + usize::from(on_edge)] += 1;
                        }
                        _ => counts.nulls += 1,
                    }
                }
            }
            Self::Categories(values) => {
                for value in words(column)?.as_string::<i32>() {
                    match value {
                        Some(value) => {
                            let place = values.binary_search_by(|known| known.as_str().cmp(value));
                            counts.cells[place.unwrap_or(values.len())] += 1;
                        }
                        None => counts.nulls += 1,
                    }
                }
            }
        }
        Ok(counts)
    }

    fn cells(&self) -> usize {
        match self {
            Self::Ordered { edges, .. } => 2 * edges.len() + 1,
            Self::Categories(values) => values.len() + 1,
        }
    }

    /// Both sides in bins. A bin of what has an order ends with its edge. It is parted in two, below the edge and the
    /// edge itself, where it would hide something: values below all that the reference ever had, or more than a tenth of
    /// a side moving between the two parts. That happens where many rows of the reference share one value.
    pub fn side_by_side(&self, reference: &Counts, current: &Counts) -> SideBySide {
        let (before, now) = (&reference.cells, &current.cells);
        let mut bins = SideBySide::default();
        let mut push = |label: String, reference: u64, current: u64| {
            bins.labels.push(label);
            bins.reference.push(reference);
            bins.current.push(current);
        };
        match self {
            Self::Categories(values) => {
                let labels = values.iter().cloned().chain(["(unseen)".to_owned()]);
                for (label, (before, now)) in labels.zip(before.iter().zip(now)) {
                    push(label, *before, *now);
                }
            }
            Self::Ordered { scale, edges } => {
                let (all_before, all_now) = (before.iter().sum(), now.iter().sum());
                for (place, edge) in edges.iter().enumerate() {
                    let [left, right] = [before, now].map(|cells| (cells[2 * place], cells[2 * place + 1]));
                    let edge = value(*scale, *edge);
                    let outside = place == 0 && left.0 == 0 && right.0 > 0;
                    if outside || hidden((left, all_before), (right, all_now)) > HIDDEN_MAX {
                        push(format!("< {edge}"), left.0, right.0);
                        push(format!("= {edge}"), left.1, right.1);
                    } else {
                        push(format!("≤ {edge}"), left.0 + left.1, right.0 + right.1);
                    }
                }
                let last = edges.last().map(|edge| format!("> {}", value(*scale, *edge)));
                let above = 2 * edges.len();
                push(last.unwrap_or_else(|| "all".to_owned()), before[above], now[above]);
            }
        }
        bins
    }
}

/// The share of rows that moved between the two parts of a bin, besides what went in and out of it. Each side: rows below
/// the edge and on it, and all rows.
fn hidden(before: ((u64, u64), u64), now: ((u64, u64), u64)) -> f64 {
    let side =
        |((below, on), all): ((u64, u64), u64)| Some((share(below + on, all)?, share(on, below + on)?));
    side(before)
        .zip(side(now))
        .map_or(0.0, |((held, on), (held_now, on_now))| held.min(held_now) * (on - on_now).abs())
}

impl Counts {
    /// All rows counted.
    pub fn rows(&self) -> u64 {
        self.cells.iter().sum::<u64>() + self.nulls + self.infinite + self.wrong
    }

    /// Share of nulls; none over nothing.
    pub fn null_rate(&self) -> Option<f64> {
        share(self.nulls, self.rows())
    }
}

/// `part` of `whole`; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Finite values, ascending.
pub(crate) fn sorted(column: &ArrayRef) -> Result<Vec<f64>, ArrowError> {
    let numbers = numbers(column)?;
    let mut known: Vec<f64> = numbers.as_primitive::<Float64Type>().iter().flatten().collect();
    known.retain(|value| value.is_finite());
    known.sort_unstable_by(f64::total_cmp);
    Ok(known)
}

fn words(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    cast(column, &DataType::Utf8)
}

fn numbers(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let whole = match column.data_type() {
        DataType::Date64 => Some(DataType::Date32),
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        _ => None,
    };
    let column = whole.map_or_else(|| Ok(column.clone()), |whole| cast(column, &whole))?;
    let temporal = column.data_type().is_temporal();
    let column = if temporal { cast(&column, &DataType::Int64)? } else { column };
    cast(&column, &DataType::Float64)
}

/// A value as people write it.
pub(crate) fn value(scale: Scale, value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "it was an integer before; a cast saturates")]
    let whole = value as i64;
    let time = match scale {
        Scale::Date => {
            DateTime::from_timestamp(whole.saturating_mul(86_400), 0).map(|time| time.format("%F"))
        }
        Scale::Timestamp => DateTime::from_timestamp_micros(whole).map(|time| time.format("%FT%H:%M:%SZ")),
        Scale::Number | Scale::Category => None,
    };
    time.map_or_else(|| short(value), |time| time.to_string())
}

/// Five significant digits, none that say nothing.
fn short(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let whole_digits = [10.0, 100.0, 1e3, 1e4].iter().filter(|limit| size >= **limit).count();
    let text = format!("{value:.*}", 4_usize.saturating_sub(whole_digits) + usize::from(size < 1.0) * 2);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Date32Array, Float64Array, StringArray, TimestampSecondArray};
    use proptest::prelude::*;

    use super::*;

    fn deciles(column: &ArrayRef) -> Bins {
        Bins::freeze(column, Scale::Number).unwrap()
    }

    fn ordered(edges: Vec<f64>) -> Bins {
        Bins::Ordered { scale: Scale::Number, edges }
    }

    fn floats(values: &[f64]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    /// Both sides over the reference's bins.
    fn sides(reference: &ArrayRef, current: &ArrayRef, scale: Scale) -> SideBySide {
        let bins = Bins::freeze(reference, scale).unwrap();
        bins.side_by_side(&bins.count(reference).unwrap(), &bins.count(current).unwrap())
    }

    fn of_numbers(reference: &[f64], current: &[f64]) -> SideBySide {
        sides(&floats(reference), &floats(current), Scale::Number)
    }

    #[test]
    fn deciles_are_values_of_the_reference_and_ties_make_fewer() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(deciles(&floats(&ten)), ordered((1..=9).map(f64::from).collect()));
        assert_eq!(of_numbers(&ten, &ten).current, [1; 10]);
        assert_eq!(deciles(&floats(&[0.0, 0.0, 0.0, 5.0])), ordered(vec![0.0, 5.0]));
        assert_eq!(deciles(&floats(&[])).count(&floats(&[1.0])).unwrap().cells, [1]);
    }

    #[test]
    fn what_lies_below_all_that_the_reference_had_has_a_bin_of_its_own() {
        let bins = of_numbers(&[5.0; 100], &[3.0; 100]);
        assert_eq!(bins.labels, ["< 5", "= 5", "> 5"]);
        assert_eq!((bins.reference, bins.current), (vec![0, 100, 0], vec![100, 0, 0]));
        // One row is enough: the other end is open, too.
        let mut few = vec![5.0; 99];
        few.push(-999.0);
        assert_eq!(of_numbers(&[5.0; 100], &few).current, [1, 99, 0]);
        // Without any the bins are the deciles.
        assert_eq!(of_numbers(&[5.0; 100], &[5.0; 3]).labels, ["≤ 5", "> 5"]);
    }

    #[test]
    fn a_value_that_many_rows_share_is_told_from_what_lies_below_it() {
        let many = |low: f64, low_rows: usize, high_rows: usize| -> Vec<f64> {
            [vec![low; low_rows], vec![5.0; 100 - low_rows - high_rows], vec![9.0; high_rows]].concat()
        };
        let bins = of_numbers(&many(1.0, 5, 5), &many(3.0, 60, 5));
        assert_eq!(bins.labels, ["< 5", "= 5", "> 5"]);
        assert_eq!((bins.reference, bins.current), (vec![5, 90, 5], vec![60, 35, 5]));
        // A tenth may move within any bin.
        assert_eq!(of_numbers(&many(1.0, 5, 5), &many(3.0, 12, 5)).labels, ["≤ 5", "> 5"]);
    }

    #[test]
    fn edges_are_shown_in_the_column_s_own_words() {
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![15_706]));
        assert_eq!(sides(&dates, &dates, Scale::Date).labels, ["≤ 2013-01-01", "> 2013-01-01"]);
        let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1_356_998_400]));
        assert_eq!(sides(&seconds, &seconds, Scale::Timestamp).labels[0], "≤ 2013-01-01T00:00:00Z");
        let shown = |number: f64, expected: &str| assert_eq!(short(number), expected);
        shown(0.0, "0");
        shown(-0.012_345_678, "-0.012346");
        shown(1234.5678, "1234.6");
        shown(100_000.0, "100000");
        shown(1e-7, "1.000e-7");
        shown(2.5e12, "2.500e12");
    }

    #[test]
    fn nulls_and_infinities_lie_in_no_bin() {
        let bins = ordered(vec![1.0]);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(1.0),
            Some(1.5),
            None,
            Some(f64::NAN),
            Some(f64::INFINITY),
        ]));
        let counts = bins.count(&column).unwrap();
        assert_eq!(counts, Counts { cells: vec![0, 1, 1], nulls: 2, infinite: 1, wrong: 0 });
        assert_eq!(counts.null_rate(), Some(0.4));
    }

    #[test]
    fn what_the_reference_had_not_is_unseen() {
        let reference: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "b"]));
        let bins = Bins::freeze(&reference, Scale::Category).unwrap();
        let current: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("c"), None]));
        let counts = bins.count(&current).unwrap();
        assert_eq!(counts, Counts { cells: vec![1, 0, 1], nulls: 1, ..Counts::default() });
        let bools: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        assert_eq!(sides(&bools, &bools, Scale::Category).labels, ["false", "true", "(unseen)"]);
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(values in prop::collection::vec(-5.0..5.0_f64, 1..200), cut in 0..200_usize) {
            let cut = cut.min(values.len());
            let bins = deciles(&floats(&values));
            let whole = bins.count(&floats(&values)).unwrap();
            let (left, right) = values.split_at(cut);
            let (left, right) = (bins.count(&floats(left)).unwrap(), bins.count(&floats(right)).unwrap());
            let sum: Vec<u64> = left.cells.iter().zip(&right.cells).map(|(a, b)| a + b).collect();
            prop_assert_eq!(sum, whole.cells);
        }
    }
}
