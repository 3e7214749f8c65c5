//! Due schedules become runs: each kind of schedule has its own home.

use futures::future::BoxFuture;
use tidemill_core::{Fault, JobError, RunId, Time};
use tidemill_monitor::MonitorTicks;
use tidemill_pipeline::PipelineTicks;
use tidemill_runtime::Fire;
use tidemill_store::{ScheduleRow, Tx};
use tidemill_stores::Stores;

/// Fires the schedules of pipelines and monitors.
#[derive(Clone, Debug)]
pub(crate) struct Ticks {
    pipelines: PipelineTicks,
    monitors: MonitorTicks,
}

impl Ticks {
    /// Fires into these stores.
    pub(crate) fn new(stores: &Stores) -> Self {
        Self {
            pipelines: PipelineTicks::new(stores.catalog.clone()),
            monitors: MonitorTicks::new(stores.catalog.clone()),
        }
    }
}

impl Fire for Ticks {
    fn fire<'a>(
        &'a self,
        tx: &'a mut Tx,
        schedule: &'a ScheduleRow,
        logical_time: Time,
    ) -> BoxFuture<'a, Result<Option<RunId>, JobError>> {
        if PipelineTicks::takes(schedule) {
            return self.pipelines.fire(tx, schedule, logical_time);
        }
        if MonitorTicks::takes(schedule) {
            return self.monitors.fire(tx, schedule, logical_time);
        }
        let fault = Fault::new(format!("nobody fires the schedule `{}`", schedule.name));
        Box::pin(async move { Err(JobError::Discard(fault)) })
    }
}
