//! Windowed aggregates: at any moment from source rows, and as the tiles that are kept online.
//!
//! A window at `t` counts rows with `valid_at` in `(floor(t - window, hop), t]`. Of rows that share the source's
//! `unique` columns only the newest with `valid_at <= t` counts: a correction replaces, a tombstone removes.
//! Offline values come from source rows, so they are exact for any moment; tiles hold the same sums in the same
//! order (rows within a tile, then tiles).

use arrow::array::RecordBatch;
use tidemill_core::Time;

use crate::{CommitRange, Error, Lake, View, compute::Stamp};

/// Which changes of a source tiles are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileRange {
    /// Commits whose rows are new; their entities are touched.
    pub commits: CommitRange,
    /// The data clock that earlier tiles were computed at, if any: entities of rows that it passed since are touched.
    pub clock_before: Option<Time>,
    /// The data clock now: no later row counts.
    pub clock: Time,
}

impl Lake {
    /// All tiles that a window at `range.clock` may need, of every entity that the range touches, computed anew
    /// from all rows as of `range.commits.upto`. Columns as in [`View::schema`]; tiles without rows are left out,
    /// but an entity left with none has one deleted row (tile and counts 0).
    /// Sorted by (keys, `hop_us`, `tile`).
    pub async fn tiles_touched(
        &self,
        _view: &View,
        _range: TileRange,
        _stamp: Stamp,
    ) -> Result<RecordBatch, Error> {
        todo!()
    }
}
