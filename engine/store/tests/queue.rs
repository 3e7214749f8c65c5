//! What a worker may rely on: claims, fences, renewals, endings, rescue.

mod world;

use std::{collections::HashSet, time::Duration};

use chrono::TimeDelta;
use serde_json::json;
use tidemill_core::{AttemptPolicy, RunState, WorkerId};
use tidemill_store::{Ending, Error, NewJob, NewWorker};
use world::{LEASE, fault, job, names, world};

#[tokio::test]
async fn a_claim_takes_lower_priorities_first_and_no_more_than_the_free_slots() {
    let world = world().await;
    for (kind, priority) in [("a", 5), ("b", -1), ("c", 0)] {
        world.enqueue(NewJob { priority, ..job(kind) }).await;
    }
    assert_eq!(names(&world.claim(2).await), ["b", "c"]);
    assert_eq!(names(&world.claim(2).await), ["a"]);
    assert!(world.claim(2).await.is_empty());
}

#[tokio::test]
async fn a_job_waits_for_its_time_and_for_a_worker_of_its_kind() {
    let world = world().await;
    let soon = world.now().await + TimeDelta::hours(1);
    world.enqueue(NewJob { run_at: Some(soon), ..job("a") }).await;
    world.enqueue(job("unknown")).await;
    assert!(world.claim(10).await.is_empty());
    let queue = world.store.queue().await.unwrap();
    let shape: Vec<_> = queue.iter().map(|row| (row.kind.as_str(), row.available, row.scheduled)).collect();
    assert_eq!(shape, [("a", 0, 1), ("unknown", 1, 0)]);
}

#[tokio::test]
async fn a_claimed_job_brings_what_it_needs() {
    let world = world().await;
    let enqueued = world.enqueue(job("a")).await;
    let claimed = world.claim_one().await;
    assert_eq!((claimed.run, claimed.step.as_str(), claimed.kind.as_str()), (enqueued.run, "a", "a"));
    assert_eq!((claimed.attempt, claimed.charged, claimed.single), (1, 0, true));
    assert_eq!(claimed.args, json!({ "of": "a" }));
    assert_eq!((claimed.checkpoint, claimed.outputs), (None, json!({})));
    assert_eq!(claimed.policy, AttemptPolicy::default());
}

#[tokio::test]
async fn a_key_stands_for_one_job_while_it_waits() {
    let world = world().await;
    let keyed = |value: i32| NewJob { key: Some("k".into()), args: json!(value), ..job("a") };
    let first = world.enqueue(keyed(1)).await;
    let second = world.enqueue(keyed(2)).await;
    assert_eq!((second.run, second.existed), (first.run, true));
    let claimed = world.claim(5).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].args, json!(1));
    // What runs has fixed what it looks at: a new wish is a new job, and the first may still be retried.
    let third = world.enqueue(keyed(3)).await;
    assert!(!third.existed);
    world.end(&claimed[0], Ending::Retry(Duration::ZERO, fault())).await;
    assert_eq!(world.claim(5).await.len(), 2);
}

#[tokio::test]
async fn a_job_that_comes_back_to_wait_is_found_by_its_key() {
    let world = world().await;
    let keyed = || NewJob { key: Some("k".into()), ..job("a") };
    let run = world.enqueue(keyed()).await.run;
    let released = world.claim_one().await;
    world.store.release(&[released.lease]).await.unwrap();
    assert_eq!(world.enqueue(keyed()).await.run, run, "released");
    let endings =
        [Ending::Retry(Duration::ZERO, fault()), Ending::Snooze(Duration::ZERO, "waits for rows".into())];
    for ending in endings {
        world.end(&world.claim_one().await, ending.clone()).await;
        assert_eq!(world.enqueue(keyed()).await.run, run, "{ending:?}");
    }
    assert_eq!(world.claim_and_die(1).await.len(), 1);
    world.store.rescue_expired(10).await.unwrap();
    assert_eq!(world.enqueue(keyed()).await.run, run, "rescued");
    // What is on its way to be cancelled does nobody's wish.
    let asked = world.claim_one().await;
    world.store.cancel_run(run, "stop").await.unwrap();
    world.end(&asked, Ending::Retry(Duration::ZERO, fault())).await;
    assert!(!world.enqueue(keyed()).await.existed);
}

