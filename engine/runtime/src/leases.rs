//! Keeps leases alive, from a thread of its own.
//!
//! Jobs may keep every core and every thread of the main runtime busy: heartbeats then still go out, on connections
//! that belong to this thread's own runtime. A renewal also brings back what was lost and what shall stop.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tidemill_core::LeaseToken;
use tidemill_store::{Error, Lease, NewWorker, Store};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{alarm::Alarm, attempt::Attempt, stop::StopReason};

/// The attempts under way in this process, by lease token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases(Arc<Mutex<HashMap<LeaseToken, Arc<Attempt>>>>);

/// An attempt's place among them; given up when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    leases: Leases,
    token: LeaseToken,
}

impl Leases {
    pub(crate) fn hold(&self, attempt: &Arc<Attempt>) -> Held {
        let token = attempt.claimed.lease.token;
        self.lock().insert(token, Arc::clone(attempt));
        Held { leases: self.clone(), token }
    }

    pub(crate) fn attempts(&self) -> Vec<Arc<Attempt>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseToken, Arc<Attempt>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.token);
    }
}

/// What the thread is given.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) worker: NewWorker,
    pub(crate) leases: Leases,
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
    /// Cancelled when the worker shall end, by a signal or because somebody asked it to drain.
    pub(crate) drain: CancellationToken,
}

impl Keeper {
    /// Starts the thread; it ends when the guard is dropped.
    pub(crate) fn start(self, alarm: &Alarm) -> io::Result<DropGuard> {
        let watched = alarm.watch("lease keeper");
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("leases".to_owned()).spawn(move || {
            let _watched = watched;
            runtime.block_on(async {
                let store = self.store.apart(1);
                let beats = self.beat_for_ever(&store);
                ended.run_until_cancelled(beats).await;
                // If this is lost, the row ages out of the list by itself.
                let _ = tokio::time::timeout(self.heartbeat, store.unregister_worker(self.worker.id)).await;
            });
        })?;
        Ok(guard)
    }

    async fn beat_for_ever(&self, store: &Store) {
        let (mut registered, mut told) = (false, false);
        loop {
            // A beat that hangs on a dead connection must not cost more than one.
            match tokio::time::timeout(self.heartbeat * 2, self.beat(store, &mut registered)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a heartbeat failed");
                }
                Err(_) => tracing::warn!("a heartbeat took too long"),
            }
            // A worker that is killed on its way out must not be taken for one that a job has killed.
            if registered && !told && self.drain.is_cancelled() {
                let tell = tokio::time::timeout(self.heartbeat, store.drain_worker(self.worker.id));
                told = tell.await.is_ok_and(|told| told.is_ok());
            }
            let sleep = tokio::time::sleep(self.heartbeat);
            if self.drain.is_cancelled() {
                sleep.await;
            } else {
                self.drain.run_until_cancelled(sleep).await;
            }
        }
    }

    async fn beat(&self, store: &Store, registered: &mut bool) -> Result<(), Error> {
        self.renew(store).await?;
        if !*registered {
            store.register_worker(&self.worker).await?;
            *registered = true;
        } else if store.worker_heartbeat(self.worker.id).await? {
            self.drain.cancel();
        }
        Ok(())
    }

    async fn renew(&self, store: &Store) -> Result<(), Error> {
        let attempts = self.leases.attempts();
        if attempts.is_empty() {
            return Ok(());
        }
        let held: Vec<Lease> = attempts.iter().map(|attempt| attempt.claimed.lease).collect();
        let renewed = store.renew(&held, self.lease).await?;
        for attempt in attempts {
            let job = attempt.claimed.lease.job;
            match renewed.iter().find(|renewed| renewed.job == job) {
                None => attempt.stop.request(StopReason::LeaseLost),
                Some(renewed) => {
                    if let Some(reason) = &renewed.cancel_reason {
                        attempt.stop.request(StopReason::Cancelled(reason.clone()));
                    }
                }
            }
        }
        Ok(())
    }
}
