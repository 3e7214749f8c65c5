//! The database goes away under load, and comes back.

use std::time::Duration;

use serde_json::json;
use tidemill_core::RunState;
use tidemill_runtime::{Outcome, WorkerOptions, job_new};
use tidemill_store::{DatabaseOptions, NewJob, Store};
use tidemill_testkit::postgres::Server;

use crate::world::{KIND, Running, World, ended, enqueue, everything, quick, retry, scripted, until};

#[tokio::test]
async fn a_crash_of_postgres_under_load_fails_no_run() {
    let mut server = tokio::task::spawn_blocking(Server::start).await.unwrap().unwrap();
    let database = server.database().await.unwrap();
    let store = Store::connect(&DatabaseOptions::new(&database.url)).unwrap();
    store.migrate().await.unwrap();
    for n in 0..200 {
        // None may be tried twice: what a crash of the database fails is no attempt.
        enqueue(&store, NewJob { policy: retry(Duration::ZERO, 1), ..job_new(KIND, &json!(n)) }).await;
    }
    let job = scripted(|_, cx| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let tx = cx.begin().await?;
            cx.commit_checkpoint(tx, json!(1)).await?;
            Ok(Outcome::DONE)
        })
    });
    let worker = Running::start(&store, job, WorkerOptions { slots: 8, ..quick() });
    for _ in 0..2 {
        let before = done(&store).await;
        until("some are done", async || done(&store).await > before + 20).await;
        server = tokio::task::spawn_blocking(move || {
            server.crash().unwrap();
            server.resume().unwrap();
            server
        })
        .await
        .unwrap();
    }
    until("all have ended", async || {
        // What was claimed in a transaction that the crash lost is free again by itself.
        let _ = store.rescue_expired(500).await;
        matches!(store.runs(&everything()).await, Ok(runs) if runs.iter().all(|run| run.state.is_final()))
    })
    .await;
    let runs = store.runs(&everything()).await.unwrap();
    assert_eq!(runs.len(), 200);
    assert!(runs.iter().all(|run| run.state == RunState::Completed), "some run failed");
    worker.stop().await;
}

async fn done(store: &Store) -> usize {
    let runs = store.runs(&everything()).await.unwrap_or_default();
    runs.iter().filter(|run| run.state.is_final()).count()
}

#[tokio::test]
async fn t4_killed_connections_are_replaced() {
    let world = World::new().await;
    let worker = world.worker(scripted(|_, _| Box::pin(async { Ok(Outcome::DONE) })), quick());
    let first = world.enqueue(json!(1)).await;
    world.ended(first).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(kill).execute(&world.engine.database.pool).await.unwrap();
    let mut second = None;
    until("the store is reachable", async || {
        let Ok(mut tx) = world.store().begin().await else { return false };
        let Ok(enqueued) = world.store().enqueue(&mut tx, job_new(KIND, &json!(2))).await else {
            return false;
        };
        second = Some(enqueued.run);
        tx.commit().await.is_ok()
    })
    .await;
    ended(world.store(), second.unwrap()).await;
    worker.stop().await;
}
