//! What the engine is told by those who know pipelines and schedules.

use futures::future::BoxFuture;
use serde_json::Value;
use tidemill_core::{Fault, JobError, Kind, RunId, Time};
use tidemill_store::{ScheduleRow, Tx};

/// A step about to start.
#[derive(Clone, Copy, Debug)]
pub struct StepStart<'a> {
    /// Its run.
    pub run: RunId,
    /// The pipeline.
    pub pipeline: &'a str,
    /// The definition the run is pinned to.
    pub version: i32,
    /// The step's name.
    pub step: &'a str,
    /// What it does.
    pub kind: &'a Kind,
    /// What the run's steps are prepared with.
    pub context: &'a Value,
    /// The tick or date the run stands for.
    pub logical_time: Option<Time>,
    /// Its args as enqueued, expressions unresolved.
    pub args: &'a Value,
    /// False skips it.
    pub condition: Option<&'a str>,
    /// Outputs of the run's completed steps, by name.
    pub outputs: &'a Value,
}

/// What becomes of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepared {
    /// It runs with these args.
    Run(Value),
    /// It, and what needs it, is skipped, for this reason.
    Skip(String),
}

/// Turns a pipeline's step into a job's args. Pure: a repeat gives the same.
pub trait Prepare: Send + Sync + 'static {
    /// Resolves condition and args. A fault fails the step for good.
    fn prepare(&self, step: &StepStart<'_>) -> Result<Prepared, Fault>;
}

/// Takes args as they are; steps with a condition are refused.
impl Prepare for () {
    fn prepare(&self, step: &StepStart<'_>) -> Result<Prepared, Fault> {
        match step.condition {
            None => Ok(Prepared::Run(step.args.clone())),
            Some(_) => {
                Err(Fault::new(format!("step `{}` has a condition, and nobody here reads it", step.step)))
            }
        }
    }
}

/// Turns a due tick into a run.
pub trait Fire: Send + Sync + 'static {
    /// Enqueues the run in `tx`, which also records the tick; `None`: there is nothing to do at this tick, which is
    /// recorded as skipped. `logical_time` is the tick's, on the data clock.
    ///
    /// # Errors
    /// [`JobError::Retry`], [`JobError::Unavailable`] and [`JobError::Conflict`]: the tick stays due. Anything else: the tick is
    /// recorded as missed.
    fn fire<'a>(
        &'a self,
        tx: &'a mut Tx,
        schedule: &'a ScheduleRow,
        logical_time: Time,
    ) -> BoxFuture<'a, Result<Option<RunId>, JobError>>;
}
