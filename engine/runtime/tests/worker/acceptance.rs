//! What the runtime's stock backend for Postgres fails at; the numbers are those of `docs/adr/0003-own-backend-for-apalis.md`.

use std::time::Duration;

use serde_json::json;
use tidemill_core::{Fault, JobError, RunState, StepState, WorkerId};
use tidemill_runtime::{Outcome, WorkerOptions, job_new};
use tidemill_store::Ending;
use tidemill_testkit::Driver;
use tokio::sync::Semaphore;

use crate::world::{Count, KIND, World, everything, quick, retry, scripted, until};

#[tokio::test]
async fn t1_two_healthy_workers_run_each_slow_job_once() {
    let world = World::new().await;
    let (gate, count) = (std::sync::Arc::new(Semaphore::new(0)), Count::default());
    let (waits, counted) = (gate.clone(), count.clone());
    let job = scripted(move |_, _| {
        counted.add();
        let gate = waits.clone();
        Box::pin(async move {
            gate.acquire().await.map_err(JobError::retry)?.forget();
            Ok(Outcome::DONE)
        })
    });
    for n in 0..6 {
        world.enqueue(json!(n)).await;
    }
    let options = WorkerOptions { slots: 1, ..quick() };
    let workers = [world.worker(job.clone(), options.clone()), world.worker(job, options)];
    // A third process looks for jobs to take away all the time, as servers do.
    let rescue = async || assert_eq!(world.store().rescue_expired(100).await.unwrap().jobs, 0);
    let long = "SELECT count(*) FROM job WHERE started_at < now() - interval '4 s'";
    until("both have worked for two leases", async || {
        rescue().await;
        world.count(long).await == 2
    })
    .await;
    gate.add_permits(6);
    until("all completed", async || {
        rescue().await;
        world.count("SELECT count(*) FROM job").await == 0
    })
    .await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(count.get(), 6);
}

#[tokio::test]
async fn t2_a_failure_waits_for_its_backoff() {
    let world = World::new().await;
    let count = Count::default();
    let counted = count.clone();
    let job = scripted(move |_, _| {
        counted.add();
        Box::pin(async { Err(JobError::Retry(Fault::new("not today"))) })
    });
    let mut wish = job_new(KIND, &json!(null));
    wish.policy = retry(Duration::from_mins(1), 5);
    let run = world.enqueue_job(wish).await;
    let worker = world.worker(job, quick());
    let waits = "SELECT count(*) FROM job WHERE charged = 1 AND run_at > now() + interval '50 s'";
    until("it waits", async || world.count(waits).await == 1).await;
    worker.stop().await;
    assert_eq!(count.get(), 1);
    let step = &world.store().run(run).await.unwrap().step_list[0];
    assert_eq!(step.state, StepState::Retryable);
    assert_eq!(step.attempts[0].fault.as_ref().unwrap().message, "not today");
}

#[tokio::test]
async fn t2b_a_snooze_is_kept_and_charges_nothing() {
    let world = World::new().await;
    let count = Count::default();
    let counted = count.clone();
    let job = scripted(move |_, cx| {
        counted.add();
        let until = cx.clock().now() + Duration::from_mins(1);
        Box::pin(async move { Err(JobError::Snooze { until, reason: "waits for data".to_owned() }) })
    });
    world.enqueue(json!(null)).await;
    let worker = world.worker(job, quick());
    let waits = "SELECT count(*) FROM job WHERE charged = 0 AND run_at > now() + interval '50 s'";
    until("it waits", async || world.count(waits).await == 1).await;
    worker.stop().await;
    assert_eq!(count.get(), 1);
}

#[tokio::test]
async fn t3_workers_of_one_name_do_not_mix_up_their_jobs() {
    let world = World::new().await;
    let count = Count::default();
    let counted = count.clone();
    let job = scripted(move |args, _| {
        counted.add();
        Box::pin(async move { Ok(Outcome::Completed(args)) })
    });
    for n in 0..20 {
        world.enqueue(json!(n)).await;
    }
    let options = WorkerOptions { name: "same".to_owned(), slots: 2, ..quick() };
    let workers = [world.worker(job.clone(), options.clone()), world.worker(job, options)];
    until("all completed", async || world.count("SELECT count(*) FROM job").await == 0).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(count.get(), 20);
    let wrong = "SELECT count(*) FROM step WHERE state <> 'completed' OR outputs <> args";
    assert_eq!(world.count(wrong).await, 0);
}

