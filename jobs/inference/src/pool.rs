//! One loaded model version: a tree model in this process, or warm processes behind one bounded queue.
//!
//! Which of the two is found out when it is loaded, and callers don't notice. Each process has a place with a task of its own (`place.rs`), so that what one request does to its process costs that
//! place alone. The pool answers as soon as one place has a process; the others follow.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use tidemill_pyrun::PyOptions;
use tidemill_rows::Row;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::{
    Error, Outputs, Signature,
    golden::Golden,
    health::Health,
    in_process::InProcess,
    outputs_of,
    place::Place,
    queue::{Queue, Request},
};

/// How a model is kept warm.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// What its log lines call it.
    pub name: String,
    /// The model folder, local.
    pub folder: PathBuf,
    /// Python, the project's code and memory limit; `processes` is how many stay warm (2 or more to survive one's death).
    /// Its `time_limit` is the longest a process may take to start, load the model and predict the golden rows; a call may
    /// take as long as its caller allows.
    pub python: PyOptions,
    /// Whether a tree model that can be is computed in this process. Off, its library is asked, in Python.
    pub in_process: bool,
    /// Most requests that may wait; more are refused at once.
    pub queue: usize,
    /// Most rows of waiting requests that one call to Python takes together.
    pub batch_rows: usize,
}

impl ModelOptions {
    /// Two processes, 256 waiting requests, 256 rows a call.
    pub fn new(name: impl Into<String>, folder: PathBuf, python: PyOptions) -> Self {
        Self {
            name: name.into(),
            folder,
            python: PyOptions { processes: 2, ..python },
            in_process: true,
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
        queue: Arc<Queue>,
        health: Arc<Health>,
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
        let loading = spawn_blocking(move || {
            let loaded = InProcess::load(&folder, &signature, &golden, requests_max);
            (loaded, signature, golden)
        });
        let (loaded, signature, golden) = loading.await.map_err(|_| Error::Closed)?;
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
        let queue = Arc::new(Queue::new(options.queue.max(1)));
        let health = Arc::new(Health::new(options.name.clone()));
        let runner = Runner::Processes { queue: Arc::clone(&queue), health: Arc::clone(&health), reason };
        // From here on dropping it, this call included, ends the places.
        let shared = Arc::new(Shared { signature, runner });
        let processes = options.python.processes.max(1);
        let place = Arc::new(Place::new(options, golden, queue, health));
        let (started, mut starts) = mpsc::channel(processes);
        for _ in 0..processes {
            tokio::spawn(Arc::clone(&place).keep(started.clone()));
        }
        drop(started);
        let mut failed = None;
        while let Some(start) = starts.recv().await {
            match start {
                Ok(()) => return Ok(Self { shared }),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(Error::Closed))
    }

    /// What the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.shared.signature
    }

    /// Why no process answers at the moment; `None` while at least one does.
    pub fn down(&self) -> Option<String> {
        match &self.shared.runner {
            Runner::InProcess(_) => None,
            Runner::Processes { health, .. } => health.down(),
        }
    }

    /// Processes that answer now, and how many have ended since the start, for whatever reason; none of a model that is
    /// computed in this process.
    pub fn processes(&self) -> (usize, u64) {
        match &self.shared.runner {
            Runner::InProcess(_) => (0, 0),
            Runner::Processes { health, .. } => health.processes(),
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
            Runner::Processes { queue, health, .. } => ask(queue, health, rows, deadline).await,
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
            Runner::Processes { queue, health, .. } => {
                let rows: Vec<Row> = rows.iter().copied().cloned().collect();
                let rows = self.signature().vectorise(&rows)?;
                let outputs = ask(queue, health, rows, deadline).await?;
                outputs_of(&outputs, &self.signature().outputs)
            }
        }
    }
}

/// The outputs of rows that join the queue.
async fn ask(
    queue: &Queue,
    health: &Health,
    rows: RecordBatch,
    deadline: Instant,
) -> Result<RecordBatch, Error> {
    if let Some(reason) = health.lasting() {
        return Err(Error::Down { reason });
    }
    let (reply, answer) = oneshot::channel();
    queue.put(Request::new(rows, deadline, reply))?;
    match timeout_at(deadline, answer).await {
        Ok(Ok(outputs)) => outputs,
        // Dropped from the queue: it was closed, or nobody got to it in time.
        Ok(Err(_)) if deadline > Instant::now() => Err(Error::Closed),
        Ok(Err(_)) | Err(_) => Err(Error::Deadline),
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Runner::Processes { queue, .. } = &self.runner {
            queue.close();
        }
    }
}
