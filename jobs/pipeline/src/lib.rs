//! Pipelines become runs: compiled when they start, prepared step by step, and the general steps.
//!
//! Reading order: [`start_run`] (a pipeline, params and a date become rows of the engine), [`compile`] (that
//! decision, pure), [`retry_run`], [`Steps`] (`${{ }}` and `if`, resolved when a step starts), [`jobs`] (the steps `python`, `sql`,
//! `export` and `quality.check`). The steps of datasets, models and files live with `training`, `registry`, `ingest`
//! and `features`. What runs the steps lives in the engine, which knows nothing of this crate.

pub mod compile;
mod error;
mod export;
mod fire;
mod moment;
mod prepare;
mod python;
mod quality;
mod retry;
mod sql;
mod start;
mod tables;

pub use error::Error;
pub use fire::PipelineTicks;
pub use prepare::{RunContext, Steps};
pub use python::{PythonArgs, PythonJob};
pub use retry::{Code, CodeUsed, DefinitionUsed, Retried, retry_run};
pub use start::{Day, StartRun, start_run};
pub use tables::query;

use std::path::PathBuf;

use tidemill_blobs::Blobs;
use tidemill_catalog::Catalog;
use tidemill_offline::Lake;
use tidemill_pyrun::PyOptions;
use tidemill_runtime::JobEntry;

/// What the general steps need.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Declared objects and datasets.
    pub catalog: Catalog,
    /// Tables.
    pub lake: Lake,
    /// Artifacts, code, large checkpoints.
    pub blobs: Blobs,
    /// How Python is started; the code is each run's own.
    pub python: PyOptions,
    /// Where code and artifacts are unpacked.
    pub cache: PathBuf,
}

/// The general steps.
pub fn jobs(deps: &Deps) -> Vec<JobEntry> {
    vec![
        JobEntry::new(PythonJob::new(deps.clone())),
        JobEntry::new(sql::SqlJob::new(deps.clone())),
        JobEntry::new(export::ExportJob::new(deps.clone())),
        JobEntry::new(quality::QualityJob::new(deps.clone())),
    ]
}
