//! The columns of a model's array as its declared outputs, checked.
//!
//! The same as `as_outputs` of `tidemill.models`, where the outputs of Python processes are made.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, RecordBatch};
use indexmap::IndexMap;
use tidemill_pyrun::PyError;
use tidemill_rows::field;
use tidemill_spec::{OutputType, Type, Value};

use crate::{Error, Output, Outputs, output::class_of};

/// How far a row's probabilities may be from 1 together: models compute in 32 bits, and authors round.
const SUM_TOLERANCE: f64 = 1e-3;
/// How far one may lie outside of 0 to 1; it is taken as 0 or 1.
const ROUNDING: f64 = 1e-6;

/// How a model's columns are shared out.
#[derive(Debug)]
pub(crate) struct Shares {
    outputs: IndexMap<String, OutputType>,
    /// Columns of all outputs.
    width: usize,
    made: Made,
}

/// How the declared columns are made of the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// They are the same.
    Alike,
    /// Of no and yes, yes is taken.
    Yes,
    /// Of yes, both are made.
    NoAndYes,
}

impl Shares {
    /// For a model that gives so many columns; or why these are not what is declared.
    pub(crate) fn of(outputs: &IndexMap<String, OutputType>, given: usize) -> Result<Self, String> {
        for (name, output) in outputs {
            if let OutputType::Scalar(ty) = output
                && *ty != Type::Float
            {
                return Err(format!("output `{name}` is a {ty}"));
            }
        }
        let width: usize = outputs.values().map(width).sum();
        let made = match (outputs.len(), width, given) {
            (1, 1, 2) => Made::Yes,
            (1, 2, 1) if matches!(outputs[0], OutputType::Class(_)) => Made::NoAndYes,
            _ if width == given => Made::Alike,
            _ => return Err(format!("it gives {given} columns, the declared outputs are {width}")),
        };
        Ok(Self { outputs: outputs.clone(), width, made })
    }

    /// The declared columns, `[rows × width]`; `complement`: 1 less a probability in the model's own precision.
    pub(crate) fn checked(
        &self,
        given: Vec<f64>,
        complement: impl Fn(f64) -> f64,
    ) -> Result<Vec<f64>, Error> {
        let mut columns = match self.made {
            Made::Alike => given,
            Made::Yes => given.chunks_exact(2).map(|pair| pair[1]).collect(),
            Made::NoAndYes => given.into_iter().flat_map(|yes| [complement(yes), yes]).collect(),
        };
        for (row, columns) in columns.chunks_exact_mut(self.width).enumerate() {
            let mut start = 0;
            for (name, output) in &self.outputs {
                let part = &mut columns[start..start + width(output)];
                check(output, part).map_err(|problem| {
                    let message = format!("output `{name}`, row {row}: {problem}");
                    Error::Python(PyError::Returned { message })
                })?;
                start += part.len();
            }
        }
        Ok(columns)
    }

    /// Row by row.
    pub(crate) fn rows(&self, columns: &[f64]) -> Vec<Outputs> {
        columns.chunks_exact(self.width).map(|columns| self.row(columns)).collect()
    }

    /// As a Python process sends them.
    pub(crate) fn batch(&self, columns: &[f64]) -> Result<RecordBatch, Error> {
        let mut start = 0;
        let mut arrays = Vec::with_capacity(self.outputs.len());
        for (name, output) in &self.outputs {
            let place = start..start + width(output);
            let values = columns.chunks_exact(self.width).flat_map(|row| row[place.clone()].iter().copied());
            let values = Arc::new(Float64Array::from_iter_values(values));
            start = place.end;
            let array: ArrayRef = match output {
                OutputType::Scalar(_) => values,
                _ => {
                    let size = i32::try_from(place.len()).unwrap_or(i32::MAX);
                    Arc::new(FixedSizeListArray::new(
                        Arc::new(field("item", Type::Float)),
                        size,
                        values,
                        None,
                    ))
                }
            };
            arrays.push((name, array));
        }
        RecordBatch::try_from_iter(arrays).map_err(|error| Error::Rows { message: error.to_string() })
    }

