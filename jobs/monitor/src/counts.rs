//! Bins frozen from a reference column, and exact counts in them. Pure.
//!
//! Counts of the same bins add up, so that a window may be counted in parts. Nulls have a place of their own, infinities
//! none: no quantile is told from them. NaN is a null.

use arrow::{
    array::{ArrayRef, AsArray as _},
    compute::cast,
    datatypes::{DataType, Float64Type},
    error::ArrowError,
};
use serde::{Deserialize, Serialize};

/// Quantile bins of a number.
const QUANTILES: usize = 10;

/// Bins of a column, as its reference had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bins {
    /// Of numbers, dates (days) and instants (µs): bin `i` holds `edges[i - 1] < x <= edges[i]`, the first and last are
    /// open. Ascending, none twice: ties of the reference make fewer bins.
    Numbers(Vec<f64>),
    /// Of strings and bools: one for each value, sorted, and a last one for what the reference had not.
    Categories(Vec<String>),
}

/// How many values of a column lie in each bin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In the bins' order.
    pub bins: Vec<u64>,
    /// Nulls and NaN.
    pub nulls: u64,
    /// Infinities.
    pub infinite: u64,
}

impl Bins {
    /// Freezes the bins of a reference: deciles by the inverse of its distribution function (no interpolation), or its
    /// distinct values.
    ///
    /// # Errors
    /// The column's type has neither order nor text.
    pub fn freeze(reference: &ArrayRef) -> Result<Self, ArrowError> {
        if is_category(reference.data_type()) {
            let mut values: Vec<String> =
                words(reference)?.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
            values.sort_unstable();
            values.dedup();
            return Ok(Self::Categories(values));
        }
        let mut known: Vec<f64> =
            numbers(reference)?.as_primitive::<Float64Type>().iter().flatten().collect();
        known.retain(|value| value.is_finite());
        known.sort_unstable_by(f64::total_cmp);
        let quantile = |part: usize| known.get((known.len() * part).div_ceil(QUANTILES).max(1) - 1).copied();
        let mut edges: Vec<f64> = (1..QUANTILES).filter_map(quantile).collect();
        edges.dedup();
        Ok(Self::Numbers(edges))
    }

    /// Counts a column, the reference's own or another's; values are read as the reference's kind of value, and what
    /// can't be is null.
    ///
    /// # Errors
    /// The column's type can't be read so.
    pub fn count(&self, column: &ArrayRef) -> Result<Counts, ArrowError> {
        let mut counts = Counts { bins: vec![0; self.len()], ..Counts::default() };
        match self {
            Self::Numbers(edges) => {
                for value in numbers(column)?.as_primitive::<Float64Type>() {
                    match value {
                        Some(value) if value.is_infinite() => counts.infinite += 1,
                        Some(value) if !value.is_nan() => {
                            counts.bins[edges.partition_point(|edge| *edge < value)] += 1;
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
                            counts.bins[place.unwrap_or(values.len())] += 1;
                        }
                        None => counts.nulls += 1,
                    }
                }
            }
        }
        Ok(counts)
    }

    /// How many bins, the null's aside.
    pub fn len(&self) -> usize {
        1 + match self {
            Self::Numbers(edges) => edges.len(),
            Self::Categories(values) => values.len(),
        }
    }

    /// Never: there is always a bin for what the reference had not.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// What each bin holds, for people.
    pub fn labels(&self) -> Vec<String> {
        match self {
            Self::Numbers(edges) => {
                let upto = edges.iter().map(|edge| format!("≤ {}", short(*edge)));
                let above =
                    edges.last().map_or_else(|| "all".to_owned(), |edge| format!("> {}", short(*edge)));
                upto.chain([above]).collect()
            }
            Self::Categories(values) => values.iter().cloned().chain(["(unseen)".to_owned()]).collect(),
        }
    }

    /// `number` or `category`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "number",
            Self::Categories(_) => "category",
        }
    }
}

impl Counts {
    /// All rows counted.
    pub fn rows(&self) -> u64 {
        self.bins.iter().sum::<u64>() + self.nulls + self.infinite
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

fn is_category(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
    ) || matches!(ty, DataType::Dictionary(_, _))
}

fn words(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    cast(column, &DataType::Utf8)
}

fn numbers(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let whole = column.data_type().is_temporal();
    let column = if whole { cast(column, &DataType::Int64)? } else { column.clone() };
    cast(&column, &DataType::Float64)
}

/// At most five digits after the point, none that say nothing.
fn short(value: f64) -> String {
    let text = format!("{value:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn floats(values: &[f64]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    #[test]
    fn deciles_are_values_of_the_reference_and_ties_make_fewer() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        let bins = Bins::freeze(&floats(&ten)).unwrap();
        assert_eq!(bins, Bins::Numbers((1..=9).map(f64::from).collect()));
        assert_eq!(bins.count(&floats(&ten)).unwrap().bins, [1; 10]);
        assert_eq!(Bins::freeze(&floats(&[0.0, 0.0, 0.0, 5.0])).unwrap(), Bins::Numbers(vec![0.0, 5.0]));
        assert_eq!(Bins::freeze(&floats(&[])).unwrap().count(&floats(&[1.0])).unwrap().bins, [1]);
    }

    #[test]
    fn nulls_and_infinities_lie_in_no_bin() {
        let bins = Bins::Numbers(vec![1.0]);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(1.0),
            Some(1.5),
            None,
            Some(f64::NAN),
            Some(f64::INFINITY),
        ]));
        let counts = bins.count(&column).unwrap();
        assert_eq!(counts, Counts { bins: vec![1, 1], nulls: 2, infinite: 1 });
        assert_eq!(counts.null_rate(), Some(0.4));
    }

    #[test]
    fn what_the_reference_had_not_is_unseen() {
        let reference: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "b"]));
        let bins = Bins::freeze(&reference).unwrap();
        let current: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("c"), None]));
        assert_eq!(bins.count(&current).unwrap(), Counts { bins: vec![1, 0, 1], nulls: 1, infinite: 0 });
        let bools: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        assert_eq!(Bins::freeze(&bools).unwrap().labels(), ["false", "true", "(unseen)"]);
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(values in prop::collection::vec(-5.0..5.0_f64, 1..200), cut in 0..200_usize) {
            let cut = cut.min(values.len());
            let bins = Bins::freeze(&floats(&values)).unwrap();
            let whole = bins.count(&floats(&values)).unwrap();
            let (left, right) = values.split_at(cut);
            let (left, right) = (bins.count(&floats(left)).unwrap(), bins.count(&floats(right)).unwrap());
            let sum: Vec<u64> = left.bins.iter().zip(&right.bins).map(|(a, b)| a + b).collect();
            prop_assert_eq!(sum, whole.bins);
        }
    }
}
