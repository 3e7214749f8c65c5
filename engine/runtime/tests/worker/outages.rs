//! The database goes away under load, and comes back.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tidemill_core::{Fault, JobError, RunState};
use tidemill_runtime::{Outcome, WorkerOptions, job_new};
use tidemill_store::{DatabaseOptions, NewJob, Store};
use tidemill_testkit::postgres::Server;
use tokio_util::sync::CancellationToken;

use crate::world::{Count, KIND, Running, World, ended, enqueue, everything, quick, retry, scripted, until};

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

#[tokio::test]
async fn work_that_ends_while_the_database_is_read_only_is_kept_and_not_done_again() {
    let world = World::new().await;
    let (ran, may_end) = (Count::default(), CancellationToken::new());
    let job = scripted({
        let (ran, may_end) = (ran.clone(), may_end.clone());
        move |_, _| {
            let (ran, may_end) = (ran.clone(), may_end.clone());
            Box::pin(async move {
                ran.add();
                may_end.cancelled().await;
                Ok(Outcome::Completed(json!("kept")))
            })
        }
    });
    let worker = world.worker(job, quick());
    let run = world.enqueue(json!(null)).await;
    until("it runs", async || ran.get() == 1).await;

    set_read_only(&world, true).await;
    let before = rolled_back(&world).await;
    may_end.cancel();
    // Its end, and what else the worker writes, is refused again and again.
    until("writes were refused", async || rolled_back(&world).await > before + 5).await;
    set_read_only(&world, false).await;

    let page = world.ended(run).await;
    assert_eq!(page.run.state, RunState::Completed);
    assert_eq!(page.step_list[0].outputs, Some(json!("kept")));
    assert_eq!(ran.get(), 1);
    worker.stop().await;
}

/// As a failover leaves it, for new sessions; those that are open end.
async fn set_read_only(world: &World, on: bool) {
    let options: PgConnectOptions = world.engine.database.url.parse().unwrap();
    let mut admin = options.options([("default_transaction_read_only", "off")]).connect().await.unwrap();
    let name = world.engine.database.url.rsplit('/').next().unwrap();
    let word = if on { "on" } else { "off" };
    let statements = format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = {word};
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut admin).await.unwrap();
}

async fn rolled_back(world: &World) -> i64 {
    let count = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let mut session = PgConnection::connect(&world.engine.database.url).await.unwrap();
    sqlx::query_scalar(count).fetch_one(&mut session).await.unwrap()
}

