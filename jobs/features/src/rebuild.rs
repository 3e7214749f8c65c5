//! `features.rebuild`: writes a view's values to Redis again, from the lake.
//!
//! For a Redis that came back empty or older than it was. Safe at any time: puts never replace newer values.

use tidemill_core::{JobError, Kind};
use tidemill_offline::Read;
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::ViewKind;

use crate::{
    Deps, Error,
    advance::{begin, mark, put, put_last_rows, put_rows},
    compute::tiles,
    subject::Subject,
    target::Target,
    wishes::{FEATURES_REBUILD, FeaturesRebuild},
};

/// What it needs.
#[derive(Clone, Debug)]
pub(crate) struct RebuildJob {
    deps: Deps,
}

impl RebuildJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for RebuildJob {
    type Args = FeaturesRebuild;
    type Checkpoint = ();
    const KIND: Kind = FEATURES_REBUILD;

    async fn run(&self, args: &FeaturesRebuild, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let now = cx.now_data().await?;
        let mut written = 0;
        for subject in Subject::maintained(&self.deps, &args.view).await? {
            let target = subject.target(&self.deps, now).await?;
            written += write_again(&self.deps, &subject, &target).await?;
        }
        Ok(Outcome::Completed(serde_json::json!({ "written": written })))
    }
}

/// Whether Redis holds less of a version than its position says was written; or more than there is, for the database came
/// back older than Redis.
pub(crate) async fn lost(deps: &Deps, subject: &Subject, target: &Target) -> Result<bool, Error> {
    let Some(online) = &subject.online else { return Ok(false) };
    Ok(deps.online.markers().await?.lost(online, target.after, deps.lake.head().await?))
}

/// Writes what the version's position stands for: rows as of it, known at its clock.
pub(crate) async fn write_again(deps: &Deps, subject: &Subject, target: &Target) -> Result<u64, Error> {
    let Some(online) = subject.online.as_ref().filter(|_| target.after > 0) else { return Ok(0) };
    if deps.online.markers().await?.outdated(online) || lost(deps, subject, target).await? {
        // Nobody can read them, or nothing stands behind them; what is written now may be older, and what was taken away
        // since would stay.
        deps.online.drop_version(online.name(), online.version()).await?;
    }
    let clock = target.clock_before.unwrap_or(target.clock);
    let whole = Target { after: 0, clock_before: None, lake_version: target.after, clock, ..*target };
    let whole = subject.cut(deps, whole).await?;
    begin(deps, subject, &whole).await?;
    let written = match subject.view.kind() {
        ViewKind::Windows => {
            let mut written = 0;
            for part in 0..whole.parts {
                let tiles = tiles(deps, &subject.view, &whole, part).await?;
                written += put(deps, subject, &whole, &tiles).await?;
            }
            written
        }
        ViewKind::Derived => 0,
        ViewKind::Rows if subject.upserts() => put_last_rows(deps, subject, &whole).await?,
        // The rows of the last units were committed after the version they consumed, so: as of now.
        ViewKind::Rows | ViewKind::Snapshots => {
            let rows = Read::all(subject.view.table(), deps.lake.head().await?);
            put_rows(deps, subject, &whole, rows).await?
        }
    };
    mark(deps, subject, &whole).await?;
    Ok(written)
}
