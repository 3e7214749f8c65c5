//! What a job is: args, checkpoint, `run`; and how kinds are registered.
//!
//! A job may run twice; its effects may not. Effects in Postgres go through [`Context::commit`] or
//! [`Context::commit_checkpoint`], which name the lease; effects elsewhere are keyed by what the args or the first
//! checkpoint fix, so that a repeat overwrites.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tidemill_core::{AttemptPolicy, Fault, JobError, Kind};
use tidemill_store::NewJob;

use crate::{Context, attempt::Attempt};

/// A unit of work that is kept in Postgres and may be run by any worker.
pub trait Job: Send + Sync + 'static {
    /// What to do. Stored with the step, so fields are only ever added, with a default.
    type Args: Serialize + DeserializeOwned + Send + Sync;
    /// Where the next attempt goes on. Stored too, under the same rule; `()` for jobs without one.
    type Checkpoint: Serialize + DeserializeOwned + Clone + Send + Sync;
    /// Its name in the queue.
    const KIND: Kind;

    /// How it is attempted, unless whoever enqueued it said otherwise.
    fn policy(&self) -> AttemptPolicy {
        AttemptPolicy::default()
    }

    /// Does the work. Dropped, and not awaited further, when the lease is lost, the attempt takes too long, or it
    /// doesn't stop within a grace period after [`Context::cancelled`].
    fn run(
        &self,
        args: &Self::Args,
        cx: &mut Context<Self::Checkpoint>,
    ) -> impl Future<Output = Result<Outcome, JobError>> + Send;
}

/// How a job ended well.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done; the worker ends it with these outputs (`Value::Null` when there are none).
    Completed(Value),
    /// Done, and ended already by [`Context::commit`].
    Committed,
}

impl Outcome {
    /// Done, without outputs.
    pub const DONE: Self = Self::Completed(Value::Null);
}

/// One kind of job, ready to be run.
#[derive(Clone)]
pub struct JobEntry(Arc<dyn Runnable>);

impl JobEntry {
    /// Registers a job under its kind.
    pub fn new(job: impl Job) -> Self {
        Self(Arc::new(job))
    }

    /// What it does.
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    pub(crate) fn policy(&self) -> AttemptPolicy {
        self.0.own_policy()
    }

    pub(crate) async fn run(&self, attempt: Arc<Attempt>, args: Value) -> Result<Outcome, JobError> {
        self.0.run_json(attempt, args).await
    }
}

impl fmt::Debug for JobEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobEntry").field(&self.kind()).finish()
    }
}

/// A job of any crate, as it goes into the queue: no key, no concurrency key, first in line by time. Set the
/// fields that differ.
pub fn job_new(kind: Kind, args: &impl Serialize) -> NewJob {
    NewJob {
        kind,
        args: serde_json::to_value(args).expect("args are plain data with string keys"),
        key: None,
        concurrency_key: None,
        priority: 0,
        run_at: None,
        policy: AttemptPolicy::default(),
    }
}

/// A job with its types erased.
trait Runnable: Send + Sync {
    fn kind(&self) -> Kind;
    fn own_policy(&self) -> AttemptPolicy;
    fn run_json(&self, attempt: Arc<Attempt>, args: Value) -> BoxFuture<'_, Result<Outcome, JobError>>;
}

impl<J: Job> Runnable for J {
    fn kind(&self) -> Kind {
        J::KIND
    }

    fn own_policy(&self) -> AttemptPolicy {
        self.policy()
    }

    fn run_json(&self, attempt: Arc<Attempt>, args: Value) -> BoxFuture<'_, Result<Outcome, JobError>> {
        Box::pin(async move {
            let args: J::Args = serde_json::from_value(args).map_err(|error| {
                JobError::Discard(Fault::coded(
                    1005,
                    format!("the args of `{}` can't be read: {error}", J::KIND),
                ))
            })?;
            let mut context = Context::open(attempt)?;
            self.run(&args, &mut context).await
        })
    }
}
