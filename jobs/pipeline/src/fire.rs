//! Due ticks of schedules become runs of their pipelines.

use futures::future::BoxFuture;
use serde_json::Map;
use tidemill_catalog::Catalog;
use tidemill_core::{JobError, RunId, Time};
use tidemill_runtime::Fire;
use tidemill_store::{ScheduleRow, Trigger, Tx};

use crate::{StartRun, start::Day, start_run};

/// What names a schedule of a pipeline.
const PREFIX: &str = "pipeline/";

/// Starts the pipelines whose schedules are due.
#[derive(Clone, Debug)]
pub struct PipelineTicks {
    catalog: Catalog,
}

impl PipelineTicks {
    /// Reads pipelines from this catalog.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog }
    }

    /// Whether a schedule is a pipeline's; others are someone else's to fire.
    pub fn takes(schedule: &ScheduleRow) -> bool {
        schedule.name.starts_with(PREFIX)
    }
}

impl Fire for PipelineTicks {
    fn fire<'a>(
        &'a self,
        tx: &'a mut Tx,
        schedule: &'a ScheduleRow,
        logical_time: Time,
    ) -> BoxFuture<'a, Result<Option<RunId>, JobError>> {
        Box::pin(async move {
            let name = &schedule.name;
            let pipeline = name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
            let start = StartRun {
                pipeline,
                params: Map::new(),
                day: Day::At(logical_time),
                trigger: Trigger::Schedule,
                // The tick is unique already; the key keeps a run unique even where a tick was recorded twice.
                key: Some(format!("{name} {}", logical_time.to_rfc3339())),
            };
            Ok(Some(start_run(&self.catalog, tx, &start).await?.run))
        })
    }
}
