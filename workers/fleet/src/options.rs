//! What a worker is told.

use serde::Deserialize;
use tidemill_runtime::WorkerOptions;
use tidemill_stores::StoresOptions;

/// Options of a worker.
#[derive(Clone, Debug, Deserialize)]
pub struct Options {
    /// Where everything is.
    #[serde(flatten)]
    pub stores: StoresOptions,
    /// The process itself.
    #[serde(default)]
    pub worker: Process,
}

/// Options of the process: `TIDEMILL_WORKER__SLOTS`, `TIDEMILL_WORKER__NAME`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// For people; default: the process id.
    pub name: Option<String>,
    /// Jobs it runs at once.
    pub slots: usize,
}

impl Default for Process {
    fn default() -> Self {
        Self { name: None, slots: 4 }
    }
}

impl Options {
    pub(crate) fn worker(&self) -> WorkerOptions {
        let name = self.worker.name.clone().unwrap_or_else(|| format!("worker-{}", std::process::id()));
        WorkerOptions { name, slots: self.worker.slots, ..WorkerOptions::default() }
    }
}
