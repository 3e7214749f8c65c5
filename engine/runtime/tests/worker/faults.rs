//! The fault helpers themselves: they let a right job pass and catch a wrong one.

use futures::FutureExt as _;
use serde_json::json;
use tidemill_core::JobError;
use tidemill_runtime::{Context, JobEntry, Outcome, job_new};
use tidemill_testkit::{
    engine,
    faults::{self, FaultWorld},
};

use crate::world::{KIND, enqueue, scripted};

/// Publishes three chunks, one in each transaction.
fn right() -> JobEntry {
    scripted(|_, cx| {
        Box::pin(async move {
            for chunk in next(cx)..3 {
                let mut tx = cx.begin().await?;
                let publish = sqlx::query("INSERT INTO effect VALUES ($1)").bind(chunk);
                publish.execute(tx.conn()).await.map_err(JobError::retry)?;
                cx.commit_checkpoint(tx, json!(chunk + 1)).await?;
            }
            let mut tx = cx.begin().await?;
            let publish = sqlx::query("INSERT INTO effect VALUES (99)");
            publish.execute(tx.conn()).await.map_err(JobError::retry)?;
            cx.commit(tx, json!({ "chunks": 3 })).await
        })
    })
}

/// The same, but the effect and its checkpoint are two transactions.
fn wrong() -> JobEntry {
    scripted(|_, cx| {
        Box::pin(async move {
            for chunk in next(cx)..3 {
                let publish = sqlx::query("INSERT INTO effect VALUES ($1)").bind(chunk);
                publish.execute(cx.store().pool()).await.map_err(JobError::retry)?;
                cx.save_checkpoint(json!(chunk + 1)).await?;
            }
            Ok(Outcome::DONE)
        })
    })
}

fn next(cx: &Context<serde_json::Value>) -> i64 {
    cx.checkpoint().and_then(serde_json::Value::as_i64).unwrap_or(0)
}

async fn world(job: JobEntry) -> anyhow::Result<FaultWorld> {
    let engine = engine().await?;
    sqlx::query("CREATE TABLE effect (chunk bigint)").execute(engine.store.pool()).await?;
    let pool = engine.store.pool().clone();
    let digest = move || {
        let pool = pool.clone();
        async move {
            let all = "SELECT coalesce(string_agg(chunk::text, ' ' ORDER BY chunk), '') FROM effect";
            Ok(sqlx::query_scalar(all).fetch_one(&pool).await?)
        }
        .boxed()
    };
    Ok(FaultWorld {
        store: engine.store.clone(),
        jobs: vec![job],
        run: enqueue(&engine.store, job_new(KIND, &json!(null))).await,
        digest: Box::new(digest),
        keep: Box::new(engine),
    })
}

#[tokio::test]
async fn a_right_job_survives_every_fault() {
    let fresh = async || world(right()).await;
    assert_eq!(faults::fails_at_every_step(fresh).await.unwrap(), 4);
    assert_eq!(faults::repeats_every_step(fresh).await.unwrap(), 4);
    assert_eq!(faults::dies_between_effect_and_checkpoint(fresh).await.unwrap(), 4);
}

#[tokio::test]
async fn a_job_with_an_effect_apart_from_its_checkpoint_is_caught() {
    let fresh = async || world(wrong()).await;
    for caught in [
        faults::fails_at_every_step(fresh).await.unwrap_err(),
        faults::dies_between_effect_and_checkpoint(fresh).await.unwrap_err(),
    ] {
        assert!(caught.to_string().contains("+ 0 0 1 2"), "{caught:#}");
    }
}
