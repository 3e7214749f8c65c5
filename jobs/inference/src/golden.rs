//! Golden rows: what the model predicted where it was trained, and must predict in every process.

use std::path::Path;

use arrow::{array::RecordBatch, compute::concat_batches};
use indexmap::IndexMap;
use tidemill_rows::ipc;
use tidemill_spec::{OutputType, Value};

use crate::{Error, Output, Outputs, Signature, outputs_of};

/// What the columns of expected outputs begin with.
const EXPECTED: &str = "expected.";

/// Inputs and what was predicted for them.
#[derive(Debug)]
pub(crate) struct Golden {
    inputs: RecordBatch,
    expected: Vec<Outputs>,
    outputs: IndexMap<String, OutputType>,
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
        let recorded = signature.outputs.iter();
        let recorded = recorded.map(|(name, ty)| (format!("{EXPECTED}{name}"), ty.clone())).collect();
        let expected =
            outputs_of(&rows, &recorded).map_err(|error| wrong(format!("golden.arrow: {error}")))?;
        // LightGBM adds the same f64 in the same order everywhere; only the last sigmoid may round otherwise.
        let tolerance = if signature.flavor == "lightgbm" { 1e-12 } else { 1e-6 };
        let outputs = signature.outputs.clone();
        Ok(Self { inputs: signature.select(&rows)?, expected, outputs, tolerance })
    }

    /// The rows to predict.
    pub(crate) fn inputs(&self) -> &RecordBatch {
        &self.inputs
    }

    /// Compares what a process predicted with what was recorded.
    pub(crate) fn check(&self, outputs: &RecordBatch) -> Result<(), Error> {
        self.compare(outputs, self.tolerance)
    }

    /// As [`check`](Self::check), to the last bit.
    pub(crate) fn check_exactly(&self, outputs: &RecordBatch) -> Result<(), Error> {
        self.compare(outputs, 0.0)
    }

    fn compare(&self, outputs: &RecordBatch, tolerance: f64) -> Result<(), Error> {
        let got = outputs_of(outputs, &self.outputs)?;
        for (row, (got, expected)) in got.iter().zip(&self.expected).enumerate() {
            for ((output, got), expected) in got.iter().zip(expected.values()) {
                if !same(got, expected, tolerance) {
                    let (expected, got) = (expected.to_json().to_string(), got.to_json().to_string());
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
}

/// Of classes the probabilities count: between two that are equal but for rounding either may be the class.
fn same(got: &Output, expected: &Output, tolerance: f64) -> bool {
    let close = |got: &f64, expected: &f64| close(*got, *expected, tolerance);
    match (got, expected) {
        (Output::Scalar(Value::Float(got)), Output::Scalar(Value::Float(expected))) => close(got, expected),
        (Output::Scalar(got), Output::Scalar(expected)) => got == expected,
        (Output::Class { probabilities: got, .. }, Output::Class { probabilities: expected, .. }) => {
            got.values().zip(expected.values()).all(|(got, expected)| close(got, expected))
        }
        (Output::Vector(got), Output::Vector(expected)) => {
            got.iter().zip(expected).all(|(got, expected)| close(got, expected))
        }
        _ => false,
    }
}

fn close(got: f64, expected: f64, tolerance: f64) -> bool {
    got.to_bits() == expected.to_bits()
        || (tolerance > 0.0 && (got - expected).abs() <= tolerance * expected.abs().max(1.0))
        || (got.is_nan() && expected.is_nan())
}
