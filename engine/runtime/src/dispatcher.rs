//! Claims jobs for free slots, and for nothing else.
//!
//! It looks when a slot is free and there may be work: after a wake-up, when a job of this worker ended, when the next
//! scheduled job is due, and now and then by itself, for a wake-up is only a hint. A claim under way is never aborted:
//! the database might have granted it.

use std::{sync::Arc, time::Duration};

use tidemill_core::WorkerId;
use tidemill_store::{Claimed, Error, Store};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    Executor, Stop,
    alarm::{Alarm, Watched},
    inbox::{Inbox, Slot, Work},
    leases::Leases,
};

/// Claims are cheap; more at once would only widen what a crash has to hand back.
const CLAIM_MAX: u32 = 100;
const RETRY_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Dispatcher {
    pub(crate) store: Store,
    pub(crate) worker: WorkerId,
    pub(crate) executor: Arc<Executor>,
    pub(crate) leases: Leases,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) slots: Arc<Semaphore>,
    /// There may be work.
    pub(crate) look: Arc<Notify>,
    pub(crate) lease: Duration,
    pub(crate) poll: Duration,
    pub(crate) alarm: Alarm,
}

impl Dispatcher {
    /// Claims until `stop`, then hands back what nobody took.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let _watched = self.alarm.watch("dispatcher");
        let listener = tokio::spawn(listen(
            self.store.clone(),
            Arc::clone(&self.look),
            self.poll,
            self.alarm.watch("listener"),
        ));
        let kinds = self.executor.kinds();
        while let Some(permits) = self.free_slots(&stop).await {
            let wanted = permits.num_permits();
            match self.store.claim(self.worker, &kinds, wanted, self.lease).await {
                Ok(claimed) => {
                    let all = claimed.len() == wanted;
                    self.hand_over(claimed, permits).await;
                    if !all {
                        self.idle(&kinds, &stop).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a claim failed");
                    stop.run_until_cancelled(tokio::time::sleep(jittered(RETRY_AFTER))).await;
                }
            }
        }
        listener.abort();
        let untaken = self.inbox.close();
        self.release(untaken).await;
    }

    /// Waits for a free slot, and takes others that are free as well. `None`: stopped.
    async fn free_slots(&self, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let first = Arc::clone(&self.slots).acquire_owned();
        let mut permits = stop.run_until_cancelled(first).await?.ok()?;
        while permits.num_permits() < CLAIM_MAX as usize {
            match Arc::clone(&self.slots).try_acquire_owned() {
                Ok(another) => permits.merge(another),
                Err(_) => break,
            }
        }
        (!stop.is_cancelled()).then_some(permits)
    }

    async fn hand_over(&self, claimed: Vec<Claimed>, mut permits: OwnedSemaphorePermit) {
        let mut untaken = Vec::new();
        for job in claimed {
            let Some(permit) = permits.split(1) else { break };
            let attempt = Arc::new(self.executor.attempt(job, Stop::default(), None));
            let slot = Some(Slot { _permit: permit, _held: self.leases.hold(&attempt) });
            if let Err(work) = self.inbox.push(Work { attempt, slot }) {
                untaken.push(work);
            }
        }
        self.release(untaken).await;
    }

    /// Waits until there may be work.
    async fn idle(&self, kinds: &[String], stop: &CancellationToken) {
        let due = match self.store.next_due(kinds).await {
            Ok(Some(due)) => due.min(jittered(self.poll)),
            Ok(None) | Err(_) => jittered(self.poll),
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.look.notified() => {}
            () = tokio::time::sleep(due) => {}
        }
    }

    async fn release(&self, untaken: Vec<Work>) {
        if untaken.is_empty() {
            return;
        }
        let leases: Vec<_> = untaken.iter().map(|work| work.attempt.claimed.lease).collect();
        if let Err(error) = self.store.release(&leases).await {
            // They expire by themselves.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                jobs = leases.len(),
                "leases were not handed back"
            );
        }
    }
}

/// Turns wake-ups from the database into looks. A lost connection is one too: something may have been missed.
async fn listen(store: Store, look: Arc<Notify>, retry_after: Duration, _watched: Watched) {
    loop {
        let heard: Result<(), Error> = async {
            let mut wakeups = store.listen().await?;
            loop {
                look.notify_one();
                wakeups.next().await?;
            }
        }
        .await;
        if let Err(error) = heard {
            tracing::debug!(%error, "not listening");
        }
        tokio::time::sleep(jittered(retry_after)).await;
    }
}

/// One to two times as long, so that workers don't all look at once.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(1.0 + rand::random::<f64>())
}
