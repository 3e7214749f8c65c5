//! Which rows lie within a window of a moment that is asked for. Pure.

use arrow::{
    array::{AsArray as _, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use tidemill_rows as rows;
use tidemill_windows::Window;

use super::Windowed;
use crate::{
    Error,
    pit::{Asked, Entities},
};

/// The moments at which each entity is asked for, and how far back windows reach from them.
pub(super) struct Reach {
    /// Of each entity, sorted.
    moments: Vec<Vec<i64>>,
    windows: Vec<Window>,
}

impl Reach {
    pub(super) fn of(entities: &Entities, asked: &Asked, windows: &[Windowed]) -> Self {
        let mut moments = vec![Vec::new(); entities.count];
        let at = asked.moments.as_primitive::<TimestampMicrosecondType>().values();
        for (entity, at) in entities.of.iter().zip(at) {
            if let Some(entity) = entity {
                moments[*entity].push(*at);
            }
        }
        for moments in &mut moments {
            moments.sort_unstable();
        }
        Self { moments, windows: windows.iter().map(|windowed| windowed.window).collect() }
    }

    /// Those of some rows that a window may count: columns `_entity` and `_valid_us` first.
    pub(super) fn within(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let ints = |place: usize| rows.column(place).as_primitive::<Int64Type>().values();
        let within: BooleanArray = ints(0)
            .iter()
            .zip(ints(1))
            .map(|(entity, valid_us)| Some(self.holds(*entity, *valid_us)))
            .collect();
        Ok(filter_record_batch(rows, &within).map_err(rows::Error::from)?)
    }

    /// Whether the first moment from then on looks back so far; later ones look back less far.
    fn holds(&self, entity: i64, valid_us: i64) -> bool {
        let moments = usize::try_from(entity).ok().and_then(|entity| self.moments.get(entity));
        let next = moments.and_then(|moments| moments.get(moments.partition_point(|at| *at < valid_us)));
        next.is_some_and(|at| self.windows.iter().any(|window| window.tail_us(*at) < valid_us))
    }
}