    fn row(&self, mut columns: &[f64]) -> Outputs {
        let mut outputs = Outputs::with_capacity(self.outputs.len());
        for (name, output) in &self.outputs {
            let (own, rest) = columns.split_at(width(output));
            columns = rest;
            let output = match output {
                OutputType::Scalar(_) => Output::Scalar(Value::Float(own[0])),
                OutputType::Class(classes) => class_of(classes, own),
                OutputType::Vector(_) => Output::Vector(own.to_vec()),
            };
            outputs.insert(name.clone(), output);
        }
        outputs
    }
}

fn width(output: &OutputType) -> usize {
    match output {
        OutputType::Scalar(_) => 1,
        OutputType::Class(classes) => classes.len(),
        OutputType::Vector(size) => *size as usize,
    }
}

/// Probabilities are such, and a vector is finite; whether a float is, is judged row by row later.
fn check(output: &OutputType, values: &mut [f64]) -> Result<(), String> {
    match output {
        OutputType::Scalar(_) => {}
        OutputType::Vector(_) => {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(format!("{value} is not finite"));
            }
        }
        OutputType::Class(_) => {
            let within = -ROUNDING..=1.0 + ROUNDING;
            if let Some(value) = values.iter().find(|value| !within.contains(*value)) {
                return Err(format!("{value} is not a probability"));
            }
            let sum: f64 = values.iter().sum();
            if (sum - 1.0).abs() > SUM_TOLERANCE {
                return Err(format!("its probabilities add up to {sum}, not to 1"));
            }
            for value in values {
                *value = value.clamp(0.0, 1.0);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs_of;

    fn declared(outputs: &[(&str, OutputType)]) -> IndexMap<String, OutputType> {
        outputs.iter().map(|(name, output)| ((*name).to_owned(), output.clone())).collect()
    }

    fn class(names: &[&str]) -> OutputType {
        OutputType::Class(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[track_caller]
    fn check(outputs: &[(&str, OutputType)], given: usize, values: &[f64], expected: &[f64]) {
        let outputs = declared(outputs);
        let shares = Shares::of(&outputs, given).unwrap();
        let columns = shares.checked(values.to_vec(), |p| 1.0 - p).unwrap();
        assert_eq!(columns, expected);
        // Both ways to the same.
        assert_eq!(shares.rows(&columns), outputs_of(&shares.batch(&columns).unwrap(), &outputs).unwrap());
    }

    #[test]
    fn columns_are_shared_out_in_the_declared_order() {
        check(&[("p", Type::Float.into())], 1, &[0.25, 3.0], &[0.25, 3.0]);
        check(&[("p", Type::Float.into())], 2, &[0.25, 0.75, 1.0, 0.0], &[0.75, 0.0]);
        check(&[("late", class(&["no", "yes"]))], 1, &[0.25], &[0.75, 0.25]);
        check(&[("level", class(&["a", "b", "c"]))], 3, &[0.2, 0.2, 0.6], &[0.2, 0.2, 0.6]);
        check(
            &[("v", OutputType::Vector(2)), ("p", Type::Float.into())],
            3,
            &[1.0, 2.0, 3.0],
            &[1.0, 2.0, 3.0],
        );
        check(&[("late", class(&["no", "yes"]))], 2, &[1.000_000_1, -1e-7], &[1.0, 0.0]);
    }

    #[test]
    fn what_is_none_of_the_declared_outputs_is_told() {
        let told = |output: OutputType, given| Shares::of(&declared(&[("o", output)]), given).unwrap_err();
        assert_eq!(told(Type::Int.into(), 1), "output `o` is a int");
        assert_eq!(told(class(&["a", "b", "c"]), 2), "it gives 2 columns, the declared outputs are 3");
        let refused = |output: OutputType, values: &[f64]| {
            let shares = Shares::of(&declared(&[("o", output)]), values.len()).unwrap();
            shares.checked(values.to_vec(), |p| 1.0 - p).unwrap_err().to_string()
        };
        assert_eq!(
            refused(class(&["a", "b"]), &[0.25, 0.25]),
            "output `o`, row 0: its probabilities add up to 0.5, not to 1"
        );
        assert_eq!(refused(class(&["a", "b"]), &[1.5, -0.5]), "output `o`, row 0: 1.5 is not a probability");
        assert_eq!(refused(OutputType::Vector(2), &[f64::NAN, 1.0]), "output `o`, row 0: NaN is not finite");
    }
}
