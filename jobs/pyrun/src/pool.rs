//! Warm processes of one project state.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arrow::array::RecordBatch;
use indexmap::IndexMap;
use tokio::sync::Semaphore;

use crate::{Process, PyError, PyOptions, StepSink, process::Reply, protocol::Request};

/// States of the code whose processes are kept; the one not used for longest goes first.
const POOLS_MAX: usize = 4;

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

    /// Asks a process that is free; it goes back unless the request spoilt it or was dropped. Also how many calls
    /// of user code had begun by then.
    pub(crate) async fn ask(
        &self,
        request: &Request<'_>,
        rows: &RecordBatch,
        sink: &mut impl StepSink,
        call_limit: Duration,
    ) -> (Result<Reply, PyError>, u64) {
        let _slot = self.shared.slots.acquire().await.expect("never closed");
        let mut process = match self.idle() {
            Some(process) => process,
            None => match Process::start(&self.shared.options).await {
                Ok(process) => process,
                Err(error) => return (Err(error), 0),
            },
        };
        let reply = process.call_with(request, Some(rows), sink, call_limit).await;
        let calls = process.calls();
        if !reply.as_ref().is_err_and(PyError::spoils) {
            self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        }
        (reply, calls)
    }

    fn idle(&self) -> Option<Process> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(Process::alive);
        idle.pop()
    }
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
