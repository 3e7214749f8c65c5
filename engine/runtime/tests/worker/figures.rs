//! Figures, not promises: run with `cargo test -p tidemill-runtime figures -- --ignored --nocapture`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tidemill_runtime::{Outcome, WorkerOptions, job_new};
use tokio::sync::mpsc;

use crate::world::{KIND, World, enqueue, scripted, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn drain_of_jobs_that_do_nothing() {
    let world = World::new().await;
    let jobs = 5_000;
    let started = Instant::now();
    let mut tx = world.store().begin().await.unwrap();
    for n in 0..jobs {
        world.store().enqueue(&mut tx, job_new(KIND, &json!(n))).await.unwrap();
    }
    tx.commit().await.unwrap();
    println!(
        "enqueue, one by one in one transaction: {:.0}/s",
        f64::from(jobs) / started.elapsed().as_secs_f64()
    );

    let started = Instant::now();
    let job = scripted(|_, _| Box::pin(async { Ok(Outcome::DONE) }));
    let worker = world.worker(job, WorkerOptions { slots: 400, ..WorkerOptions::default() });
    until("the queue is empty", async || world.count("SELECT count(*) FROM job").await == 0).await;
    println!("drain: {:.0}/s", f64::from(jobs) / started.elapsed().as_secs_f64());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn idle_enqueue_to_start() {
    let world = World::new().await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let started = Arc::new(started);
    let job = scripted(move |_, _| {
        started.send(Instant::now()).unwrap();
        Box::pin(async { Ok(Outcome::DONE) })
    });
    let worker = world.worker(job, WorkerOptions::default());
    let mut waits = Vec::new();
    for n in 0..50 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let enqueued = Instant::now();
        enqueue(world.store(), job_new(KIND, &json!(n))).await;
        waits.push(starts.recv().await.unwrap() - enqueued);
    }
    waits.sort();
    println!("idle, from before the enqueue to the start: p50 {:?}, p95 {:?}", waits[25], waits[47]);
    worker.stop().await;
}
