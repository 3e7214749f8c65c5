//! What keeps the lake fit while nobody looks: small files are merged, files that nobody reads are deleted.
//!
//! Reading order: [`CompactJob`] (one table), [`CollectGarbageJob`] (the whole lake), [`compactions`] and
//! [`collection`] (what a server asks for now and then). How files are merged is `offline`'s; here is when, and that a
//! repeat does no harm. Removes no rows: no answer at any version changes.

mod collect_garbage;
mod compact;

pub use collect_garbage::{CollectGarbageJob, collection};
pub use compact::{CompactJob, LakeCompact, compaction, compactions};
use tidemill_blobs::Blobs;
use tidemill_catalog::Catalog;
use tidemill_offline::Lake;
use tidemill_runtime::JobEntry;

/// The jobs of upkeep.
pub fn jobs(catalog: &Catalog, lake: &Lake, blobs: &Blobs) -> Vec<JobEntry> {
    vec![
        JobEntry::new(CompactJob::new(lake.clone())),
        JobEntry::new(CollectGarbageJob::new(catalog.clone(), lake.clone(), blobs.clone())),
    ]
}
