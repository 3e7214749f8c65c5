//! Every step that writes, under every fault.

use anyhow::Context as _;
use serde_json::{Value as Json, json};
use tidemill_core::Kind;
use tidemill_runtime::job_new;
use tidemill_testkit::faults::{
    Digest, FaultWorld, dies_between_effect_and_checkpoint, fails_at_every_step, repeats_every_step,
};

use crate::world::{World, time};

/// A world in which one job is to be run; `before` prepares what it needs.
async fn fault_world(
    kind: &'static str,
    before: impl AsyncFn(&World) -> Json,
    digest: impl Fn(&World) -> Digest,
) -> anyhow::Result<FaultWorld> {
    let world = World::new().await;
    let args = before(&world).await;
    Ok(FaultWorld {
        store: world.store().clone(),
        jobs: world.jobs(),
        job: job_new(Kind::new(kind), &args),
        digest: digest(&world),
        keep: Box::new(world),
    })
}

async fn every_fault(fresh: impl AsyncFn() -> anyhow::Result<FaultWorld>) {
    fails_at_every_step(&fresh).await.unwrap();
    repeats_every_step(&fresh).await.unwrap();
    dies_between_effect_and_checkpoint(&fresh).await.unwrap();
}

#[tokio::test]
async fn a_dataset_is_registered_once_with_the_same_rows() {
    let args = async |_: &World| json!({ "label": "bought", "inputs": "buyer", "from": time(0), "to": time(96), "holdout": "2d" });
    let digest = |world: &World| -> Digest {
        let catalog = world.catalog.clone();
        Box::new(move || {
            let catalog = catalog.clone();
            Box::pin(async move {
                let datasets = catalog.datasets(10).await?;
                let one = |row: &tidemill_catalog::DatasetRow| {
                    let held = row.dataset.holdout.as_ref().map(|part| part.sha256.clone());
                    format!("{} {held:?} {}", row.dataset.train.sha256, row.dataset.lake_version)
                };
                Ok(datasets.iter().map(one).collect::<Vec<_>>().join("\n"))
            })
        })
    };
    every_fault(async || fault_world("dataset.build", args, digest).await).await;
}

#[tokio::test]
async fn a_promotion_happens_once_and_is_published() {
    let before = async |world: &World| {
        let mut tx = world.store().begin().await.unwrap();
        for key in ["1", "2"] {
            let version = crate::models::version();
            world.catalog.insert_model_version(&mut tx, key, &version).await.unwrap();
        }
        world.catalog.promote_model(&mut tx, "buyer", 1, "champion").await.unwrap();
        tx.commit().await.unwrap();
        json!({ "model": "buyer", "version": 2, "alias": "champion" })
    };
    let digest = |world: &World| -> Digest {
        let (catalog, online) = (world.catalog.clone(), world.online.clone());
        Box::new(move || {
            let (catalog, online) = (catalog.clone(), online.clone());
            Box::pin(async move {
                let alias = catalog.model_alias("buyer", "champion").await?.context("an alias")?;
                let live = online.live().await?.context("a live set")?;
                Ok(format!("{} {:?} {:?}", alias.version, alias.previous, live.models["buyer"].aliases))
            })
        })
    };
    every_fault(async || fault_world("model.promote", before, digest).await).await;
}
