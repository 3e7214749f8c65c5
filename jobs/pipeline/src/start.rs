//! Starts a run of a pipeline: pins its version and the project's code, and enqueues its steps.

use chrono::NaiveDate;
use serde_json::{Map, Value as Json};
use tidemill_catalog::Catalog;
use tidemill_core::Time;
use tidemill_spec::{ObjectKind, ObjectRef};
use tidemill_store::{Enqueued, NewRun, Trigger, Tx};

use crate::{Error, RunContext, compile};

/// What to start.
#[derive(Clone, Debug)]
pub struct StartRun {
    /// The pipeline.
    pub pipeline: String,
    /// Params that differ from their defaults.
    pub params: Map<String, Json>,
    /// The day it stands for, in the schedule's time zone.
    pub day: Day,
    /// Why it starts.
    pub trigger: Trigger,
    /// The same key starts the same run once.
    pub key: Option<String>,
}

/// Which day a run stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// This one.
    Date(NaiveDate),
    /// The one that this instant of the data clock lies in: today, or a tick's.
    At(Time),
}

/// Enqueues a run in `tx`, pinned to the pipeline's version and the code in force. Call
/// [`Store::wake`](tidemill_store::Store::wake) after the commit. Safe to repeat where a key is given.
///
/// # Errors
/// The pipeline or a param is not declared, a value has the wrong type, or the database can't be reached.
pub async fn start_run(catalog: &Catalog, tx: &mut Tx, start: &StartRun) -> Result<Enqueued, Error> {
    let objects = catalog.objects_in(tx).await?;
    let pipeline = objects.pipelines.get(&start.pipeline).ok_or_else(|| Error::UnknownPipeline {
        name: start.pipeline.clone(),
        known: objects.pipelines.keys().cloned().collect(),
    })?;
    let object = ObjectRef::new(ObjectKind::Pipeline, &start.pipeline);
    let version = catalog.object_version_in(tx, &object).await?.unwrap_or(0);
    let code_hash = catalog.code_hash_in(tx).await?;
    let calendar = compile::calendar(pipeline)?;
    let (day, logical_time) = match start.day {
        Day::Date(day) => (day, calendar.midnight(day)),
        Day::At(time) => (calendar.day_of(time), time),
    };
    let params = compile::merge_params(pipeline, &start.params)?;
    let run = NewRun {
        pipeline: start.pipeline.clone(),
        version,
        steps: compile::steps(pipeline, &params, code_hash.as_deref()),
        context: RunContext {
            params,
            timezone: pipeline.timezone.clone(),
            date: calendar.midnight(day),
            code: code_hash,
        }
        .to_json(),
        key: start.key.clone(),
        trigger: start.trigger,
        logical_time: Some(logical_time),
    };
    Ok(catalog.store().enqueue_run(tx, &run).await?)
}
