//! Schedules, workers, logs, the data clock, wake-ups.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod world;

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use serde_json::json;
use tidemill_core::{DataClock, RunState, Time, WorkerId};
use tidemill_store::{Error, NewLogLine, NewSchedule, NewWorker, TickOutcome};
use world::{World, job, run_of, step, world};

fn at(text: &str) -> Time {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn hourly(name: &str, next_at: &str) -> NewSchedule {
    NewSchedule {
        name: name.to_owned(),
        cron: "0 * * * *".to_owned(),
        timezone: "UTC".to_owned(),
        catchup: "last".to_owned(),
        overlap: "skip".to_owned(),
        target: json!({ "pipeline": "pipe" }),
        next_at: at(next_at),
    }
}

async fn declare(world: &World, schedule: &NewSchedule) {
    let mut tx = world.store.begin().await.unwrap();
    world.store.upsert_schedule(&mut tx, schedule).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_due_schedule_is_held_by_one_leader_at_a_time() {
    let world = world().await;
    declare(&world, &hourly("pipeline/pipe", "2013-06-01T01:00:00Z")).await;
    let (mut first, mut second) = (world.store.begin().await.unwrap(), world.store.begin().await.unwrap());
    let early = at("2013-06-01T00:59:59Z");
    assert!(world.store.due_schedule(&mut first, early, &[]).await.unwrap().is_none());
    let now = at("2013-06-01T01:00:00Z");
    let seen = ["pipeline/pipe".to_owned()];
    assert!(world.store.due_schedule(&mut first, now, &seen).await.unwrap().is_none());
    let due = world.store.due_schedule(&mut first, now, &[]).await.unwrap().unwrap();
    assert!(world.store.due_schedule(&mut second, now, &[]).await.unwrap().is_none());

    let run = world.store.enqueue_run(&mut first, &run_of(vec![step("a", &[])])).await.unwrap().run;
    let fired = world.store.record_tick(&mut first, &due.name, due.next_at, TickOutcome::Fired, Some(run));
    assert!(fired.await.unwrap());
    world.store.advance_schedule(&mut first, &due.name, due.next_at + TimeDelta::hours(1)).await.unwrap();
    first.commit().await.unwrap();

    assert!(world.store.due_schedule(&mut second, now, &[]).await.unwrap().is_none());
    let again = world.store.record_tick(&mut second, &due.name, due.next_at, TickOutcome::Fired, None);
    assert!(!again.await.unwrap(), "a tick is unique by schedule and logical time");
    assert_eq!(world.store.open_tick_runs(&mut second, &due.name).await.unwrap(), [run]);
    drop(second);

    let listed = world.store.schedules().await.unwrap().remove(0);
    assert_eq!((listed.last_tick, listed.last_run), (Some(now), Some(run)));
    assert_eq!((listed.last_outcome.as_deref(), listed.next_at), (Some("fired"), now + TimeDelta::hours(1)));
}

#[tokio::test]
async fn a_paused_schedule_is_never_due() {
    let world = world().await;
    declare(&world, &hourly("pipeline/pipe", "2013-06-01T01:00:00Z")).await;
    for (paused, due) in [(true, false), (false, true)] {
        let mut tx = world.store.begin().await.unwrap();
        world.store.pause_schedule(&mut tx, "pipeline/pipe", paused).await.unwrap();
        assert_eq!(world.store.lock_schedule(&mut tx, "pipeline/pipe").await.unwrap().paused, paused);
        let found = world.store.due_schedule(&mut tx, at("2014-01-01T00:00:00Z"), &[]).await.unwrap();
        assert_eq!(found.is_some(), due);
    }
    let mut tx = world.store.begin().await.unwrap();
    let unknown = world.store.pause_schedule(&mut tx, "pipeline/none", true).await;
    assert!(matches!(unknown, Err(Error::NoSchedule(name)) if name == "pipeline/none"));
    let unknown = world.store.lock_schedule(&mut tx, "pipeline/none").await;
    assert!(matches!(unknown, Err(Error::NoSchedule(name)) if name == "pipeline/none"));
}

#[tokio::test]
async fn a_schedule_declared_again_keeps_its_place_unless_its_times_change() {
    let world = world().await;
    declare(&world, &hourly("pipeline/pipe", "2013-06-01T01:00:00Z")).await;
    declare(&world, &hourly("monitor/old", "2013-06-01T01:00:00Z")).await;
    let same = NewSchedule { overlap: "allow".into(), ..hourly("pipeline/pipe", "2013-07-01T01:00:00Z") };
    declare(&world, &same).await;
    let mut tx = world.store.begin().await.unwrap();
    world.store.keep_schedules(&mut tx, &["pipeline/pipe".to_owned()]).await.unwrap();
    tx.commit().await.unwrap();
    let listed = world.store.schedules().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].next_at, listed[0].overlap.as_str()), (at("2013-06-01T01:00:00Z"), "allow"));
    declare(&world, &NewSchedule { cron: "5 * * * *".into(), ..same }).await;
    assert_eq!(world.store.schedules().await.unwrap()[0].next_at, at("2013-07-01T01:00:00Z"));
}

