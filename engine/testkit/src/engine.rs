//! The engine for tests: a store on a database of its own, and jobs run to their end without waiting.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use serde::Serialize;
use serde_json::Value;
use sqlx::Executor as _;
use tidemill_core::{Fault, JobId, RunId, RunState, StepState, SystemClock, WorkerId};
use tidemill_runtime::{
    Ended, Executor, JobEntry, Prepare, Stop, job_new,
    probe::{Interference, Operation, Probe},
};
use tidemill_store::{Claimed, DatabaseOptions, Ending, RunQuery, Store};

use crate::postgres::{self, Database};

const LEASE: Duration = Duration::from_hours(1);
/// A job that is still not done then waits for what never comes.
const ATTEMPTS_MAX: usize = 1000;

/// A store of its own; the database is dropped with this value.
#[derive(Debug)]
pub struct Engine {
    /// The engine's state, migrated.
    pub store: Store,
    /// The database under it.
    pub database: Database,
}

/// A migrated store.
pub async fn engine() -> anyhow::Result<Engine> {
    engine_with("engine", async |_| Ok(())).await
}

/// A migrated store with what `migrate` adds, e.g. other crates' schemas; `key` names that combination.
pub async fn engine_with(
    key: &str,
    migrate: impl AsyncFn(&Store) -> anyhow::Result<()>,
) -> anyhow::Result<Engine> {
    let database = postgres::database(key, async |template| {
        let store = Store::connect(&DatabaseOptions::new(&template.url))?;
        store.migrate().await?;
        migrate(&store).await?;
        // The template can be cloned only when nobody is connected to it.
        store.pool().close().await;
        Ok(())
    })
    .await?;
    let store = Store::connect(&DatabaseOptions::new(&database.url))?;
    Ok(Engine { store, database })
}

/// Runs one job to its end: its outputs, or why it failed. Retries and snoozes don't wait; a panic is the test's.
///
/// # Panics
/// When the database can't be reached.
pub async fn run_job(store: &Store, job: JobEntry, args: &impl Serialize) -> Result<Value, Fault> {
    let mut tx = store.begin().await.expect("the test's database");
    let enqueued = store.enqueue(&mut tx, job_new(job.kind(), args)).await.expect("a job is enqueued");
    tx.commit().await.expect("the test's database");
    Driver::new(store, vec![job]).until_idle().await.expect("the job comes to an end");
    outcome(store, enqueued.run).await.expect("the run can be read")
}

/// Runs every waiting job of the given kinds, and what they make ready, until none is left. Returns how many attempts
/// that took.
pub async fn run_until_idle(store: &Store, jobs: Vec<JobEntry>) -> anyhow::Result<usize> {
    Driver::new(store, jobs).until_idle().await
}

/// Why runs failed, newest first; a hundred at most.
pub async fn failures(store: &Store) -> anyhow::Result<Vec<Fault>> {
    let failed = RunQuery {
        state: Some(RunState::Failed),
        pipeline: None,
        all: true,
        finished_since: None,
        limit: 100,
    };
    Ok(store.runs(&failed).await?.into_iter().filter_map(|run| run.fault).collect())
}

/// How the last step of a run ended: its outputs, or the first fault or reason found.
pub(crate) async fn outcome(store: &Store, run: RunId) -> anyhow::Result<Result<Value, Fault>> {
    let page = store.run(run).await?;
    for step in &page.step_list {
        if step.state != StepState::Completed {
            let why =
                || step.reason.clone().unwrap_or_else(|| format!("step `{}` is {}", step.name, step.state));
            return Ok(Err(step.fault.clone().unwrap_or_else(|| Fault::new(why()))));
        }
    }
    Ok(Ok(page.step_list.last().and_then(|step| step.outputs.clone()).unwrap_or(Value::Null)))
}

/// A worker of one slot without clocks: no heartbeat, no waiting.
#[derive(Clone)]
pub struct Driver {
    store: Store,
    executor: Executor,
    probe: Option<Arc<dyn Probe>>,
}

