//! Bytes of single values: little-endian, fixed width but for text and lists, which begin with their length. Used by [`crate::stored`] alone.

use chrono::{DateTime, Datelike as _, NaiveDate};
use tidemill_spec::{Decimal, Type, Value};

/// Why bytes can't be read.
pub(crate) type Reason = &'static str;

/// Appends the bytes of a value of type `ty`; false, with nothing written, if it is null or of another type.
pub(crate) fn put(out: &mut Vec<u8>, ty: Type, value: &Value) -> bool {
    match (ty, value) {
        (Type::String, Value::String(text)) => {
            let Ok(length) = u32::try_from(text.len()) else { return false };
            out.extend(length.to_le_bytes());
            out.extend(text.as_bytes());
        }
        (Type::Int, Value::Int(number)) => out.extend(number.to_le_bytes()),
        (Type::Float, Value::Float(number)) => out.extend(number.to_le_bytes()),
        (Type::Bool, Value::Bool(truth)) => out.push(u8::from(*truth)),
        (Type::Date, Value::Date(day)) => out.extend(day.num_days_from_ce().to_le_bytes()),
        (Type::Timestamp, Value::Timestamp(time)) => out.extend(time.timestamp_micros().to_le_bytes()),
        (Type::Decimal(digits), Value::Decimal(number)) if number.scale() == digits.scale() => {
            out.extend(number.unscaled().to_le_bytes());
        }
        (Type::List { of, length }, Value::List(items)) => {
            let before = out.len();
            let Ok(count) = u32::try_from(items.len()) else { return false };
            out.extend(count.to_le_bytes());
            let fits = length.is_none_or(|length| length == count);
            if !(fits && items.iter().all(|item| put(out, of.into(), item))) {
                out.truncate(before);
                return false;
            }
        }
        _ => return false,
    }
    true
}

/// Reads values one after the other from the front of some bytes.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        self.take(N).map(|bytes| {
            let mut array = [0; N];
            array.copy_from_slice(bytes);
            array
        })
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Reason> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next unsigned 32 bits.
    pub(crate) fn u32(&mut self) -> Result<u32, Reason> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next signed 64 bits.
    pub(crate) fn i64(&mut self) -> Result<i64, Reason> {
        self.array().map(i64::from_le_bytes)
    }

    /// The next value of type `ty`.
    pub(crate) fn value(&mut self, ty: Type) -> Result<Value, Reason> {
        Ok(match ty {
            Type::String => {
                let length = self.u32()? as usize;
                let text = std::str::from_utf8(self.take(length)?).map_err(|_| "text is not UTF-8")?;
                Value::String(text.to_owned())
            }
            Type::Int => Value::Int(self.i64()?),
            Type::Float => Value::Float(f64::from_le_bytes(self.array()?)),
            Type::Bool => Value::Bool(self.byte()? != 0),
            Type::Date => Value::Date(
                NaiveDate::from_num_days_from_ce_opt(i32::from_le_bytes(self.array()?))
                    .ok_or("a day is out of range")?,
            ),
            Type::Timestamp => Value::Timestamp(
                DateTime::from_timestamp_micros(self.i64()?).ok_or("an instant is out of range")?,
            ),
            Type::Decimal(digits) => {
                Value::Decimal(Decimal::new(i128::from_le_bytes(self.array()?), digits.scale()))
            }
            Type::List { of, .. } => {
                let count = self.u32()?;
                Value::List((0..count).map(|_| self.value(of.into())).collect::<Result<_, _>>()?)
            }
        })
    }
}
