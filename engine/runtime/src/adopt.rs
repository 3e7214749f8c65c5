//! Jobs that a process enqueues for its own worker, because it holds what they need.
//!
//! They are leased to that worker from the start, so that no other claims them; should it die, its leases end and others do
//! the work.

use std::{sync::Arc, time::Duration};

use tidemill_core::WorkerId;
use tidemill_store::{Claimed, Error, NewJob, Store, Tx};
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::{
    Executor, Stop,
    inbox::{Inbox, Slot, Work},
    leases::Leases,
};

/// Gives jobs to one worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Adopter {
    worker: WorkerId,
    lease: Duration,
    jobs: mpsc::UnboundedSender<Claimed>,
}

impl Adopter {
    /// Enqueues a job under a lease of the worker's, in `tx`. Once that is committed, [`adopt`](Self::adopt) it.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn enqueue(&self, store: &Store, tx: &mut Tx, job: NewJob) -> Result<Claimed, Error> {
        store.enqueue_claimed(tx, job, self.worker, self.lease).await
    }

    /// Has the worker run a job. If it no longer takes any, the lease ends by itself.
    pub fn adopt(&self, job: Claimed) {
        let _ = self.jobs.send(job);
    }
}

/// What was given and not begun.
#[derive(Clone, Debug)]
pub(crate) struct Adopted(Arc<Mutex<mpsc::UnboundedReceiver<Claimed>>>);

/// Both ends, of a worker that leases for so long.
pub(crate) fn channel(worker: WorkerId, lease: Duration) -> (Adopter, Adopted) {
    let (jobs, adopted) = mpsc::unbounded_channel();
    (Adopter { worker, lease, jobs }, Adopted(Arc::new(Mutex::new(adopted))))
}

impl Adopted {
    /// Begins what is given, as slots are free.
    pub(crate) async fn begin(
        self,
        executor: Arc<Executor>,
        leases: Leases,
        slots: Arc<Semaphore>,
        inbox: Arc<Inbox>,
    ) {
        let mut jobs = self.0.lock().await;
        while let Some(job) = jobs.recv().await {
            let attempt = Arc::new(executor.attempt(job, Stop::default(), None));
            // Renewed from now on, also while it waits.
            let held = leases.hold(&attempt);
            let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return };
            let slot = Some(Slot { _permit: permit, _held: held });
            if inbox.push(Work { attempt, slot }).is_err() {
                return;
            }
        }
    }
}
