//! `features.drop`: takes away the retired versions of a view that nothing needs any more, with their values in Redis and
//! their rows in the lake.
//!
//! The newest of them is kept for a while: its declaration may come back, and its readers may not have heard yet. Safe to
//! repeat. One that is wanted again meanwhile is left alone; what Redis has lost of it by then is written again.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_core::{JobError, Kind};
use tidemill_offline::Table;
use tidemill_runtime::{Context, Job, Outcome};

use crate::{Deps, Error};

/// Kind of [`FeaturesDrop`].
pub(crate) const FEATURES_DROP: Kind = Kind::new("features.drop");
/// How long the newest retired version is kept, real time.
pub(crate) const KEPT: TimeDelta = TimeDelta::hours(1);

/// Of which view. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeaturesDrop {
    /// The view.
    pub(crate) view: String,
}

/// What it needs.
#[derive(Clone, Debug)]
pub(crate) struct DropJob {
    deps: Deps,
}

impl DropJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for DropJob {
    type Args = FeaturesDrop;
    type Checkpoint = ();
    const KIND: Kind = FEATURES_DROP;

    async fn run(&self, args: &FeaturesDrop, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let Deps { catalog, lake, online, .. } = &self.deps;
        let mut unneeded = tidemill_live::unneeded_versions(catalog).await?;
        unneeded.retain(|version| version.view == args.view);
        let now = cx.clock().now();
        let long = |place: usize| unneeded[place].retired_at.is_some_and(|at| now - at > KEPT);
        for version in (0..unneeded.len()).filter(|place| *place > 0 || long(*place)) {
            let version = unneeded[version].version;
            online.drop_version(&args.view, version.unsigned_abs()).await.map_err(Error::from)?;
            let mut tx = cx.begin().await?;
            lake.drop_table(tx.conn(), &Table::view(&args.view, version)).await.map_err(Error::from)?;
            if catalog.drop_view(&mut tx, &args.view, version).await.map_err(Error::from)? {
                tx.commit().await?;
                cx.log(format!("version {version} of view {} is gone: nothing needed it", args.view));
            }
        }
        // No outputs: a repeat finds nothing more to drop, and must end the same.
        Ok(Outcome::Completed(Value::Null))
    }
}