#[tokio::test]
async fn a_wish_that_joins_a_waiting_job_is_seen_by_it() {
    let world = world().await;
    let keyed = || NewJob { key: Some("k".into()), ..job("a") };
    world.enqueue(keyed()).await;
    let mut tx = world.store.begin().await.unwrap();
    assert!(world.store.enqueue(&mut tx, keyed()).await.unwrap().existed);
    // The job must not start before what the transaction wrote can be seen.
    assert!(world.claim(5).await.is_empty());
    tx.commit().await.unwrap();
    assert_eq!(world.claim(5).await.len(), 1);
}

#[tokio::test]
async fn many_who_wish_the_same_at_once_get_one_job() {
    let world = world().await;
    let keyed = |n: usize| NewJob { key: Some(format!("k{}", n % 3)), ..job("a") };
    let wishes = (0..30).map(|n| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let mut tx = store.begin().await.unwrap();
            let batch: Vec<_> = (0..3).map(|shift| keyed(n + shift)).collect();
            let enqueued = store.enqueue_all(&mut tx, &batch).await.unwrap();
            tx.commit().await.unwrap();
            enqueued.into_iter().map(|one| one.run).collect::<Vec<_>>()
        })
    });
    let mut runs = HashSet::new();
    for wish in wishes.collect::<Vec<_>>() {
        runs.extend(wish.await.unwrap());
    }
    assert_eq!(runs.len(), 3);
    assert_eq!(world.claim(50).await.len(), 3);
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_may_hold_a_key_twice() {
    let world = world().await;
    let keyed = |key: &str| NewJob { key: Some(key.into()), ..job("a") };
    let mut tx = world.store.begin().await.unwrap();
    let batch = [keyed("x"), job("b"), keyed("x"), keyed("y")];
    let enqueued = world.store.enqueue_all(&mut tx, &batch).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(enqueued[0].run, enqueued[2].run);
    assert_eq!(enqueued.iter().filter(|one| one.existed).count(), 1);
    assert_eq!(names(&world.claim(50).await), ["a", "a", "b"]);
    assert_eq!(world.page(enqueued[1].run).await.run.pipeline, "b");
}

#[tokio::test]
async fn what_is_rolled_back_was_never_enqueued() {
    let world = world().await;
    let mut tx = world.store.begin().await.unwrap();
    let enqueued = world.store.enqueue(&mut tx, job("a")).await.unwrap();
    drop(tx);
    assert!(world.claim(5).await.is_empty());
    assert!(matches!(world.store.run(enqueued.run).await, Err(Error::NoRun(_))));
}

#[tokio::test]
async fn jobs_of_one_concurrency_key_run_one_after_the_other() {
    let world = world().await;
    for kind in ["a", "b", "c"] {
        world.enqueue(NewJob { concurrency_key: Some("view".into()), ..job(kind) }).await;
    }
    for kind in ["a", "b", "c"] {
        let claimed = world.claim(5).await;
        assert_eq!(names(&claimed), [kind]);
        assert!(world.claim(5).await.is_empty());
        world.complete(&claimed[0]).await;
    }
}

#[tokio::test]
async fn jobs_that_have_to_wait_for_each_other_do_not_hide_the_free_ones_behind_them() {
    let world = world().await;
    for _ in 0..50 {
        world.enqueue(NewJob { concurrency_key: Some("view".into()), ..job("a") }).await;
    }
    for _ in 0..50 {
        world.enqueue(job("b")).await;
    }
    let claimed = world.claim(20).await;
    assert_eq!(names(&claimed).iter().filter(|name| **name == "b").count(), 19);
    assert_eq!(claimed.len(), 20);
}

#[tokio::test]
async fn jobs_with_their_last_chance_do_not_hide_the_free_ones_behind_them() {
    let world = world().await;
    let policy = AttemptPolicy { max_crashes: 3, ..AttemptPolicy::default() };
    for _ in 0..5 {
        world.enqueue(NewJob { policy, ..job("a") }).await;
    }
    for _ in 0..2 {
        assert_eq!(world.claim_and_die(5).await.len(), 5);
        world.store.rescue_expired(10).await.unwrap();
    }
    for _ in 0..5 {
        world.enqueue(job("b")).await;
    }
    assert_eq!(names(&world.claim(4).await), ["a", "b", "b", "b"]);
}

