//! Rows as they are: of a table, of an entity, by anyone's SQL.

use arrow::array::RecordBatch;
use tidemill_core::Time;
use tidemill_spec::{Objects, Value};

use crate::{CommitRange, Error, Lake, Table, Version, View};

/// Rows of a table to read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The table.
    pub table: Table,
    /// Which commits' rows; [`CommitRange::upto`] a pinned version for all.
    pub commits: CommitRange,
    /// Which of them.
    pub filter: Filter,
    /// Which columns, in this order; `None` for all of the table's.
    pub columns: Option<Vec<String>>,
}

/// Conditions, all of which hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// A timestamp column, and its instants `from ≤ t < to`.
    pub between: Option<(String, Time, Time)>,
    /// Columns that equal values; a null equals null.
    pub equal: Vec<(String, Value)>,
    /// The last rows in the total order, at most.
    pub last: Option<u32>,
}

impl Read {
    /// All rows as of a version.
    pub fn all(table: Table, version: Version) -> Self {
        Self { table, commits: CommitRange::upto(version), filter: Filter::default(), columns: None }
    }
}

impl Lake {
    /// Rows of a table in the order `(keys it is sorted by, valid_at, created_at, seq)`; of tables without these
    /// columns, in the files' order. One batch; without columns if nothing was ever published.
    pub async fn read(&self, _read: &Read) -> Result<RecordBatch, Error> {
        todo!()
    }

    /// Stored rows of one entity in a view's table as of a version, oldest first, at most the `last` ones.
    /// `key`: values of the entity's key columns, in declared order.
    pub async fn history(
        &self,
        _view: &View,
        _key: &[Value],
        _version: Version,
        _last: u32,
    ) -> Result<RecordBatch, Error> {
        todo!()
    }

    /// Rows of a file of labels or of rows to compare: Parquet, CSV or JSON lines, by its name's end. Naive
    /// instants are UTC.
    pub async fn read_file(&self, _path: &std::path::Path) -> Result<RecordBatch, Error> {
        todo!()
    }

    /// A query by a person or a step, in a database of its own that can read nothing but the lake as of `version`:
    /// tables `source.NAME`, `view.NAME` (`views`: which versions), `dead.NAME`, `predictions.MODEL`; sources and views also by
    /// their bare names.
    pub async fn sql(
        &self,
        _query: &str,
        _objects: &Objects,
        _views: &[View],
        _version: Version,
    ) -> Result<RecordBatch, Error> {
        todo!()
    }
}
