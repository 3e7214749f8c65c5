//! Pipeline steps in Python: one process for one step, with the step's own limits.

use std::{future::Future, path::PathBuf, time::Duration};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};
use tidemill_core::JobError;
use tidemill_spec::{OutputType, Type};

use crate::{Process, PyError, PyOptions, PyPool, protocol::Request, spawn::THREADS};

/// What a step is called with.
#[derive(Clone, Debug)]
pub struct StepCall {
    /// `module:function`, called as `function(ctx, dataset, out)`.
    pub entry: String,
    /// `ctx.params`.
    pub params: Map<String, Value>,
    /// The dataset, if the step has one.
    pub dataset: Option<DatasetFiles>,
    /// An empty folder for what the step makes.
    pub out: PathBuf,
    /// `ctx.last_checkpoint`: what an earlier attempt saved last.
    pub checkpoint: Option<Value>,
    /// Threads that numeric libraries take; default 1.
    pub cpus: Option<u32>,
    /// Instead of the pool's limit.
    pub memory_bytes: Option<u64>,
    /// Instead of the pool's limit.
    pub time_limit: Option<Duration>,
}

/// A dataset as Python reads it.
#[derive(Clone, Debug, Serialize)]
pub struct DatasetFiles {
    /// Local Parquet files, in order.
    pub files: Vec<PathBuf>,
    /// The model's columns, in the vector's order.
    pub inputs: IndexMap<String, Type>,
    /// The label's column.
    pub label: Option<String>,
    /// The declared outputs of the model that the dataset was built for; empty if for none.
    pub outputs: IndexMap<String, OutputType>,
}

/// What a step says while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum StepEvent {
    /// One line of its log, without the line end.
    Log(String),
    /// `ctx.checkpoint(value)`: must be durable when the sink returns.
    Checkpoint(Value),
    /// `ctx.log_params(…)`.
    Params(Map<String, Value>),
    /// `ctx.log_metrics(…)`.
    Metrics(Map<String, Value>),
}

/// Who listens to a step. An error ends the step at once and is returned as [`PyError::Stopped`].
pub trait StepSink: Send {
    /// Takes one event; the step waits for it.
    fn event(&mut self, event: StepEvent) -> impl Future<Output = Result<(), JobError>> + Send;
}

/// What a step left.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// What the function returned: a JSON object, or null.
    pub outputs: Value,
    /// All params it logged, the last value of each.
    pub params: Map<String, Value>,
    /// All metrics it logged, the last value of each.
    pub metrics: Map<String, Value>,
    /// The folder given as `out`, if something is in it.
    pub artifact: Option<PathBuf>,
}

impl PyPool {
    /// Runs one step in a process of its own, so that nothing is left over from another. Dropping the future
    /// kills the process with all it started.
    pub async fn run_step(&self, call: StepCall, sink: &mut impl StepSink) -> Result<StepResult, PyError> {
        let pool = self.options();
        let mut env = pool.env.clone();
        if let Some(cpus) = call.cpus {
            env.extend(THREADS.map(|name| (name.to_owned(), cpus.to_string())));
        }
        let time_limit = call.time_limit.unwrap_or(pool.time_limit);
        let mut process = Process::start(&PyOptions {
            env,
            memory_bytes: call.memory_bytes.unwrap_or(pool.memory_bytes),
            time_limit,
            ..pool.clone()
        })
        .await?;
        let mut kept = Kept { sink, params: Map::new(), metrics: Map::new() };
        let request = Request::Step {
            entry: &call.entry,
            params: &call.params,
            dataset: call.dataset.as_ref(),
            out: &call.out,
            checkpoint: call.checkpoint.as_ref(),
        };
        let reply = process.call_with(&request, None, &mut kept, time_limit).await?;
        let filled = std::fs::read_dir(&call.out).is_ok_and(|mut entries| entries.next().is_some());
        Ok(StepResult {
            outputs: reply.outputs,
            params: kept.params,
            metrics: kept.metrics,
            artifact: filled.then_some(call.out),
        })
    }
}

/// Passes events on and keeps the last value of each param and metric.
struct Kept<'a, S> {
    sink: &'a mut S,
    params: Map<String, Value>,
    metrics: Map<String, Value>,
}

impl<S: StepSink> StepSink for Kept<'_, S> {
    async fn event(&mut self, event: StepEvent) -> Result<(), JobError> {
        match &event {
            StepEvent::Params(values) => self.params.extend(values.clone()),
            StepEvent::Metrics(values) => self.metrics.extend(values.clone()),
            StepEvent::Log(_) | StepEvent::Checkpoint(_) => {}
        }
        self.sink.event(event).await
    }
}
