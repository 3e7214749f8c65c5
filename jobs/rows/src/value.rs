//! One value of an array, and an array of values.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray as _, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder,
        StringBuilder, TimestampMicrosecondBuilder,
    },
    compute::cast,
    datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use chrono::{DateTime, Datelike as _, NaiveDate};
use tidemill_spec::{Type, Value};

use crate::{
    Error,
    schema::{arrow_type, type_of},
};

/// Days from the first of January of year 1 to the epoch, as chrono and Arrow count them.
const EPOCH_DAYS: i32 = 719_163;

/// The value at `row`. The array has one of the types that [`arrow_type`] gives, see [`normal`].
pub fn value_at(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match type_of(array.data_type()) {
        Some(Type::String) => Value::String(array.as_string::<i32>().value(row).to_owned()),
        Some(Type::Int) => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        Some(Type::Float) => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        Some(Type::Bool) => Value::Bool(array.as_boolean().value(row)),
        Some(Type::Date) => {
            let days = array.as_primitive::<Date32Type>().value(row);
            NaiveDate::from_num_days_from_ce_opt(days.saturating_add(EPOCH_DAYS))
                .map_or(Value::Null, Value::Date)
        }
        Some(Type::Timestamp) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            DateTime::from_timestamp_micros(micros).map_or(Value::Null, Value::Timestamp)
        }
        None => Value::Null,
    }
}

/// The array in the one Arrow type that stands for `ty`: other widths, units, zones and dictionaries are cast.
/// Naive instants are UTC.
///
/// # Errors
/// It can't be cast.
pub fn normal(array: &ArrayRef, ty: Type) -> Result<ArrayRef, Error> {
    Ok(if *array.data_type() == arrow_type(ty) { Arc::clone(array) } else { cast(array, &arrow_type(ty))? })
}

/// An array of `ty`. A whole number is taken for a float; `column` is for the message.
///
/// # Errors
/// [`Error::WrongType`] at the first value of another type.
pub fn array<'a>(
    column: &str,
    ty: Type,
    values: impl IntoIterator<Item = &'a Value>,
) -> Result<ArrayRef, Error> {
    macro_rules! build {
        ($builder:expr, $($pattern:pat => $value:expr),+) => {{
            let mut builder = $builder;
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    $($pattern => builder.append_value($value),)+
                    other => return Err(wrong(column, ty, other)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    #[expect(clippy::cast_precision_loss, reason = "whole numbers stand for floats as in JSON")]
    match ty {
        Type::String => build!(StringBuilder::new(), Value::String(text) => text),
        Type::Int => build!(Int64Builder::new(), Value::Int(number) => *number),
        Type::Float => build!(
            Float64Builder::new(), Value::Float(number) => *number, Value::Int(number) => *number as f64
        ),
        Type::Bool => build!(BooleanBuilder::new(), Value::Bool(truth) => *truth),
        Type::Date => build!(
            Date32Builder::new(), Value::Date(day) => day.num_days_from_ce() - EPOCH_DAYS
        ),
        Type::Timestamp => build!(
            TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            Value::Timestamp(time) => time.timestamp_micros()
        ),
    }
}

fn wrong(column: &str, expected: Type, got: &Value) -> Error {
    Error::WrongType { column: column.to_owned(), expected, got: format!("{got:?}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value(ty: Type) -> BoxedStrategy<Value> {
        let value = match ty {
            Type::String => ".{0,8}".prop_map(Value::String).boxed(),
            Type::Int => any::<i64>().prop_map(Value::Int).boxed(),
            Type::Float => any::<f64>().prop_map(Value::Float).boxed(),
            Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Type::Date => (-700_000..2_000_000_i32)
                .prop_map(|days| NaiveDate::from_num_days_from_ce_opt(days).map_or(Value::Null, Value::Date))
                .boxed(),
            Type::Timestamp => (-62_000_000_000_000_000..200_000_000_000_000_000_i64)
                .prop_map(|micros| {
                    DateTime::from_timestamp_micros(micros).map_or(Value::Null, Value::Timestamp)
                })
                .boxed(),
        };
        prop_oneof![1 => Just(Value::Null), 4 => value].boxed()
    }

    proptest! {
        #[test]
        fn an_array_gives_back_the_values_it_was_made_of(
            (ty, values) in prop::sample::select(vec![
                Type::String, Type::Int, Type::Float, Type::Bool, Type::Date, Type::Timestamp,
            ]).prop_flat_map(|ty| (Just(ty), prop::collection::vec(any_value(ty), 0..20)))
        ) {
            let array = array("c", ty, &values).unwrap();
            prop_assert_eq!(array.data_type(), &arrow_type(ty));
            let back: Vec<Value> = (0..values.len()).map(|row| value_at(&array, row)).collect();
            prop_assert_eq!(back, values);
        }
    }

    #[test]
    fn a_value_of_another_type_names_its_column() {
        let error = array("hour", Type::Int, &[Value::Bool(true)]).unwrap_err();
        assert_eq!(error.to_string(), "column `hour` is int, but one of its values is Bool(true)");
    }
}