#[tokio::test]
async fn a_worker_is_listed_while_it_beats_and_can_be_asked_to_drain() {
    let world = world().await;
    let id = WorkerId::generate();
    let worker = NewWorker { id, name: "one".into(), pid: 7, slots: 4, kinds: vec!["a".into()] };
    world.store.register_worker(&worker).await.unwrap();
    world.enqueue(job("a")).await;
    world.store.claim(id, &["a".into()], 1, world::LEASE).await.unwrap();
    assert!(!world.store.worker_heartbeat(id).await.unwrap());
    assert!(world.store.drain_worker(id).await.unwrap());
    assert!(world.store.worker_heartbeat(id).await.unwrap());
    let listed = world.store.workers().await.unwrap().remove(0);
    assert_eq!((listed.id, listed.running, listed.slots, listed.draining), (id, 1, 4, true));
    world.store.unregister_worker(id).await.unwrap();
    assert!(world.store.workers().await.unwrap().is_empty());
    assert!(!world.store.drain_worker(id).await.unwrap());
}

#[tokio::test]
async fn a_log_outlives_its_worker_and_is_read_in_order() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    let start = world.now().await;
    let lines = |texts: &[&str], first: i32, second: i64| {
        let numbered = (first..).zip(texts);
        let line =
            |(number, text): (i32, &&str)| NewLogLine::new(number, start + TimeDelta::seconds(second), text);
        numbered.map(line).collect::<Vec<_>>()
    };
    world.append_log(run, "a", 1, &lines(&["one", "two"], 1, 0)).await;
    world.append_log(run, "a", 1, &lines(&["one", "two"], 1, 0)).await;
    world.append_log(run, "a", 1, &lines(&["nul \0 here"], 3, 0)).await;
    world.append_log(run, "a", 2, &lines(&["again"], 1, 1)).await;
    let read = |attempt| {
        let store = world.store.clone();
        async move {
            let log = store.log(run, Some("a"), attempt).await.unwrap();
            log.into_iter().map(|line| line.line).collect::<Vec<_>>()
        }
    };
    assert_eq!(read(None).await, ["one", "two", "nul \u{fffd} here", "again"]);
    assert_eq!(read(Some(2)).await, ["again"]);
}

#[tokio::test]
async fn of_a_flood_of_log_lines_the_first_and_the_last_are_kept() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    let now = world.now().await;
    let mut number = 0;
    for batch in 0..20 {
        let lines: Vec<_> = (0..100)
            .map(|_| {
                number += 1;
                NewLogLine::new(number, now, &format!("{number} {}", "x".repeat(2000 + batch)))
            })
            .collect();
        world.append_log(run, "a", 1, &lines).await;
        // A lost reply.
        world.append_log(run, "a", 1, &lines).await;
    }
    let last = [NewLogLine::new(number + 1, now, "ValueError: at the very end")];
    world.append_log(run, "a", 1, &last).await;
    let log = world.store.log(run, None, None).await.unwrap();
    let bytes: usize = log.iter().map(|line| line.line.len()).sum();
    assert!((1_000_000..1_049_000).contains(&bytes), "{bytes}");
    assert!(log[0].line.starts_with("1 x"), "{:?}", log[0]);
    assert_eq!(log.last().unwrap().line, "ValueError: at the very end");
    let marked = log.iter().filter(|line| line.line.starts_with('…')).collect::<Vec<_>>();
    let [gap] = marked[..] else { panic!("{marked:?}") };
    let kept = log.len() - 1;
    let expected = format!(
        "… {} lines left out: a log keeps its first and its last 512 KiB",
        usize::try_from(number).unwrap() + 1 - kept
    );
    assert_eq!(gap.line, expected);
}

#[tokio::test]
async fn the_data_clock_is_one_row_that_everybody_reads() {
    let world = world().await;
    assert_eq!(world.store.data_clock().await.unwrap(), DataClock::Wall);
    let (start, anchored_at) = (at("2013-06-01T04:00:00Z"), world.now().await);
    let replay = DataClock::Replay { start, speed: 0.0, anchored_at };
    let mut tx = world.store.begin().await.unwrap();
    assert_eq!(world.store.lock_data_clock(&mut tx).await.unwrap(), DataClock::Wall);
    world.store.set_data_clock(&mut tx, replay).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.store.data_clock().await.unwrap(), replay);
}

#[tokio::test]
async fn a_wake_reaches_every_listener() {
    let world = world().await;
    let (mut one, mut two) = (world.store.listen().await.unwrap(), world.store.listen().await.unwrap());
    world.store.wake().await;
    let both = async { tokio::try_join!(one.next(), two.next()) };
    tokio::time::timeout(Duration::from_secs(10), both).await.unwrap().unwrap();
}

#[tokio::test]
async fn migrations_can_be_repeated_from_several_processes() {
    let world = world().await;
    let (one, two) = tokio::join!(world.store.migrate(), world.store.migrate());
    one.unwrap();
    two.unwrap();
    let run = world.enqueue(job("a")).await.run;
    assert_eq!(world.state(run).await, RunState::Running);
}
