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

    let month = Duration::from_hours(24 * 30);
    world.store.forget_jobs(month).await.unwrap();
    assert!(world.store.drop_history(month).await.unwrap());

    assert!(matches!(world.store.run(single).await, Err(Error::NoRun(_))));
    assert_eq!(world.page(run).await.step_list[0].attempts.len(), 1, "today's attempts stay");
    world.page(waiting).await;
    let left = "SELECT to_regclass('engine.attempt_20200101') IS NULL";
    assert!(sqlx::query_scalar::<_, bool>(left).fetch_one(&world.database.pool).await.unwrap());
}

/// A backup reads for hours. Days are made and dropped around it, and nobody who ends a job waits for either.
#[tokio::test]
async fn an_open_reader_of_history_holds_up_neither_completions_nor_those_who_keep_the_days() {
    let world = world().await;
    let pool = &world.database.pool;
    let days = "DO $$ BEGIN EXECUTE format('DROP TABLE engine.attempt_%s',
                    to_char((now() AT TIME ZONE 'UTC')::date + 6, 'YYYYMMDD')); END $$;
                CREATE TABLE engine.attempt_20200101 PARTITION OF engine.attempt
                    FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')";
    sqlx::raw_sql(days).execute(pool).await.unwrap();
    world.start(&run_of(vec![step("a", &[]), step("b", &["a"])])).await;
    let claimed = world.claim_one().await;

    let mut reader = pool.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM engine.attempt").execute(&mut *reader).await.unwrap();
    let month = Duration::from_hours(24 * 30);
    let kept = async {
        assert!(!world.store.make_history().await.unwrap(), "the reader is in the way");
        assert!(!world.store.drop_history(month).await.unwrap(), "the reader is in the way");
    };
    // One of them after the other waits for a lock as long as it may, which is less than the test waits for it.
    let (ended, ()) =
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(world.complete(&claimed), kept) })
            .await
            .expect("nobody waits for the reader");
    assert_eq!(ended.readied, 1);

    reader.rollback().await.unwrap();
    assert!(world.store.make_history().await.unwrap());
    assert!(world.store.drop_history(month).await.unwrap());
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'engine.attempt'::regclass";
    let left: i64 = sqlx::query_scalar(partitions).fetch_one(pool).await.unwrap();
    assert_eq!(left, 8, "seven days and what belongs to none");
}
