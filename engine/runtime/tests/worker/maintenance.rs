//! Schedules on the data clock.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tidemill_core::{Clock as _, DataClock, JobError, RunId, SystemClock, Time};
use tidemill_runtime::{Fire, Maintenance, MaintenanceOptions, job_new};
use tidemill_store::{NewSchedule, ScheduleRow, Store, Tx};

use crate::world::{KIND, World};

/// Each tick starts a scripted job with the tick's time.
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
            Ok(Some(self.0.enqueue(tx, job_new(KIND, &logical_time)).await?.run))
        })
    }
}

async fn declare(world: &World, catchup: &str, target: Value) {
    let mut tx = world.store().begin().await.unwrap();
    let schedule = NewSchedule {
        name: "pipeline/daily".to_owned(),
        cron: "30 3 * * *".to_owned(),
        timezone: "America/New_York".to_owned(),
        catchup: catchup.to_owned(),
        overlap: "allow".to_owned(),
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
