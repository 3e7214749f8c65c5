//! Windowed aggregates: at any moment from source rows, and as the tiles that are kept online.
//!
//! A window at `t` counts rows with `valid_at` in `(floor(t - window, hop), t]`. Of rows that share the source's
//! `unique` columns only the newest with `valid_at <= t` counts: a correction replaces, a tombstone removes. Without
//! such columns a tombstone ends all that its entity had before it. Of the rows that count, a feature with a condition
//! aggregates those that it is true of. A row on which the condition or the expression of a feature fails is none of them.
//! Offline values come from source rows, so they are exact for any moment, corrected or not; tiles hold the same
//! partials, which `tidemill_windows` folds and merges, so both agree to the bit.

mod events;
mod files;
mod fold;
mod reach;
mod refused;
mod tiles;

use arrow::array::{ArrayRef, RecordBatch};
use tidemill_core::Time;
use tidemill_spec::{Operand, Rule, Type, Value, expr::sql::compiled};
use tidemill_windows::Window;

use crate::{
    CommitRange, Error, Lake, PitRead, Refused, Version, View,
    compute::Stamp,
    pit::{Asked, FOUND_AT},
    sql::quoted,
};
use events::Events;

/// Which changes of a source tiles are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileRange {
    /// Commits whose rows are new; they touch entities and tiles.
    pub commits: CommitRange,
    /// The data clock that was computed at before, if any: rows that it passed since touch theirs too.
    pub clock_before: Option<Time>,
    /// The data clock now: no later row counts.
    pub clock: Time,
    /// Of how many parts of the entities which one, from 0; `(0, 1)` is all of them.
    pub part: (u32, u32),
}

/// One windowed feature.
#[derive(Clone, Debug)]
pub(crate) struct Windowed {
    name: String,
    ty: Type,
    default: Value,
    /// Of what of each row; `None` counts rows.
    of: Option<Operand>,
    /// Of which rows; `None`: of all.
    condition: Option<String>,
    window: Window,
}

impl Windowed {
    /// The feature `name` of a view, if it is windowed.
    fn of(view: &View, name: &str) -> Option<Self> {
        let feature = view.definition.features.get(name)?;
        let Rule::Window { of, condition, .. } = &feature.rule else { return None };
        Some(Self {
            name: name.to_owned(),
            ty: feature.ty,
            default: feature.default.clone().unwrap_or(Value::Null),
            of: of.clone(),
            condition: condition.clone(),
            window: Window::of(feature)?,
        })
    }

    /// All of a view.
    fn all(view: &View) -> Vec<Self> {
        view.definition.features.keys().filter_map(|name| Self::of(view, name)).collect()
    }

    /// What is aggregated of a source row, typed; null where the row does not count. Of counts: whether it does.
    fn value(&self) -> String {
        let of = match &self.of {
            None => "true".to_owned(),
            Some(Operand::Column(column)) => quoted(column),
            Some(Operand::Sql(expression)) => compiled(expression),
        };
        let value = match self.window.row_type() {
            None => format!("({of}) IS NOT NULL"),
            Some(ty) => format!("CAST({of} AS {})", ty.duckdb()),
        };
        match &self.condition {
            None => value,
            Some(condition) => format!("CASE WHEN CAST({} AS BOOLEAN) THEN {value} END", compiled(condition)),
        }
    }

    /// Whether it has SQL of a user, which may fail on a row, or take for ever.
    fn has_sql(&self) -> bool {
        self.condition.is_some() || matches!(self.of, Some(Operand::Sql(_)))
    }
}

impl Lake {
    /// The windowed features of one view for the asked rows, in their order, and [`FOUND_AT`].
    pub(crate) async fn window_features(
        &self,
        read: &PitRead,
        features: &[String],
        asked: &Asked,
        version: Version,
    ) -> Result<Vec<(String, ArrayRef)>, Error> {
        let windows: Vec<Windowed> =
            features.iter().filter_map(|name| Windowed::of(&read.view, name)).collect();
        let events = self.events(&read.view, &windows, asked, version).await?;
        let (moments, threads) = (asked.clone(), self.duck.threads());
        let evaluated =
            tokio::task::spawn_blocking(move || fold::evaluate(&windows, &events, &moments, threads));
        let (columns, found_at) = evaluated.await??;
        Ok(features.iter().cloned().zip(columns).chain([(FOUND_AT.to_owned(), found_at)]).collect())
    }

    /// The tiles within reach of a window at `range.clock` in which a row counts otherwise since the range, or no longer:
    /// each computed anew from its rows as of `range.commits.upto`. Columns as in [`View::schema`]; a tile that no row
    /// counts in is deleted, its counts 0. Sorted by (keys, `hop_us`, `tile`).
    pub async fn tiles_touched(
        &self,
        view: &View,
        range: TileRange,
        stamp: Stamp,
    ) -> Result<RecordBatch, Error> {
        tiles::touched(self, view, range, stamp).await
    }

    /// Source rows of `commits` on which SQL of a windowed feature fails, so that they do not count in it.
    pub async fn uncounted_rows(&self, view: &View, commits: CommitRange) -> Result<Option<Refused>, Error> {
        refused::uncounted(self, view, commits).await
    }
}
