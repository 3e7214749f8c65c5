//! The one publisher of the live set: what serving may be asked, read from the catalog as a whole and published to Redis
//! in one step.
//!
//! Reading order: [`live_models`] and [`maintained`] (which versions of models and views are needed, pure),
//! `assemble` (a document for each model version, or why it can't be served; pure), [`publish`], [`keep_published`] (what
//! Redis lost, or never got, is published again), [`taken_over`] (which serving processes have a version). Called after
//! every change has committed. Nothing here changes the catalog.

mod assemble;
mod error;
mod needed;
mod replicas;

use tidemill_catalog::{Catalog, ModelVersion};
use tidemill_online::{LiveSet, Online};
use tidemill_spec::Model;

pub use assemble::{Declared, assemble, live_view_of};
pub use error::Error;
pub use needed::{live_models, maintained, maintained_versions, unneeded_versions};
pub use replicas::{TakeOver, taken_over};

/// What the catalog says shall be live now.
///
/// # Errors
/// Postgres can't be reached.
pub async fn read(catalog: &Catalog) -> Result<LiveSet, Error> {
    Ok(assemble(&declared(catalog).await?))
}

/// Whether serving can answer with a version as things are, or why not. No alias needs to name it yet, but what it reads
/// must be kept up to date already.
///
/// # Errors
/// Postgres can't be reached.
pub async fn servable(catalog: &Catalog, version: ModelVersion) -> Result<Result<(), String>, Error> {
    let declared = declared(catalog).await?;
    let live = live_models(declared.models.clone(), &declared.aliases, &declared.rollouts);
    let kept = maintained(declared.views.clone(), &live);
    Ok(assemble::document(&declared, &kept, version).map(drop))
}

async fn declared(catalog: &Catalog) -> Result<Declared, Error> {
    let models = catalog.objects().await?.models;
    let scale = |model: &Model| (model.name.clone(), (model.processes, model.processes_max));
    Ok(Declared {
        scales: models.values().map(scale).collect(),
        logs: models.into_iter().map(|(name, model)| (name, model.log)).collect(),
        clock: catalog.store().data_clock().await?,
        models: catalog.model_versions(None).await?.into_iter().map(|row| row.version).collect(),
        aliases: catalog.model_aliases(None).await?,
        rollouts: catalog.rollouts().await?,
        views: catalog.view_versions(None).await?,
        positions: catalog.positions(None).await?,
    })
}

/// Publishes the live set as the catalog has it; returns the order of the publication. Safe to repeat and to race: the one
/// with the greatest order has read everything.
///
/// # Errors
/// Postgres or Redis can't be reached.
pub async fn publish(catalog: &Catalog, online: &Online) -> Result<i64, Error> {
    let order = catalog.next_live_order().await?;
    let live = read(catalog).await?;
    if !online.publish(order, &live).await? {
        // Either somebody was faster and has read all of this, or Postgres came back older than Redis.
        let published = online.live_order().await?.unwrap_or_default();
        catalog.raise_live_order(published).await?;
    }
    Ok(order)
}

/// Publishes after a change that has committed. A Redis that is away fails nothing: [`keep_published`] makes up for it.
pub async fn publish_or_later(catalog: &Catalog, online: &Online) {
    if let Err(error) = publish(catalog, online).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the live set is not published yet; the server publishes it once Redis answers"
        );
    }
}

/// Publishes again unless Redis holds exactly what the catalog says: it lost it, or a publisher died before it was done.
/// True if it had to.
///
/// # Errors
/// Postgres or Redis can't be reached.
pub async fn keep_published(catalog: &Catalog, online: &Online) -> Result<bool, Error> {
    if online.publishes(&read(catalog).await?).await? {
        return Ok(false);
    }
    publish(catalog, online).await?;
    Ok(true)
}
