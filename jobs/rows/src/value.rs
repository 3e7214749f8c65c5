//! One value of an array, and an array of values.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray as _, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeListArray,
        Float64Builder, Int64Builder, ListArray, StringBuilder, TimestampMicrosecondBuilder,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use chrono::{DateTime, Datelike as _, NaiveDate};
use tidemill_spec::{Decimal, Element, Type, Value};

use crate::{
    Error,
    schema::{arrow_type, item, type_of},
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
        Some(Type::Decimal(digits)) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            Value::Decimal(Decimal::new(unscaled, digits.scale()))
        }
        Some(Type::List { length: None, .. }) => list_of(&array.as_list::<i32>().value(row)),
        Some(Type::List { length: Some(_), .. }) => list_of(&array.as_fixed_size_list().value(row)),
        None => Value::Null,
    }
}

fn list_of(items: &ArrayRef) -> Value {
    Value::List((0..items.len()).map(|item| value_at(items, item)).collect())
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
        ($builder:expr, $($pattern:pat $(if $guard:expr)? => $value:expr),+) => {{
            let mut builder = $builder;
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    $($pattern $(if $guard)? => builder.append_value($value),)+
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
        Type::Decimal(digits) => build!(
            Decimal128Builder::new().with_data_type(arrow_type(ty)),
            Value::Decimal(number) if number.scale() == digits.scale() => number.unscaled()
        ),
        Type::List { of, length } => list_array(column, ty, (of, length), values),
    }
}

/// An array of lists, `of` so many values each.
fn list_array<'a>(
    column: &str,
    ty: Type,
    (of, length): (Element, Option<u32>),
    values: impl IntoIterator<Item = &'a Value>,
) -> Result<ArrayRef, Error> {
    let (mut items, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        let before = items.len();
        match value {
            // A list of a fixed length has its place where it is missing, too.
            Value::Null => items.extend(std::iter::repeat_n(&Value::Null, length.unwrap_or(0) as usize)),
            Value::List(list) if length.is_none_or(|length| length as usize == list.len()) => {
                items.extend(list);
            }
            other => return Err(wrong(column, ty, other)),
        }
        lengths.push(items.len() - before);
        valid.push(!value.is_null());
    }
    let (field, nulls) = (item(of), Some(NullBuffer::from(valid)));
    let items = array(column, of.into(), items)?;
    Ok(match length {
        None => Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, nulls)?),
        Some(length) => Arc::new(FixedSizeListArray::try_new(field, length.cast_signed(), items, nulls)?),
    })
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
            Type::Decimal(digits) => {
                let most = 10_i128.pow(u32::from(digits.precision()));
                (1 - most..most)
                    .prop_map(move |unscaled| Value::Decimal(Decimal::new(unscaled, digits.scale())))
                    .boxed()
            }
            Type::List { of, length } => {
                let item = any_value(of.into()).prop_filter("nothing is missing", |item| !item.is_null());
                let lengths = length.map_or(0..=4, |length| length as usize..=length as usize);
                prop::collection::vec(item, lengths).prop_map(Value::List).boxed()
            }
        };
        prop_oneof![1 => Just(Value::Null), 4 => value].boxed()
    }

    proptest! {
        #[test]
        fn an_array_gives_back_the_values_it_was_made_of(
            (ty, values) in prop::sample::select(vec![
                "string", "int", "float", "bool", "date", "timestamp", "decimal(12,2)", "decimal(38,38)",
                "float[3]", "string[]", "timestamp[]", "decimal(9,4)[2]",
            ]).prop_map(|ty| ty.parse::<Type>().unwrap()).prop_flat_map(|ty| (Just(ty), prop::collection::vec(any_value(ty), 0..20)))
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

    #[test]
    fn a_list_of_another_length_and_a_decimal_of_another_scale_are_of_another_type() {
        let two = Value::List([1.0, 2.0].map(Value::Float).into());
        assert!(array("e", "float[3]".parse().unwrap(), [&two]).is_err());
        let cents = Value::Decimal(Decimal::new(150, 2));
        assert!(array("p", "decimal(9,3)".parse().unwrap(), [&cents]).is_err());
    }
}
