//! Aliases move: forward by a promotion, back by a rollback. Then the models are published to serving.

use serde_json::json;
use tidemill_catalog::Catalog;
use tidemill_core::{JobError, Kind};
use tidemill_online::Online;
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{MODEL_PROMOTE, ModelPromote};

use crate::{Deps, Error, live::publish};

/// Points an alias at a version and publishes it. Safe to repeat.
///
/// # Errors
/// The version isn't registered, or a server can't be reached.
pub async fn promote(
    catalog: &Catalog,
    online: &Online,
    model: &str,
    version: i32,
    alias: &str,
) -> Result<(), Error> {
    registered(catalog, model, version).await?;
    let mut tx = catalog.store().begin().await?;
    catalog.promote_model(&mut tx, model, version, alias).await?;
    tx.commit().await?;
    publish(catalog, online).await
}

/// Points an alias back at the version before its last promotion, publishes it and returns it.
///
/// # Errors
/// [`Error::NothingToRollBack`], or a server can't be reached.
pub async fn rollback(catalog: &Catalog, online: &Online, model: &str, alias: &str) -> Result<i32, Error> {
    let mut tx = catalog.store().begin().await?;
    let version = catalog.rollback_model(&mut tx, model, alias).await?;
    tx.commit().await?;
    publish(catalog, online).await?;
    version.ok_or_else(|| Error::NothingToRollBack { model: model.to_owned(), alias: alias.to_owned() })
}

/// Fails if there is no such version; one that is there stays.
async fn registered(catalog: &Catalog, model: &str, version: i32) -> Result<(), Error> {
    if catalog.model_version(model, version).await?.is_none() {
        return Err(Error::UnknownVersion { model: model.to_owned(), version });
    }
    Ok(())
}

/// Step `model.promote`.
#[derive(Clone, Debug)]
pub(crate) struct PromoteJob {
    deps: Deps,
}

impl PromoteJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for PromoteJob {
    type Args = ModelPromote;
    /// Whether the alias has moved. Without it a late retry would undo a promotion made meanwhile.
    type Checkpoint = bool;
    const KIND: Kind = MODEL_PROMOTE;

    async fn run(&self, args: &ModelPromote, cx: &mut Context<bool>) -> Result<Outcome, JobError> {
        let Deps { catalog, online, .. } = &self.deps;
        let version = i32::try_from(args.version).map_err(JobError::discard)?;
        if cx.checkpoint().is_none() {
            registered(catalog, &args.model, version).await?;
            let mut tx = cx.begin().await?;
            catalog.promote_model(&mut tx, &args.model, version, &args.alias).await.map_err(Error::from)?;
            cx.commit_checkpoint(tx, true).await?;
        }
        publish(catalog, online).await?;
        Ok(Outcome::Completed(json!({ "version": version, "alias": args.alias })))
    }
}
