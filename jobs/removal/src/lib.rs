//! What takes rows away: all of a source, or those of one entity wherever they are.
//!
//! Reading order: [`source_scope`] (what taking a source's rows away will touch, told before it is done), [`TruncateJob`];
//! [`erase_scope`] and [`EraseJob`], the same for an entity.
//! How files and values go is the business of the lake and of Redis; here is what goes, in which order, and that a repeat
//! does no harm. What nobody reads any more is deleted by `upkeep`.

mod erase;
mod error;
mod source;
mod truncate;

use tidemill_blobs::Blobs;
use tidemill_catalog::Catalog;
use tidemill_offline::Lake;
use tidemill_runtime::JobEntry;

pub use erase::{EraseJob, EraseScope, Trained, erase_scope, erasure};
pub use error::Error;
pub use source::{Affected, SourceScope, source_scope};
pub use truncate::{TruncateJob, dropping, truncation};

/// What taking rows away needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Objects, view versions, uploads.
    pub catalog: Catalog,
    /// Rows.
    pub lake: Lake,
    /// Files as they were uploaded.
    pub blobs: Blobs,
}

/// The jobs of removal.
pub fn jobs(deps: &Deps) -> Vec<JobEntry> {
    vec![JobEntry::new(TruncateJob::new(deps.clone())), JobEntry::new(EraseJob::new(deps.clone()))]
}