#[tokio::test]
async fn claims_over_the_same_keys_in_two_orders_do_not_wait_for_each_other() {
    let world = world().await;
    let keyed = |kind: &str, key: &str| NewJob { concurrency_key: Some(key.into()), ..job(kind) };
    for (kind, key) in [("a", "one"), ("b", "two"), ("b", "one"), ("a", "two")] {
        world.enqueue(keyed(kind, key)).await;
    }
    let mut first = world.store.begin().await.unwrap();
    assert!(world.claim_in(&mut first, "a").await.is_some(), "it takes `one`");
    let mut second = tokio::spawn({
        let store = world.store.clone();
        async move { store.claim(WorkerId::generate(), &["b".into()], 2, LEASE).await }
    });
    let claimed = tokio::select! {
        claimed = &mut second => claimed.unwrap(),
        () = world.database.until_blocked(1) => {
            assert!(world.claim_in(&mut first, "a").await.is_none(), "`two` is taken");
            second.await.unwrap()
        }
    };
    assert_eq!(names(&claimed.unwrap()), ["b"]);
    assert!(world.claim_in(&mut first, "a").await.is_none(), "`two` is taken");
    first.commit().await.unwrap();
}

#[tokio::test]
async fn workers_that_race_for_a_concurrency_key_never_share_it() {
    let world = world().await;
    for _ in 0..40 {
        world.enqueue(NewJob { concurrency_key: Some("view".into()), ..job("a") }).await;
    }
    let running = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let workers = (0..6).map(|_| {
        let (store, running) = (world.store.clone(), running.clone());
        tokio::spawn(async move {
            use std::sync::atomic::Ordering::SeqCst;
            let mut done = 0;
            while store.queue().await.unwrap().iter().any(|row| row.available + row.running > 0) {
                for claimed in store.claim(WorkerId::generate(), &["a".into()], 3, LEASE).await.unwrap() {
                    assert_eq!(running.fetch_add(1, SeqCst), 0, "two leases of one key");
                    tokio::task::yield_now().await;
                    running.fetch_sub(1, SeqCst);
                    store.settle(&[(claimed.lease, Ending::Completed(json!(null)))]).await.unwrap();
                    done += 1;
                }
            }
            done
        })
    });
    let mut done = 0;
    for worker in workers.collect::<Vec<_>>() {
        done += worker.await.unwrap();
    }
    assert_eq!(done, 40);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_changes_nothing() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    let zombie = world.claim_and_die(1).await.remove(0);
    world.store.rescue_expired(10).await.unwrap();
    let current = world.claim_one().await;
    assert_eq!(current.lease.job, zombie.lease.job);

    for ending in [
        Ending::Completed(json!(1)),
        Ending::Retry(Duration::ZERO, fault()),
        Ending::Snooze(Duration::ZERO, "later".into()),
        Ending::Discard(fault()),
        Ending::Cancel("stop".into()),
        Ending::Skipped("no".into()),
    ] {
        assert_eq!(world.end(&zombie, ending).await.fenced, 1);
    }
    let mut tx = world.store.begin().await.unwrap();
    let late = world.store.checkpoint_in(&mut tx, zombie.lease, &json!(9)).await;
    assert!(matches!(late, Err(Error::LeaseLost)));
    let late = world.store.complete_in(&mut tx, zombie.lease, json!(9)).await;
    assert!(matches!(late, Err(Error::LeaseLost)));
    tx.commit().await.unwrap();
    world.store.release(&[zombie.lease]).await.unwrap();
    world.store.log_values(zombie.lease, &json!({ "late": 1 }), &json!({})).await.unwrap();

    let renewed = world.store.renew(&[zombie.lease, current.lease], LEASE).await.unwrap();
    assert_eq!(renewed.len(), 1);
    assert_eq!(world.complete(&current).await.fenced, 0);
    let page = world.page(run).await;
    assert_eq!(page.step_list[0].params, None);
    let outcomes: Vec<_> = page.step_list[0].attempts.iter().map(|one| one.outcome.as_str()).collect();
    assert_eq!(outcomes, ["lost", "completed"]);
}

