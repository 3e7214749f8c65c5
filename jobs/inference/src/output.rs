//! What a model said, typed: of each row for replies, as flat columns for tables.
//!
//! A class comes as a list of the probabilities in the declared order, a vector as a list of its floats, their values
//! checked. The class itself is told from the probabilities here, so that it is the same everywhere.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Float64Array, RecordBatch, RecordBatchOptions, StringArray},
    datatypes::{Float64Type, Schema},
};
use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use tidemill_rows::{field, value_at};
use tidemill_spec::{OutputType, Value};

use crate::Error;

/// What a model said of one row under one name.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A value.
    Scalar(Value),
    /// A class.
    Class {
        /// The most probable one; of equally probable ones the first declared.
        label: String,
        /// Of each class, in declared order.
        probabilities: IndexMap<String, f64>,
    },
    /// A vector.
    Vector(Vec<f64>),
}

/// Outputs of one row by name, in declared order.
pub type Outputs = IndexMap<String, Output>;

impl Output {
    /// As JSON: a value by the rules of [`Value::to_json`], a class as `{"class": …, "probabilities": {CLASS: …}}`, a
    /// vector as a list.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Scalar(value) => value.to_json(),
            Self::Class { label, probabilities } => json!({"class": label, "probabilities": probabilities}),
            Self::Vector(values) => values.as_slice().into(),
        }
    }

    /// Its values in the columns of [`OutputType::columns`], in their order.
    pub fn flat(&self) -> Vec<Value> {
        match self {
            Self::Scalar(value) => vec![value.clone()],
            Self::Class { label, probabilities } => {
                let label = Value::String(label.clone());
                std::iter::once(label).chain(probabilities.values().copied().map(Value::Float)).collect()
            }
            Self::Vector(values) => values.iter().copied().map(Value::Float).collect(),
        }
    }
}

/// The outputs of each row.
///
/// # Errors
/// [`Error::Rows`] if a column is missing or is not what was declared.
pub fn outputs_of(
    batch: &RecordBatch,
    outputs: &IndexMap<String, OutputType>,
) -> Result<Vec<Outputs>, Error> {
    let mut rows = vec![Outputs::with_capacity(outputs.len()); batch.num_rows()];
    for (name, ty) in outputs {
        for (row, output) in rows.iter_mut().zip(column(batch, name, ty)?) {
            row.insert(name.clone(), output);
        }
    }
    Ok(rows)
}

/// The first output of a row that is no prediction: its name, and what it is. A float is a finite number; classes and vectors
/// were checked where they came from.
pub fn unusable(outputs: &Outputs) -> Option<(String, String)> {
    let wrong = |output: &Output| match output {
        Output::Scalar(Value::Float(number)) if !number.is_finite() => Some(match number {
            number if number.is_nan() => "NaN".to_owned(),
            number if *number > 0.0 => "infinity".to_owned(),
            _ => "-infinity".to_owned(),
        }),
        _ => None,
    };
    outputs.iter().find_map(|(name, output)| Some((name.clone(), wrong(output)?)))
}

/// The outputs as the flat columns of [`OutputType::columns`].
///
/// # Errors
/// [`Error::Rows`] if a column is missing or is not what was declared.
pub fn flat(batch: &RecordBatch, outputs: &IndexMap<String, OutputType>) -> Result<RecordBatch, Error> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (name, ty) in outputs {
        fields.extend(ty.columns(name).into_iter().map(|(name, ty)| field(&name, ty)));
        match ty {
            OutputType::Scalar(ty) => arrays.push(scalar(batch, name, *ty)?),
            OutputType::Class(classes) => {
                let values = matrix(batch, name, classes.len())?;
                let labels = values.chunks_exact(classes.len()).map(|row| &classes[most_probable(row)]);
                arrays.push(Arc::new(StringArray::from_iter_values(labels)));
                arrays.extend(transposed(values, classes.len()));
            }
            OutputType::Vector(size) => {
                let size = *size as usize;
                arrays.extend(transposed(matrix(batch, name, size)?, size));
            }
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| Error::Rows { message: error.to_string() })
}

fn column(batch: &RecordBatch, name: &str, ty: &OutputType) -> Result<Vec<Output>, Error> {
    Ok(match ty {
        OutputType::Scalar(ty) => {
            let array = scalar(batch, name, *ty)?;
            (0..array.len()).map(|row| Output::Scalar(value_at(&array, row))).collect()
        }
        OutputType::Class(classes) => {
            let rows = matrix(batch, name, classes.len())?.chunks_exact(classes.len());
            rows.map(|row| class_of(classes, row)).collect()
        }
        OutputType::Vector(size) => {
            let size = *size as usize;
            let rows = matrix(batch, name, size)?.chunks_exact(size);
            rows.map(|row| Output::Vector(row.to_vec())).collect()
        }
    })
}

fn scalar(batch: &RecordBatch, name: &str, ty: tidemill_spec::Type) -> Result<ArrayRef, Error> {
    tidemill_rows::value::normal(named(batch, name)?, ty)
        .map_err(|error| Error::Rows { message: format!("output `{name}`: {error}") })
}

