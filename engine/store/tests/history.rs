//! The past: kept by day, dropped by day.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod world;

use std::time::Duration;

use tidemill_store::Error;
use world::{World, job, run_of, step, world};

async fn rows(world: &World, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM engine.{table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&world.database.pool).await.unwrap()
}

#[tokio::test]
async fn attempts_lie_in_the_partition_of_their_day() {
    let world = world().await;
    world.store.make_history().await.unwrap();
    world.enqueue(job("a")).await;
    world.complete(&world.claim_one().await).await;
    assert_eq!((rows(&world, "attempt").await, rows(&world, "attempt_default").await), (1, 0));
}

#[tokio::test]
async fn old_days_and_old_single_jobs_are_forgotten_and_pipelines_are_not() {
    let world = world().await;
    let single = world.enqueue(job("a")).await.run;
    world.complete(&world.claim_one().await).await;
    let run = world.start(&run_of(vec![step("a", &[])])).await;
    world.complete(&world.claim_one().await).await;
    let waiting = world.enqueue(job("b")).await.run;
    let age = "UPDATE engine.run SET finished_at = finished_at - interval '40 days';
               CREATE TABLE engine.attempt_20200101 PARTITION OF engine.attempt
                   FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')";
    sqlx::raw_sql(age).execute(&world.database.pool).await.unwrap();

    world.store.forget_history(Duration::from_hours(24 * 30)).await.unwrap();

    assert!(matches!(world.store.run(single).await, Err(Error::NoRun(_))));
    assert_eq!(world.page(run).await.step_list[0].attempts.len(), 1, "today's attempts stay");
    world.page(waiting).await;
    let left = "SELECT to_regclass('engine.attempt_20200101') IS NULL";
    assert!(sqlx::query_scalar::<_, bool>(left).fetch_one(&world.database.pool).await.unwrap());
}
