//! What became of the label rows that were asked for, and how the label's values are spread over those that are used.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use tidemill_catalog::LabelCoverage;
use tidemill_core::Time;
use tidemill_offline::{Labels, Population};
use tidemill_rows::value_at;
use tidemill_spec::Value;

/// More different values than these are no classes.
const CLASSES_MAX: usize = 32;

/// Of rows as they were read, before any is purged.
pub(crate) fn of(labels: &Labels, population: Option<&Population>) -> LabelCoverage {
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    LabelCoverage {
        population: population.map(|population| match population {
            Population::Entities { view, .. } => format!("view {}@{}", view.name(), view.version),
            Population::Rows { source, .. } => format!("source {}", source.name),
        }),
        asked: labels.asked.map(count),
        matured: count(labels.matured()),
        left_out: count(labels.left_out),
        purged: 0,
    }
}

/// The same for the log of the step.
pub(crate) fn told(labels: &Labels, clock: Time) -> String {
    let matured = labels.matured();
    let matured = match labels.asked {
        Some(asked) => format!("{matured} of {asked} labels that were asked"),
        None => format!("{matured} labels"),
    };
    let left_out = labels.left_out;
    format!(
        "{matured} have matured by {clock}; {left_out} are left out: their label is null, or its SQL fails"
    )
}

/// How many rows have each value of a label that is a bool, an int or text; none where these are too many.
pub(crate) fn classes(rows: &RecordBatch, label: &str) -> BTreeMap<String, u64> {
    let mut classes = BTreeMap::new();
    let Some(values) = rows.column_by_name(label) else { return classes };
    for value in (0..values.len()).map(|row| value_at(values, row)) {
        match value {
            Value::Bool(_) | Value::Int(_) | Value::String(_) => {
                *classes.entry(value.to_string()).or_insert(0) += 1;
            }
            Value::Null => {}
            _ => return BTreeMap::new(),
        }
        if classes.len() > CLASSES_MAX {
            return BTreeMap::new();
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array};

    use super::*;

    fn of_column(values: impl arrow::array::Array + 'static) -> Vec<(String, u64)> {
        let rows = RecordBatch::try_from_iter([("label", Arc::new(values) as ArrayRef)]).unwrap();
        classes(&rows, "label").into_iter().collect()
    }

    #[test]
    fn classes_are_counted_and_numbers_are_none() {
        let counted = of_column(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]));
        assert_eq!(counted, [("false".to_owned(), 1), ("true".to_owned(), 2)]);
        assert_eq!(of_column(Int64Array::from_iter_values((0..64).map(|row| row % 32))).len(), 32);
        assert_eq!(of_column(Int64Array::from_iter_values(0..33)), []);
        assert_eq!(of_column(Float64Array::from(vec![0.0, 1.0])), []);
    }
}
