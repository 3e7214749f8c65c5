//! Golden rows: what the model predicted where it was trained, and must predict in every process.

use std::path::Path;

use arrow::{array::RecordBatch, compute::concat_batches};
use tidemill_rows::{Row, ipc, rows_of};
use tidemill_spec::Value;

use crate::{Error, Signature};

/// What the columns of expected outputs begin with.
const EXPECTED: &str = "expected.";

/// Inputs and what was predicted for them.
#[derive(Debug)]
pub(crate) struct Golden {
    inputs: RecordBatch,
    expected: Vec<Row>,
    /// Largest difference allowed, relative to values above 1.
    tolerance: f64,
}

impl Golden {
    /// Reads `golden.arrow` of a model folder.
    pub(crate) fn read(folder: &Path, signature: &Signature) -> Result<Self, Error> {
        let wrong = |message: String| Error::Folder { folder: folder.to_owned(), message };
        let bytes = std::fs::read(folder.join("golden.arrow"));
        let bytes = bytes.map_err(|error| wrong(format!("golden.arrow: {error}")))?;
        let rows = ipc::decode(&bytes).map_err(|error| wrong(format!("golden.arrow: {error}")))?;
        let rows =
            concat_batches(&rows.0, &rows.1).map_err(|error| wrong(format!("golden.arrow: {error}")))?;
        if rows.num_rows() == 0 {
            return Err(wrong("golden.arrow has no rows".to_owned()));
        }
        let expected = rows_of(&rows).map_err(|error| wrong(format!("golden.arrow: {error}")))?;
        // LightGBM adds the same f64 in the same order everywhere; only the last sigmoid may round otherwise.
        let tolerance = if signature.flavor == "lightgbm" { 1e-12 } else { 1e-6 };
        Ok(Self { inputs: signature.select(&rows)?, expected, tolerance })
    }

    /// The rows to predict.
    pub(crate) fn inputs(&self) -> &RecordBatch {
        &self.inputs
    }

    /// Compares what a process predicted with what was recorded.
    pub(crate) fn check(&self, outputs: &RecordBatch) -> Result<(), Error> {
        let got = rows_of(outputs).map_err(|error| Error::Rows { message: error.to_string() })?;
        for (row, (got, expected)) in got.iter().zip(&self.expected).enumerate() {
            for (output, got) in got {
                let expected = expected.get(&format!("{EXPECTED}{output}")).unwrap_or(&Value::Null);
                if !self.same(got, expected) {
                    let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
                    return Err(Error::Golden { row, output: output.clone(), expected, got });
                }
            }
        }
        if got.len() == self.expected.len() {
            return Ok(());
        }
        Err(Error::Rows {
            message: format!("{} golden rows gave {} predictions", self.expected.len(), got.len()),
        })
    }

    fn same(&self, got: &Value, expected: &Value) -> bool {
        match (got, expected) {
            (Value::Float(got), Value::Float(expected)) => {
                got.to_bits() == expected.to_bits()
                    || (got - expected).abs() <= self.tolerance * expected.abs().max(1.0)
                    || (got.is_nan() && expected.is_nan())
            }
            _ => got == expected,
        }
    }
}
