//! One loaded model version: a tree model in this process, or warm Python processes. Which of the two is found out when it is
//! loaded, and callers don't notice.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use tidemill_pyrun::PyOptions;
use tidemill_rows::Row;
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    Error, Outputs, Signature, golden::Golden, health::Processes, in_process::InProcess, outputs_of,
    processes::ProcessPool, scale::Scale,
};

/// How a model is kept warm.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// What its log lines call it.
    pub name: String,
    /// The model folder, local.
    pub folder: PathBuf,
    /// Python, the project's code and memory limit; its `processes` count for nothing here.
    /// Its `time_limit` is the longest a process may take to start, load the model and predict the golden rows; a call may
    /// take as long as its caller allows.
    pub python: PyOptions,
    /// Whether a tree model that can be is computed in this process. Off, its library is asked, in Python.
    pub in_process: bool,
    /// How many processes are kept (2 or more to survive one's death).
    pub scale: Scale,
    /// For how long fewer processes must have been enough before one ends.
    pub calm: Duration,
    /// Most requests that may wait; more are refused at once.
    pub queue: usize,
    /// Most rows of waiting requests that one call to Python takes together.
    pub batch_rows: usize,
}

impl ModelOptions {
    /// In process where that can be, else two processes; 256 waiting requests, 256 rows a call.
    pub fn new(name: impl Into<String>, folder: PathBuf, python: PyOptions) -> Self {
        Self {
            name: name.into(),
            folder,
            python,
            in_process: true,
            scale: Scale::always(2),
            calm: Duration::from_secs(60),
            queue: 256,
            batch_rows: 256,
        }
    }
}

/// A loaded model version. Clones share it; the last one dropped ends its processes.
#[derive(Clone, Debug)]
pub struct ModelPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    signature: Signature,
    runner: Runner,
}

/// Who computes.
#[derive(Debug)]
enum Runner {
    InProcess(InProcess),
    Processes {
        pool: ProcessPool,
        /// Why it is not computed in this process.
        reason: String,
    },
}

impl ModelPool {
    /// Loads the model and lets it predict the golden rows, in every process; returns when the first one has.
    ///
    /// # Errors
    /// If none has: a folder that is no model, a golden row that predicts something else, or Python's own.
    pub async fn load(options: ModelOptions) -> Result<Self, Error> {
        let signature = Signature::read(&options.folder)?;
        let golden = Golden::read(&options.folder, &signature)?;
        if !options.in_process {
            return Self::processes_of(options, signature, golden, "it is not asked for".to_owned()).await;
        }
        let (folder, requests_max) = (options.folder.clone(), options.queue);
        // Large files take seconds.
        let shared = Arc::new((signature, golden));
        let known = Arc::clone(&shared);
        let loading = spawn_blocking(move || InProcess::load(&folder, &known.0, &known.1, requests_max));
        // A panic is a bug of ours, which the library must not share.
        let loaded = loading.await.unwrap_or_else(|error| Err(format!("reading it failed: {error}")));
        let (signature, golden) = Arc::into_inner(shared).ok_or(Error::Closed)?;
        match loaded {
            Ok(loaded) => {
                tracing::info!(model = options.name, "the model is computed in process");
                Ok(Self { shared: Arc::new(Shared { signature, runner: Runner::InProcess(loaded) }) })
            }
            Err(reason) => {
                tracing::info!(model = options.name, reason, "the model runs in Python processes");
                Self::processes_of(options, signature, golden, reason).await
            }
        }
    }

    async fn processes_of(
        options: ModelOptions,
        signature: Signature,
        golden: Golden,
        reason: String,
    ) -> Result<Self, Error> {
        let runner = Runner::Processes { pool: ProcessPool::load(options, golden).await?, reason };
        Ok(Self { shared: Arc::new(Shared { signature, runner }) })
    }

    /// What the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.shared.signature
    }

    /// Why no process answers at the moment; `None` while at least one does.
    pub fn down(&self) -> Option<String> {
        match &self.shared.runner {
            Runner::InProcess(_) => None,
            Runner::Processes { pool, .. } => pool.down(),
        }
    }

    /// How many processes there are, and how busy they are; none of a model that is computed in this process.
    pub fn processes(&self) -> Processes {
        match &self.shared.runner {
            Runner::InProcess(_) => Processes::default(),
            Runner::Processes { pool, .. } => pool.processes(),
        }
    }

    /// Keeps as many processes as are declared now.
    pub fn rescale(&self, scale: Scale) {
        if let Runner::Processes { pool, .. } = &self.shared.runner {
            pool.rescale(scale);
        }
    }

    /// Why the model runs in Python processes; `None` if it is computed in this one.
    pub fn not_in_process(&self) -> Option<&str> {
        match &self.shared.runner {
            Runner::InProcess(_) => None,
            Runner::Processes { reason, .. } => Some(reason),
        }
    }

    /// Predicts rows made by [`Signature::vectorise`] or [`Signature::select`]: the outputs, in the same
    /// order. A request whose process dies is tried once more; one that is not answered by its deadline ends its process.
    ///
    /// # Errors
    /// [`Error::Overloaded`] or [`Error::Down`] at once, [`Error::Deadline`] after `within`, or what the model raised.
    pub async fn predict(&self, rows: RecordBatch, within: Duration) -> Result<RecordBatch, Error> {
        let deadline = Instant::now() + within;
        match &self.shared.runner {
            Runner::InProcess(model) => model.predict(&rows, deadline).await,
            Runner::Processes { pool, .. } => pool.predict(rows, deadline).await,
        }
    }

    /// As [`predict`](Self::predict), of rows by name; a column that a row lacks is null.
    ///
    /// # Errors
    /// As [`predict`](Self::predict), and [`Error::Rows`] for a value of another type.
    pub async fn predict_rows(&self, rows: &[&Row], within: Duration) -> Result<Vec<Outputs>, Error> {
        let deadline = Instant::now() + within;
        match &self.shared.runner {
            Runner::InProcess(model) => model.predict_rows(rows, deadline).await,
            Runner::Processes { pool, .. } => {
                let rows: Vec<Row> = rows.iter().copied().cloned().collect();
                let rows = self.signature().vectorise(&rows)?;
                let outputs = pool.predict(rows, deadline).await?;
                outputs_of(&outputs, &self.signature().outputs)
            }
        }
    }
}
