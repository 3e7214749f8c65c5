//! Runs one attempt: prepares its args, runs the job within its limits, and says how it ended.
//!
//! The worker calls it through apalis; tests call [`Executor::run`] alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidemill_core::{AttemptPolicy, Clock, Fault, JobError, Kind};
use tidemill_store::{Claimed, Store};

use crate::{
    JobEntry, Outcome, Prepare, Prepared, StepStart, WorkerError,
    attempt::Attempt,
    probe::Probe,
    stop::{Stop, StopReason},
    verdict::{self, Done, Ended, Facts},
};

const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Knows every kind of job and runs attempts of them.
#[derive(Clone)]
pub struct Executor {
    store: Store,
    jobs: HashMap<Kind, JobEntry>,
    prepare: Arc<dyn Prepare>,
    clock: Arc<dyn Clock>,
    cancel_grace: Duration,
}

impl Executor {
    /// With the given jobs; a job that doesn't stop within `cancel_grace` of being asked is dropped.
    ///
    /// # Errors
    /// When two jobs have one kind.
    pub fn new(
        store: Store,
        jobs: Vec<JobEntry>,
        prepare: Arc<dyn Prepare>,
        clock: Arc<dyn Clock>,
        cancel_grace: Duration,
    ) -> Result<Self, WorkerError> {
        let mut by_kind = HashMap::new();
        for job in jobs {
            if let Some(twice) = by_kind.insert(job.kind(), job) {
                return Err(WorkerError::KindTwice(twice.kind()));
            }
        }
        Ok(Self { store, jobs: by_kind, prepare, clock, cancel_grace })
    }

    /// The kinds it can run.
    pub fn kinds(&self) -> Vec<String> {
        self.jobs.keys().map(Kind::to_string).collect()
    }

    /// Runs one attempt to its end, without a worker around it: what panics, panics.
    pub async fn run(&self, claimed: Claimed, stop: Stop, probe: Option<Arc<dyn Probe>>) -> Ended {
        let attempt = Arc::new(self.attempt(claimed, stop, probe));
        let result = self.work(&attempt).await;
        attempt.flush_log().await;
        self.conclude(&attempt, result).await
    }

    pub(crate) fn attempt(&self, claimed: Claimed, stop: Stop, probe: Option<Arc<dyn Probe>>) -> Attempt {
        Attempt::new(claimed, self.store.clone(), Arc::clone(&self.clock), stop, probe)
    }

    pub(crate) async fn work(&self, attempt: &Arc<Attempt>) -> Result<Done, JobError> {
        let claimed = &attempt.claimed;
        if let Some(reason) = &claimed.cancel_reason {
            return Err(JobError::Cancel(reason.clone()));
        }
        let entry = self.entry(&claimed.kind)?;
        let args = match self.prepared(claimed)? {
            Prepared::Run(args) => args,
            Prepared::Skip(reason) => return Ok(Done::Skipped(reason)),
        };
        let timeout = policy(entry, claimed).timeout;
        tokio::select! {
            result = entry.run(Arc::clone(attempt), args) => match result? {
                Outcome::Completed(outputs) => Ok(Done::Completed(outputs)),
                Outcome::Committed => Ok(Done::Committed),
            },
            () = overdue(&attempt.stop, self.cancel_grace) => Err(JobError::Cancel("asked to stop".to_owned())),
            fault = elapsed(timeout) => Err(JobError::Retry(fault)),
        }
    }

    /// How the attempt ended. Of a failure the database is asked whether it was to blame; one that is away is waited
    /// for, as the attempt's end would have to anyway.
    pub(crate) async fn conclude(&self, attempt: &Attempt, result: Result<Done, JobError>) -> Ended {
        if attempt.committed() {
            return Ended::Committed;
        }
        let interrupted =
            matches!(result, Err(JobError::Retry(_) | JobError::Died(_))) && self.interrupted(attempt).await;
        let claimed = &attempt.claimed;
        let facts = Facts {
            policy: self.jobs.get(&claimed.kind).map_or(claimed.policy, |entry| policy(entry, claimed)),
            charged: claimed.charged,
            waited: claimed.attempt.saturating_sub(1 + claimed.charged),
            first_started_at: claimed.first_started_at,
            now: self.clock.now(),
            progressed: attempt.progressed(),
            chance: rand::random(),
            interrupted,
        };
        verdict::conclude(result, attempt.stop.reason(), &facts)
    }

    async fn interrupted(&self, attempt: &Attempt) -> bool {
        loop {
            match self.store.interrupted(attempt.claimed.lease).await {
                Ok(interrupted) => return interrupted,
                Err(error) => tracing::debug!(%error, "a failed attempt waits for the database"),
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    fn entry(&self, kind: &Kind) -> Result<&JobEntry, JobError> {
        let unknown = || JobError::Discard(Fault::new(format!("this worker has no job of kind `{kind}`")));
        self.jobs.get(kind).ok_or_else(unknown)
    }

    fn prepared(&self, claimed: &Claimed) -> Result<Prepared, JobError> {
        if claimed.single {
            return Ok(Prepared::Run(claimed.args.clone()));
        }
        let step = StepStart {
            run: claimed.run,
            pipeline: &claimed.pipeline,
            version: claimed.version,
            step: &claimed.step,
            kind: &claimed.kind,
            context: &claimed.context,
            logical_time: claimed.logical_time,
            args: &claimed.args,
            condition: claimed.condition.as_deref(),
            outputs: &claimed.outputs,
        };
        self.prepare.prepare(&step).map_err(JobError::Discard)
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("kinds", &self.kinds()).finish_non_exhaustive()
    }
}

/// The step's own policy where it says anything, else the job's.
fn policy(entry: &JobEntry, claimed: &Claimed) -> AttemptPolicy {
    if claimed.policy == AttemptPolicy::default() { entry.policy() } else { claimed.policy }
}

/// Returns when the attempt shall be dropped: at once without a lease, else when it has had time to stop by itself.
async fn overdue(stop: &Stop, grace: Duration) {
    stop.token().cancelled().await;
    if stop.reason() != Some(&StopReason::LeaseLost) {
        tokio::time::sleep(grace).await;
    }
}

async fn elapsed(timeout: Option<Duration>) -> Fault {
    let Some(timeout) = timeout else { return std::future::pending().await };
    tokio::time::sleep(timeout).await;
    Fault::coded(1003, format!("the attempt took longer than its timeout of {timeout:?}"))
        .hint("raise `timeout`, or save checkpoints so that the next attempt continues from them")
}
