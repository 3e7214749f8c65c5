//! Workers as processes of their own: one is killed, one is stopped for a while.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tidemill_core::JobError;
use tidemill_runtime::{JobEntry, WorkerOptions, job_new};
use tidemill_store::{DatabaseOptions, Store};
use tidemill_testkit::run_until_idle;
use tokio_util::sync::CancellationToken;

use crate::{
    maintenance::maintenance,
    world::{KIND, Running, World, enqueue, scripted, until},
};

/// Where the process finds its database.
const URL: &str = "TIDEMILL_TEST_WORKER_URL";
/// How long its leases hold, in milliseconds.
const LEASE: &str = "TIDEMILL_TEST_WORKER_LEASE_MS";

/// Not a test of its own: the process that the others start.
#[tokio::test]
#[ignore = "started by other tests"]
async fn process() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = Store::connect(&DatabaseOptions::new(url)).unwrap();
    let lease = Duration::from_millis(std::env::var(LEASE).unwrap().parse().unwrap());
    let options = WorkerOptions { slots: 1, lease, heartbeat: lease / 5, ..WorkerOptions::default() };
    Running::start(&store, job(), options).task.await.unwrap().unwrap();
}

/// The first attempt saves a checkpoint, then waits for a row in `go` to take effect; the next one takes it at once.
fn job() -> JobEntry {
    scripted(|args, cx| {
        Box::pin(async move {
            let resumed = cx.checkpoint().is_some();
            if args == json!("waits") && !resumed {
                cx.save_checkpoint(json!("here")).await?;
                let go = "SELECT EXISTS (SELECT FROM go)";
                while !sqlx::query_scalar(go).fetch_one(cx.store().pool()).await.map_err(JobError::retry)? {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            let mut tx = cx.begin().await?;
            let effect = sqlx::query("INSERT INTO effect VALUES ($1)").bind(std::process::id().to_string());
            effect.execute(tx.conn()).await.map_err(JobError::retry)?;
            cx.commit(tx, json!({ "resumed": resumed })).await
        })
    })
}

/// A worker process; killed when dropped.
struct Process(Child);

impl Process {
    async fn start(world: &World, lease: Duration) -> Self {
        world.sql("CREATE TABLE go (); CREATE TABLE effect (process text)").await;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "processes::process", "--ignored"]);
        command.env(URL, &world.engine.database.url).env(LEASE, lease.as_millis().to_string());
        let process = Self(command.stdout(Stdio::null()).spawn().unwrap());
        let saved = "SELECT count(*) FROM checkpoint";
        until("it has saved a checkpoint", async || world.count(saved).await == 1).await;
        process
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_killed_worker_s_job_goes_on_elsewhere_from_its_checkpoint_within_seconds() {
    let world = World::new().await;
    let run = world.enqueue(json!("waits")).await;
    let process = Process::start(&world, WorkerOptions::default().lease).await;
    let (survivor, shutdown) = (world.worker(job(), WorkerOptions::default()), CancellationToken::new());
    let server = tokio::spawn(maintenance(&world).run(shutdown.clone()));

    process.signal("-KILL");
    let killed = Instant::now();
    let page = world.ended(run).await;
    // The lease alone would take longer: the dead process's lock tells.
    assert!(killed.elapsed() < WorkerOptions::default().lease, "{:?}", killed.elapsed());
    let step = &page.step_list[0];
    assert_eq!(step.outputs, Some(json!({ "resumed": true })));
    let outcomes: Vec<_> = step.attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["lost", "completed"]);

    survivor.stop().await;
    shutdown.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn a_stopped_process_comes_back_to_find_its_job_done_and_changes_nothing() {
    let world = World::new().await;
    let run = world.enqueue(json!("waits")).await;
    let process = Process::start(&world, Duration::from_secs(1)).await;
    process.signal("-STOP");
    until("its lease runs out", async || world.store().rescue_expired(10).await.unwrap().jobs == 1).await;
    run_until_idle(world.store(), vec![job()]).await.unwrap();
    let here = std::process::id().to_string();
    let effects = "SELECT coalesce(string_agg(process, ' '), '') FROM effect";
    let told =
        async || -> String { sqlx::query_scalar(effects).fetch_one(world.store().pool()).await.unwrap() };
    assert_eq!(told().await, here);

    world.sql("INSERT INTO go DEFAULT VALUES").await;
    process.signal("-CONT");
    // Its one slot is free again once the zombie has ended.
    let next = enqueue(world.store(), job_new(KIND, &json!("at once"))).await;
    world.ended(next).await;
    assert_eq!(told().await, format!("{here} {}", process.0.id()));
    assert_eq!(world.ended(run).await.step_list[0].attempts.len(), 2);
}
