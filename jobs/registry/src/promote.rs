//! Aliases move: forward by a promotion, back by a rollback. Then the live set is published, and serving is waited for.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tidemill_catalog::{Catalog, RolloutState};
use tidemill_core::{Fault, JobError, Kind};
use tidemill_live::TakeOver;
use tidemill_online::Online;
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{MODEL_PROMOTE, ModelPromote};

use crate::{Deps, Error, rollout::end_by_promotion, servable::servable};

/// How long serving processes are waited for, real time.
const TAKE_OVER_MAX: Duration = Duration::from_secs(30);

/// Where an alias went, and who serves it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// What it names now; `None`: it was taken away.
    pub version: Option<i32>,
    /// Addresses of the serving processes that have taken it over.
    pub serving: Vec<String>,
    /// One sentence for each that hasn't, and why.
    pub waiting: Vec<String>,
}

/// Points an alias at a version, publishes it, and waits up to half a minute until serving has taken it over. Safe to
/// repeat. A rollout of the version ends with it. A Redis that is away fails nothing: what is waited for is said, and the server
/// publishes later.
///
/// # Errors
/// [`Error::UnknownVersion`], [`Error::NotServable`], [`Error::RolloutUnderWay`] of another version, or Postgres can't be reached;
/// the alias hasn't moved then.
pub async fn promote(
    catalog: &Catalog,
    online: &Online,
    model: &str,
    version: i32,
    alias: &str,
) -> Result<Moved, Error> {
    servable(catalog, model, version).await?;
    let mut tx = catalog.store().begin().await?;
    end_by_promotion(catalog, &mut tx, (model, alias), version).await?;
    catalog.promote_model(&mut tx, model, version, alias).await?;
    tx.commit().await?;
    Ok(take_over(catalog, online, (model, alias), Some(version)).await)
}

/// Ends the rollout of an alias, which then stays where it is; without one, points the alias back at the version before its last
/// promotion, or takes away one that never named another version; then as [`promote`].
///
/// # Errors
/// [`Error::NothingToRollBack`], [`Error::NotServable`], or Postgres can't be reached; the alias hasn't moved then.
pub async fn rollback(catalog: &Catalog, online: &Online, model: &str, alias: &str) -> Result<Moved, Error> {
    let mut tx = catalog.store().begin().await?;
    if catalog.end_rollout(&mut tx, (model, alias), RolloutState::RolledBack, "by hand").await?.is_some() {
        tx.commit().await?;
        let named = catalog.model_alias(model, alias).await?.map(|alias| alias.version);
        return Ok(take_over(catalog, online, (model, alias), named).await);
    }
    drop(tx);
    if let Some(version) = catalog.model_alias(model, alias).await?.and_then(|alias| alias.previous) {
        servable(catalog, model, version).await?;
    }
    let mut tx = catalog.store().begin().await?;
    let version = catalog.rollback_model(&mut tx, model, alias).await?;
    if version.is_none() && catalog.remove_alias(&mut tx, model, alias, true).await?.is_none() {
        return Err(Error::NothingToRollBack { model: model.to_owned(), alias: alias.to_owned() });
    }
    tx.commit().await?;
    Ok(take_over(catalog, online, (model, alias), version).await)
}

/// Takes an alias away: nothing answers under it any more; then as [`promote`].
///
/// # Errors
/// [`Error::UnknownAlias`], or Postgres can't be reached.
pub async fn remove(catalog: &Catalog, online: &Online, model: &str, alias: &str) -> Result<Moved, Error> {
    let mut tx = catalog.store().begin().await?;
    catalog.end_rollout(&mut tx, (model, alias), RolloutState::RolledBack, "the alias was removed").await?;
    if catalog.remove_alias(&mut tx, model, alias, false).await?.is_none() {
        return Err(Error::UnknownAlias { model: model.to_owned(), alias: alias.to_owned() });
    }
    tx.commit().await?;
    Ok(take_over(catalog, online, (model, alias), None).await)
}

async fn take_over(
    catalog: &Catalog,
    online: &Online,
    (model, alias): (&str, &str),
    version: Option<i32>,
) -> Moved {
    let wanted = version.map(i32::unsigned_abs);
    let told = async {
        let order = tidemill_live::publish(catalog, online).await?;
        tidemill_live::taken_over(online, order, (model, alias), wanted, TAKE_OVER_MAX).await
    };
    match told.await {
        Ok(told) => Moved::of(version, told),
        Err(error) => {
            let reason = Fault::from_error(&error).message;
            let waiting = format!("the server publishes it once Redis answers: {reason}");
            Moved { version, serving: Vec::new(), waiting: vec![waiting] }
        }
    }
}

impl Moved {
    fn of(version: Option<i32>, told: Vec<TakeOver>) -> Self {
        let mut moved = Self { version, serving: Vec::new(), waiting: Vec::new() };
        if told.is_empty() {
            moved.waiting.push("no serving process is running: tidemill serve".to_owned());
        }
        for TakeOver { address, problem } in told {
            match problem {
                None => moved.serving.push(address),
                Some(problem) => moved.waiting.push(format!("{address}: {problem}")),
            }
        }
        moved
    }
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
            servable(catalog, &args.model, version).await?;
            let mut tx = cx.begin().await?;
            end_by_promotion(catalog, &mut tx, (&args.model, &args.alias), version).await?;
            catalog.promote_model(&mut tx, &args.model, version, &args.alias).await.map_err(Error::from)?;
            cx.commit_checkpoint(tx, true).await?;
        }
        let moved = take_over(catalog, online, (&args.model, &args.alias), Some(version)).await;
        for waiting in &moved.waiting {
            cx.log(format!("{} v{version} as {}: {waiting}", args.model, args.alias));
        }
        Ok(Outcome::Completed(json!({
            "version": version, "alias": args.alias, "serving": moved.serving, "waiting": moved.waiting,
        })))
    }
}
