//! A tree model in this process: loaded from its file, proven by its golden rows, asked without a hop.
//!
//! It answers where it gives the golden rows' own bits; whatever can't be read or differs is left to the library itself, in
//! Python processes. What is small is computed where it is asked; what is large on a thread that may block, a part at a time,
//! so that it ends with its caller's patience.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use arrow::array::RecordBatch;
use serde::Deserialize;
use tidemill_rows::Row;
use tidemill_trees::Trees;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::{Error, Outputs, Signature, columns::Columns, golden::Golden, shares::Shares};

/// Walks through trees that are done at once: about half a millisecond.
const WALKS_AT_ONCE: usize = 50_000;
/// Walks between two looks at the caller's deadline.
const WALKS_A_PART: usize = 2_000_000;

/// For large requests of all models: one for each core.
static CORES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))));

/// A loaded tree model.
#[derive(Debug)]
pub(crate) struct InProcess {
    model: Arc<Model>,
    /// Large requests that may be there at a time.
    places: Semaphore,
    places_max: usize,
}

#[derive(Debug)]
struct Model {
    trees: Trees,
    columns: Columns,
    shares: Shares,
}

/// What of `tidemill.json` concerns the file.
#[derive(Deserialize)]
struct Described {
    file: String,
}

impl InProcess {
    /// Loads the model of a folder; or says why it is not computed here.
    pub(crate) fn load(
        folder: &Path,
        signature: &Signature,
        golden: &Golden,
        requests_max: usize,
    ) -> Result<Self, String> {
        let trees = read(folder, signature)?;
        let columns = Columns::of(signature, trees.names(), trees.features())?;
        if !trees.learnt(&columns.categories(signature)) {
            return Err("the signature's categories are not those that it was trained with".to_owned());
        }
        let shares = Shares::of(&signature.outputs, trees.outputs())?;
        let model = Model { trees, columns, shares };
        let outputs = model.predict(golden.inputs()).map_err(|error| error.to_string())?;
        golden.check_exactly(&outputs).map_err(|error| error.to_string())?;
        let places_max = requests_max.max(1);
        Ok(Self { model: Arc::new(model), places: Semaphore::new(places_max), places_max })
    }

    /// The outputs of a table.
    pub(crate) async fn predict(&self, rows: &RecordBatch, deadline: Instant) -> Result<RecordBatch, Error> {
        let columns = self.columns(self.model.columns.of_batch(rows)?, deadline).await?;
        self.model.shares.batch(&columns)
    }

    /// The outputs of some rows by name.
    pub(crate) async fn predict_rows(&self, rows: &[&Row], deadline: Instant) -> Result<Vec<Outputs>, Error> {
        let columns = self.columns(self.model.columns.of_rows(rows)?, deadline).await?;
        Ok(self.model.shares.rows(&columns))
    }

    async fn columns(&self, matrix: Vec<f64>, deadline: Instant) -> Result<Vec<f64>, Error> {
        if self.model.walks(&matrix) <= WALKS_AT_ONCE {
            return self.model.columns(&matrix);
        }
        let place = self.places.try_acquire();
        let _place = place.map_err(|_| Error::Overloaded { waiting: self.places_max })?;
        let core = timeout_at(deadline, Arc::clone(&CORES).acquire_owned()).await;
        let core = core.map_err(|_| Error::Deadline)?.map_err(|_| Error::Closed)?;
        let (waits, gone) = tokio::sync::oneshot::channel::<()>();
        let model = Arc::clone(&self.model);
        let parts = spawn_blocking(move || {
            let _core = core;
            model.in_parts(&matrix, || waits.is_closed() || deadline <= Instant::now())
        });
        let columns = timeout_at(deadline, parts).await.map_err(|_| Error::Deadline)?;
        drop(gone);
        columns.map_err(|error| {
            tracing::error!(%error, "a prediction in process has panicked");
            Error::Closed
        })?
    }
}

impl Model {
    fn predict(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        self.shares.batch(&self.columns(&self.columns.of_batch(rows)?)?)
    }

    fn columns(&self, matrix: &[f64]) -> Result<Vec<f64>, Error> {
        let given = self.trees.predict(matrix).map_err(|error| Error::Rows {
            message: format!("column `{}`: {error}", self.columns.name(error.feature)),
        })?;
        self.shares.checked(given, |probability| self.trees.complement(probability))
    }

    fn in_parts(&self, matrix: &[f64], given_up: impl Fn() -> bool) -> Result<Vec<f64>, Error> {
        let rows = (WALKS_A_PART / self.trees.trees().max(1)).max(1);
        let mut columns = Vec::new();
        for part in matrix.chunks(rows * self.trees.features()) {
            if given_up() {
                return Err(Error::Deadline);
            }
            columns.extend(self.columns(part)?);
        }
        Ok(columns)
    }

    fn walks(&self, matrix: &[f64]) -> usize {
        matrix.len() / self.trees.features() * self.trees.trees()
    }
}

/// The trees of a folder.
fn read(folder: &Path, signature: &Signature) -> Result<Trees, String> {
    let flavor = signature.flavor.as_str();
    if !matches!(flavor, "lightgbm" | "xgboost") {
        return Err(format!("flavor {flavor} runs in Python"));
    }
    let described = std::fs::read(folder.join("tidemill.json")).map_err(|error| error.to_string())?;
    let Described { file } = serde_json::from_slice(&described).map_err(|error| error.to_string())?;
    if Path::new(&file).file_name().is_none_or(|name| name != file.as_str()) {
        return Err(format!("`{file}` is not a file of the folder"));
    }
    let bytes = std::fs::read(folder.join(&file)).map_err(|error| format!("{file}: {error}"))?;
    let trees = if flavor == "lightgbm" {
        Trees::lightgbm(std::str::from_utf8(&bytes).map_err(|error| format!("{file}: {error}"))?)
    } else {
        Trees::xgboost(&bytes)
    };
    trees.map_err(|error| error.to_string())
}
