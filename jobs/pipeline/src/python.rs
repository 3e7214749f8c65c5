//! Step `python`: a function of the project, in a process of its own.
//!
//! Its checkpoints are the attempt's: the next attempt is given the last one. What it leaves in `out` is kept on the
//! object store by content, so a repeat of the step keeps the same thing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tidemill_blobs::{BlobRef, Blobs};
use tidemill_catalog::DatasetPartRef;
use tidemill_core::{Cause, Fault, JobError, Kind};
use tidemill_pyrun::{DatasetFiles, PyOptions, PyPool, StepCall, StepEvent, StepSink};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps;

use crate::Deps;

mod left;

/// Larger checkpoints are kept on the object store, so that the engine's rows stay small.
const INLINE_BYTES_MAX: usize = 8 << 10;

/// What the step is called with: its `with` and what a pipeline adds when it is compiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PythonArgs {
    /// What the pipeline says.
    pub with: steps::Python,
    /// The run's params.
    #[serde(default)]
    pub run_params: Map<String, Json>,
    /// Hash of the project's code that the run is pinned to.
    pub code: Option<String>,
    /// Memory limit.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Threads that numeric libraries take; default 1.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// Longest it may take, real time.
    pub time_limit: Duration,
}

impl PythonArgs {
    /// Name of the field that holds what the pipeline says.
    pub const WITH: &'static str = "with";
}

/// The last checkpoint of user code.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// As it is.
    Inline(Json),
    /// On the object store.
    Blob(BlobRef),
}

/// Runs it.
#[derive(Clone, Debug)]
pub struct PythonJob {
    deps: Deps,
}

impl PythonJob {
    /// With what it needs.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for PythonJob {
    type Args = PythonArgs;
    type Checkpoint = Kept;
    const KIND: Kind = steps::PYTHON;

    async fn run(&self, args: &PythonArgs, cx: &mut Context<Kept>) -> Result<Outcome, JobError> {
        let code = self.code(args).await?;
        let workspace = tempfile::tempdir_in(&self.deps.cache).map_err(disk)?;
        let out = workspace.path().join("out");
        std::fs::create_dir(&out).map_err(disk)?;
        let checkpoint = match cx.checkpoint() {
            None => None,
            Some(kept) => Some(open(kept, &self.deps.blobs).await?),
        };
        let call = StepCall {
            entry: args.with.entry.clone(),
            params: args.run_params.clone().into_iter().chain(args.with.params.clone()).collect(),
            dataset: self.dataset(args).await?,
            out,
            checkpoint,
            cpus: args.cpus,
            memory_bytes: args.memory_bytes,
            time_limit: Some(args.time_limit),
        };
        let pool = PyPool::start(PyOptions { code, ..self.deps.python.clone() });
        let result = pool.run_step(call, &mut Events { cx, blobs: &self.deps.blobs }).await?;
        cx.log_params(result.params).await?;
        cx.log_metrics(result.metrics).await?;
        let mut outputs = match result.outputs {
            Json::Object(outputs) => outputs,
            _ => Map::new(),
        };
        for name in ["artifact", "dataset"] {
            if outputs.shift_remove(name).is_some() {
                cx.log(format!(
                    "warning: outputs.{name} is set by the step itself; the function's is not kept"
                ));
            }
        }
        if let Some(dataset) = &args.with.dataset {
            // Says what an artifact was made from, to whoever registers it.
            outputs.insert("dataset".to_owned(), dataset.as_str().into());
        }
        if let Some(folder) = result.artifact {
            let tidied = folder.clone();
            let changed = tokio::task::spawn_blocking(move || left::make_storable(&tidied)).await;
            for note in changed.map_err(JobError::retry)?.map_err(disk)? {
                cx.log(format!("warning: {note}"));
            }
            let keep = || async { Ok(self.deps.blobs.put_folder("artifacts", &folder).await?) };
            let place = cx.persist(keep).await?;
            outputs.insert("artifact".to_owned(), place.into());
        }
        Ok(Outcome::Completed(Json::Object(outputs)))
    }
}

impl PythonJob {
    async fn code(&self, args: &PythonArgs) -> Result<Option<std::path::PathBuf>, JobError> {
        let Some(hash) = &args.code else { return Ok(None) };
        Ok(Some(tidemill_catalog::code::unpack(&self.deps.blobs, hash, &self.deps.cache.join("code")).await?))
    }

    async fn dataset(&self, args: &PythonArgs) -> Result<Option<DatasetFiles>, JobError> {
        let Some(text) = &args.with.dataset else { return Ok(None) };
        let reference: DatasetPartRef = text.parse().map_err(JobError::discard)?;
        let (dataset, part) = self.deps.catalog.dataset_part(reference).await?;
        let file = self.deps.blobs.fetch(&part.path).await?;
        let objects = self.deps.catalog.objects().await?;
        let model = dataset.model.as_ref().and_then(|model| objects.models.get(model));
        let outputs = model.map(|model| model.outputs.clone()).unwrap_or_default();
        Ok(Some(DatasetFiles {
            files: vec![file],
            inputs: dataset.columns,
            label: Some(dataset.label),
            outputs,
        }))
    }
}

/// Hands on what user code says while it runs.
struct Events<'a> {
    cx: &'a mut Context<Kept>,
    blobs: &'a Blobs,
}

impl StepSink for Events<'_> {
    async fn event(&mut self, event: StepEvent) -> Result<(), JobError> {
        match event {
            StepEvent::Log(line) => self.cx.log(line),
            StepEvent::Params(params) => self.cx.log_params(params).await?,
            StepEvent::Metrics(metrics) => self.cx.log_metrics(metrics).await?,
            StepEvent::Checkpoint(value) => {
                let kept = self.cx.persist(|| keep(&value, self.blobs)).await?;
                self.cx.save_checkpoint(kept).await?;
            }
        }
        Ok(())
    }
}

async fn keep(value: &Json, blobs: &Blobs) -> Result<Kept, JobError> {
    let bytes = serde_json::to_vec(value).map_err(JobError::discard)?;
    if bytes.len() <= INLINE_BYTES_MAX {
        return Ok(Kept::Inline(value.clone()));
    }
    Ok(Kept::Blob(blobs.put(bytes.into()).await?))
}

async fn open(kept: &Kept, blobs: &Blobs) -> Result<Json, JobError> {
    match kept {
        Kept::Inline(value) => Ok(value.clone()),
        Kept::Blob(reference) => {
            let bytes = blobs.get(reference).await?;
            serde_json::from_slice(&bytes).map_err(JobError::discard)
        }
    }
}

/// The worker's own disk.
fn disk(error: std::io::Error) -> JobError {
    Cause::of_io(&error).verdict(Fault::from_error(&error))
}
