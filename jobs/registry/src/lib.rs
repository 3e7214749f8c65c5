//! Model versions: registered, compared, promoted, rolled back, asked for whole tables, published to serving.
//!
//! Reading order: [`folder`] (what a model folder must say), `file` (a person's
//! model file becomes one), `register` (it becomes an immutable version),
//! [`Warm`] (a version made ready to predict, by the code that serving uses), [`score`] (AUC and log loss, pure),
//! [`evidence`] (whether one version is worse than another, while both answer; pure), `figures` (predictions beside what
//! happened), `evaluate` and `compare` (figures of versions on datasets), [`promote`] and [`rollback`] (what serving may be
//! asked is published by `live`), [`canary`] (a rollout begins), [`log`] (what serving answered). Versions never change; only aliases move.

mod compare;
mod error;
mod evaluate;
pub mod evidence;
mod figures;
mod file;
pub mod folder;
pub mod log;
mod predict;
mod promote;
mod register;
mod rollout;
pub mod score;
mod servable;
mod views;
mod warm;

pub use error::Error;
pub use evaluate::{Evaluation, evaluate};
pub use figures::auc;
pub use promote::{Moved, promote, remove, rollback};
pub use rollout::{Decision, canary, decide, figures_of};
pub use views::pinned_views;
pub use warm::Warm;

use std::path::PathBuf;

use tidemill_blobs::Blobs;
use tidemill_catalog::Catalog;
use tidemill_offline::Lake;
use tidemill_online::Online;
use tidemill_pyrun::PyOptions;
use tidemill_runtime::JobEntry;

/// What the jobs of models need.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Versions, aliases, figures, datasets.
    pub catalog: Catalog,
    /// Where predictions are appended.
    pub lake: Lake,
    /// Artifacts and datasets.
    pub blobs: Blobs,
    /// Where the live set is published.
    pub online: Online,
    /// How Python is started; the code is each version's own.
    pub python: PyOptions,
    /// Where code and artifacts are unpacked.
    pub cache: PathBuf,
}

/// The jobs of models.
pub fn jobs(deps: &Deps) -> Vec<JobEntry> {
    vec![
        JobEntry::new(register::RegisterJob::new(deps.clone())),
        JobEntry::new(compare::CompareJob::new(deps.clone())),
        JobEntry::new(evaluate::EvaluateJob::new(deps.clone())),
        JobEntry::new(predict::PredictJob::new(deps.clone())),
        JobEntry::new(promote::PromoteJob::new(deps.clone())),
        JobEntry::new(log::ingest::IngestJob::new(deps.clone())),
        JobEntry::new(log::expire::ExpireJob::new(deps.clone())),
        JobEntry::new(log::replay::ReplayJob::new(deps.clone())),
    ]
}
