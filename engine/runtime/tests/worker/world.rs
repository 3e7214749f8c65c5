//! Scripted jobs, and a worker to run them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use serde_json::Value;
use tidemill_core::{AttemptPolicy, JobError, Kind, RetryPolicy, RunId};
use tidemill_runtime::{Context, Job, JobEntry, Outcome, Worker, WorkerError, WorkerOptions, job_new};
use tidemill_store::{NewJob, RunPage, RunQuery, Store};
use tidemill_testkit::{Engine, engine};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const KIND: Kind = Kind::new("test.scripted");

type Script =
    dyn for<'a> Fn(Value, &'a mut Context<Value>) -> BoxFuture<'a, Result<Outcome, JobError>> + Send + Sync;

/// A job that does what a test says.
pub(crate) struct Scripted(Arc<Script>);

impl Job for Scripted {
    type Args = Value;
    type Checkpoint = Value;
    const KIND: Kind = KIND;

    async fn run(&self, args: &Value, cx: &mut Context<Value>) -> Result<Outcome, JobError> {
        (self.0)(args.clone(), cx).await
    }
}

pub(crate) fn scripted(
    script: impl for<'a> Fn(Value, &'a mut Context<Value>) -> BoxFuture<'a, Result<Outcome, JobError>>
    + Send
    + Sync
    + 'static,
) -> JobEntry {
    JobEntry::new(Scripted(Arc::new(script)))
}

/// Counts how often something happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct World {
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self { engine: engine().await.unwrap() }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.engine.store
    }

    pub(crate) async fn enqueue(&self, args: Value) -> RunId {
        self.enqueue_job(job_new(KIND, &args)).await
    }

    pub(crate) async fn enqueue_job(&self, job: NewJob) -> RunId {
        enqueue(self.store(), job).await
    }

    pub(crate) fn worker(&self, job: JobEntry, options: WorkerOptions) -> Running {
        Running::start(self.store(), job, options)
    }

    /// Waits until a run has ended.
    pub(crate) async fn ended(&self, run: RunId) -> RunPage {
        ended(self.store(), run).await
    }

    pub(crate) async fn sql(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(self.store().pool()).await.unwrap();
    }

    pub(crate) async fn leased(&self) -> i64 {
        self.count("SELECT count(*) FROM job WHERE lease_token IS NOT NULL").await
    }

    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(self.store().pool()).await.unwrap()
    }
}

pub(crate) async fn enqueue(store: &Store, job: NewJob) -> RunId {
    let mut tx = store.begin().await.unwrap();
    let run = store.enqueue(&mut tx, job).await.unwrap().run;
    tx.commit().await.unwrap();
    store.wake().await;
    run
}

pub(crate) async fn ended(store: &Store, run: RunId) -> RunPage {
    let mut page = None;
    until("the run ends", async || {
        let read = store.run(run).await.ok();
        let done = read.as_ref().is_some_and(|page| page.run.state.is_final());
        page = read;
        done
    })
    .await;
    page.unwrap()
}

/// Everything that was ever enqueued, newest first.
pub(crate) fn everything() -> RunQuery {
    RunQuery { state: None, pipeline: None, all: true, finished_since: None, limit: 10_000 }
}

/// Looks again and again; fails after half a minute.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let looked = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looked).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A worker under way.
pub(crate) struct Running {
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    pub(crate) fn start(store: &Store, job: JobEntry, options: WorkerOptions) -> Self {
        let stop = CancellationToken::new();
        let worker = Worker::new(store.clone(), options, vec![job], Arc::new(()));
        Self { task: tokio::spawn(worker.run(stop.clone())), stop }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Short leases, so that tests don't take long; long enough for a busy machine.
pub(crate) fn quick() -> WorkerOptions {
    WorkerOptions {
        lease: Duration::from_secs(2),
        heartbeat: Duration::from_millis(200),
        poll: Duration::from_millis(100),
        cancel_grace: Duration::from_millis(200),
        ..WorkerOptions::default()
    }
}

pub(crate) fn retry(delay: Duration, max_attempts: u32) -> AttemptPolicy {
    AttemptPolicy { retry: RetryPolicy::Fixed { delay, max_attempts }, ..AttemptPolicy::default() }
}
