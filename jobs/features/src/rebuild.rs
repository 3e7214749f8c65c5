//! `features.rebuild`: writes a view's values to Redis again, from the lake.
//!
//! For a Redis that came back empty or older than it was. Safe at any time: puts never replace newer values.

use serde::{Deserialize, Serialize};
use tidemill_core::{JobError, Kind};
use tidemill_offline::Read;
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::ViewKind;

use crate::{
    Deps, Error,
    advance::{begin, mark, put},
    compute::tiles,
    live::publish_live,
    subject::Subject,
    target::Target,
};

/// Kind of [`FeaturesRebuild`].
pub(crate) const FEATURES_REBUILD: Kind = Kind::new("features.rebuild");

/// Which view to write again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeaturesRebuild {
    /// The view.
    pub(crate) view: String,
}

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
        publish_live(&self.deps).await?;
        Ok(Outcome::Completed(serde_json::json!({ "written": written })))
    }
}

/// Whether Redis holds less of a version than its position says was written.
pub(crate) async fn lost(deps: &Deps, subject: &Subject, target: &Target) -> Result<bool, Error> {
    let Some(online) = &subject.online else { return Ok(false) };
    let markers = deps.online.markers().await?;
    let held =
        markers.get(&(online.name().to_owned(), online.version())).map_or(0, |marker| marker.lake_version);
    Ok(held < target.after)
}

/// Writes what the version's position stands for: rows as of it, known at its clock.
pub(crate) async fn write_again(deps: &Deps, subject: &Subject, target: &Target) -> Result<u64, Error> {
    if subject.online.is_none() || target.after == 0 {
        return Ok(0);
    }
    let clock = target.clock_before.unwrap_or(target.clock);
    let whole = Target { after: 0, clock_before: None, lake_version: target.after, clock, ..*target };
    let rows = match subject.view.kind() {
        ViewKind::Windows => tiles(deps, &subject.view, &whole).await?,
        // The rows of the last units were committed after the version they consumed, so: as of now.
        ViewKind::Rows | ViewKind::Derived => {
            deps.lake.read(&Read::all(subject.view.table(), deps.lake.head().await?)).await?
        }
    };
    begin(deps, subject, &whole).await?;
    let written = if rows.num_rows() == 0 { 0 } else { put(deps, subject, &whole, &rows).await? };
    mark(deps, subject, &whole).await?;
    Ok(written)
}
