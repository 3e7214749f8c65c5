//! Warm processes of one model version behind one bounded queue.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use tidemill_pyrun::PyOptions;

use crate::{Error, Signature};

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
    signature: Arc<Signature>,
}

impl ModelPool {
    /// Loads the model in every process and lets each predict the golden rows.
    pub async fn load(options: ModelOptions) -> Result<Self, Error> {
        let _ = options;
        todo!()
    }

    /// What the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Predicts rows made by [`Signature::vectorise`] or [`Signature::select`]: the outputs, in the same
    /// order. A process that dies is replaced and its requests tried once more, each alone.
    pub async fn predict(&self, rows: RecordBatch, within: Duration) -> Result<RecordBatch, Error> {
        let _ = (rows, within);
        todo!()
    }
}
