//! What a worker is told.

use std::time::Duration;

use serde::Deserialize;
use tidemill_monitor::{Secrets, WebhookOptions};
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
    /// Where webhooks may lead.
    #[serde(default)]
    pub webhooks: WebhookOptions,
    /// What notifiers may name.
    #[serde(default)]
    pub secrets: Secrets,
}

/// Options of the process: `TIDEMILL_WORKER__SLOTS`, `TIDEMILL_WORKER__NAME`, `TIDEMILL_WORKER__DRAIN`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// For people; default: the process id.
    pub name: Option<String>,
    /// Jobs it runs at once.
    pub slots: usize,
    /// How long jobs may go on after the worker was told to end, before they are handed back; default: 30s.
    #[serde(with = "tidemill_spec::units::duration_option")]
    pub drain: Option<Duration>,
}

impl Default for Process {
    fn default() -> Self {
        Self { name: None, slots: 4, drain: None }
    }
}

impl Options {
    pub(crate) fn worker(&self) -> WorkerOptions {
        let name = self.worker.name.clone().unwrap_or_else(|| format!("worker-{}", std::process::id()));
        let standard = WorkerOptions::default();
        let drain = self.worker.drain.unwrap_or(standard.drain);
        WorkerOptions { name, slots: self.worker.slots, drain, ..standard }
    }
}
