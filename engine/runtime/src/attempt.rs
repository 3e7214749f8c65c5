//! One attempt under way: the claim, and what its job and the worker share about it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tidemill_core::{Clock, Fault, JobError};
use tidemill_store::{Claimed, Error, Store, Tx};

use crate::{
    log::{Lines, LogBuffer},
    probe::{Interference, Operation, Probe},
    stop::Stop,
};

pub(crate) struct Attempt {
    pub(crate) claimed: Claimed,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: Stop,
    pub(crate) log: LogBuffer,
    pub(crate) probe: Option<Arc<dyn Probe>>,
    committed: AtomicBool,
    progressed: AtomicBool,
}

impl Attempt {
    pub(crate) fn new(
        claimed: Claimed,
        store: Store,
        clock: Arc<dyn Clock>,
        stop: Stop,
        probe: Option<Arc<dyn Probe>>,
    ) -> Self {
        let (log, committed, progressed) =
            (LogBuffer::default(), AtomicBool::default(), AtomicBool::default());
        Self { claimed, store, clock, stop, log, probe, committed, progressed }
    }

    /// Whether the job ended itself by `Context::commit`.
    pub(crate) fn committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    pub(crate) fn set_committed(&self) {
        self.committed.store(true, Ordering::Release);
    }

    /// Whether what was saved last is another checkpoint than the attempt began with.
    pub(crate) fn progressed(&self) -> bool {
        self.progressed.load(Ordering::Acquire)
    }

    pub(crate) fn saved(&self, checkpoint: &serde_json::Value) {
        self.progressed.store(self.claimed.checkpoint.as_ref() != Some(checkpoint), Ordering::Release);
    }

    /// Does what a job asked its context for, or what a fault test makes of it.
    pub(crate) async fn perform(
        &self,
        operation: Operation,
        write: impl Future<Output = Result<(), JobError>>,
    ) -> Result<(), JobError> {
        let injected =
            |what: &str| Err(JobError::Retry(Fault::new(format!("injected: {what} at {operation:?}"))));
        match self.probe.as_ref().map_or(Interference::None, |probe| probe.at(operation)) {
            Interference::None => write.await,
            Interference::Fail => injected("failed"),
            Interference::LoseReply => {
                write.await?;
                injected("the reply was lost")
            }
            // The test drops the attempt here, as a killed process would.
            Interference::Die => std::future::pending().await,
        }
    }

    /// Writes the lines logged so far as part of `tx`.
    pub(crate) async fn write_log(&self, tx: &mut Tx) -> Result<Option<Lines<'_>>, Error> {
        let claimed = &self.claimed;
        self.log.write(&self.store, tx, claimed.run, &claimed.step, claimed.attempt).await
    }

    /// Writes the lines logged so far. What can't be written now is kept for the next time.
    pub(crate) async fn flush_log(&self) {
        let claimed = &self.claimed;
        if let Err(error) = self.log.flush(&self.store, claimed.run, &claimed.step, claimed.attempt).await {
            tracing::debug!(%error, run.id = %claimed.run, "log lines wait for the database");
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("lease", &self.claimed.lease)
            .field("kind", &self.claimed.kind)
            .finish_non_exhaustive()
    }
}
