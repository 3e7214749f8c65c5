//! Warm processes of one model version behind one bounded queue.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, compute::concat_batches};
use futures::future::try_join_all;
use tidemill_pyrun::{Process, PyError, PyOptions};
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::{
    Error, Signature,
    golden::Golden,
    queue::{Queue, Request},
};

/// Between two tries to replace a process that died.
const RESTART_EVERY: Duration = Duration::from_secs(1);

/// How a model is kept warm.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// The model folder, local.
    pub folder: PathBuf,
    /// Python, the project's code and limits; `processes` is how many stay warm (2 or more to survive one's death).
    pub python: PyOptions,
    /// Most requests that may wait; more are refused at once.
    pub queue: usize,
    /// Most rows of waiting requests that one call to Python takes together.
    pub batch_rows: usize,
}

impl ModelOptions {
    /// Two processes, 256 waiting requests, 256 rows a call.
    pub fn new(folder: PathBuf, python: PyOptions) -> Self {
        Self { folder, python: PyOptions { processes: 2, ..python }, queue: 256, batch_rows: 256 }
    }
}

/// A loaded model version. Clones share the processes; the last one dropped kills them.
#[derive(Clone, Debug)]
pub struct ModelPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    signature: Signature,
    queue: Arc<Queue>,
}

impl ModelPool {
    /// Loads the model in every process and lets each predict the golden rows.
    ///
    /// # Errors
    /// A folder that is no model, a golden row that predicts something else, or Python's own.
    pub async fn load(options: ModelOptions) -> Result<Self, Error> {
        let signature = Signature::read(&options.folder)?;
        let golden = Golden::read(&options.folder, &signature)?;
        let queue = Arc::new(Queue::new(options.queue.max(1)));
        let home = Arc::new(Home { options, golden, queue: Arc::clone(&queue) });
        let starts = (0..home.options.python.processes.max(1)).map(|_| home.start());
        for process in try_join_all(starts).await? {
            tokio::spawn(Arc::clone(&home).keep(process));
        }
        Ok(Self { shared: Arc::new(Shared { signature, queue }) })
    }

    /// What the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.shared.signature
    }

    /// Predicts rows made by [`Signature::vectorise`] or [`Signature::select`]: the outputs, in the same
    /// order. A process that dies is replaced and its requests tried once more, each alone.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once, [`Error::Deadline`] after `within`, or what the model raised.
    pub async fn predict(&self, rows: RecordBatch, within: Duration) -> Result<RecordBatch, Error> {
        let deadline = Instant::now() + within;
        let (reply, answer) = oneshot::channel();
        self.shared.queue.put(Request { rows, deadline, alone: false, reply })?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(outputs)) => outputs,
            // Dropped from the queue: it was closed, or nobody got to it in time.
            Ok(Err(_)) if deadline > Instant::now() => Err(Error::Closed),
            Ok(Err(_)) | Err(_) => Err(Error::Deadline),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What each process's task needs.
struct Home {
    options: ModelOptions,
    golden: Golden,
    queue: Arc<Queue>,
}

impl Home {
    /// A process that has the model and predicts its golden rows.
    async fn start(&self) -> Result<Process, Error> {
        let mut process = Process::start(&self.options.python).await?;
        process.load_model(&self.options.folder).await?;
        let outputs = process.predict(self.golden.inputs()).await?;
        self.golden.check(&outputs)?;
        Ok(process)
    }

    /// Serves until the queue closes: a panic costs the process and the requests it had, not its place.
    async fn keep(self: Arc<Self>, mut process: Process) {
        while let Err(error) = tokio::spawn(Arc::clone(&self).serve(process)).await {
            tracing::error!(%error, folder = %self.options.folder.display(), "serving a model has panicked");
            let Some(started) = self.restart().await else { return };
            process = started;
        }
    }

    /// Serves requests until the queue closes, with a new process after one died.
    async fn serve(self: Arc<Self>, mut process: Process) {
        loop {
            let requests = self.queue.take(self.options.batch_rows).await;
            if requests.is_empty() {
                return;
            }
            if self.answer(&mut process, requests).await {
                continue;
            }
            drop(process);
            let Some(started) = self.restart().await else { return };
            process = started;
        }
    }

    /// Answers requests in one call. False if the process can't be used any more.
    async fn answer(&self, process: &mut Process, requests: Vec<Request>) -> bool {
        let outputs = match concat(&requests) {
            Ok(rows) => process.predict(&rows).await,
            Err(error) => Err(error),
        };
        let healthy = !outputs.as_ref().is_err_and(PyError::spoils);
        match outputs {
            Ok(outputs) => share(requests, &outputs),
            Err(error) => self.fail(requests, error),
        }
        healthy
    }

    /// A call failed: those who shared it, or whose process died under them, are tried once more, each alone.
    fn fail(&self, requests: Vec<Request>, error: PyError) {
        let innocent = requests.len() > 1 || matches!(error, PyError::Died { .. } | PyError::Io(_));
        let (spent, again): (Vec<_>, Vec<_>) = requests.into_iter().partition(|one| one.alone || !innocent);
        for request in again.into_iter().rev() {
            self.queue.again(request);
        }
        if let Some(request) = spent.into_iter().next() {
            // Nobody may be waiting any more.
            let _ = request.reply.send(Err(Error::Python(error)));
        }
    }

    /// A fresh process, tried until it comes up or the queue closes.
    async fn restart(&self) -> Option<Process> {
        let mut ticks = interval(RESTART_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.queue.closed() {
                return None;
            }
            match self.start().await {
                Ok(process) => return Some(process),
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    folder = %self.options.folder.display(),
                    "a model's process died and cannot be replaced; trying again"
                ),
            }
        }
    }
}

fn concat(requests: &[Request]) -> Result<RecordBatch, PyError> {
    if let [only] = requests {
        return Ok(only.rows.clone());
    }
    let rows = concat_batches(&requests[0].rows.schema(), requests.iter().map(|request| &request.rows));
    Ok(rows.map_err(tidemill_rows::Error::from)?)
}

/// Gives each caller its rows of the outputs.
fn share(requests: Vec<Request>, outputs: &RecordBatch) {
    let asked: usize = requests.iter().map(|request| request.rows.num_rows()).sum();
    let mut start = 0;
    for request in requests {
        let rows = request.rows.num_rows();
        let answer = if outputs.num_rows() == asked {
            Ok(outputs.slice(start, rows))
        } else {
            let message = format!("the model gave {} rows for {asked}", outputs.num_rows());
            Err(Error::Python(PyError::Returned { message }))
        };
        // Nobody may be waiting any more.
        let _ = request.reply.send(answer);
        start += rows;
    }
}
