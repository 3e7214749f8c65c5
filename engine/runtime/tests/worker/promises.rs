//! What people and job authors rely on.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidemill_core::{Fault, JobError, RunState, StepState, WorkerId};
use tidemill_runtime::{Outcome, WorkerOptions, job_new};
use tidemill_testkit::{run_job, run_until_idle};
use tokio::sync::Semaphore;

use crate::world::{Count, KIND, World, quick, retry, scripted, until};

#[tokio::test]
async fn the_next_attempt_goes_on_from_the_checkpoint() {
    let world = World::new().await;
    let job = scripted(|_, cx| {
        Box::pin(async move {
            let from = cx.checkpoint().and_then(serde_json::Value::as_u64).unwrap_or(0);
            cx.log(format!("attempt {} goes on from {from}", cx.attempt()));
            for tree in from + 1..=4 {
                cx.save_checkpoint(json!(tree)).await?;
                if tree == 2 {
                    return Err(JobError::Retry(Fault::new("fell over at tree 2")));
                }
            }
            Ok(Outcome::Completed(json!({ "began_at": from })))
        })
    });
    let outputs = run_job(world.store(), job, &json!(null)).await.unwrap();
    assert_eq!(outputs, json!({ "began_at": 2 }));
    let run = world.store().runs(&crate::world::everything()).await.unwrap()[0].id;
    let log = world.store().log(run, None, None).await.unwrap();
    let lines: Vec<_> = log.iter().map(|line| (line.attempt, line.line.as_str())).collect();
    assert_eq!(lines, [(1, "attempt 1 goes on from 0"), (2, "attempt 2 goes on from 2")]);
}

#[tokio::test]
async fn log_lines_can_be_read_while_the_job_runs() {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let job = scripted(move |_, cx| {
        let gate = waits.clone();
        Box::pin(async move {
            cx.log("first\nsecond");
            gate.acquire().await.map_err(JobError::retry)?.forget();
            cx.log("third");
            Ok(Outcome::DONE)
        })
    });
    let run = world.enqueue(json!(null)).await;
    let worker = world.worker(job, quick());
    until("two lines", async || world.store().log(run, None, None).await.unwrap().len() == 2).await;
    gate.add_permits(1);
    world.ended(run).await;
    let log = world.store().log(run, None, None).await.unwrap();
    assert_eq!(log.iter().map(|line| line.line.as_str()).collect::<Vec<_>>(), ["first", "second", "third"]);
    worker.stop().await;
}

