//! `lake.collect_garbage`: deletes files that nobody reads.
//!
//! Those are files of the lake that a compaction replaced or whose rows were taken away, files that a job staged and never
//! published (its attempt failed, or another was faster), and uploaded files of which the rows were taken away. Safe to
//! repeat: what is gone isn't found again.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_blobs::Blobs;
use tidemill_catalog::Catalog;
use tidemill_core::{JobError, Kind, Time};
use tidemill_offline::Lake;
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_store::NewJob;

/// Kind of [`CollectGarbageJob`].
const LAKE_COLLECT_GARBAGE: Kind = Kind::new("lake.collect_garbage");
/// Longer than any read or attempt that may still have a file in hand.
const LEFT_ALONE: Duration = Duration::from_hours(24);

/// Nothing to choose. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeCollectGarbage {}

/// The job.
#[derive(Debug)]
pub struct CollectGarbageJob {
    catalog: Catalog,
    lake: Lake,
    blobs: Blobs,
}

impl CollectGarbageJob {
    /// With what it needs.
    pub fn new(catalog: Catalog, lake: Lake, blobs: Blobs) -> Self {
        Self { catalog, lake, blobs }
    }

    /// Deletes files of uploads, as old as that, whose rows were all taken away. Returns how many.
    async fn collect_uploads(&self, before: Time) -> Result<usize, JobError> {
        let mut stored = self.blobs.list("uploads").await?;
        stored.retain(|entry| entry.modified_at < before);
        let hash = |path: &str| {
            let name = path.rsplit('/').next().unwrap_or(path);
            name.split('.').next().unwrap_or(name).to_owned()
        };
        let hashes: Vec<String> = stored.iter().map(|entry| hash(&entry.path)).collect();
        let kept: BTreeSet<String> = self.catalog.kept_files(&hashes).await?.into_iter().collect();
        stored.retain(|entry| !kept.contains(&hash(&entry.path)));
        for entry in &stored {
            self.blobs.delete_at(&entry.path).await?;
        }
        Ok(stored.len())
    }
}

impl Job for CollectGarbageJob {
    type Args = LakeCollectGarbage;
    type Checkpoint = ();
    const KIND: Kind = LAKE_COLLECT_GARBAGE;

    async fn run(&self, _: &LakeCollectGarbage, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let before = cx.clock().now() - LEFT_ALONE;
        // An upload that failed may be retried whenever its user comes back to it.
        let awaited: BTreeSet<String> = self.catalog.awaited_files().await?.into_iter().collect();
        let deleted = self.lake.collect_garbage(before, &awaited).await?;
        let deleted = deleted + self.collect_uploads(before).await?;
        cx.log(format!("{deleted} files deleted"));
        // No outputs: a repeat finds nothing more to delete, and must end the same.
        Ok(Outcome::Completed(Value::Null))
    }
}

/// The job; asking again while one waits changes nothing.
pub fn collection() -> NewJob {
    let key = LAKE_COLLECT_GARBAGE.to_string();
    NewJob {
        key: Some(key.clone()),
        concurrency_key: Some(key),
        ..job_new(LAKE_COLLECT_GARBAGE, &LakeCollectGarbage {})
    }
}
