//! Feature views: kept up to date, filled anew, read, and compared online against offline.
//!
//! Reading order: [`target`] (how far a job shall bring a view, and in which units; pure), [`compute`] (the rows of
//! a unit, user Python included), [`entries`] (which of them go to Redis; pure), [`advance`] (a unit from computing to
//! commit), then the jobs: `update`, `backfill`, `recompute`, `rebuild`,
//! `drop`, `forget`, and [`reset()`] for a version that begins anew; then what people ask: [`get`], [`history`],
//! [`parity`], [`freshness`], [`dead_letters()`], [`consequences()`].
//!
//! Redis is written before the lake's commit, and every put is put-if-newer, so a job that dies in between is
//! harmless. Nothing here knows files, DuckDB or the bytes in Redis.

mod advance;
mod backfill;
mod backlog;
mod catch_up;
mod compute;
mod consequences;
mod dead_letters;
mod drop;
mod entries;
mod error;
mod forget;
mod freshness;
mod parity;
mod read;
mod rebuild;
mod recompute;
mod reset;
mod selection;
mod subject;
mod target;
mod update;
mod wishes;

use std::path::PathBuf;

use tidemill_blobs::Blobs;
use tidemill_catalog::Catalog;
use tidemill_offline::Lake;
use tidemill_online::Online;
use tidemill_pyrun::PyPools;
use tidemill_runtime::JobEntry;

pub use backlog::{Backlog, Behind, FailedUpdate, behind_commit};
pub use consequences::{Consequence, ReadBy, consequences};
pub use dead_letters::{DeadLetter, DeadLetters, dead_letters};
pub use error::Error;
pub use forget::forget_new;
pub use freshness::{ViewFreshness, freshness};
pub use parity::{Difference, Parity, parity};
pub use read::{GetRequest, GotFeatures, get, history};
pub use recompute::{RecomputeScope, Recomputed, RecomputedVersion, recompute_new, recompute_scope};
pub use reset::{computed_from, reset, tables_of};
pub use wishes::{
    backfill_new, behind, clock_moved, dispensable, drop_new, rebuild_new, update_new, updates_of_source,
    wishes_of_changes,
};

/// What the jobs and questions of features need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Objects, view versions, positions, lineage.
    pub catalog: Catalog,
    /// Rows.
    pub lake: Lake,
    /// Latest values.
    pub online: Online,
    /// The project's code.
    pub blobs: Blobs,
    /// User Python.
    pub python: PyPools,
    /// Where code is unpacked.
    pub cache: PathBuf,
}

/// The jobs of features.
pub fn jobs(deps: &Deps) -> Vec<JobEntry> {
    vec![
        JobEntry::new(update::UpdateJob::new(deps.clone())),
        JobEntry::new(backfill::BackfillJob::new(deps.clone())),
        JobEntry::new(rebuild::RebuildJob::new(deps.clone())),
        JobEntry::new(recompute::RecomputeJob::new(deps.clone())),
        JobEntry::new(drop::DropJob::new(deps.clone())),
        JobEntry::new(forget::ForgetJob::new(deps.clone())),
    ]
}