#[tokio::test]
async fn tokens_stay_apart_when_a_crash_takes_the_sequence_back() {
    let world = world().await;
    world.enqueue(job("a")).await;
    let first = world.claim_one().await;
    world.store.release(&[first.lease]).await.unwrap();
    sqlx::query("SELECT setval('engine.lease_token', 1, false)").execute(&world.database.pool).await.unwrap();
    let second = world.claim_one().await;
    assert!(second.lease.token > first.lease.token);
}

#[tokio::test]
async fn a_commit_of_a_job_lands_as_a_whole_or_not_at_all() {
    let world = world().await;
    sqlx::query("CREATE TABLE effect (id int)").execute(&world.database.pool).await.unwrap();
    let run = world.enqueue(job("a")).await.run;
    let claimed = world.claim_one().await;
    for (commit, effects, state) in [(false, 0, RunState::Running), (true, 1, RunState::Completed)] {
        let mut tx = world.store.begin().await.unwrap();
        sqlx::query("INSERT INTO public.effect VALUES (1)").execute(tx.conn()).await.unwrap();
        world.store.complete_in(&mut tx, claimed.lease, json!({ "rows": 1 })).await.unwrap();
        if commit {
            tx.commit().await.unwrap();
        } else {
            drop(tx);
        }
        let counted: i64 =
            sqlx::query_scalar("SELECT count(*) FROM effect").fetch_one(&world.database.pool).await.unwrap();
        assert_eq!((counted, world.state(run).await), (effects, state));
    }
    assert_eq!(world.page(run).await.step_list[0].outputs, Some(json!({ "rows": 1 })));
}

#[tokio::test]
async fn a_retry_is_charged_and_a_snooze_is_not() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    world.end(&world.claim_one().await, Ending::Retry(Duration::ZERO, fault())).await;
    world.end(&world.claim_one().await, Ending::Snooze(Duration::ZERO, "waits for rows".into())).await;
    let third = world.claim_one().await;
    assert_eq!((third.attempt, third.charged), (3, 1));
    let before = world.now().await;
    let delay = Duration::from_mins(5);
    world.end(&third, Ending::Retry(delay, fault())).await;
    assert!(world.claim(1).await.is_empty());
    let step = world.page(run).await.step_list.remove(0);
    assert_eq!(step.state.as_str(), "retryable");
    let run_at = step.run_at.unwrap();
    assert!((before + delay..=world.now().await + delay).contains(&run_at), "{run_at}");
    let history: Vec<_> = step.attempts.iter().map(|one| (one.attempt, one.outcome.as_str())).collect();
    assert_eq!(history, [(1, "retryable"), (2, "snoozed"), (3, "retryable")]);
}

#[tokio::test]
async fn a_released_job_was_never_attempted() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    world.store.release(&[world.claim_one().await.lease]).await.unwrap();
    let again = world.claim_one().await;
    assert_eq!((again.attempt, again.charged), (1, 0));
    world.complete(&again).await;
    assert_eq!(world.page(run).await.step_list[0].attempts.len(), 1);
}

#[tokio::test]
async fn a_rescued_job_keeps_its_checkpoint_and_is_not_charged() {
    let world = world().await;
    world.enqueue(job("a")).await;
    let dead = world.claim_and_die(1).await.remove(0);
    world.checkpoint(dead.lease, json!({ "tree": 120 })).await;
    assert_eq!(world.store.rescue_expired(10).await.unwrap().jobs, 1);
    let next = world.claim_one().await;
    assert_eq!((next.attempt, next.charged, next.checkpoint), (2, 0, Some(json!({ "tree": 120 }))));
}

#[tokio::test]
async fn jobs_of_a_process_that_died_need_not_wait_for_their_leases() {
    let world = world().await;
    world.enqueue(job("a")).await;
    let worker = NewWorker { id: WorkerId::generate(), name: "w".into(), pid: 1, slots: 1, kinds: vec![] };
    let presence = world.store.apart(1);
    presence.register_worker(&worker).await.unwrap();
    presence.worker_heartbeat(worker.id).await.unwrap();
    world.store.claim(worker.id, &["a".into()], 1, LEASE).await.unwrap();
    assert_eq!(world.store.rescue(10, Duration::ZERO).await.unwrap().jobs, 0, "it lives");

    // What the end of the process does: the server closes the connection and frees its lock.
    presence.pool().close().await;
    assert_eq!(world.store.rescue_expired(10).await.unwrap().jobs, 0, "it was heard of a moment ago");
    while world.store.rescue(10, Duration::ZERO).await.unwrap().jobs == 0 {}
    assert_eq!(world.claim_one().await.attempt, 2);
}

