//! Which rows of a view are computed, by the moments at which they became known. Pure.

use std::collections::BTreeSet;

use arrow::{
    array::{AsArray as _, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::TimestampMicrosecondType,
    error::ArrowError,
};
use tidemill_core::Time;
use tidemill_rows::VALID_AT;

/// Some moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Every one.
    #[default]
    All,
    /// From the first on, up to but without the second.
    Between(Time, Time),
    /// Only these.
    At(BTreeSet<Time>),
}

impl Selection {
    /// A first and a last moment, between which all of them are.
    pub(crate) fn span(&self) -> Option<(Time, Time)> {
        match self {
            Self::All => Some((Time::MIN_UTC, Time::MAX_UTC)),
            Self::Between(from, to) => (from < to).then_some((*from, *to)),
            Self::At(moments) => moments.first().copied().zip(moments.last().copied()),
        }
    }

    /// Which of some rows are of these moments.
    pub(crate) fn of(&self, rows: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let column = rows.column_by_name(VALID_AT);
        let column = column.ok_or_else(|| ArrowError::SchemaError(format!("there is no {VALID_AT}")))?;
        let column = column.as_primitive_opt::<TimestampMicrosecondType>();
        let moments =
            column.ok_or_else(|| ArrowError::SchemaError(format!("{VALID_AT} is no column of instants")))?;
        Ok(moments.iter().map(|moment| Some(moment.is_some_and(|moment| self.has(moment)))).collect())
    }

    /// The rows of these moments.
    pub(crate) fn filter(&self, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if *self == Self::All { Ok(rows) } else { filter_record_batch(&rows, &self.of(&rows)?) }
    }

    fn has(&self, moment_us: i64) -> bool {
        match self {
            Self::All => true,
            Self::Between(from, to) => (from.timestamp_micros()..to.timestamp_micros()).contains(&moment_us),
            Self::At(moments) => {
                Time::from_timestamp_micros(moment_us).is_some_and(|moment| moments.contains(&moment))
            }
        }
    }
}
