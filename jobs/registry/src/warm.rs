//! A registered version made ready to predict whole tables, by the code that serving uses.

use std::{path::PathBuf, time::Duration};

use arrow::{array::RecordBatch, compute::concat_batches};
use tidemill_catalog::ModelVersion;
use tidemill_inference::{ModelOptions, ModelPool};
use tidemill_pyrun::PyOptions;

use crate::{Deps, Error};

/// Rows of one call to Python.
const ROWS_A_CALL: usize = 10_000;
/// Longest one call may take, real time.
const CALL_TIME_MAX: Duration = Duration::from_secs(300);

/// A version that answers; its processes end when it is dropped.
#[derive(Clone, Debug)]
pub struct Warm {
    pool: ModelPool,
}

impl Warm {
    /// Fetches and loads an artifact; its golden rows have passed when this returns.
    ///
    /// # Errors
    /// The folder is no model, a golden row predicts something else, or a server can't be reached.
    pub async fn load(deps: &Deps, artifact: &str, code_hash: Option<&str>) -> Result<Self, Error> {
        let folder = fetch(deps, artifact).await?;
        let code = match code_hash {
            None => None,
            Some(hash) => {
                Some(tidemill_catalog::code::unpack(&deps.blobs, hash, &deps.cache.join("code")).await?)
            }
        };
        let python = PyOptions { code, ..deps.python.clone() };
        let options = ModelOptions {
            python: PyOptions { processes: 1, ..python.clone() },
            ..ModelOptions::new(folder, python)
        };
        Ok(Self { pool: ModelPool::load(options).await? })
    }

    /// Loads a registered version.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_version(deps: &Deps, version: &ModelVersion) -> Result<Self, Error> {
        Self::load(deps, &version.artifact, version.code_hash.as_deref()).await
    }

    /// The outputs for each row of a table that has the model's columns by name; others are ignored. They come as the
    /// flat columns of [`OutputType::columns`](tidemill_spec::OutputType::columns).
    ///
    /// # Errors
    /// A column is missing or has another type, or Python fails.
    pub async fn predict(&self, table: &RecordBatch) -> Result<RecordBatch, Error> {
        let rows = self.pool.signature().select(table)?;
        let mut parts = Vec::new();
        for start in (0..rows.num_rows()).step_by(ROWS_A_CALL) {
            let call = rows.slice(start, ROWS_A_CALL.min(rows.num_rows() - start));
            parts.push(self.pool.predict(call, CALL_TIME_MAX).await?);
        }
        let outputs = match parts.first() {
            Some(first) => concat_batches(&first.schema(), &parts)?,
            None => self.pool.predict(rows, CALL_TIME_MAX).await?,
        };
        Ok(tidemill_inference::flat(&outputs, &self.pool.signature().outputs)?)
    }
}

/// The artifact as a local folder.
pub(crate) async fn fetch(deps: &Deps, artifact: &str) -> Result<PathBuf, Error> {
    Ok(deps.blobs.fetch_folder(artifact).await?)
}
