//! A registered version made ready to predict whole tables, by the code that serving uses.

use std::{path::PathBuf, time::Duration};

use arrow::{
    array::{BooleanArray, RecordBatch, UInt64Array},
    compute::{and, concat_batches, filter_record_batch, is_not_null, take},
    error::ArrowError,
};
use tidemill_blobs::BlobRef;
use tidemill_catalog::ModelVersion;
use tidemill_inference::{ModelOptions, ModelPool, Scale};
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
    /// The folder is no model, can't be loaded within Python's time limit, a golden row predicts something else, or a server can't
    /// be reached.
    pub async fn load(deps: &Deps, artifact: &str, code_hash: Option<&str>) -> Result<Self, Error> {
        let folder = fetch(deps, artifact).await?;
        let code = match code_hash {
            None => None,
            Some(hash) => {
                Some(tidemill_catalog::code::unpack(&deps.blobs, hash, &deps.cache.join("code")).await?)
            }
        };
        let python = PyOptions { code, ..deps.python.clone() };
        let options = ModelOptions { scale: Scale::always(1), ..ModelOptions::new(artifact, folder, python) };
        let pool = ModelPool::load(options).await.map_err(|error| match error {
            tidemill_inference::Error::Python(source) => {
                Error::Unusable { artifact: artifact.to_owned(), source }
            }
            other => other.into(),
        })?;
        Ok(Self { pool })
    }

    /// Loads a registered version.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_version(deps: &Deps, version: &ModelVersion) -> Result<Self, Error> {
        Self::load(deps, &version.artifact, version.code_hash.as_deref()).await
    }

    /// The outputs for each row of a table that has the model's columns by name; others are ignored. They come as the
    /// flat columns of [`OutputType::columns`](tidemill_spec::OutputType::columns), null for a row that the model can't
    /// take: it fails on nulls, and the row has one.
    ///
    /// # Errors
    /// A column is missing or has another type, or Python fails.
    pub async fn predict(&self, table: &RecordBatch) -> Result<RecordBatch, Error> {
        let rows = self.pool.signature().select(table)?;
        let taken = taken(&rows, &self.pool.signature().no_nulls)?;
        if taken.true_count() == rows.num_rows() {
            return self.outputs(rows).await;
        }
        let outputs = self.outputs(filter_record_batch(&rows, &taken)?).await?;
        Ok(put_back(&outputs, &taken)?)
    }

    /// The outputs for rows that the model takes.
    async fn outputs(&self, rows: RecordBatch) -> Result<RecordBatch, Error> {
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

/// Which rows have no null where the model fails on one.
fn taken(rows: &RecordBatch, no_nulls: &[String]) -> Result<BooleanArray, ArrowError> {
    let every = BooleanArray::from(vec![true; rows.num_rows()]);
    let mut columns = no_nulls.iter().filter_map(|name| rows.column_by_name(name));
    columns.try_fold(every, |all, column| and(&all, &is_not_null(column)?))
}

/// A row for each that was asked for, null where none was taken.
fn put_back(outputs: &RecordBatch, taken: &BooleanArray) -> Result<RecordBatch, ArrowError> {
    let mut next = 0_u64..;
    let places: UInt64Array =
        taken.iter().map(|taken| if taken.unwrap_or(false) { next.next() } else { None }).collect();
    let schema = outputs.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(outputs.columns())
        .map(|(field, column)| Ok((field.name().clone(), take(column, &places, None)?, true)));
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Result<Vec<_>, ArrowError>>()?)
}

/// Where artifacts are kept, each named by its content: no other name is one.
const ARTIFACTS: &str = "artifacts/";

/// Whether a place is one that an artifact can be kept at.
pub(crate) fn is_artifact(place: &str) -> bool {
    place.strip_prefix(ARTIFACTS).is_some_and(|name| name.parse::<BlobRef>().is_ok())
}

/// The artifact as a local folder.
pub(crate) async fn fetch(deps: &Deps, artifact: &str) -> Result<PathBuf, Error> {
    Ok(deps.blobs.fetch_folder(artifact).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array};

    use super::*;

    #[test]
    fn a_row_that_the_model_cannot_take_has_null_outputs_and_costs_no_other() {
        let column = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
        let rows = RecordBatch::try_from_iter([
            ("hour", column(vec![Some(1.0), None, Some(3.0), Some(4.0)])),
            ("delay", column(vec![None, Some(2.0), Some(3.0), None])),
        ])
        .unwrap();
        let taken = taken(&rows, &["hour".to_owned()]).unwrap();
        assert_eq!(taken, BooleanArray::from(vec![true, false, true, true]));
        let said =
            RecordBatch::try_from_iter([("p", column(vec![Some(0.1), Some(0.3), Some(0.4)]))]).unwrap();
        let all = put_back(&said, &taken).unwrap();
        assert_eq!(
            all["p"].as_ref(),
            &Float64Array::from(vec![Some(0.1), None, Some(0.3), Some(0.4)]) as &dyn arrow::array::Array
        );
    }
}
