//! Rows of views that are not windows: from source rows, or from other views.
//!
//! A row view has one row for each source row and keeps the source row's place in the total order, so a tie or a
//! correction has the same winner in the view as in the source. A derived view has one row for each moment of
//! any input, computed from all inputs as of that moment; a late row computes its entity's later moments anew.

use arrow::array::RecordBatch;
use tidemill_core::Time;

use crate::{CommitRange, Error, Lake, View};

/// What computed rows that have no source row of their own carry: fixed with the job's target, so that a repeat
/// writes the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Their `created_at`: the data clock.
    pub created_at: Time,
    /// Their `seq`: the lake version they are computed for.
    pub seq: i64,
}

/// Rows of a view, not yet staged.
#[derive(Clone, Debug)]
pub struct Computed {
    /// Columns as in [`View::schema`], sorted by (keys, total order).
    pub rows: RecordBatch,
    /// Input rows left out because a key column is null.
    pub keyless: i64,
}

/// Moments of a derived view with its inputs as of then.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The entity's keys, `valid_at`, then each input's features under their own names.
    pub inputs: RecordBatch,
}

impl Lake {
    /// Rows of a row view in SQL (`last`, expressions) for the source rows of `commits`.
    /// `part`: of how many parts by entity which one, from 0; `(0, 1)` is everything.
    pub async fn compute_rows(
        &self,
        _view: &View,
        _commits: CommitRange,
        _part: (u32, u32),
    ) -> Result<Computed, Error> {
        todo!()
    }

    /// The source rows that [`Lake::compute_rows`] would read, for Python to compute: all source columns and the
    /// system columns, sorted; null keys left out.
    pub async fn source_rows(
        &self,
        _view: &View,
        _commits: CommitRange,
        _part: (u32, u32),
    ) -> Result<Computed, Error> {
        todo!()
    }

    /// The moments of a derived view to compute for what is new in `commits`, with its inputs' features as of
    /// each. `inputs`: the views it names, in its order.
    pub async fn derived_inputs(
        &self,
        _view: &View,
        _inputs: &[View],
        _commits: CommitRange,
        _part: (u32, u32),
    ) -> Result<Moments, Error> {
        todo!()
    }

    /// Rows of a derived view in SQL from its moments.
    pub async fn derive(&self, _view: &View, _moments: &Moments, _stamp: Stamp) -> Result<Computed, Error> {
        todo!()
    }
}
