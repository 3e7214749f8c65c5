//! What some process has to do now and then, and several may: rescue the jobs of dead workers, fire due schedules, keep
//! the days of history.
//!
//! All are safe to run from any number of processes: leases are judged by the database, and a tick is unique by
//! (schedule, logical time).

mod ticks;

pub use ticks::{TickPlan, plan_ticks};

use std::{sync::Arc, time::Duration};

use tidemill_core::{Clock, JobError, RunId, SystemClock, Time};
use tidemill_store::{DueSchedule, Error, Store, TickOutcome, Tx};
use tokio_util::sync::CancellationToken;

use crate::Fire;

const RESCUE_MAX: i64 = 500;
/// How often the past is looked after, and how soon again when that could not be finished.
const SELDOM: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_mins(1);
/// How long finished single jobs and attempts are kept.
const HISTORY: Duration = Duration::from_hours(30 * 24);

/// How maintenance works.
#[derive(Clone, Copy, Debug)]
pub struct MaintenanceOptions {
    /// How often it looks.
    pub every: Duration,
    /// After the database was away, workers get this long to renew their leases before jobs are taken from them.
    pub grace: Duration,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), grace: Duration::from_secs(10) }
    }
}

/// The maintenance loop of a server.
#[derive(Clone)]
pub struct Maintenance {
    store: Store,
    options: MaintenanceOptions,
    fire: Arc<dyn Fire>,
    clock: Arc<dyn Clock>,
}

impl Maintenance {
    /// Maintenance that waits to be run.
    pub fn new(store: Store, options: MaintenanceOptions, fire: Arc<dyn Fire>) -> Self {
        Self { store, options, fire, clock: Arc::new(SystemClock) }
    }

    /// Does its duties until `shutdown`, each on its own: one that fails is tried again, and keeps no other from its
    /// turn. A database that goes away is waited for.
    pub async fn run(self, shutdown: CancellationToken) {
        let MaintenanceOptions { every, grace } = self.options;
        let store = &self.store;
        let kept = |done: bool| if done { SELDOM } else { SOON };
        tokio::join!(
            duty("taking back jobs of workers that are gone", &shutdown, grace, || async {
                self.rescue().await.map(|()| every)
            }),
            duty("firing schedules", &shutdown, every, || async { self.fire_due().await.map(|()| every) }),
            duty("forgetting workers", &shutdown, SOON, || async {
                store.forget_workers().await.map(|()| SELDOM)
            }),
            duty("making room for history", &shutdown, SOON, || async {
                store.make_history().await.map(kept)
            }),
            duty("dropping old history", &shutdown, SOON, || async {
                store.drop_history(HISTORY).await.map(kept)
            }),
            duty("forgetting old jobs", &shutdown, SOON, || async {
                store.forget_jobs(HISTORY).await.map(|()| SELDOM)
            }),
        );
    }

    /// Takes back what dead workers held.
    pub async fn rescue(&self) -> Result<(), Error> {
        loop {
            let rescued = self.store.rescue_expired(RESCUE_MAX).await?;
            if rescued.jobs + rescued.poisoned == 0 {
                return Ok(());
            }
            tracing::warn!(
                jobs = rescued.jobs,
                poisoned = rescued.poisoned,
                "took back jobs of workers that are gone"
            );
            self.store.wake().await;
        }
    }

    /// Fires every schedule that is due on the data clock. Safe to repeat.
    pub async fn fire_due(&self) -> Result<(), Error> {
        let now = self.store.data_clock().await?.at(self.clock.now());
        let mut seen = Vec::new();
        loop {
            let mut tx = self.store.begin().await?;
            let Some(schedule) = self.store.due_schedule(&mut tx, now, &seen).await? else { return Ok(()) };
            seen.push(schedule.name.clone());
            match self.fire_one(&mut tx, &schedule, now).await {
                Ok(started) => {
                    tx.commit().await?;
                    if started > 0 {
                        self.store.wake().await;
                    }
                }
                // Rolled back: its ticks stay due.
                Err(error) => tracing::warn!(schedule = schedule.name, %error, "a schedule could not fire"),
            }
        }
    }

    /// Fires, or lets go, the due ticks of one schedule, all in `tx`; returns how many runs started. Runs that a newer
    /// tick takes the place of are cancelled last: their rows are locked after those of what starts.
    async fn fire_one(&self, tx: &mut Tx, schedule: &DueSchedule, now: Time) -> Result<usize, JobError> {
        let open = self.store.open_tick_runs(tx, &schedule.name).await?;
        let plan = plan_ticks(schedule, open.len(), now)?;
        let mut started = 0;
        for (at, outcome) in plan.ticks {
            let (outcome, run) = match outcome {
                TickOutcome::Fired => self.start(tx, schedule, at).await?,
                other => (other, None),
            };
            started += usize::from(run.is_some());
            self.store.record_tick(tx, &schedule.name, at, outcome, run).await?;
        }
        self.store.advance_schedule(tx, &schedule.name, plan.next_at).await?;
        if plan.cancel_open {
            for run in open {
                self.store.cancel_run_in(tx, run, "a later tick of its schedule is due").await?;
            }
        }
        Ok(started)
    }

    async fn start(
        &self,
        tx: &mut Tx,
        schedule: &DueSchedule,
        at: Time,
    ) -> Result<(TickOutcome, Option<RunId>), JobError> {
        match self.fire.fire(tx, schedule, at).await {
            Ok(Some(run)) => Ok((TickOutcome::Fired, Some(run))),
            Ok(None) => Ok((TickOutcome::Skipped, None)),
            Err(error @ (JobError::Retry(_) | JobError::Unavailable(_) | JobError::Conflict(_))) => {
                Err(error)
            }
            Err(error) => {
                tracing::error!(schedule = schedule.name, logical_time = %at, %error, "a tick could not start its run");
                Ok((TickOutcome::Missed, None))
            }
        }
    }
}

/// Does one thing again and again until `shutdown`: after as long as it says itself, or `after_failure` when it failed.
async fn duty<L: Future<Output = Result<Duration, Error>>>(
    what: &str,
    shutdown: &CancellationToken,
    after_failure: Duration,
    look: impl Fn() -> L,
) {
    while !shutdown.is_cancelled() {
        let next = look().await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "{what} failed and is tried again");
            after_failure
        });
        shutdown.run_until_cancelled(tokio::time::sleep(next)).await;
    }
}

impl std::fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maintenance").field("options", &self.options).finish_non_exhaustive()
    }
}
