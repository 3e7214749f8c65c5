//! Rows as the numbers that a tree model takes: in its own order of columns, text as the code of its category.
//!
//! The same as `as_matrix` and `in_own_order` of `tidemill.models`, where the rows of Python processes are made.

use std::collections::HashMap;

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    datatypes::{Float64Type, Int64Type},
};
use tidemill_rows::Row;
use tidemill_spec::{Type, Value};

use crate::{Error, InputColumn, Signature};

/// Whole numbers beyond this are not told apart as floats, so none of them is taken.
const EXACT_MAX: u64 = 1 << 53;

/// The columns of a model in its own order.
#[derive(Debug)]
pub(crate) struct Columns(Vec<Column>);

#[derive(Debug)]
struct Column {
    name: String,
    ty: Type,
    /// Of text: the code of each category.
    codes: HashMap<String, f64>,
}

impl Columns {
    /// The signature's columns in the order of the model's own names, where it has any; or why they don't fit it.
    pub(crate) fn of(signature: &Signature, own: Option<&[String]>, count: usize) -> Result<Self, String> {
        let declared = &signature.columns;
        if declared.len() != count {
            return Err(format!("it takes {count} columns, {} are declared", declared.len()));
        }
        let ordered: Vec<&InputColumn> = match own {
            None => declared.iter().collect(),
            Some(own) => own.iter().map(|name| named(declared, name)).collect::<Result<_, _>>()?,
        };
        ordered.into_iter().map(Column::of).collect::<Result<_, _>>().map(Self)
    }

    /// The recorded categories of each column, none of numbers.
    pub(crate) fn categories<'s>(&self, signature: &'s Signature) -> Vec<Option<&'s [String]>> {
        let declared =
            |column: &Column| signature.columns.iter().find(|declared| declared.name == column.name);
        self.0.iter().map(|column| declared(column)?.categories.as_deref()).collect()
    }

    pub(crate) fn name(&self, place: usize) -> &str {
        &self.0[place].name
    }

    /// `[rows × columns]`, row-major, NaN where something is missing or was not seen in training.
    pub(crate) fn of_batch(&self, batch: &RecordBatch) -> Result<Vec<f64>, Error> {
        let (rows, columns) = (batch.num_rows(), self.0.len());
        let mut matrix = vec![f64::NAN; rows * columns];
        for (place, column) in self.0.iter().enumerate() {
            let array = batch.column_by_name(&column.name);
            let array = array.ok_or_else(|| column.wrong("it is missing"))?;
            for row in (0..rows).filter(|row| array.is_valid(*row)) {
                matrix[row * columns + place] = match column.ty {
                    Type::String => column.code(array.as_string::<i32>().value(row)),
                    Type::Int => column.whole(array.as_primitive::<Int64Type>().value(row))?,
                    Type::Float => array.as_primitive::<Float64Type>().value(row),
                    _ => f64::from(u8::from(array.as_boolean().value(row))),
                };
            }
        }
        Ok(matrix)
    }

    /// As [`of_batch`](Self::of_batch), of rows by name; a column that a row lacks is missing.
    pub(crate) fn of_rows(&self, rows: &[&Row]) -> Result<Vec<f64>, Error> {
        let mut matrix = Vec::with_capacity(rows.len() * self.0.len());
        for row in rows {
            for column in &self.0 {
                matrix.push(match row.get(&column.name) {
                    None | Some(Value::Null) => f64::NAN,
                    Some(value) => column.number(value)?,
                });
            }
        }
        Ok(matrix)
    }
}

impl Column {
    fn of(column: &InputColumn) -> Result<Self, String> {
        let mut codes = HashMap::new();
        match (column.ty, &column.categories) {
            (Type::String, Some(categories)) => {
                for (code, category) in (0_u32..).zip(categories) {
                    codes.entry(category.clone()).or_insert(f64::from(code));
                }
            }
            (Type::Int | Type::Float | Type::Bool, _) => {}
            (ty, _) => return Err(format!("column `{}` is a {ty} without codes", column.name)),
        }
        Ok(Self { name: column.name.clone(), ty: column.ty, codes })
    }

