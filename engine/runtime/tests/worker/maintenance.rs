//! Schedules on the data clock.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tidemill_core::{Clock as _, DataClock, JobError, RunId, SystemClock, Time, WorkerId};
use tidemill_runtime::{Fire, Maintenance, MaintenanceOptions, job_new};
use tidemill_store::{DatabaseOptions, NewSchedule, ScheduleRow, Store, Tx};
use tidemill_testkit::run_job;
use tokio_util::sync::CancellationToken;

use crate::world::{KIND, World, scripted, until};

/// Each tick starts a scripted job with the tick's time. The schedule's target says what else may happen.
struct Ticks(Store);

impl Fire for Ticks {
    fn fire<'a>(
        &'a self,
        tx: &'a mut Tx,
        schedule: &'a ScheduleRow,
        logical_time: Time,
    ) -> BoxFuture<'a, Result<Option<RunId>, JobError>> {
        Box::pin(async move {
            if schedule.target == json!("gone") {
                return Err(JobError::Discard(tidemill_core::Fault::new("there is no such pipeline")));
            }
            if schedule.target == json!("idle") {
                return Ok(None);
            }
            if schedule.target == json!("broken") {
                return Err(JobError::Retry(tidemill_core::Fault::new("the catalog is away")));
            }
            Ok(Some(self.0.enqueue(tx, job_new(KIND, &logical_time)).await?.run))
        })
    }
}

async fn declare(world: &World, catchup: &str, target: Value) {
    declare_overlapping(world, catchup, "allow", target).await;
}

async fn declare_overlapping(world: &World, catchup: &str, overlap: &str, target: Value) {
    let mut tx = world.store().begin().await.unwrap();
    let schedule = NewSchedule {
        name: "pipeline/daily".to_owned(),
        cron: "30 3 * * *".to_owned(),
        timezone: "America/New_York".to_owned(),
        catchup: catchup.to_owned(),
        overlap: overlap.to_owned(),
        target,
        next_at: "2013-06-01T07:30:00Z".parse().unwrap(),
    };
    world.store().upsert_schedule(&mut tx, &schedule).await.unwrap();
    tx.commit().await.unwrap();
}

async fn set_clock(world: &World, to: &str) {
    let clock = DataClock::Replay { start: to.parse().unwrap(), speed: 0.0, anchored_at: SystemClock.now() };
    let mut tx = world.store().begin().await.unwrap();
    world.store().set_data_clock(&mut tx, clock).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) fn maintenance(world: &World) -> Maintenance {
    let fire = Arc::new(Ticks(world.store().clone()));
    Maintenance::new(world.store().clone(), MaintenanceOptions::default(), fire)
}

#[tokio::test]
async fn ticks_fire_once_as_the_data_clock_passes_them() {
    let world = World::new().await;
    declare(&world, "all", json!(null)).await;
    set_clock(&world, "2013-06-01T07:29:59Z").await;
    maintenance(&world).fire_due().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM run").await, 0);

    set_clock(&world, "2013-06-03T12:00:00Z").await;
    // Two servers look at the same moment.
    let (first, second) = (maintenance(&world), maintenance(&world));
    let (first, second) = tokio::join!(first.fire_due(), second.fire_due());
    first.unwrap();
    second.unwrap();
    maintenance(&world).fire_due().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM run").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM tick WHERE outcome = 'fired'").await, 3);
    let next = world.store().schedules().await.unwrap()[0].next_at;
    assert_eq!(next, "2013-06-04T07:30:00Z".parse::<Time>().unwrap());
}

#[tokio::test]
async fn a_tick_with_nothing_to_do_is_skipped() {
    let world = World::new().await;
    declare(&world, "last", json!("idle")).await;
    set_clock(&world, "2013-06-01T12:00:00Z").await;
    maintenance(&world).fire_due().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM run").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM tick WHERE outcome = 'skipped'").await, 1);
}

#[tokio::test]
async fn a_tick_without_a_run_is_recorded_and_passed() {
    let world = World::new().await;
    declare(&world, "last", json!("gone")).await;
    set_clock(&world, "2013-06-01T12:00:00Z").await;
    maintenance(&world).fire_due().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM tick WHERE outcome = 'missed'").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM schedule WHERE next_at > '2013-06-02T07:00:00Z'").await, 1);
}

#[tokio::test]
async fn a_tick_that_cannot_start_leaves_the_run_that_it_would_replace() {
    let world = World::new().await;
    declare_overlapping(&world, "last", "cancel_other", json!(null)).await;
    set_clock(&world, "2013-06-01T12:00:00Z").await;
    maintenance(&world).fire_due().await.unwrap();
    let running = "SELECT count(*) FROM run WHERE state = 'running'";
    assert_eq!(world.count(running).await, 1);

    declare_overlapping(&world, "last", "cancel_other", json!("broken")).await;
    set_clock(&world, "2013-06-02T12:00:00Z").await;
    maintenance(&world).fire_due().await.unwrap();
    assert_eq!(world.count(running).await, 1, "its replacement did not start");

    declare_overlapping(&world, "last", "cancel_other", json!(null)).await;
    maintenance(&world).fire_due().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM run").await, 2);
    assert_eq!(world.count(running).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM run WHERE state = 'cancelled'").await, 1);
}

/// One duty that fails each time, for whatever reason, takes none of the others with it.
#[tokio::test]
async fn jobs_are_rescued_while_schedules_cannot_fire_and_history_cannot_be_kept() {
    let world = World::new().await;
    world
        .sql("ALTER TABLE schedule RENAME TO elsewhere; ALTER TABLE attempt_default RENAME TO elsewhere_too")
        .await;
    let stop = CancellationToken::new();
    let options = MaintenanceOptions { every: Duration::from_millis(1), ..MaintenanceOptions::default() };
    let fire = Arc::new(Ticks(world.store().clone()));
    let keeping = tokio::spawn(Maintenance::new(world.store().clone(), options, fire).run(stop.clone()));
    for _ in 0..3 {
        world.enqueue(json!(null)).await;
        let dead = world.store().claim(WorkerId::generate(), &[KIND.to_string()], 1, Duration::ZERO).await;
        assert_eq!(dead.unwrap().len(), 1);
        until("it is taken back", async || world.leased().await == 0).await;
        world.sql("UPDATE job SET run_at = now() + interval '1 hour'").await;
    }
    assert!(!keeping.is_finished());
    stop.cancel();
    keeping.await.unwrap();
}

/// Only the pool's one connection: what holds it gets by with it.
#[tokio::test]
async fn a_job_commits_its_work_and_its_log_on_one_connection() {
    let world = World::new().await;
    let options = DatabaseOptions { max_connections: 1, ..DatabaseOptions::new(&world.engine.database.url) };
    let store = Store::connect(&options).unwrap();
    let pool = world.store().pool().clone();
    let job = scripted(move |_, cx| {
        let pool = pool.clone();
        Box::pin(async move {
            let tx = cx.begin().await?;
            cx.log("on its way");
            let ended = cx.commit(tx, json!(1)).await?;
            let lines = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM attempt_log");
            assert_eq!(lines.fetch_one(&pool).await.unwrap(), 1, "it is kept by the same commit");
            Ok(ended)
        })
    });
    assert_eq!(run_job(&store, job, &json!(null)).await.unwrap(), json!(1));
}