#[tokio::test]
async fn an_end_that_the_database_cannot_take_now_holds_up_no_other_and_is_not_lost() {
    let world = World::new().await;
    world
        .sql(
            "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NEW.outputs = '\"bad\"' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'XX000'; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER trouble BEFORE UPDATE ON step FOR EACH ROW EXECUTE FUNCTION trouble()",
        )
        .await;
    let job = scripted(|args, _| Box::pin(async move { Ok(Outcome::Completed(args)) }));
    let bad = world.enqueue(json!("bad")).await;
    let good = [world.enqueue(json!(1)).await, world.enqueue(json!(2)).await];
    let worker = world.worker(job, quick());
    for run in good {
        assert_eq!(world.ended(run).await.run.state, RunState::Completed);
    }
    world.sql("DROP TRIGGER trouble ON step").await;
    let page = world.ended(bad).await;
    assert_eq!((page.run.state, page.step_list[0].attempts.len()), (RunState::Completed, 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_postgres_that_is_asked_to_stop_politely_stops_and_work_goes_on_when_it_is_back() {
    let mut server = tokio::task::spawn_blocking(Server::start).await.unwrap().unwrap();
    let database = server.database().await.unwrap();
    database.pool.close().await;
    let store = Store::connect(&DatabaseOptions::new(&database.url)).unwrap();
    store.migrate().await.unwrap();
    let worker = Running::start(&store, scripted(|_, _| Box::pin(async { Ok(Outcome::DONE) })), quick());
    let first = enqueue(&store, job_new(KIND, &json!(1))).await;
    ended(&store, first).await;

    // Fails when sessions are still open after half a minute.
    server = tokio::task::spawn_blocking(move || {
        server.ask_to_stop().unwrap();
        server.resume().unwrap();
        server
    })
    .await
    .unwrap();
    let mut second = None;
    until("the store is reachable", async || {
        let Ok(mut tx) = store.begin().await else { return false };
        second = store.enqueue(&mut tx, job_new(KIND, &json!(2))).await.ok().map(|enqueued| enqueued.run);
        second.is_some() && tx.commit().await.is_ok()
    })
    .await;
    ended(&store, second.unwrap()).await;
    worker.stop().await;
    drop(server);
}

#[tokio::test]
async fn a_server_that_is_away_charges_no_attempt_however_often() {
    let world = World::new().await;
    let tries = Count::default();
    let job = scripted({
        let tries = tries.clone();
        move |_, _| {
            let tries = tries.clone();
            Box::pin(async move {
                if tries.add() < 4 {
                    return Err(JobError::Unavailable(Fault::new("redis did not answer")));
                }
                Ok(Outcome::DONE)
            })
        }
    });
    let run =
        world.enqueue_job(NewJob { policy: retry(Duration::ZERO, 1), ..job_new(KIND, &json!(1)) }).await;
    let worker = world.worker(job, quick());
    let page = world.ended(run).await;
    assert_eq!(page.run.state, RunState::Completed);
    let outcomes: Vec<&str> =
        page.step_list[0].attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["snoozed", "snoozed", "snoozed", "completed"]);
    worker.stop().await;
}

#[tokio::test]
async fn what_was_computed_waits_for_its_store_within_the_attempt() {
    let world = World::new().await;
    let (computed, tries) = (Count::default(), Count::default());
    let job = scripted({
        let (computed, tries) = (computed.clone(), tries.clone());
        move |_, cx| {
            let (computed, tries) = (computed.clone(), tries.clone());
            Box::pin(async move {
                computed.add();
                let put = || async {
                    match tries.add() {
                        1 | 2 => Err(JobError::Unavailable(Fault::new("object store"))),
                        _ => Ok(json!("here")),
                    }
                };
                Ok(Outcome::Completed(cx.persist(put).await?))
            })
        }
    });
    let run = world.enqueue(json!(null)).await;
    let worker = world.worker(job, quick());
    let page = world.ended(run).await;
    assert_eq!(page.step_list[0].outputs, Some(json!("here")));
    assert_eq!((computed.get(), tries.get()), (1, 3));
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_whose_dispatcher_has_panicked_ends_and_says_so() {
    let world = World::new().await;
    let job = scripted(|_, _| Box::pin(async { Ok(Outcome::DONE) }));
    // Twice as long doesn't fit into a duration.
    let worker = world.worker(job, WorkerOptions { poll: Duration::MAX, ..quick() });
    let ended = tokio::time::timeout(Duration::from_secs(30), worker.task).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().to_string(), "the worker's dispatcher has panicked, so the worker ends");
}

#[tokio::test]
async fn a_process_that_dies_again_and_again_after_new_checkpoints_gets_to_its_end() {
    let world = World::new().await;
    let job = scripted(|_, cx| {
        Box::pin(async move {
            let epoch = cx.checkpoint().and_then(Value::as_i64).unwrap_or(0) + 1;
            cx.save_checkpoint(json!(epoch)).await?;
            if epoch < 4 { Err(JobError::Died(Fault::new("signal 9"))) } else { Ok(Outcome::DONE) }
        })
    });
    let run =
        world.enqueue_job(NewJob { policy: retry(Duration::ZERO, 2), ..job_new(KIND, &json!(1)) }).await;
    let worker = world.worker(job, quick());
    assert_eq!(world.ended(run).await.run.state, RunState::Completed);
    worker.stop().await;
}
