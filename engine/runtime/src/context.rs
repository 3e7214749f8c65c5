//! What a running job is given.
//!
//! Everything written through it names the lease: an attempt that lost its lease changes nothing, and hears of it as
//! [`JobError::Cancel`]. Straight lines instead of closures: `let mut tx = cx.begin().await?; …;
//! cx.commit_checkpoint(tx, next).await?`.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tidemill_core::{Clock, Fault, JobError, JobId, RunId, Time};
use tidemill_store::{Enqueued, NewJob, Store, Tx};
use tokio_util::sync::CancellationToken;

use crate::{Outcome, attempt::Attempt, probe::Operation, verdict};

/// A running attempt, as its job sees it; `C` is the job's checkpoint.
#[derive(Debug)]
pub struct Context<C> {
    attempt: Arc<Attempt>,
    checkpoint: Option<C>,
}

impl<C: Serialize + DeserializeOwned + Clone> Context<C> {
    pub(crate) fn open(attempt: Arc<Attempt>) -> Result<Self, JobError> {
        let checkpoint = attempt.claimed.checkpoint.clone().map(serde_json::from_value).transpose();
        let checkpoint = checkpoint.map_err(|error| {
            // Starting over could double effects, so a person decides.
            JobError::Discard(Fault::coded(1006, format!("the checkpoint can't be read: {error}")))
        })?;
        Ok(Self { attempt, checkpoint })
    }

    /// What was saved last, by this attempt or an earlier one.
    pub fn checkpoint(&self) -> Option<&C> {
        self.checkpoint.as_ref()
    }

    /// Saves where the next attempt goes on; durable when this returns.
    pub async fn save_checkpoint(&mut self, checkpoint: C) -> Result<(), JobError> {
        let tx = self.begin().await?;
        self.commit_checkpoint(tx, checkpoint).await
    }

    /// Opens a transaction for the job's own writes. End it by [`commit_checkpoint`](Self::commit_checkpoint) or
    /// [`commit`](Self::commit), which name the lease; a plain [`Tx::commit`] wouldn't.
    pub async fn begin(&self) -> Result<Tx, JobError> {
        Ok(self.attempt.store.begin().await?)
    }

    /// Commits the job's own writes together with a checkpoint.
    pub async fn commit_checkpoint(&mut self, mut tx: Tx, checkpoint: C) -> Result<(), JobError> {
        let value = serde_json::to_value(&checkpoint).map_err(JobError::discard)?;
        let attempt = Arc::clone(&self.attempt);
        let write = async {
            attempt.store.checkpoint_in(&mut tx, attempt.claimed.lease, &value).await?;
            tx.commit().await?;
            Ok(())
        };
        attempt.perform(Operation::Checkpoint, write).await?;
        attempt.saved(&value);
        self.checkpoint = Some(checkpoint);
        attempt.flush_log().await;
        Ok(())
    }

    /// Commits the job's own writes together with its log, its completion and outputs (`Value::Null` for none). Return
    /// what this returns: nothing may follow.
    pub async fn commit(&mut self, mut tx: Tx, outputs: Value) -> Result<Outcome, JobError> {
        let attempt = &self.attempt;
        let write = async {
            // On the connection that is at hand: one that holds `tx` and waits for a second may wait for its like.
            let lines = attempt.write_log(&mut tx).await?;
            attempt.store.complete_in(&mut tx, attempt.claimed.lease, outputs).await?;
            tx.commit().await?;
            if let Some(lines) = lines {
                lines.kept();
            }
            Ok(())
        };
        attempt.perform(Operation::Commit, write).await?;
        attempt.set_committed();
        attempt.store.wake().await;
        Ok(Outcome::Committed)
    }

    /// Enqueues other jobs as part of `tx`, all at once: see [`Store::enqueue_all`]. Workers hear of them when this job
    /// ends, or when they look by themselves.
    pub async fn enqueue(&self, tx: &mut Tx, jobs: &[NewJob]) -> Result<Vec<Enqueued>, JobError> {
        Ok(self.attempt.store.enqueue_all(tx, jobs).await?)
    }
}

impl<C> Context<C> {
    /// Does the last part of an attempt's work, again and again while a server it needs is away: what took long to
    /// compute is not computed again for that. Ends with the failure once the attempt is asked to stop.
    pub async fn persist<T, F>(&self, mut work: impl FnMut() -> F) -> Result<T, JobError>
    where
        F: Future<Output = Result<T, JobError>>,
    {
        for waited in 0.. {
            match work().await {
                Err(JobError::Unavailable(fault)) => {
                    if waited == 0 {
                        self.log(format!("waits for a server: {fault}"));
                    }
                    let pause = tokio::time::sleep(verdict::pause(waited, rand::random()));
                    if self.cancelled().run_until_cancelled(pause).await.is_none() {
                        return Err(JobError::Unavailable(fault));
                    }
                }
                done => return done,
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Appends a line to the attempt's log, which outlives the worker.
    pub fn log(&self, line: impl AsRef<str>) {
        self.attempt.log.push(self.attempt.clock.now(), line.as_ref());
    }

    /// Says how far it got, in the attempt's log; at most one line a second is kept.
    pub fn progress(&self, done: u64, total: u64) {
        let now = self.attempt.clock.now();
        if done >= total || self.attempt.log.progress_due(now) {
            self.attempt.log.push(now, &format!("{done} of {total}"));
        }
    }

    /// Keeps params with the step, merged into what is there.
    pub async fn log_params(&self, params: Map<String, Value>) -> Result<(), JobError> {
        self.log_values(params, Map::new()).await
    }

    /// Keeps metrics with the step, merged into what is there.
    pub async fn log_metrics(&self, metrics: Map<String, Value>) -> Result<(), JobError> {
        self.log_values(Map::new(), metrics).await
    }

    async fn log_values(
        &self,
        params: Map<String, Value>,
        metrics: Map<String, Value>,
    ) -> Result<(), JobError> {
        let (params, metrics) = (Value::Object(params), Value::Object(metrics));
        Ok(self.attempt.store.log_values(self.attempt.claimed.lease, &params, &metrics).await?)
    }

    /// Cancelled when the job shall stop: by a person, because the worker drains, or because the lease was lost.
    /// Whatever is returned then, the engine knows why it asked.
    pub fn cancelled(&self) -> &CancellationToken {
        self.attempt.stop.token()
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.attempt.claimed.run
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.attempt.claimed.lease.job
    }

    /// The pipeline's step; `None` for a single job.
    pub fn step(&self) -> Option<&str> {
        let claimed = &self.attempt.claimed;
        (!claimed.single).then_some(claimed.step.as_str())
    }

    /// Which attempt this is, from 1. For people: not a fence, and not to be written anywhere.
    pub fn attempt(&self) -> u32 {
        self.attempt.claimed.attempt
    }

    /// The tick or date that the run stands for, on the data clock.
    pub fn logical_time(&self) -> Option<Time> {
        self.attempt.claimed.logical_time
    }

    /// The engine's state, for reads.
    pub fn store(&self) -> &Store {
        &self.attempt.store
    }

    /// Real time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.attempt.clock
    }

    /// What the data clock shows. Read it once and keep it in the first checkpoint: a retry reads another.
    pub async fn now_data(&self) -> Result<Time, JobError> {
        Ok(self.attempt.store.data_clock().await?.at(self.attempt.clock.now()))
    }
}
