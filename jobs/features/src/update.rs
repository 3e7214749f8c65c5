//! `features.update`: brings every maintained version of a view up to the lake's head and the data clock.
//!
//! Safe to repeat: targets are fixed in the first checkpoint, units are published under keys that name what they
//! cover, and Redis keeps the newest. One at a time for each view, by its concurrency key.

use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::args::{FEATURES_UPDATE, FeaturesUpdate};

use crate::{
    Deps, Error,
    advance::{Progress, bring},
    rebuild,
    subject::Subject,
    target::Arrival,
};

/// What it needs.
#[derive(Clone, Debug)]
pub(crate) struct UpdateJob {
    deps: Deps,
}

impl UpdateJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for UpdateJob {
    type Args = FeaturesUpdate;
    type Checkpoint = Progress;
    const KIND: Kind = FEATURES_UPDATE;

    async fn run(&self, args: &FeaturesUpdate, cx: &mut Context<Progress>) -> Result<Outcome, JobError> {
        let subjects = Subject::maintained(&self.deps, &args.view).await?;
        self.fix_targets(&subjects, cx).await?;
        while let Some(target) = cx.checkpoint().and_then(|progress| progress.targets.first().copied()) {
            let subject = subjects
                .iter()
                .find(|subject| subject.version.version == target.version)
                .ok_or_else(|| Error::no_view(&args.view))?;
            bring(&self.deps, subject, Arrival::Updated, cx).await?;
        }
        let outputs = cx.checkpoint().map(Progress::outputs).unwrap_or_default();
        Ok(Outcome::Completed(outputs))
    }
}

impl UpdateJob {
    /// The first attempt decides how far to go, and writes Redis anew where it lost what was there.
    async fn fix_targets(&self, subjects: &[Subject], cx: &mut Context<Progress>) -> Result<(), JobError> {
        if cx.checkpoint().is_some() {
            return Ok(());
        }
        let now = cx.now_data().await?;
        let mut targets = Vec::new();
        for subject in subjects {
            let target = subject.target(&self.deps, now).await?;
            if rebuild::lost(&self.deps, subject, &target).await? {
                cx.log(format!("Redis holds less of {} than was written: writing it again", subject.name()));
                rebuild::write_again(&self.deps, subject, &target).await?;
            }
            targets.push(subject.cut(&self.deps, target).await?);
        }
        cx.save_checkpoint(Progress::new(targets)).await
    }
}
