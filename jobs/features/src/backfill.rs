//! `features.backfill`: fills a new version of a view from the start, then switches to it.
//!
//! The same code as an update, from position 0, or from where a version is that was retired and is wanted again. Nobody
//! reads it by default until the last unit's transaction makes it current. Of a view that holds nothing that is all there is
//! to do. A version over one that is itself being
//! filled waits: whoever fills that one asks for this. What is retired then, and needed no more, is dropped by
//! `features.drop`.

use serde_json::Value;
use tidemill_catalog::{ViewState, ViewVersion};
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{FEATURES_BACKFILL, FeaturesBackfill};

use crate::{
    Deps, Error,
    advance::{Progress, bring},
    rebuild,
    subject::Subject,
    target::Arrival,
    wishes::{drop_new, update_new},
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
        let Some(progress) = cx.checkpoint() else { return Ok(Outcome::Completed(Value::Null)) };
        if let Some(target) = progress.targets.first().copied() {
            let subject = self.subject(&args.view, target.version).await?;
            bring(&self.deps, &subject, Arrival::Switched, cx).await?;
        }
        tidemill_live::publish(&self.deps.catalog, &self.deps.online).await?;
        let version = self.deps.catalog.current_view(&args.view).await.map_err(Error::from)?;
        let mut outputs = cx.checkpoint().map(Progress::outputs).unwrap_or_default();
        outputs["version"] = version.map(|version| version.version).into();
        let mut tx = cx.begin().await?;
        // For what came while it was filled.
        cx.enqueue(&mut tx, &[update_new(&args.view), drop_new(&args.view)]).await?;
        cx.commit(tx, outputs).await
    }
}

impl BackfillJob {
    /// The first attempt opens the version, unless a changed declaration has, and decides how far to go; nowhere while one
    /// of its inputs is being filled.
    async fn fix_target(&self, view: &str, cx: &mut Context<Progress>) -> Result<(), JobError> {
        // Safe to repeat: a version that is being filled is returned again.
        let mut tx = cx.begin().await?;
        let version = self.deps.catalog.begin_view(&mut tx, view).await?;
        tx.commit().await?;
        let subject = self.subject(view, version).await?;
        for (input, number) in &subject.version.plan.inputs {
            let input = self.version(input, *number).await?;
            if input.state == ViewState::Building {
                let (input, number) = (&input.view, input.version);
                cx.log(format!(
                    "{view} v{version} is filled when {input} v{number} is, which it is computed from"
                ));
                return Ok(());
            }
        }
        let target = subject.target(&self.deps, cx.now_data().await?).await?;
        if rebuild::lost(&self.deps, &subject, &target).await? {
            rebuild::write_again(&self.deps, &subject, &target).await?;
        }
        let target = subject.cut(&self.deps, target).await?;
        cx.log(format!("filling {view} v{version} up to lake version {}", target.lake_version));
        cx.save_checkpoint(Progress::new(vec![target])).await
    }

    async fn subject(&self, view: &str, version: i32) -> Result<Subject, Error> {
        Ok(Subject::of(&self.version(view, version).await?))
    }

    async fn version(&self, view: &str, version: i32) -> Result<ViewVersion, Error> {
        self.deps.catalog.view_version(view, version).await?.ok_or_else(|| Error::no_view(view))
    }
}
