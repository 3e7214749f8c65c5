//! The jobs of ingest.

mod chunk;
mod publish;
mod replay;
mod step;

use tidemill_runtime::JobEntry;

use crate::Ingest;

pub use chunk::ChunkJob;
pub use publish::PublishJob;
pub use replay::ReplayJob;
pub use step::StepJob;

/// Every job of this crate.
pub fn jobs(ingest: &Ingest) -> Vec<JobEntry> {
    vec![
        JobEntry::new(ChunkJob::new(ingest.clone())),
        JobEntry::new(PublishJob::new(ingest.clone())),
        JobEntry::new(ReplayJob::new(ingest.clone())),
        JobEntry::new(StepJob::new(ingest.clone())),
    ]
}
