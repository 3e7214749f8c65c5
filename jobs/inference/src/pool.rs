//! Warm processes of one model version behind one bounded queue.
//!
//! Each process has a place with a task of its own (`place.rs`), so that what one request does to its process costs that
//! place alone. The pool answers as soon as one place has a process; the others follow.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use tidemill_pyrun::PyOptions;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    Error, Signature,
    golden::Golden,
    health::Health,
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
            queue: 256,
            batch_rows: 256,
        }
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
    health: Arc<Health>,
}

impl ModelPool {
    /// Loads the model and lets it predict the golden rows, in every process; returns when the first one has.
    ///
    /// # Errors
    /// If none has: a folder that is no model, a golden row that predicts something else, or Python's own.
    pub async fn load(options: ModelOptions) -> Result<Self, Error> {
        let signature = Signature::read(&options.folder)?;
        let golden = Golden::read(&options.folder, &signature)?;
        let queue = Arc::new(Queue::new(options.queue.max(1)));
        let health = Arc::new(Health::new(options.name.clone()));
        // From here on dropping it, this call included, ends the places.
        let shared = Arc::new(Shared { signature, queue: Arc::clone(&queue), health: Arc::clone(&health) });
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
        self.shared.health.down()
    }

    /// Processes that answer now, and how many have ended since the start, for whatever reason.
    pub fn processes(&self) -> (usize, u64) {
        self.shared.health.processes()
    }

    /// Predicts rows made by [`Signature::vectorise`] or [`Signature::select`]: the outputs, in the same
    /// order. A request whose process dies is tried once more; one that is not answered by its deadline ends its process.
    ///
    /// # Errors
    /// [`Error::Overloaded`] or [`Error::Down`] at once, [`Error::Deadline`] after `within`, or what the model raised.
    pub async fn predict(&self, rows: RecordBatch, within: Duration) -> Result<RecordBatch, Error> {
        if let Some(reason) = self.shared.health.lasting() {
            return Err(Error::Down { reason });
        }
        let deadline = Instant::now() + within;
        let (reply, answer) = oneshot::channel();
        self.shared.queue.put(Request::new(rows, deadline, reply))?;
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