/// `[rows × size]`, row-major.
fn matrix<'a>(batch: &'a RecordBatch, name: &str, size: usize) -> Result<&'a [f64], Error> {
    let array = named(batch, name)?;
    let lists = array.as_fixed_size_list_opt();
    let lists =
        lists.filter(|lists| usize::try_from(lists.value_length()) == Ok(size) && lists.null_count() == 0);
    let values = lists.and_then(|lists| lists.values().as_primitive_opt::<Float64Type>());
    match values {
        Some(values) if values.null_count() == 0 => Ok(values.values()),
        _ => Err(Error::Rows {
            message: format!("output `{name}` is {}, expected lists of {size} floats", array.data_type()),
        }),
    }
}

fn named<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    let missing = || Error::Rows { message: format!("output `{name}` is missing") };
    batch.column_by_name(name).ok_or_else(missing)
}

fn transposed(values: &[f64], size: usize) -> impl Iterator<Item = ArrayRef> {
    let column =
        move |index| Float64Array::from_iter_values(values.chunks_exact(size).map(move |row| row[index]));
    (0..size).map(move |index| Arc::new(column(index)) as ArrayRef)
}

/// The class that probabilities in declared order tell.
pub(crate) fn class_of(classes: &[String], row: &[f64]) -> Output {
    Output::Class {
        label: classes[most_probable(row)].clone(),
        probabilities: classes.iter().cloned().zip(row.iter().copied()).collect(),
    }
}

/// Ties go to the first.
fn most_probable(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, index| if row[index] > row[best] { index } else { best })
}

#[cfg(test)]
mod tests {
    use arrow::array::FixedSizeListArray;
    use tidemill_spec::Type;

    use super::*;

    fn lists(values: &[f64], size: i32) -> ArrayRef {
        let item = Arc::new(field("item", Type::Float));
        let values = Arc::new(Float64Array::from(values.to_vec()));
        Arc::new(FixedSizeListArray::new(item, size, values, None))
    }

    fn declared() -> IndexMap<String, OutputType> {
        let classes = ["low", "mid", "high"].map(str::to_owned);
        let outputs = [
            ("level", OutputType::Class(classes.into())),
            ("place", OutputType::Vector(2)),
            ("rows", Type::Int.into()),
        ];
        outputs.map(|(name, ty)| (name.to_owned(), ty)).into()
    }

    fn said() -> RecordBatch {
        let rows = Arc::new(arrow::array::Int64Array::from(vec![Some(7), None, Some(9)])) as ArrayRef;
        let level = lists(&[0.2, 0.5, 0.3, 0.4, 0.4, 0.2, 0.0, 0.5, 0.5], 3);
        RecordBatch::try_from_iter([
            ("rows", rows),
            ("level", level),
            ("place", lists(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2)),
        ])
        .unwrap()
    }

    #[test]
    fn a_class_is_the_most_probable_one_and_the_first_of_equals() {
        let told: Vec<Json> = outputs_of(&said(), &declared())
            .unwrap()
            .iter()
            .map(|row| row.iter().map(|(name, output)| (name.clone(), output.to_json())).collect())
            .collect();
        assert_eq!(
            told[0],
            json!({
                "level": {"class": "mid", "probabilities": {"low": 0.2, "mid": 0.5, "high": 0.3}},
                "place": [1.0, 2.0],
                "rows": 7,
            })
        );
        assert_eq!((&told[1]["level"]["class"], &told[1]["rows"]), (&json!("low"), &Json::Null));
        assert_eq!(told[2]["level"]["class"], "mid");
    }

    #[test]
    fn rows_of_a_slice_are_its_own() {
        let slice = said().slice(1, 1);
        let Output::Vector(place) = &outputs_of(&slice, &declared()).unwrap()[0]["place"] else { panic!() };
        assert_eq!(place, &[3.0, 4.0]);
    }

    #[test]
    fn a_table_has_each_of_them_in_columns() {
        let rows = tidemill_rows::json_rows(&flat(&said(), &declared()).unwrap()).unwrap();
        let expected = json!({
            "level": "low", "level_low": 0.4, "level_mid": 0.4, "level_high": 0.2,
            "place_0": 3.0, "place_1": 4.0, "rows": null,
        });
        assert_eq!(Json::Object(rows[1].clone()), expected);
    }

    #[test]
    fn what_is_not_declared_so_is_refused() {
        let check = |name: &str, array: ArrayRef, told: &str| {
            let batch = RecordBatch::try_from_iter([(name, array)]).unwrap();
            let outputs = [("place".to_owned(), OutputType::Vector(2))].into();
            assert_eq!(flat(&batch, &outputs).unwrap_err().to_string(), told);
        };
        check("other", lists(&[1.0], 1), "output `place` is missing");
        let scalar = Arc::new(Float64Array::from(vec![1.0]));
        check("place", scalar, "output `place` is Float64, expected lists of 2 floats");
    }
}
