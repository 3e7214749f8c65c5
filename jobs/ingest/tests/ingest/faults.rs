//! Every job of ingest under every fault.

use futures::FutureExt as _;
use tidemill_core::UploadId;
use tidemill_ingest::jobs::ReplayJob;
use tidemill_runtime::job_new;
use tidemill_spec::{
    args::{INGEST_CHUNK, INGEST_PUBLISH, IngestChunk, IngestPublish},
    steps::{self, INGEST},
};
use tidemill_store::NewJob;
use tidemill_testkit::faults::{
    FaultWorld, dies_between_effect_and_checkpoint, fails_at_every_step, repeats_every_step,
};

use crate::world::{PROJECT, World};

const CSV: &str = "origin,observed_at,temp\nJFK,2013-01-01T06:00:00Z,39\nLGA,2013-01-01T06:00:00Z,x\nEWR,2013-01-01T07:00:00Z,200\n";

/// A world in which a job of some kind is the next one.
async fn fresh(kind: &str) -> anyhow::Result<FaultWorld> {
    let world = World::with_chunks_of(2).await;
    let job = match kind {
        "chunk" => {
            let upload = uploaded(&world).await?;
            // The run's own jobs do the rest.
            job_new(INGEST_CHUNK, &IngestChunk { upload, chunk: 0 })
        }
        "publish" => {
            let upload = uploaded(&world).await?;
            world.settle().await;
            job_new(INGEST_PUBLISH, &IngestPublish { upload })
        }
        "replay" => {
            uploaded(&world).await?;
            world.settle().await;
            world.apply(&PROJECT.replace("max: 140", "max: 500")).await;
            ReplayJob::of("weather")
        }
        _ => {
            let path = world.file("a.csv", CSV).display().to_string();
            NewJob { ..job_new(INGEST, &steps::Ingest { source: "weather".to_owned(), path }) }
        }
    };
    let (store, jobs) = (world.engine.store.clone(), world.jobs());
    let world = std::sync::Arc::new(world);
    let seen = std::sync::Arc::clone(&world);
    let digest = move || {
        let world = std::sync::Arc::clone(&seen);
        async move { Ok(world.digest().await) }.boxed()
    };
    Ok(FaultWorld { store, jobs, job, digest: Box::new(digest), keep: Box::new(world) })
}

async fn uploaded(world: &World) -> anyhow::Result<UploadId> {
    Ok(world.upload("weather.csv", CSV).await?.upload)
}

#[tokio::test]
async fn every_job_may_fail_repeat_and_die_anywhere() {
    for kind in ["chunk", "publish", "replay", "step"] {
        let world = async || fresh(kind).await;
        assert!(fails_at_every_step(world).await.unwrap() > 0, "{kind}");
        repeats_every_step(world).await.unwrap();
        dies_between_effect_and_checkpoint(world).await.unwrap();
    }
}