impl Driver {
    /// For jobs of the given kinds; steps are taken as they are.
    ///
    /// # Panics
    /// When two jobs have one kind.
    pub fn new(store: &Store, jobs: Vec<JobEntry>) -> Self {
        Self::with_prepare(store, jobs, Arc::new(()))
    }

    /// For steps that have to be prepared.
    ///
    /// # Panics
    /// When two jobs have one kind.
    pub fn with_prepare(store: &Store, jobs: Vec<JobEntry>, prepare: Arc<dyn Prepare>) -> Self {
        let executor = Executor::new(store.clone(), jobs, prepare, Arc::new(SystemClock), Duration::ZERO);
        Self { store: store.clone(), executor: executor.expect("each kind once"), probe: None }
    }

    /// Lets a fault test reach into every attempt.
    #[must_use]
    pub(crate) fn probed(self, probe: Arc<dyn Probe>) -> Self {
        Self { probe: Some(probe), ..self }
    }

    /// Runs everything there is to run; returns how many attempts that took.
    pub async fn until_idle(&self) -> anyhow::Result<usize> {
        for attempts in 0..ATTEMPTS_MAX {
            if !self.one().await? && !self.hurry().await? {
                return Ok(attempts);
            }
        }
        anyhow::bail!("still not done after {ATTEMPTS_MAX} attempts")
    }

    /// Runs one attempt; returns whether there was one to run.
    pub async fn one(&self) -> anyhow::Result<bool> {
        let claimed = self.store.claim(WorkerId::generate(), &self.executor.kinds(), 1, LEASE).await?;
        let Some(claimed) = claimed.into_iter().next() else { return Ok(false) };
        self.attempt(claimed).await?;
        Ok(true)
    }

    async fn attempt(&self, claimed: Claimed) -> anyhow::Result<()> {
        let lease = claimed.lease;
        let running = self.executor.run(claimed, Stop::default(), self.probe.clone());
        let Some(ended) = unless_dead(self.probe.as_deref(), running).await else {
            return self.expire(lease.job).await;
        };
        let Ended::Settle(ending) = ended else { return Ok(()) };
        let interference = match (&ending, &self.probe) {
            (Ending::Completed(_), Some(probe)) => probe.at(Operation::Complete),
            _ => Interference::None,
        };
        match interference {
            Interference::Die => return self.expire(lease.job).await,
            // The committer writes again what it got no reply for.
            Interference::LoseReply => drop(self.store.settle(&[(lease, ending.clone())]).await?),
            Interference::None | Interference::Fail => {}
        }
        self.store.settle(&[(lease, ending)]).await?;
        Ok(())
    }

    /// What follows when a worker dies: its lease runs out, and the job is taken back.
    async fn expire(&self, job: JobId) -> anyhow::Result<()> {
        let expire = sqlx::query("UPDATE job SET lease_until = now() - interval '1 s' WHERE id = $1");
        expire.bind(job.as_uuid()).execute(self.store.pool()).await?;
        let rescued = self.store.rescue_expired(10).await?;
        ensure!(rescued.jobs + rescued.poisoned > 0, "nothing was rescued");
        Ok(())
    }

    /// Makes everything due that waits for its time; returns whether there was anything.
    async fn hurry(&self) -> anyhow::Result<bool> {
        let hurry = "UPDATE job SET run_at = now() WHERE lease_token IS NULL AND run_at > now()";
        Ok(self.store.pool().execute(hurry).await?.rows_affected() > 0)
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("executor", &self.executor).finish_non_exhaustive()
    }
}

/// Runs an attempt, unless the probe lets its process die meanwhile.
async fn unless_dead(probe: Option<&dyn Probe>, running: impl Future<Output = Ended>) -> Option<Ended> {
    let death = async {
        match probe {
            Some(probe) => probe.died().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ended = running => Some(ended),
        () = death => None,
    }
}
