//! Which label rows train, and which are held out. Pure.
//!
//! The holdout is the last stretch of what is known: it ends with the newest label that has matured, whatever `to` says,
//! so that slow labels don't leave it empty. Training has what happened before it and was known before it: a label that
//! matured inside the holdout tells of the days that the model shall be tried on.

use std::time::Duration;

use arrow::{
    array::{AsArray as _, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::TimestampMicrosecondType,
};
use chrono::TimeDelta;
use tidemill_core::Time;

use crate::Error;

/// Columns of label rows: when it happened, and when the answer was known.
const EVENT_TIME: &str = "event_time";
pub(crate) const MATURED_AT: &str = "matured_at";

/// The two parts of a set.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    pub(crate) train: RecordBatch,
    pub(crate) holdout: Option<RecordBatch>,
    /// First event time of the holdout.
    pub(crate) holdout_from: Option<Time>,
    /// Rows in neither part: they happened before the holdout, and matured inside it.
    pub(crate) purged: usize,
}

/// Splits off the rows from `holdout` before the newest event on; without it, all rows train.
///
/// # Errors
/// [`Error::EmptyPart`] if nothing is left to train on.
pub(crate) fn split(rows: &RecordBatch, holdout: Option<Duration>) -> Result<Split, Error> {
    let Some(length) = holdout else {
        return Ok(Split { train: rows.clone(), holdout: None, holdout_from: None, purged: 0 });
    };
    let (happened, matured) = (times(rows, EVENT_TIME)?, times(rows, MATURED_AT)?);
    let newest = happened.iter().flatten().max().and_then(Time::from_timestamp_micros);
    let newest = newest
        .ok_or(Error::MissingColumn { column: EVENT_TIME.to_owned(), purpose: "the time of the event" })?;
    let from = newest.checked_sub_signed(TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX));
    let from = from.unwrap_or(Time::MIN_UTC);
    let inside = |time: Option<i64>| time.is_some_and(|time| time >= from.timestamp_micros());
    let held: BooleanArray = happened.iter().map(|time| Some(inside(time))).collect();
    let known = happened.iter().zip(matured.iter());
    let trained: BooleanArray =
        known.map(|(happened, matured)| Some(!inside(happened) && !inside(matured))).collect();
    let before = rows.num_rows() - held.true_count();
    if trained.true_count() == 0 {
        return Err(Error::EmptyPart { newest, from, before });
    }
    Ok(Split {
        train: filter_record_batch(rows, &trained)?,
        holdout: Some(filter_record_batch(rows, &held)?),
        holdout_from: Some(from),
        purged: before - trained.true_count(),
    })
}

fn times<'a>(
    rows: &'a RecordBatch,
    name: &str,
) -> Result<&'a arrow::array::PrimitiveArray<TimestampMicrosecondType>, Error> {
    let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt());
    column.ok_or_else(|| Error::MissingColumn {
        column: name.to_owned(),
        purpose: "needed to split off a holdout",
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampMicrosecondArray};

    use super::*;

    const DAY: i64 = 86_400_000_000;

    /// One label a day, each known so many days later.
    fn labels(days: i64, delay: i64) -> RecordBatch {
        let column = |late: i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values((0..days).map(|day| (day + late) * DAY)))
        };
        RecordBatch::try_from_iter([(EVENT_TIME, column(0)), (MATURED_AT, column(delay))]).unwrap()
    }

    fn days(count: u64) -> Option<Duration> {
        Some(Duration::from_hours(24 * count))
    }

    #[test]
    fn no_training_label_matures_inside_the_holdout() {
        let parts = split(&labels(100, 3), days(14)).unwrap();
        // The newest label is of day 99, so the holdout begins with day 85; day 82 is known on day 85.
        assert_eq!(parts.holdout_from, Time::from_timestamp_micros(85 * DAY));
        assert_eq!((parts.train.num_rows(), parts.purged), (82, 3));
        assert_eq!(parts.holdout.map(|rows| rows.num_rows()), Some(15));
    }

    #[test]
    fn without_a_holdout_everything_trains() {
        let parts = split(&labels(100, 3), None).unwrap();
        assert_eq!((parts.train.num_rows(), parts.purged, parts.holdout_from), (100, 0, None));
    }

    #[test]
    fn a_set_with_nothing_to_train_on_is_refused_with_its_figures() {
        let told = |labels, length| split(&labels, days(length)).unwrap_err().to_string();
        assert_eq!(
            told(labels(100, 90), 14),
            "nothing is left to train on: the holdout begins at 1970-03-27 00:00:00 UTC, counted from the newest matured label (1970-04-10 00:00:00 UTC), and of the labels before it 85 mature inside it"
        );
        assert!(told(labels(10, 0), 14).ends_with("and there is no label before it"));
    }
}
