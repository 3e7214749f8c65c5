//! Loaded models behind one [`ModelPool`]: tree models in this process, others in warm Python processes.
//!
//! Reading order: [`Signature`] (what a model folder says of itself, and rows made to fit it), [`ModelPool`]
//! (which of the two), `in_process` (trees, by `tidemill-trees`), `processes` (queue, golden rows), [`Scale`] (how many), `place`
//! (what a process does with requests, and what becomes of both when it fails), [`Output`] (what comes out). Shared by serving,
//! registration, comparison and batch prediction, so that
//! all of them give the same number. A pool exists only after its golden rows predicted what was recorded.

mod columns;
mod error;
mod golden;
mod health;
mod in_process;
mod output;
mod place;
mod pool;
mod processes;
mod queue;
mod scale;
mod shares;
mod signature;

pub use error::Error;
pub use health::Processes;
pub use output::{Output, Outputs, flat, outputs_of, unusable};
pub use pool::{ModelOptions, ModelPool};
pub use scale::Scale;
pub use signature::{InputColumn, Signature};