#[tokio::test]
async fn what_user_code_says_with_nul_ends_its_job_as_anything_else_would() {
    let world = World::new().await;
    let job = scripted(|args, cx| {
        Box::pin(async move {
            cx.log("nul \0 here");
            let nul = json!({ "a\0": "b\0" });
            cx.log_params(nul.as_object().cloned().unwrap_or_default()).await?;
            cx.save_checkpoint(nul.clone()).await?;
            match args.as_str() {
                Some("completes") => Ok(Outcome::Completed(nul)),
                Some("fails") => Err(JobError::Discard(Fault::new("ValueError: a\0b").detail("line\0"))),
                // Made otherwise than by its constructors.
                _ => Err(JobError::Discard(Fault { message: "c\0".to_owned(), ..Fault::new("") })),
            }
        })
    });
    let runs = [
        world.enqueue(json!("completes")).await,
        world.enqueue(json!("fails")).await,
        world.enqueue(json!("odd")).await,
    ];
    let worker = world.worker(job, quick());
    let [completed, failed, odd] =
        [world.ended(runs[0]).await, world.ended(runs[1]).await, world.ended(runs[2]).await];
    assert_eq!(completed.step_list[0].outputs, Some(json!({ "a\u{fffd}": "b\u{fffd}" })));
    assert_eq!(completed.step_list[0].params, Some(json!({ "a\u{fffd}": "b\u{fffd}" })));
    assert_eq!(failed.step_list[0].fault.as_ref().unwrap().message, "ValueError: a\u{fffd}b");
    let told = odd.step_list[0].fault.as_ref().unwrap().to_string();
    assert_eq!(told, "[TM1008] the database refused what the attempt returned");
    for page in [completed, failed, odd] {
        assert_eq!(page.step_list[0].attempts.len(), 1, "{page:?}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn of_a_long_log_the_end_is_kept() {
    let world = World::new().await;
    let job = scripted(|_, cx| {
        Box::pin(async move {
            (0..200_000).for_each(|line| cx.log(format!("line {line}")));
            cx.log("");
            Err(JobError::Discard(Fault::new("at the end")))
        })
    });
    let run = world.enqueue(json!(null)).await;
    let worker = world.worker(job, quick());
    world.ended(run).await;
    let log = world.store().log(run, None, None).await.unwrap();
    let line = |index: usize| log[index].line.as_str();
    assert_eq!((line(0), line(log.len() - 2), line(log.len() - 1)), ("line 0", "line 199999", ""));
    let gap = log.iter().find(|line| line.line.starts_with('…')).unwrap();
    assert!(gap.line.contains("lines left out"), "{gap:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_cancelled_run_stops_its_job_with_or_without_its_help() {
    let world = World::new().await;
    let job = scripted(|args, cx| {
        Box::pin(async move {
            if args == json!("helpful") {
                cx.cancelled().cancelled().await;
                return Err(JobError::Cancel("noticed".to_owned()));
            }
            std::future::pending().await
        })
    });
    let runs = [world.enqueue(json!("helpful")).await, world.enqueue(json!("stubborn")).await];
    let worker = world.worker(job, quick());
    until("both run", async || world.leased().await == 2).await;
    for run in runs {
        world.store().cancel_run(run, "enough").await.unwrap();
    }
    for run in runs {
        let page = world.ended(run).await;
        assert_eq!(page.run.state, RunState::Cancelled);
        assert_eq!(page.step_list[0].reason.as_deref(), Some("enough"));
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_dropped_leaves_no_ghost() {
    let world = World::new().await;
    let job = scripted(|_, _| Box::pin(std::future::pending()));
    let worker = world.worker(job, quick());
    until("it is there", async || !world.store().workers().await.unwrap().is_empty()).await;
    worker.task.abort();
    assert!(worker.task.await.unwrap_err().is_cancelled());
    until("it has left", async || world.store().workers().await.unwrap().is_empty()).await;
    // A ghost would take some of many jobs, and never end them.
    let alive = world.worker(scripted(|_, _| Box::pin(async { Ok(Outcome::DONE) })), quick());
    for n in 0..50 {
        world.enqueue(json!(n)).await;
    }
    until("all completed", async || world.count("SELECT count(*) FROM job").await == 0).await;
    alive.stop().await;
}

#[tokio::test]
async fn a_drain_hands_over_what_takes_too_long() {
    let world = World::new().await;
    let job = scripted(|_, cx| {
        Box::pin(async move {
            if cx.checkpoint().is_some() {
                return Ok(Outcome::Completed(json!("the other worker")));
            }
            cx.save_checkpoint(json!(1)).await?;
            std::future::pending().await
        })
    });
    let run = world.enqueue(json!(null)).await;
    let worker = world.worker(job.clone(), WorkerOptions { drain: Duration::from_millis(50), ..quick() });
    until("it has a checkpoint", async || world.count("SELECT count(*) FROM checkpoint").await == 1).await;
    worker.stop().await;
    assert_eq!(world.leased().await, 0);
    assert_eq!(world.count("SELECT count(*) FROM job WHERE charged = 0").await, 1);
    run_until_idle(world.store(), vec![job]).await.unwrap();
    assert_eq!(world.ended(run).await.step_list[0].outputs, Some(json!("the other worker")));
}

#[tokio::test]
async fn a_worker_asked_to_drain_ends_by_itself() {
    let world = World::new().await;
    let worker = world.worker(scripted(|_, _| Box::pin(async { Ok(Outcome::DONE) })), quick());
    until("it is there", async || !world.store().workers().await.unwrap().is_empty()).await;
    let id = world.store().workers().await.unwrap()[0].id;
    assert!(world.store().drain_worker(id).await.unwrap());
    tokio::time::timeout(Duration::from_secs(10), worker.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_busy_host_does_not_starve_heartbeats() {
    let world = World::new().await;
    let job = scripted(|_, _| {
        Box::pin(async {
            // What a job should never do: it blocks every thread of the runtime for two leases.
            std::thread::sleep(Duration::from_secs(2));
            Ok(Outcome::DONE)
        })
    });
    let run = world.enqueue(json!(null)).await;
    let worker = world.worker(job, WorkerOptions { lease: Duration::from_secs(1), ..quick() });
    let store = world.store().clone();
    let rescuer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = store.apart(1);
            let mut rescued = 0;
            for _ in 0..30 {
                rescued += store.rescue_expired(10).await.unwrap().jobs;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            rescued
        })
    });
    let page = world.ended(run).await;
    assert_eq!(page.step_list[0].attempts.len(), 1);
    worker.stop().await;
    assert_eq!(rescuer.join().unwrap(), 0);
}

#[tokio::test]
async fn a_job_that_kills_its_workers_goes_to_dead_letter() {
    let world = World::new().await;
    let run = world.enqueue(json!(null)).await;
    for _ in 0..5 {
        let kinds = [KIND.to_string()];
        let claimed = world.store().claim(WorkerId::generate(), &kinds, 1, Duration::ZERO).await.unwrap();
        assert_eq!((claimed.len(), claimed[0].charged), (1, 0));
        until("it is taken back", async || {
            let rescued = world.store().rescue_expired(1).await.unwrap();
            rescued.jobs + rescued.poisoned == 1
        })
        .await;
    }
    let page = world.ended(run).await;
    assert_eq!(page.run.state, RunState::Failed);
    assert_eq!(page.step_list[0].fault.as_ref().unwrap().code.unwrap().0, 1002);
}

#[tokio::test]
async fn outputs_that_cannot_be_stored_fail_their_own_job_alone() {
    let world = World::new().await;
    let job = scripted(|args, _| Box::pin(async move { Ok(Outcome::Completed(args)) }));
    let good = world.enqueue(json!("fine")).await;
    // Whatever else a database may refuse for its content.
    world.sql("ALTER TABLE step ADD CONSTRAINT refused CHECK (outputs <> '\"too much\"')").await;
    let refused = scripted(|_, _| Box::pin(async { Ok(Outcome::Completed(json!("too much"))) }));
    let worker = world.worker(job, quick());
    assert_eq!(world.ended(good).await.run.state, RunState::Completed);
    worker.stop().await;

    let bad = world.enqueue(json!(null)).await;
    let worker = world.worker(refused, quick());
    let page = world.ended(bad).await;
    assert_eq!(page.step_list[0].state, StepState::Failed);
    assert_eq!(page.step_list[0].fault.as_ref().unwrap().code.unwrap().0, 1008);
    worker.stop().await;
}

#[tokio::test]
async fn a_retry_waits_no_longer_than_its_backoff() {
    let world = World::new().await;
    let count = Count::default();
    let counted = count.clone();
    let job = scripted(move |_, _| {
        let first = counted.add() == 1;
        Box::pin(
            async move { if first { Err(JobError::Retry(Fault::new("once"))) } else { Ok(Outcome::DONE) } },
        )
    });
    let mut wish = job_new(KIND, &json!(null));
    wish.policy = retry(Duration::from_millis(100), 3);
    let started = std::time::Instant::now();
    let run = world.enqueue_job(wish).await;
    // The poll alone would be much later: the dispatcher wakes for the next job that is due.
    let worker = world.worker(job, WorkerOptions { poll: Duration::from_mins(1), ..quick() });
    world.ended(run).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    worker.stop().await;
}
