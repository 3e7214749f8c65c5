//! Which rows lie within a window of a moment that is asked for. Pure.

use std::ops::Range;

use arrow::{
    array::{AsArray as _, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
};
use tidemill_rows as rows;

use super::Windowed;
use crate::{
    Error,
    pit::{Asked, Entities, grouped},
};

/// The moments at which each entity is asked for, and how far back windows reach from them.
pub(super) struct Reach {
    /// Of each entity its moments.
    spans: Vec<Range<usize>>,
    /// Those of one entity sorted.
    moments: Vec<i64>,
    /// The last instant before the longest window of each.
    tails: Vec<i64>,
    /// All moments, sorted.
    of_all: Vec<i64>,
    all_tails: Vec<i64>,
}

impl Reach {
    pub(super) fn of(entities: &Entities, asked: &Asked, windows: &[Windowed]) -> Self {
        let at = asked.moments_us();
        let (rows, spans) = grouped(&entities.of, entities.count);
        let mut moments: Vec<i64> = rows.iter().map(|row| at[*row]).collect();
        for span in &spans {
            moments[span.clone()].sort_unstable();
        }
        let mut of_all = moments.clone();
        of_all.sort_unstable();
        of_all.dedup();
        let tail =
            |at: &i64| windows.iter().map(|windowed| windowed.window.tail_us(*at)).min().unwrap_or(*at);
        let (tails, all_tails) = (moments.iter().map(tail).collect(), of_all.iter().map(tail).collect());
        Self { spans, moments, tails, of_all, all_tails }
    }

    /// Those of some rows that a window may count: columns `_entity` and `_valid_us` first.
    pub(super) fn within(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let ints = |place: usize| rows.column(place).as_primitive::<Int64Type>().values();
        let within: BooleanArray = ints(0)
            .iter()
            .zip(ints(1))
            .map(|(entity, valid_us)| {
                Some(usize::try_from(*entity).is_ok_and(|entity| self.holds(entity, *valid_us)))
            })
            .collect();
        Ok(filter_record_batch(rows, &within).map_err(rows::Error::from)?)
    }

    /// Whether a window of an entity holds an instant: the first moment from then on looks back so far. Later ones look
    /// back less far.
    pub(super) fn holds(&self, entity: usize, valid_us: i64) -> bool {
        let Range { start, end } = self.spans[entity];
        let next = start + self.moments[start..end].partition_point(|at| *at < valid_us);
        next < end && self.tails[next] < valid_us
    }

    /// Whether a window of any entity may hold an instant of some, the first and the last included.
    pub(super) fn meets(&self, valid_us: &Range<i64>) -> bool {
        let next = self.of_all.partition_point(|at| *at < valid_us.start);
        self.all_tails.get(next).is_some_and(|tail| *tail < valid_us.end)
    }
}