#[tokio::test]
async fn a_job_under_which_workers_die_in_a_row_goes_to_dead_letter() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    for crash in 1..=5 {
        assert_eq!(world.claim_and_die(1).await.len(), 1, "crash {crash}");
        let rescued = world.store.rescue_expired(10).await.unwrap();
        assert_eq!((rescued.jobs, rescued.poisoned), if crash < 5 { (1, 0) } else { (0, 1) });
    }
    assert!(world.claim(1).await.is_empty());
    let page = world.page(run).await;
    assert_eq!(page.run.state, RunState::Failed);
    assert_eq!(page.run.fault.unwrap().to_string(), "[TM1002] 5 workers in a row died while they ran it");
    // A person may say that the cause is gone: crashes are counted anew.
    world.store.retry_run(run, &serde_json::Map::new()).await.unwrap();
    assert_eq!(world.claim_and_die(1).await[0].attempt, 6);
    assert_eq!(world.store.rescue_expired(10).await.unwrap().jobs, 1);
}

#[tokio::test]
async fn a_worker_that_was_told_to_end_and_is_killed_on_the_way_is_no_crash_of_its_jobs() {
    let world = world().await;
    let policy = AttemptPolicy { max_crashes: 1, ..AttemptPolicy::default() };
    world.enqueue(NewJob { policy, ..job("a") }).await;
    for _ in 0..3 {
        let worker = world.worker().await;
        assert_eq!(world.claim_as(worker, 1, Duration::ZERO).await.len(), 1);
        assert!(world.store.drain_worker(worker).await.unwrap());
        assert_eq!(world.store.rescue_expired(10).await.unwrap().jobs, 1);
    }
    world.claim_as(world.worker().await, 1, Duration::ZERO).await;
    assert_eq!(world.store.rescue_expired(10).await.unwrap().poisoned, 1, "this one was not told");
}

#[tokio::test]
async fn a_crash_that_took_the_database_along_is_no_crash_of_the_job() {
    let world = world().await;
    let policy = AttemptPolicy { max_crashes: 1, ..AttemptPolicy::default() };
    world.enqueue(NewJob { policy, ..job("a") }).await;
    for _ in 0..3 {
        assert_eq!(world.claim_and_die(1).await.len(), 1);
        // As if the server had started since then.
        world
            .sql("UPDATE engine.job SET started_at = pg_postmaster_start_time() - interval '1 second'")
            .await;
        assert_eq!(world.store.rescue_expired(10).await.unwrap().jobs, 1);
    }
    world.claim_and_die(1).await;
    assert_eq!(world.store.rescue_expired(10).await.unwrap().poisoned, 1);
}

#[tokio::test]
async fn a_rescue_does_not_wait_for_a_completion_that_waits_for_it() {
    let world = world().await;
    let run =
        world.enqueue(NewJob { policy: AttemptPolicy { max_crashes: 1, ..Default::default() }, ..job("a") });
    let run = run.await.run;
    let slow = world.claim_and_die(1).await.remove(0);
    let mut completing = world.store.begin().await.unwrap();
    let lock = "SELECT FROM run WHERE id = $1 FOR UPDATE";
    sqlx::query(lock).bind(run.as_uuid()).execute(completing.conn()).await.unwrap();
    let mut rescue = tokio::spawn({
        let store = world.store.clone();
        async move { store.rescue_expired(10).await }
    });
    let rescued = tokio::select! {
        rescued = &mut rescue => Some(rescued.unwrap().unwrap()),
        () = world.database.until_blocked(1) => None,
    };
    world.store.complete_in(&mut completing, slow.lease, json!(1)).await.unwrap();
    completing.commit().await.unwrap();
    let rescued = match rescued {
        Some(rescued) => rescued,
        None => rescue.await.unwrap().unwrap(),
    };
    assert_eq!((rescued.jobs, rescued.poisoned), (0, 0));
    assert_eq!(world.state(run).await, RunState::Completed);
}

