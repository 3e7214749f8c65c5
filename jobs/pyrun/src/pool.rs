//! Warm processes of one project state, and the transforms they run.

use std::{path::Path, sync::Arc};

use arrow::array::RecordBatch;
use indexmap::IndexMap;
use serde::Serialize;
use tidemill_core::Fault;
use tidemill_spec::Type;

use crate::{PyError, PyOptions};

/// How a transform is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `def f(row: dict) -> dict`, for each row.
    Row,
    /// `def f(table: pyarrow.Table) -> table`, once; row order and count are kept.
    Batch,
}

/// What a transform gave.
#[derive(Clone, Debug)]
pub struct Transformed {
    /// The declared columns, one row for each input row; all null where the row failed.
    pub rows: RecordBatch,
    /// Which rows failed and why, by index.
    pub failures: Vec<(usize, Fault)>,
}

/// Warm processes that serve one folder of code. Clones share them; the last one dropped kills them.
#[derive(Clone, Debug)]
pub struct PyPool {
    #[expect(dead_code, reason = "signature only")]
    options: Arc<PyOptions>,
}

impl PyPool {
    /// A pool; its processes start when first needed and again after one died.
    pub fn start(options: PyOptions) -> Self {
        Self { options: Arc::new(options) }
    }

    /// Runs `module:function` over rows. A row that raises fails alone; a batch function that raises is
    /// bisected until the rows that make it raise are found.
    pub async fn transform(
        &self,
        entry: &str,
        mode: Mode,
        rows: &RecordBatch,
        out: &IndexMap<String, Type>,
    ) -> Result<Transformed, PyError> {
        let _ = (entry, mode, rows, out);
        todo!()
    }
}

/// Pools by state of the code, so that a process never serves two.
#[derive(Clone, Debug)]
pub struct PyPools {
    #[expect(dead_code, reason = "signature only")]
    template: Arc<PyOptions>,
}

impl PyPools {
    /// Pools that differ from `template` in their code alone.
    pub fn new(template: PyOptions) -> Self {
        Self { template: Arc::new(template) }
    }

    /// The pool of the code with this content hash, unpacked at `code`.
    pub fn get(&self, hash: &str, code: &Path) -> PyPool {
        let _ = (hash, code);
        todo!()
    }
}
