//! Every job under every fault ends in the same rows, positions and values.

use futures::FutureExt as _;
use tidemill_features::{Deps, jobs, rebuild_new, update_new};
use tidemill_offline::{Read, Table};
use tidemill_store::NewJob;
use tidemill_testkit::faults::{self, FaultWorld};

use crate::{
    backfill::backfill_new,
    world::{World, departure},
};

async fn under_every_fault(job: impl Fn() -> NewJob) {
    let fresh = async || fault_world(job()).await;
    for disturbed in [
        faults::fails_at_every_step(fresh).await,
        faults::repeats_every_step(fresh).await,
        faults::dies_between_effect_and_checkpoint(fresh).await,
    ] {
        assert!(disturbed.unwrap() > 0);
    }
}

async fn fault_world(job: NewJob) -> anyhow::Result<FaultWorld> {
    let world = World::new().await;
    world.depart(&[departure("JFK", 1, 580, 10.0), departure("JFK", 2, 700, 20.0)]).await;
    world.observe(&[("JFK", 585, 2.0)]).await;
    world.drain().await;
    // What follows is the job's work alone: in which order others do theirs is chance.
    world.be_quiet();
    world.depart(&[departure("EWR", 3, 590, 7.0), departure("JFK", 4, 570, 30.0)]).await;
    let deps = world.deps.clone();
    let digest = move || digest(deps.clone()).boxed();
    Ok(FaultWorld {
        store: world.deps.catalog.store().clone(),
        jobs: jobs(&world.deps),
        job,
        digest: Box::new(digest),
        keep: Box::new(world),
    })
}

/// Versions, rows and positions of every view, and what Redis says.
async fn digest(deps: Deps) -> anyhow::Result<String> {
    let mut told = Vec::new();
    let head = deps.lake.head().await?;
    for version in deps.catalog.view_versions(None).await? {
        let rows = deps.lake.read(&Read::all(Table::view(&version.view, version.version), head)).await?;
        told.push(format!(
            "{} {} {:?}: {} rows",
            version.view,
            version.version,
            version.state,
            rows.num_rows()
        ));
        let position = deps.catalog.position(&version.view, version.version).await?;
        told.push(format!("reached {:?}", position.map(|position| position.reached)));
    }
    let entities =
        ["JFK", "EWR"].map(|origin| serde_json::json!({ "origin": origin }).as_object().unwrap().clone());
    let request = tidemill_features::GetRequest { entities: entities.into(), ..Default::default() };
    for entity in tidemill_features::get(&deps, &request).await? {
        told.extend(entity.iter().map(|got| format!("{:?}", got.features.values)));
    }
    Ok(told.join("\n"))
}

#[tokio::test]
async fn an_update_of_rows_ends_the_same() {
    under_every_fault(|| update_new("newest")).await;
}

#[tokio::test]
async fn an_update_of_windows_ends_the_same() {
    under_every_fault(|| update_new("load")).await;
}

#[tokio::test]
async fn an_update_of_a_derived_view_ends_the_same() {
    under_every_fault(|| update_new("stress")).await;
}

#[tokio::test]
async fn a_backfill_ends_the_same() {
    under_every_fault(|| backfill_new("newest")).await;
}

#[tokio::test]
async fn a_rebuild_ends_the_same() {
    under_every_fault(|| rebuild_new("newest")).await;
}
