//! What a query gives, in the types that can be declared.
//!
//! | DuckDB | Arrow | declared |
//! |---|---|---|
//! | `HUGEINT` (a sum of ints) and `DECIMAL(38, 0)`, which are one to Arrow; `UBIGINT` | decimal, unsigned | int, where it fits |
//! | `TIME` | time | string, `12:30:00` |
//! | `NULL` | null | string |

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions},
    compute::{CastOptions, cast, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use tidemill_spec::{Digits, Type};

use crate::{
    Error,
    schema::{arrow_type, type_of},
    value::normal,
};

/// How the columns of a query become declared ones.
#[derive(Clone, Debug)]
pub struct Declared {
    schema: SchemaRef,
    types: Vec<Type>,
}

impl Declared {
    /// For a query with these columns.
    ///
    /// # Errors
    /// [`Error::DoubleColumn`], or [`Error::UnknownType`] for one that no declared type stands for.
    pub fn of(schema: &Schema) -> Result<Self, Error> {
        let mut fields: Vec<Field> = Vec::new();
        let mut types = Vec::new();
        for field in schema.fields() {
            let name = field.name();
            if fields.iter().any(|other| other.name() == name) {
                return Err(Error::DoubleColumn(name.clone()));
            }
            let ty =
                declared(field.data_type()).ok_or_else(|| Error::unknown_type(name, field.data_type()))?;
            fields.push(Field::new(name, arrow_type(ty), true));
            types.push(ty);
        }
        Ok(Self { schema: Schema::new(fields).into(), types })
    }

    /// The columns as they will be.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows of the query in these columns.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a whole number that doesn't fit an int.
    pub fn batch(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let columns = self.schema.fields().iter().zip(&self.types).zip(rows.columns());
        let columns = columns
            .map(|((field, ty), array)| converted(field.name(), array, *ty))
            .collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn declared(arrow: &DataType) -> Option<Type> {
    match arrow {
        DataType::Decimal128(Digits::PRECISION_MAX, 0) | DataType::UInt64 => Some(Type::Int),
        DataType::Time32(_) | DataType::Time64(_) | DataType::Null => Some(Type::String),
        other => type_of(other),
    }
}

fn converted(column: &str, array: &ArrayRef, ty: Type) -> Result<ArrayRef, Error> {
    match (array.data_type(), ty) {
        (DataType::UInt64, Type::Int) => whole(column, array),
        (from, Type::Int) if from.is_decimal() => whole(column, array),
        (DataType::Time32(_) | DataType::Time64(_) | DataType::Null, _) => Ok(cast(array, &DataType::Utf8)?),
        _ => normal(array, ty),
    }
}

fn whole(column: &str, array: &ArrayRef) -> Result<ArrayRef, Error> {
    let ints =
        cast_with_options(array, &DataType::Int64, &CastOptions { safe: true, ..CastOptions::default() })?;
    match (0..array.len()).find(|row| array.is_valid(*row) && ints.is_null(*row)) {
        None => Ok(ints),
        Some(row) => {
            let text = cast(array, &DataType::Utf8)?;
            let value = text.as_string::<i32>().value(row).to_owned();
            Err(Error::OutOfRange { column: column.to_owned(), value })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, IntervalMonthDayNanoArray, UInt64Array};

    use super::*;
    use crate::row::json_rows;

    fn given(name: &str, array: ArrayRef) -> Result<String, String> {
        let batch = RecordBatch::try_from_iter([(name, array)]).unwrap();
        let declared = Declared::of(&batch.schema()).map_err(|error| error.to_string())?;
        let batch = declared.batch(&batch).map_err(|error| error.to_string())?;
        Ok(serde_json::to_string(&json_rows(&batch).unwrap()).unwrap())
    }

    fn decimal(values: Vec<i128>, precision: u8, scale: i8) -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
    }

    #[test]
    fn a_sum_of_ints_is_an_int_where_it_fits() {
        let sum = decimal(vec![i128::from(i64::MAX), -3], 38, 0);
        assert_eq!(given("s", sum).unwrap(), r#"[{"s":9223372036854775807},{"s":-3}]"#);
        let error = given("s", decimal(vec![1, i128::from(i64::MAX) + 1], 38, 0)).unwrap_err();
        assert_eq!(error, "column `s` holds 9223372036854775808, which is not an int");
        assert!(given("u", Arc::new(UInt64Array::from(vec![u64::MAX]))).is_err());
    }

    #[test]
    fn a_decimal_keeps_its_digits() {
        assert_eq!(
            given("d", decimal(vec![123_456_789_012_345_678], 18, 2)).unwrap(),
            r#"[{"d":"1234567890123456.78"}]"#
        );
        assert_eq!(given("d", decimal(vec![5], 37, 0)).unwrap(), r#"[{"d":"5"}]"#);
    }

    #[test]
    fn names_come_once_and_what_has_no_type_says_how_to_get_one() {
        let fields = vec![Field::new("a", DataType::Int64, true), Field::new("a", DataType::Utf8, true)];
        let error = Declared::of(&Schema::new(fields)).unwrap_err();
        assert_eq!(error.to_string(), "two columns are named `a`");
        let error = given("i", Arc::new(IntervalMonthDayNanoArray::from(vec![None])));
        assert!(error.unwrap_err().contains("column `i`"));
    }
}
