//! Warm processes of one project state, and the transforms they run.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{array::RecordBatch, compute::concat_batches};
use indexmap::IndexMap;
use serde::Serialize;
use tidemill_core::Fault;
use tidemill_spec::Type;
use tokio::sync::Semaphore;

use crate::{
    Process, PyError, PyOptions,
    process::Reply,
    protocol::{self, Request, RowFailure},
};

/// Rows of one request in [`Mode::Row`]: what the time limit is for.
const ROWS_PER_REQUEST: usize = 8192;
/// States of the code whose processes are kept; the one not used for longest goes first.
const POOLS_MAX: usize = 4;

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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: PyOptions,
    idle: Mutex<Vec<Process>>,
    slots: Semaphore,
}

impl PyPool {
    /// A pool; its processes start when first needed and again after one died.
    pub fn start(options: PyOptions) -> Self {
        let slots = Semaphore::new(options.processes.max(1));
        Self { shared: Arc::new(Shared { options, idle: Mutex::default(), slots }) }
    }

    /// How its processes are started.
    pub fn options(&self) -> &PyOptions {
        &self.shared.options
    }

    /// Runs `module:function` over rows. A row that raises fails alone; a batch function that raises is
    /// bisected until the rows that make it raise are found. The time limit holds for 8,192 rows at a time,
    /// in batch mode for all of them.
    pub async fn transform(
        &self,
        entry: &str,
        mode: Mode,
        rows: &RecordBatch,
        out: &IndexMap<String, Type>,
    ) -> Result<Transformed, PyError> {
        let step = if mode == Mode::Row { ROWS_PER_REQUEST } else { rows.num_rows().max(1) };
        let (mut parts, mut failures) = (Vec::new(), Vec::new());
        let mut start = 0;
        // Once even without rows: a wrong entry is told, and the result has its columns.
        while start < rows.num_rows() || parts.is_empty() {
            let part = rows.slice(start, step.min(rows.num_rows() - start));
            let reply = self.ask(&Request::Transform { entry, mode, out }, &part).await?;
            failures.extend(reply.failures.into_iter().map(|failure| fault(start, failure)));
            parts.push(protocol::decode(&reply.body)?);
            start += step;
        }
        Ok(Transformed {
            rows: concat_batches(&parts[0].schema(), &parts).map_err(tidemill_rows::Error::from)?,
            failures,
        })
    }

    /// Asks a process that is free; it goes back unless the request spoilt it or was dropped.
    async fn ask(&self, request: &Request<'_>, rows: &RecordBatch) -> Result<Reply, PyError> {
        let _slot = self.shared.slots.acquire().await.expect("never closed");
        let mut process = match self.idle() {
            Some(process) => process,
            None => Process::start(&self.shared.options).await?,
        };
        let reply = process.call(request, Some(rows)).await;
        if !reply.as_ref().is_err_and(PyError::spoils) {
            self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        }
        reply
    }

    fn idle(&self) -> Option<Process> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(Process::alive);
        idle.pop()
    }
}

fn fault(offset: usize, failure: RowFailure) -> (usize, Fault) {
    let code = if failure.returned { 708 } else { 701 };
    let fault = Fault::coded(code, failure.message);
    (offset + failure.row, if failure.returned { fault } else { fault.detail(failure.traceback) })
}

/// Pools by state of the code, so that a process never serves two.
#[derive(Clone, Debug)]
pub struct PyPools {
    template: Arc<PyOptions>,
    pools: Arc<Mutex<IndexMap<String, PyPool>>>,
}

impl PyPools {
    /// Pools that differ from `template` in their code alone.
    pub fn new(template: PyOptions) -> Self {
        Self { template: Arc::new(template), pools: Arc::default() }
    }

    /// The pool of the code with this content hash, unpacked at `code`.
    pub fn get(&self, hash: &str, code: &Path) -> PyPool {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.shift_remove(hash).unwrap_or_else(|| {
            PyPool::start(PyOptions { code: Some(code.to_owned()), ..PyOptions::clone(&self.template) })
        });
        // Last used, last in order.
        pools.insert(hash.to_owned(), pool.clone());
        if pools.len() > POOLS_MAX {
            pools.shift_remove_index(0);
        }
        pool
    }
}