#[tokio::test]
async fn a_job_that_kills_its_worker_takes_no_neighbour_to_dead_letter() {
    let world = world().await;
    let policy = AttemptPolicy { max_crashes: 3, ..AttemptPolicy::default() };
    let poison = world.enqueue(NewJob { policy, ..job("a") }).await.run;
    let innocent = world.enqueue(NewJob { policy, ..job("b") }).await.run;
    // Twice nobody knows which of them it was.
    for _ in 0..2 {
        assert_eq!(world.claim_and_die(5).await.len(), 2);
        assert_eq!(world.store.rescue_expired(10).await.unwrap().jobs, 2);
    }
    // Each has its last chance without the other, beside whatever else there is.
    world.enqueue(job("c")).await;
    let worker = WorkerId::generate();
    let first = world.claim_as(worker, 5, Duration::ZERO).await;
    assert_eq!(names(&first), ["a", "c"]);
    assert!(world.claim_as(worker, 5, LEASE).await.is_empty(), "this worker has one of them");
    let other = world.claim(5).await;
    assert_eq!(names(&other), ["b"]);
    let rescued = world.store.rescue_expired(10).await.unwrap();
    assert_eq!((rescued.jobs, rescued.poisoned), (2, 0), "it may have been the neighbour");
    world.complete(&other[0]).await;
    assert_eq!(names(&world.claim_and_die(1).await), ["a"]);
    assert_eq!(world.store.rescue_expired(10).await.unwrap().poisoned, 1, "it ran alone");
    assert_eq!(world.state(poison).await, RunState::Failed);
    assert_eq!(world.state(innocent).await, RunState::Completed);
}

#[tokio::test]
async fn crashes_of_attempts_that_got_somewhere_do_not_add_up() {
    let world = world().await;
    world.enqueue(job("a")).await;
    for tree in 0..6 {
        let dead = world.claim_and_die(1).await.remove(0);
        world.checkpoint(dead.lease, json!({ "tree": tree })).await;
        assert_eq!(world.store.rescue_expired(10).await.unwrap().jobs, 1);
    }
}

#[tokio::test]
async fn a_lease_in_an_open_commit_can_be_renewed_but_not_taken() {
    let world = world().await;
    world.enqueue(job("a")).await;
    let claimed = world.claim_and_die(1).await.remove(0);
    let mut tx = world.store.begin().await.unwrap();
    world.store.checkpoint_in(&mut tx, claimed.lease, &json!(1)).await.unwrap();
    assert_eq!(world.store.rescue_expired(10).await.unwrap().jobs, 0);
    let leases = [claimed.lease];
    let renew = world.store.renew(&leases, LEASE);
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), renew).await.unwrap().unwrap().len(), 1);
    tx.commit().await.unwrap();
    assert_eq!(world.complete(&claimed).await.fenced, 0);
}

#[tokio::test]
async fn a_slow_completion_does_not_cost_its_neighbours_their_leases() {
    let world = world().await;
    world.enqueue(job("a")).await;
    world.enqueue(job("b")).await;
    let claimed = world.claim(2).await;
    let mut tx = world.store.begin().await.unwrap();
    world.store.complete_in(&mut tx, claimed[0].lease, json!(null)).await.unwrap();
    let leases = [claimed[0].lease, claimed[1].lease];
    let renew = world.store.renew(&leases, LEASE);
    let renewed = tokio::time::timeout(Duration::from_secs(5), renew).await.unwrap().unwrap();
    assert_eq!(renewed.len(), 2);
    tx.commit().await.unwrap();
    assert_eq!(world.store.renew(&[claimed[0].lease], LEASE).await.unwrap(), []);
}

#[tokio::test]
async fn a_repeated_batch_of_endings_changes_nothing_more() {
    let world = world().await;
    let run = world.enqueue(job("a")).await.run;
    let claimed = world.claim_one().await;
    assert_eq!(world.complete(&claimed).await.runs, [(run, RunState::Completed)]);
    let again = world.complete(&claimed).await;
    assert_eq!((again.fenced, again.runs.len()), (1, 0));
    assert_eq!(world.page(run).await.step_list[0].attempts.len(), 1);
}
