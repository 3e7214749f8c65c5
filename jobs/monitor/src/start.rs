//! How scans start: by hand, or by a tick of the monitor's schedule.

use futures::future::BoxFuture;
use tidemill_catalog::Catalog;
use tidemill_core::{JobError, RunId, Time};
use tidemill_runtime::{Fire, job_new};
use tidemill_spec::{
    MonitorTarget,
    args::{MONITOR_SCAN, MonitorScan},
    steps::CHAMPION,
};
use tidemill_store::{Enqueued, NewJob, ScheduleRow, Tx};

use crate::{Error, scan::declared, window::window_ending};

/// What names a schedule of a monitor.
const PREFIX: &str = "monitor/";
/// Windows that weren't complete which a tick scans again, the newest.
const RESTATED_MAX: i64 = 12;

/// Enqueues the scan of a window in `tx`; one that waits already is found. Scans of one monitor run one after the
/// other. Call [`Store::wake`](tidemill_store::Store::wake) after the commit.
///
/// # Errors
/// The monitor is not declared, or the database can't be reached.
pub async fn start_scan(
    catalog: &Catalog,
    tx: &mut Tx,
    monitor: &str,
    from: Time,
    to: Time,
) -> Result<Enqueued, Error> {
    declared(&catalog.objects_in(tx).await?, monitor)?;
    Ok(catalog.store().enqueue(tx, scan_new(monitor, from, to)).await?)
}

/// The scan of a window; asking again while one waits changes nothing.
fn scan_new(monitor: &str, from: Time, to: Time) -> NewJob {
    let args = MonitorScan { monitor: monitor.to_owned(), from, to };
    NewJob {
        key: Some(format!("{MONITOR_SCAN}/{monitor}/{}/{}", from.to_rfc3339(), to.to_rfc3339())),
        concurrency_key: Some(format!("{PREFIX}{monitor}")),
        ..job_new(MONITOR_SCAN, &args)
    }
}

/// Scans the windows that ticks end, and again those that were not complete when they were scanned: late labels are
/// restated.
#[derive(Clone, Debug)]
pub struct MonitorTicks {
    catalog: Catalog,
}

impl MonitorTicks {
    /// Reads monitors from this catalog.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog }
    }

    /// Whether a schedule is a monitor's; others are someone else's to fire.
    pub fn takes(schedule: &ScheduleRow) -> bool {
        schedule.name.starts_with(PREFIX)
    }
}

impl Fire for MonitorTicks {
    fn fire<'a>(
        &'a self,
        tx: &'a mut Tx,
        schedule: &'a ScheduleRow,
        logical_time: Time,
    ) -> BoxFuture<'a, Result<Option<RunId>, JobError>> {
        Box::pin(async move {
            let name = schedule.name.strip_prefix(PREFIX).unwrap_or(&schedule.name);
            let objects = self.catalog.objects_in(tx).await?;
            let monitor = declared(&objects, name)?;
            if let MonitorTarget::Model(model) = &monitor.target
                && self.catalog.model_alias_in(tx, model, CHAMPION).await?.is_none()
            {
                // Nothing is served yet, so there is nothing to watch.
                return Ok(None);
            }
            let Some(window) = window_ending(monitor, logical_time)? else { return Ok(None) };
            let mut windows = vec![(window.start, window.end)];
            windows.extend(self.catalog.windows_incomplete_in(tx, name, RESTATED_MAX).await?);
            let scans: Vec<_> = windows.into_iter().map(|(from, to)| scan_new(name, from, to)).collect();
            let enqueued = self.catalog.store().enqueue_all(tx, &scans).await.map_err(Error::from)?;
            Ok(enqueued.first().map(|scan| scan.run))
        })
    }
}
