//! `lake.compact`: merges the small files of one lake table.
//!
//! Commits are small where rows arrive often, and a read opens every file. Safe to repeat: a group is replaced in the
//! transaction that counts it, and what is merged already isn't found again.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_core::{JobError, Kind};
use tidemill_offline::{Error, Lake, Table};
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_store::NewJob;

/// Kind of [`CompactJob`].
const LAKE_COMPACT: Kind = Kind::new("lake.compact");
/// Files of about one size that are worth merging. More would be opened by every read, fewer rewritten more often.
const FULL: usize = 8;

/// Which table. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeCompact {
    /// Its name in the lake.
    pub table: Table,
}

/// What was merged so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Files that others stand for now.
    replaced: u64,
    /// Those others.
    merged: u64,
}

/// The job.
#[derive(Debug)]
pub struct CompactJob {
    lake: Lake,
}

impl CompactJob {
    /// With what it needs.
    pub fn new(lake: Lake) -> Self {
        Self { lake }
    }
}

impl Job for CompactJob {
    type Args = LakeCompact;
    type Checkpoint = Merged;
    const KIND: Kind = LAKE_COMPACT;

    async fn run(&self, args: &LakeCompact, cx: &mut Context<Merged>) -> Result<Outcome, JobError> {
        let mut so_far = cx.checkpoint().copied().unwrap_or_default();
        for files in self.lake.mergeable(&args.table, FULL).await? {
            let Some(merged) = self.lake.merge(&args.table, &files).await? else { continue };
            let mut tx = cx.begin().await?;
            if !self.lake.replace(tx.conn(), &args.table, &files, &merged).await? {
                // Rolled back: somebody else merged one of them.
                continue;
            }
            so_far = Merged { replaced: so_far.replaced + files.len() as u64, merged: so_far.merged + 1 };
            cx.commit_checkpoint(tx, so_far).await?;
            cx.log(format!("{}: {} files are one of {} rows", args.table, files.len(), merged.rows));
        }
        Ok(Outcome::Completed(json!({ "replaced": so_far.replaced, "merged": so_far.merged })))
    }
}

/// The job for a table; asking again while one waits changes nothing.
pub fn compaction(table: &Table) -> NewJob {
    let key = format!("{LAKE_COMPACT}/{table}");
    NewJob {
        key: Some(key.clone()),
        concurrency_key: Some(key),
        ..job_new(LAKE_COMPACT, &LakeCompact { table: table.clone() })
    }
}

/// The jobs for every table that has many small files.
pub async fn compactions(lake: &Lake) -> Result<Vec<NewJob>, Error> {
    Ok(lake.fragmented(FULL).await?.iter().map(compaction).collect())
}
