//! The worker: claims, runs and ends jobs until it is told to stop, then drains.
//!
//! Parts and who owns them: the dispatcher fills the inbox, apalis takes from it, runs up to `slots` jobs in tasks of
//! their own and catches their panics; the completion layer gives each ending to the committer; the lease thread
//! keeps leases alive beside all that. A slot is held until its job's end is committed.

use std::{io, sync::Arc, time::Duration};

use apalis::layers::catch_panic::CatchPanicLayer;
use apalis_core::{
    error::WorkerError as ApalisError,
    worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeExt as _},
};
use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use tidemill_core::{Clock, Kind, SystemClock, WorkerId};
use tidemill_store::{NewWorker, Store};
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Adopter, Executor, JobEntry, Prepare, StopReason,
    adopt::{self, Adopted},
    alarm::{Alarm, Watched},
    backend::{CompletionLayer, Panicked, PgBackend, Runner},
    committer::Committer,
    dispatcher::Dispatcher,
    inbox::Inbox,
    leases::{Keeper, Leases},
};

const FLUSH_LOGS_EVERY: Duration = Duration::from_millis(500);

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// For people.
    pub name: String,
    /// Jobs at once.
    pub slots: usize,
    /// How long a claim holds without a heartbeat: what a silent death costs.
    pub lease: Duration,
    /// How often leases are renewed.
    pub heartbeat: Duration,
    /// How often it looks for work without a wake-up; up to twice as long, by chance.
    pub poll: Duration,
    /// How long a job may take to stop when asked, before it is dropped.
    pub cancel_grace: Duration,
    /// How long running jobs may go on after a shutdown was asked for, before another worker gets them.
    pub drain: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            slots: 4,
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
            poll: Duration::from_secs(1),
            cancel_grace: Duration::from_secs(5),
            drain: Duration::from_secs(30),
        }
    }
}

/// Why a worker could not run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Two jobs have one kind.
    #[error("two jobs are registered as `{0}`")]
    KindTwice(Kind),
    /// The thread that renews leases could not be started.
    #[error("the lease thread could not be started")]
    LeaseThread(#[from] io::Error),
    /// The loop ended without being asked to.
    #[error("the worker loop ended: {0}")]
    Ended(String),
    /// A part without which nothing goes on has panicked; what ran is taken over by other workers.
    #[error("the worker's {0} has panicked, so the worker ends")]
    Panicked(&'static str),
}

/// Runs jobs of the given kinds.
pub struct Worker {
    id: WorkerId,
    adopter: Adopter,
    adopted: Adopted,
    store: Store,
    options: WorkerOptions,
    jobs: Vec<JobEntry>,
    prepare: Arc<dyn Prepare>,
    clock: Arc<dyn Clock>,
}

impl Worker {
    /// A worker that waits to be run.
    pub fn new(store: Store, options: WorkerOptions, jobs: Vec<JobEntry>, prepare: Arc<dyn Prepare>) -> Self {
        let id = WorkerId::generate();
        let (adopter, adopted) = adopt::channel(id, options.lease);
        Self { id, adopter, adopted, store, options, jobs, prepare, clock: Arc::new(SystemClock) }
    }

    /// Gives it jobs of this process's own.
    pub fn adopter(&self) -> Adopter {
        self.adopter.clone()
    }

    /// Works until `shutdown`, then drains: running jobs end, or are handed over after the drain time; what was
    /// claimed and not started is handed back. A database that goes away is waited for.
    ///
    /// # Errors
    /// When it can't start, or one of its parts has panicked: end the process then.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let Self { id, adopter: _adopter, adopted, store, options, jobs, prepare, clock } = self;
        let executor = Arc::new(Executor::new(store.clone(), jobs, prepare, clock, options.cancel_grace)?);
        let stop = shutdown.child_token();
        let (leases, alarm) = (Leases::default(), Alarm::default());
        let worker = NewWorker {
            id,
            name: options.name.clone(),
            pid: std::process::id(),
            slots: options.slots,
            kinds: executor.kinds(),
        };
        let keeper = Keeper {
            store: store.clone(),
            worker,
            leases: leases.clone(),
            lease: options.lease,
            heartbeat: options.heartbeat,
            drain: stop.clone(),
        };
        let _beating = keeper.start(&alarm)?;
        let _flushing =
            AbortOnDropHandle::new(tokio::spawn(flush_logs(leases.clone(), alarm.watch("log writer"))));
        let draining = hand_over(leases.clone(), stop.clone(), options.drain, alarm.watch("drain"));
        let _draining = AbortOnDropHandle::new(tokio::spawn(draining));

        let (inbox, look) = (Arc::new(Inbox::default()), Arc::new(Notify::new()));
        let slots = Arc::new(Semaphore::new(options.slots));
        let adopting =
            adopted.begin(Arc::clone(&executor), leases.clone(), Arc::clone(&slots), Arc::clone(&inbox));
        let _adopting = AbortOnDropHandle::new(tokio::spawn(adopting));
        let dispatcher = Dispatcher {
            store: store.clone(),
            worker: id,
            executor: Arc::clone(&executor),
            leases,
            inbox: Arc::clone(&inbox),
            slots,
            look: Arc::clone(&look),
            lease: options.lease,
            poll: options.poll,
            alarm: alarm.clone(),
        };
        let committer = Committer::start(store, &alarm);
        let dispatching = stop.child_token();
        let backend = PgBackend {
            inbox,
            completion: CompletionLayer { executor: Arc::clone(&executor), committer, freed: look },
            dispatcher: tokio::spawn(dispatcher.run(dispatching.clone())),
            stop: Some(dispatching.drop_guard()),
        };
        tokio::select! {
            ended = serve(options.name, backend, Runner(executor), stop) => ended,
            part = alarm.rung() => Err(WorkerError::Panicked(part)),
        }
    }
}

/// Lets apalis run the jobs until `stop`. Boxed here, outside any other future: the compiler can't prove the composed
/// type `Send` from within one.
fn serve(
    name: String,
    backend: PgBackend,
    runner: Runner,
    stop: CancellationToken,
) -> BoxFuture<'static, Result<(), WorkerError>> {
    // Outermost first: each job in a task that ends with the worker; panics are caught inside that task.
    let worker = WorkerBuilder::new(name)
        .backend(backend)
        .parallelize(spawn)
        .layer(CatchPanicLayer::with_panic_handler(Panicked::from_payload))
        .build(runner);
    let signal = async move {
        stop.cancelled().await;
        Ok::<(), ApalisError>(())
    };
    worker.run_until(signal).map_err(|error| WorkerError::Ended(error.to_string())).boxed()
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("options", &self.options)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// A job dropped with its worker must not go on detached.
fn spawn<F>(job: F) -> AbortOnDropHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(job))
}

async fn flush_logs(leases: Leases, _watched: Watched) {
    loop {
        tokio::time::sleep(FLUSH_LOGS_EVERY).await;
        for attempt in leases.attempts() {
            attempt.flush_log().await;
        }
    }
}

/// Once a drain has taken too long, asks what still runs to stop: another worker goes on from its checkpoint.
async fn hand_over(leases: Leases, stop: CancellationToken, after: Duration, _watched: Watched) {
    stop.cancelled().await;
    tokio::time::sleep(after).await;
    for attempt in leases.attempts() {
        attempt.stop.request(StopReason::Draining);
    }
}
