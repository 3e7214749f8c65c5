//! `features.backfill`: fills a new version of a view from the start, then switches to it.
//!
//! The same code as an update, from position 0. Nobody reads the version until the last unit's transaction makes
//! it current. The one before is retired then; its values leave Redis one backfill later, so that no reader
//! with an older live set misses them.

use tidemill_catalog::{ViewState, ViewVersion};
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{FEATURES_BACKFILL, FeaturesBackfill};

use crate::{
    Deps, Error,
    advance::{Arrival, Progress, bring},
    subject::Subject,
    wishes::update_new,
};

/// What it needs.
#[derive(Clone, Debug)]
pub(crate) struct BackfillJob {
    deps: Deps,
}

impl BackfillJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for BackfillJob {
    type Args = FeaturesBackfill;
    type Checkpoint = Progress;
    const KIND: Kind = FEATURES_BACKFILL;

    async fn run(&self, args: &FeaturesBackfill, cx: &mut Context<Progress>) -> Result<Outcome, JobError> {
        if cx.checkpoint().is_none() {
            self.fix_target(&args.view, cx).await?;
        }
        if let Some(target) = cx.checkpoint().and_then(|progress| progress.targets.first().copied()) {
            let subject = self.subject(&args.view, target.version).await?;
            bring(&self.deps, &subject, Arrival::Switched, cx).await?;
        }
        tidemill_live::publish(&self.deps.catalog, &self.deps.online).await?;
        drop_dead_versions(&self.deps, &args.view).await?;
        let version = self.deps.catalog.current_view(&args.view).await.map_err(Error::from)?;
        let mut outputs = cx.checkpoint().map(Progress::outputs).unwrap_or_default();
        outputs["version"] = version.map(|version| version.version).into();
        let mut tx = cx.begin().await?;
        // For what came while it was filled.
        cx.enqueue(&mut tx, &[update_new(&args.view)]).await?;
        cx.commit(tx, outputs).await
    }
}

impl BackfillJob {
    /// The first attempt opens the version, unless a changed declaration has, and decides how far to go.
    async fn fix_target(&self, view: &str, cx: &mut Context<Progress>) -> Result<(), JobError> {
        // Safe to repeat: a version that is being filled is returned again.
        let mut tx = cx.begin().await?;
        let version = self.deps.catalog.begin_view(&mut tx, view).await?;
        tx.commit().await?;
        let subject = self.subject(view, version).await?;
        let target = subject.target(&self.deps, cx.now_data().await?).await?;
        cx.log(format!("filling {view} v{version} up to lake version {}", target.lake_version));
        cx.save_checkpoint(Progress::new(vec![target])).await
    }

    async fn subject(&self, view: &str, version: i32) -> Result<Subject, Error> {
        let objects = self.deps.catalog.objects().await?;
        let found =
            self.deps.catalog.view_version(view, version).await?.ok_or_else(|| Error::no_view(view))?;
        Subject::of(&self.deps.catalog, &objects, found).await
    }
}

/// Removes from Redis what no reader can ask for any more: retired versions but the newest of them.
async fn drop_dead_versions(deps: &Deps, view: &str) -> Result<(), Error> {
    let maintained = tidemill_live::maintained_versions(&deps.catalog, Some(view)).await?;
    let retired = |version: &ViewVersion| {
        version.state == ViewState::Retired && !maintained.iter().any(|kept| kept.version == version.version)
    };
    let versions = deps.catalog.view_versions(Some(view)).await?;
    for version in versions.iter().filter(|version| retired(version)).skip(1) {
        deps.online.drop_version(view, version.version.unsigned_abs()).await?;
    }
    Ok(())
}