#[tokio::test]
async fn t4b_a_failing_heartbeat_does_not_end_the_worker() {
    let world = World::new().await;
    let gate = std::sync::Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let job = scripted(move |_, _| {
        let gate = waits.clone();
        Box::pin(async move {
            gate.acquire().await.map_err(JobError::retry)?.forget();
            Ok(Outcome::DONE)
        })
    });
    for n in 0..5 {
        world.enqueue(json!(n)).await;
    }
    let worker = world.worker(job, WorkerOptions { slots: 5, ..quick() });
    until("all run", async || world.leased().await == 5).await;
    // A sequence keeps what a rolled back statement drew from it.
    world
        .sql(
            "CREATE SEQUENCE refused;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN PERFORM nextval('refused'); RAISE EXCEPTION 'not now'; END$$;
             CREATE TRIGGER refuse BEFORE UPDATE ON worker FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    until("two heartbeats were refused", async || world.count("SELECT last_value FROM refused").await >= 2)
        .await;
    world.sql("DROP TRIGGER refuse ON worker").await;
    gate.add_permits(6);
    world.enqueue(json!(6)).await;
    until("all completed", async || world.count("SELECT count(*) FROM job").await == 0).await;
    assert!(!worker.task.is_finished());
    worker.stop().await;
    assert_eq!(world.count("SELECT count(*) FROM attempt").await, 6);
}

#[tokio::test]
async fn t8_a_panic_fails_its_own_job_alone() {
    let world = World::new().await;
    let job = scripted(|args, _| {
        Box::pin(async move {
            assert!(args != json!(2), "job two is broken");
            Ok(Outcome::DONE)
        })
    });
    let mut runs = Vec::new();
    for n in 0..5 {
        let mut wish = job_new(KIND, &json!(n));
        wish.policy = retry(Duration::ZERO, 2);
        runs.push(world.enqueue_job(wish).await);
    }
    let worker = world.worker(job, WorkerOptions { slots: 5, ..quick() });
    for (n, run) in runs.into_iter().enumerate() {
        let page = world.ended(run).await;
        if n == 2 {
            let step = &page.step_list[0];
            assert_eq!(page.run.state, RunState::Failed);
            assert_eq!(step.attempts.len(), 2);
            let fault = step.fault.as_ref().unwrap();
            assert!(fault.message.contains("job two is broken"), "{fault}");
        } else {
            assert_eq!(page.run.state, RunState::Completed);
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn t9_every_success_is_recorded() {
    let world = World::new().await;
    let job = scripted(|args, _| Box::pin(async move { Ok(Outcome::Completed(args)) }));
    let run = world.enqueue(json!({ "rows": 7 })).await;
    let worker = world.worker(job, quick());
    let page = world.ended(run).await;
    assert_eq!(page.step_list[0].outputs, Some(json!({ "rows": 7 })));
    assert_eq!(page.step_list[0].attempts[0].outcome, "completed");
    worker.stop().await;
}

/// Notices that a job was dropped.
struct Dropped(Count);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add();
    }
}

#[tokio::test]
async fn t10_an_attempt_over_its_timeout_is_dropped_and_retried() {
    let world = World::new().await;
    let count = Count::default();
    let counted = count.clone();
    let job = scripted(move |_, _| {
        let dropped = Dropped(counted.clone());
        Box::pin(async move {
            let _kept = dropped;
            std::future::pending().await
        })
    });
    let mut wish = job_new(KIND, &json!(null));
    wish.policy = retry(Duration::ZERO, 2);
    wish.policy.timeout = Some(Duration::from_millis(50));
    let run = world.enqueue_job(wish).await;
    let worker = world.worker(job, quick());
    let page = world.ended(run).await;
    let step = &page.step_list[0];
    assert_eq!((page.run.state, step.attempts.len()), (RunState::Failed, 2));
    assert_eq!(step.fault.as_ref().unwrap().code.unwrap().0, 1003);
    assert_eq!(count.get(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn t12_a_job_is_recorded_before_the_next_one_takes_its_slot() {
    let world = World::new().await;
    let job = scripted(|args, cx| {
        Box::pin(async move {
            let done = "SELECT count(*) FROM attempt WHERE outcome = 'completed'";
            let done: i64 =
                sqlx::query_scalar(done).fetch_one(cx.store().pool()).await.map_err(JobError::retry)?;
            Ok(Outcome::Completed(json!([args, done])))
        })
    });
    for n in 0..10 {
        world.enqueue(json!(n)).await;
    }
    let worker = world.worker(job, WorkerOptions { slots: 1, ..quick() });
    until("all completed", async || world.count("SELECT count(*) FROM job").await == 0).await;
    worker.stop().await;
    let early = "SELECT count(*) FROM step WHERE outputs -> 0 <> outputs -> 1";
    assert_eq!(world.count(early).await, 0);
}

#[tokio::test]
async fn t13b_a_graceful_stop_finishes_what_runs_and_leaves_no_lease() {
    let world = World::new().await;
    let gate = std::sync::Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let job = scripted(move |_, _| {
        let gate = waits.clone();
        Box::pin(async move {
            gate.acquire().await.map_err(JobError::retry)?.forget();
            Ok(Outcome::DONE)
        })
    });
    for n in 0..20 {
        world.enqueue(json!(n)).await;
    }
    let worker = world.worker(job, WorkerOptions { slots: 4, ..quick() });
    until("four run", async || world.leased().await == 4).await;
    worker.stop.cancel();
    gate.add_permits(20);
    worker.task.await.unwrap().unwrap();
    assert_eq!(world.leased().await, 0);
    let waiting = world.count("SELECT count(*) FROM job WHERE attempt = 0").await;
    let done = world.count("SELECT count(*) FROM attempt WHERE outcome = 'completed'").await;
    assert_eq!((done, waiting), (4, 16));
    assert_eq!(world.store().runs(&everything()).await.unwrap().len(), 20);
}

#[tokio::test]
async fn t13c_an_ending_under_a_stale_lease_changes_nothing() {
    let world = World::new().await;
    let run = world.enqueue(json!(null)).await;
    let claim = async || {
        let kinds = [KIND.to_string()];
        world.store().claim(WorkerId::generate(), &kinds, 1, Duration::ZERO).await.unwrap().remove(0).lease
    };
    let stale = claim().await;
    until("the lease runs out", async || world.store().rescue_expired(1).await.unwrap().jobs == 1).await;
    let current = claim().await;
    let end = async |lease, outputs| {
        world.store().settle(&[(lease, Ending::Completed(outputs))]).await.unwrap().fenced
    };
    assert_eq!(end(stale, json!("stale")).await, 1);
    assert_eq!(end(current, json!("current")).await, 0);
    assert_eq!(world.ended(run).await.step_list[0].outputs, Some(json!("current")));
}

#[tokio::test]
async fn t13d_a_zombie_worker_neither_ends_nor_writes_for_its_successor() {
    let world = World::new().await;
    world.sql("CREATE TABLE effect (who text)").await;
    let (gate, count) = (std::sync::Arc::new(Semaphore::new(0)), Count::default());
    let (waits, counted) = (gate.clone(), count.clone());
    let job = scripted(move |_, cx| {
        let (gate, first) = (waits.clone(), counted.add() == 1);
        Box::pin(async move {
            let mut tx = cx.begin().await?;
            let who = if first { "zombie" } else { "successor" };
            let write = sqlx::query("INSERT INTO effect VALUES ($1)").bind(who).execute(tx.conn()).await;
            write.map_err(JobError::retry)?;
            if first {
                gate.acquire().await.map_err(JobError::retry)?.forget();
            }
            cx.commit(tx, json!(who)).await
        })
    });
    let run = world.enqueue(json!(null)).await;
    // A worker whose heartbeats don't get through: it never hears that its lease is gone.
    let deaf =
        WorkerOptions { lease: Duration::from_millis(1), heartbeat: Duration::from_hours(1), ..quick() };
    let worker = world.worker(job.clone(), deaf);
    until("the zombie has started", async || count.get() == 1).await;
    until("its lease runs out", async || world.store().rescue_expired(1).await.unwrap().jobs == 1).await;
    // The worker would take it again: it stops claiming, and its running job goes on.
    worker.stop.cancel();
    until("the successor has run", async || {
        Driver::new(world.store(), vec![job.clone()]).one().await.unwrap() || count.get() > 1
    })
    .await;
    gate.add_permits(1);
    worker.task.await.unwrap().unwrap();
    let page = world.ended(run).await;
    assert_eq!(page.step_list[0].outputs, Some(json!("successor")));
    assert_eq!(world.count("SELECT count(*) FROM effect WHERE who = 'zombie'").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM effect").await, 1);
}
