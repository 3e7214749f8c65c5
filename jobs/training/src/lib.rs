//! Training sets: labels with the features that were known at each label's moment.
//!
//! Reading order: [`inputs`] (which views are read, and how their keys are found), [`LabelRead`] (what a label's rows are
//! read from), `coverage` (what became of those that were asked), `assemble` (the point-in-time join
//! and its report), `split` (what is held out), [`DatasetJob`] (step `dataset.build`: pins, waits, builds, registers), [`build_from_labels`] (the
//! same for anyone's file of label rows). Training itself is the user's Python, run by `pipeline`; versions are scored
//! by `registry`.

mod assemble;
mod coverage;
mod dataset;
mod error;
mod from_labels;
pub mod inputs;
mod label;
mod split;
mod told;
pub mod wait;

pub use dataset::DatasetJob;
pub use error::Error;
pub use from_labels::{FileAnswers, FileLabel, FromLabels, build_from_labels};
pub use label::LabelRead;

use tidemill_blobs::Blobs;
use tidemill_catalog::Catalog;
use tidemill_offline::Lake;
use tidemill_runtime::JobEntry;

/// What building a training set needs.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Declared objects, view versions, datasets.
    pub catalog: Catalog,
    /// Labels and features.
    pub lake: Lake,
    /// Where the files go.
    pub blobs: Blobs,
}

/// The jobs of training sets.
pub fn jobs(deps: &Deps) -> Vec<JobEntry> {
    vec![JobEntry::new(DatasetJob::new(deps.clone()))]
}
