//! The point-in-time join of label rows with their features, and what is reported of it.

use arrow::{
    array::{AsArray as _, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use tidemill_offline::{KnownAt, Lake, PitRequest, Version, View};
use tidemill_spec::{ViewKind, steps};

use crate::{Error, inputs::Inputs};

/// Column that holds each label row's moment.
pub(crate) const LABEL_TS: &str = "label_ts";

/// Label rows with their features.
#[derive(Clone, Debug)]
pub(crate) struct Assembled {
    /// The label rows in their order, all columns kept, then the features.
    pub(crate) rows: RecordBatch,
    /// Rows that would change if each saw only what was accepted by its own moment; none where Python over views
    /// is read, which cannot say.
    pub(crate) changed: Option<u64>,
}

/// Joins `labels` with `inputs` as of a lake version.
pub(crate) async fn assemble(
    lake: &Lake,
    labels: RecordBatch,
    inputs: &Inputs,
    version: Version,
    known_at: Option<steps::KnownAt>,
) -> Result<Assembled, Error> {
    let known_at = match known_at {
        None => KnownAt::Any,
        Some(steps::KnownAt::Label) => KnownAt::Label,
        Some(steps::KnownAt::Time(time)) => KnownAt::Time(time),
    };
    let view = |name: &str| inputs.views.get(name).cloned();
    let request = PitRequest::hydrating(labels, LABEL_TS, &inputs.hydration, view, version)?;
    let request = PitRequest { known_at, ..request };
    let snapshots = |view: &View| view.stored().iter().any(|view| view.kind() == ViewKind::Snapshots);
    if known_at != KnownAt::Label && inputs.views.values().any(snapshots) {
        return Ok(Assembled { rows: lake.point_in_time(&request).await?, changed: None });
    }
    let (rows, changed) = lake.audited(&request).await?;
    Ok(Assembled { rows, changed: Some(changed) })
}

/// Mean of a bool or numeric column over its finite values; none without any.
pub(crate) fn rate(rows: &RecordBatch, column: &str) -> Option<f64> {
    let values = cast(rows.column_by_name(column)?, &DataType::Float64).ok()?;
    let values = values.as_primitive::<Float64Type>();
    let known: Vec<f64> = values.iter().flatten().filter(|value| value.is_finite()).collect();
    #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array};

    use super::*;

    #[test]
    fn the_rate_leaves_unknown_labels_out() {
        let column = BooleanArray::from(vec![Some(true), None, Some(false), Some(true), Some(false)]);
        let rows = RecordBatch::try_from_iter([("late", Arc::new(column) as _)]).unwrap();
        assert_eq!(rate(&rows, "late"), Some(0.5));
        let amounts = Float64Array::from(vec![1.0, f64::NAN, 3.0, f64::INFINITY]);
        let rows = RecordBatch::try_from_iter([("paid", Arc::new(amounts) as _)]).unwrap();
        assert_eq!(rate(&rows, "paid"), Some(2.0));
        assert_eq!(rate(&rows, "none"), None);
        assert_eq!(rate(&rows.slice(1, 1), "late"), None);
    }
}
