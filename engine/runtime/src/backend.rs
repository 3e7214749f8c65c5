//! The adapter to apalis: where its tasks come from, and where their results go.
//!
//! The backend never fails and never touches the database from its poll methods: an error would end the worker with
//! everything in flight, and the methods aren't called while slots are full or the worker drains. Results are told to
//! the store by [`CompletionLayer`], outermost of all layers, which keeps slot and lease until that is committed.

use std::{
    any::Any,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    error::BoxDynError,
    task::Task,
    worker::context::WorkerContext,
};
use futures::future::BoxFuture;
use tidemill_core::{Fault, JobError};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::DropGuard;
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::{
    Ended, Executor,
    committer::Committer,
    inbox::{Inbox, Work},
    verdict::Done,
};

/// Feeds apalis from the inbox.
#[derive(Debug)]
pub(crate) struct PgBackend {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) completion: CompletionLayer,
    pub(crate) dispatcher: JoinHandle<()>,
    /// Ends the dispatcher: a worker that is dropped must not leave one that leases jobs nobody runs.
    pub(crate) stop: Option<DropGuard>,
}

impl Backend for PgBackend {
    type Task = Task<Work>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Work>, Infallible>>> {
        self.inbox.poll_take(cx).map(|work| Some(Ok(Task::new(work))))
    }

    /// Everything in flight has ended; the dispatcher hands back what was never started.
    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.stop = None;
        if self.dispatcher.is_finished() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.dispatcher).poll(cx).map(|_| Ok(()))
    }
}

impl BackendConfig for PgBackend {
    type Args = Work;
    type Id = ();
    type Kind = Ephemeral;
    type Config = ();
    type Layer = CompletionLayer;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> CompletionLayer {
        self.completion.clone()
    }
}

/// Runs jobs: innermost of all layers.
#[derive(Clone, Debug)]
pub(crate) struct Runner(pub(crate) Arc<Executor>);

impl Service<Task<Work>> for Runner {
    type Response = Done;
    type Error = JobError;
    type Future = BoxFuture<'static, Result<Done, JobError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), JobError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Work>) -> Self::Future {
        let (executor, attempt) = (Arc::clone(&self.0), task.args.attempt);
        let claimed = &attempt.claimed;
        let span = tracing::info_span!(
            "job.run",
            job.id = %claimed.lease.job,
            job.kind = %claimed.kind,
            job.attempt = claimed.attempt,
            run.id = %claimed.run,
            step = claimed.step,
        );
        Box::pin(async move { executor.work(&attempt).await }.instrument(span))
    }
}

/// Tells the store how attempts ended.
#[derive(Clone, Debug)]
pub(crate) struct CompletionLayer {
    pub(crate) executor: Arc<Executor>,
    pub(crate) committer: Committer,
    /// A slot became free.
    pub(crate) freed: Arc<Notify>,
}

impl<S> Layer<S> for CompletionLayer {
    type Service = Completion<S>;

    fn layer(&self, inner: S) -> Completion<S> {
        Completion { layer: self.clone(), inner }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Completion<S> {
    layer: CompletionLayer,
    inner: S,
}

impl<S> Service<Task<Work>> for Completion<S>
where
    S: Service<Task<Work>, Response = Done, Error = BoxDynError>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<(), BoxDynError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut task: Task<Work>) -> Self::Future {
        let (slot, attempt) = (task.args.slot.take(), Arc::clone(&task.args.attempt));
        let layer = self.layer.clone();
        let running = self.inner.call(task);
        Box::pin(async move {
            let result = running.await.map_err(job_error);
            attempt.flush_log().await;
            if let Ended::Settle(ending) = layer.executor.conclude(&attempt, result).await {
                layer.committer.settle(attempt.claimed.lease, ending).await;
            }
            drop(slot);
            layer.freed.notify_one();
            Ok(())
        })
    }
}

/// A job that panicked.
#[derive(Debug, thiserror::Error)]
#[error("the job panicked: {0}")]
pub(crate) struct Panicked(String);

impl Panicked {
    pub(crate) fn from_payload(payload: &Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self(text.unwrap_or_else(|| "no message".to_owned()))
    }
}

fn job_error(error: BoxDynError) -> JobError {
    match error.downcast::<JobError>() {
        Ok(error) => *error,
        Err(error) if error.is::<Panicked>() => JobError::Retry(Fault::coded(1004, error.to_string())),
        Err(error) => JobError::Retry(Fault::from_error(&*error)),
    }
}