    fn number(&self, value: &Value) -> Result<f64, Error> {
        match (self.ty, value) {
            (Type::String, Value::String(text)) => Ok(self.code(text)),
            (Type::Float, Value::Float(number)) => Ok(*number),
            (Type::Int, Value::Int(number)) => self.whole(*number),
            #[expect(clippy::cast_precision_loss, reason = "whole numbers stand for floats as in JSON")]
            (Type::Float, Value::Int(number)) => Ok(*number as f64),
            (Type::Bool, Value::Bool(truth)) => Ok(f64::from(u8::from(*truth))),
            (ty, value) => Err(self.wrong(&format!("it is a {ty}, but one of its values is {value:?}"))),
        }
    }

    fn code(&self, text: &str) -> f64 {
        self.codes.get(text).copied().unwrap_or(f64::NAN)
    }

    #[expect(clippy::cast_precision_loss, reason = "it has at most 53 bits")]
    fn whole(&self, number: i64) -> Result<f64, Error> {
        if number.unsigned_abs() <= EXACT_MAX {
            return Ok(number as f64);
        }
        Err(self.wrong(&format!("{number} is beyond the whole numbers that floats tell apart, to ±2^53")))
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::Rows { message: format!("column `{}`: {problem}", self.name) }
    }
}

/// The declared column that a model calls so. LightGBM writes spaces as underscores.
fn named<'s>(declared: &'s [InputColumn], own: &str) -> Result<&'s InputColumn, String> {
    let written = |name: &str| name.replace(' ', "_");
    let mut found = declared.iter().filter(|column| written(&column.name) == written(own));
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        _ => Err(format!("which of the declared columns its `{own}` is can't be told")),
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;

    fn signature() -> Signature {
        let column = |name: &str, ty, categories: Option<&[&str]>| InputColumn {
            name: name.to_owned(),
            ty,
            categories: categories.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
        };
        Signature {
            flavor: "lightgbm".to_owned(),
            columns: vec![
                column("carrier", Type::String, Some(&["UA", "AA"])),
                column("air time", Type::Int, None),
                column("delay", Type::Float, None),
                column("late", Type::Bool, None),
            ],
            outputs: IndexMap::new(),
            no_nulls: Vec::new(),
        }
    }

    fn names(own: &[&str]) -> Vec<String> {
        own.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn rows_and_tables_give_the_same_numbers_in_the_models_order() {
        let own = names(&["delay", "late", "carrier", "air_time"]);
        let columns = Columns::of(&signature(), Some(&own), 4).unwrap();
        let row = |carrier: &str, time: Value| -> Row {
            let values =
                [("carrier", Value::String(carrier.into())), ("air time", time), ("late", Value::Bool(true))];
            values.map(|(name, value)| (name.to_owned(), value)).into()
        };
        let rows = [row("AA", Value::Int(1 << 53)), row("ZZ", Value::Null)];
        let matrix = columns.of_rows(&[&rows[0], &rows[1]]).unwrap();
        let table = columns.of_batch(&signature().vectorise(&rows).unwrap()).unwrap();
        let bits = |matrix: &[f64]| matrix.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&matrix), bits(&table));
        assert_eq!(format!("{matrix:?}"), "[NaN, 1.0, 1.0, 9007199254740992.0, NaN, 1.0, NaN, NaN]");
    }

    #[test]
    fn what_is_no_number_of_the_model_is_told() {
        let columns = Columns::of(&signature(), None, 4).unwrap();
        let told = |name: &str, value: Value| {
            let row = Row::from([(name.to_owned(), value)]);
            columns.of_rows(&[&row]).unwrap_err().to_string()
        };
        assert_eq!(
            told("air time", Value::Int(-(1 << 53) - 1)),
            "column `air time`: -9007199254740993 is beyond the whole numbers that floats tell apart, to ±2^53"
        );
        assert_eq!(
            told("carrier", Value::Int(1)),
            "column `carrier`: it is a string, but one of its values is Int(1)"
        );
        let refused = |own: &[&str], count| Columns::of(&signature(), Some(&names(own)), count).unwrap_err();
        assert_eq!(refused(&["x"], 1), "it takes 1 columns, 4 are declared");
        assert_eq!(
            refused(&["delay", "late", "carrier", "hour"], 4),
            "which of the declared columns its `hour` is can't be told"
        );
    }
}
