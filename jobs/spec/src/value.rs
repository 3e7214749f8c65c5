//! Values of the declared types.

use std::{cmp::Ordering, fmt};

use chrono::{Datelike as _, NaiveDate};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidemill_core::Time;

use crate::{Decimal, Type};

/// One value. As JSON: null, text, number, bool; dates as `2013-06-01`, instants as RFC 3339 in UTC; decimals as text of
/// their digits; a list as a list; a float that is no finite number as null. Reading one back needs its [`Type`]. What each door takes: `docs/reference/values.md`.
#[derive(Clone, Debug)]
pub enum Value {
    /// Missing.
    Null,
    /// Text.
    String(String),
    /// Integer.
    Int(i64),
    /// Float.
    Float(f64),
    /// Truth.
    Bool(bool),
    /// Day.
    Date(NaiveDate),
    /// Instant.
    Timestamp(Time),
    /// Exact number.
    Decimal(Decimal),
    /// Values of one type, none of them missing.
    List(Vec<Value>),
}

/// JSON or text that is not a value of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got}")]
pub struct WrongType {
    /// The declared type.
    pub expected: Type,
    /// What was there, shortened.
    pub got: String,
}

impl Value {
    /// Whether two are the same to the last bit; any NaN is like another.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            _ => self == other,
        }
    }

    /// Whether it is missing.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// As JSON, by the rules above.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::String(text) => text.as_str().into(),
            Self::Int(number) => (*number).into(),
            // JSON has no other floats; of these it makes null.
            Self::Float(number) => (*number).into(),
            Self::Bool(truth) => (*truth).into(),
            Self::Date(day) => day.to_string().into(),
            Self::Timestamp(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into(),
            Self::Decimal(number) => number.to_string().into(),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
        }
    }

    /// Reads JSON as `ty`. A whole number is taken for a float, and a float that is whole for an int where it is exact;
    /// digits in text are an int, for those whose numbers are all floats. A decimal is text of its digits, or a whole
    /// number. Nothing else is converted.
    pub fn from_json(json: &serde_json::Value, ty: Type) -> Result<Self, WrongType> {
        use serde_json::Value as Json;
        let wrong =
            |why: &str| WrongType { expected: ty, got: format!("{}{why}", shorten(&json.to_string())) };
        Ok(match (ty, json) {
            (_, Json::Null) => Self::Null,
            (Type::Int, Json::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Self::Int(int),
                #[expect(clippy::cast_possible_truncation, reason = "whole, and exact below 2^53")]
                (None, Some(float)) if float.fract() == 0.0 && float.abs() < EXACT_MAX => {
                    Self::Int(float as i64)
                }
                (None, Some(float)) if float.fract() == 0.0 => {
                    return Err(wrong(
                        ", which may have lost digits on its way: send ints beyond 2^53 as text",
                    ));
                }
                _ => return Err(wrong("")),
            },
            (Type::Float, Json::Number(number)) => {
                let float = number.as_f64().filter(|float| float.is_finite());
                Self::Float(float.ok_or_else(|| wrong(", which is not a finite number"))?)
            }
            (Type::Float, Json::String(text)) => {
                let number = text.parse::<f64>();
                let infinite = number.is_ok_and(|number| !number.is_finite());
                return Err(wrong(if infinite { ", which is not a finite number" } else { "" }));
            }
            (Type::Bool, Json::Bool(truth)) => Self::Bool(*truth),
            (Type::Decimal(_), Json::Number(number)) if number.is_f64() => match number.as_f64() {
                // Protobuf has whole numbers as floats, too.
                Some(float) if float.fract() == 0.0 && float.abs() < EXACT_MAX => {
                    Self::parse(&format!("{float:.0}"), ty).map_err(|_| wrong(""))?
                }
                _ => return Err(wrong(", which may have lost digits on its way: send decimals as text")),
            },
            (Type::Decimal(_), Json::Number(number)) => {
                Self::parse(&number.to_string(), ty).map_err(|_| wrong(""))?
            }
            (Type::List { of, .. }, Json::Array(items)) => {
                let item = |item: &Json| Self::from_json(item, of.into()).ok().filter(|item| !item.is_null());
                let items: Option<Vec<Self>> = items.iter().map(item).collect();
                Self::list(items.ok_or_else(|| wrong(""))?, ty)?
            }
            (
                Type::String | Type::Int | Type::Date | Type::Timestamp | Type::Decimal(_),
                Json::String(text),
            ) => Self::parse(text, ty).map_err(|error| {
                let nul = text.contains('\0');
                if nul { error } else { wrong("") }
            })?,
            _ => return Err(wrong("")),
        })
    }

    /// Reads text, as given on a command line, as `ty`. An instant without an offset is UTC; a list is JSON, whose numbers
    /// are read by their digits.
    pub fn parse(text: &str, ty: Type) -> Result<Self, WrongType> {
        let because = |why: &str| WrongType { expected: ty, got: format!("`{}`{why}", shorten(text)) };
        let wrong = || because("");
        Ok(match ty {
            Type::String if text.contains('\0') => {
                let shown = shorten(&text.replace('\0', "\\0"));
                return Err(WrongType {
                    expected: ty,
                    got: format!("`{shown}`, which holds a NUL character"),
                });
            }
            Type::String => Self::String(text.to_owned()),
            Type::Int => Self::Int(text.parse().map_err(|_| wrong())?),
            Type::Float => {
                let float: f64 = text.parse().map_err(|_| wrong())?;
                if !float.is_finite() {
                    return Err(because(", which is not a finite number"));
                }
                Self::Float(float)
            }
            Type::Bool => Self::Bool(text.parse().map_err(|_| wrong())?),
            Type::Date => Self::Date(parse_day(text).ok_or_else(wrong)?),
            Type::Timestamp => Self::Timestamp(parse_time(text).ok_or_else(wrong)?),
            Type::Decimal(digits) => Self::Decimal(Decimal::parse(text, digits).ok_or_else(wrong)?),
            Type::List { of, .. } => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| wrong())?;
                let items: Option<Vec<Self>> =
                    items.into_iter().map(|item| written(item.get(), of.into())).collect();
                Self::list(items.ok_or_else(wrong)?, ty)?
            }
        })
    }

    /// A list, if it has the length that its type says.
    pub(crate) fn list(items: Vec<Self>, ty: Type) -> Result<Self, WrongType> {
        let wanted = if let Type::List { length, .. } = ty { length } else { None };
        if wanted.is_some_and(|length| length as usize != items.len()) {
            return Err(WrongType { expected: ty, got: format!("{} values", items.len()) });
        }
        Ok(Self::List(items))
    }
}

/// An item of a list as it stands in JSON.
fn written(json: &str, ty: Type) -> Option<Value> {
    match json.starts_with('"') {
        true => Value::parse(&serde_json::from_str::<String>(json).ok()?, ty).ok(),
        false if ty == Type::String => None,
        false => Value::parse(json, ty).ok(),
    }
}

/// Whole numbers below this are exact as floats.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// An instant as people write it: RFC 3339, or a naive date or date-time taken for UTC; in the years 1 to 9999, which
/// every store holds. Digits below a microsecond go; leap seconds are not known.
pub fn parse_time(text: &str) -> Option<Time> {
    let zoned = chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let naive = || {
        let shape = match text.len() {
            10 => "0000-00-00",
            16 => "0000-00-00 00:00",
            _ => "0000-00-00 00:00:00",
        };
        has_shape(text.as_bytes().get(..shape.len())?, shape.as_bytes()).then_some(())?;
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
            .iter()
            .find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok())
            .or_else(|| parse_day(text).and_then(|day| day.and_hms_opt(0, 0, 0)))
            .map(|naive| naive.and_utc())
    };
    let time = zoned.or_else(naive).filter(|time| time.timestamp_subsec_nanos() < 1_000_000_000)?;
    Time::from_timestamp_micros(time.timestamp_micros()).filter(|time| (1..=9999).contains(&time.year()))
}

/// A day of the years 1 to 9999, as in files: `2024-05-02`.
pub fn parse_day(text: &str) -> Option<NaiveDate> {
    let day = has_shape(text.as_bytes(), b"0000-00-00").then(|| text.parse().ok())?;
    day.filter(|day: &NaiveDate| (1..=9999).contains(&day.year()))
}

/// Whether text has digits where `shape` has zeros, and its other characters; a blank stands for any.
fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    let fits = |(byte, like): (&u8, &u8)| match like {
        b'0' => byte.is_ascii_digit(),
        b' ' => true,
        _ => byte == like,
    };
    text.len() == shape.len() && text.iter().zip(shape).all(fits)
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(40).chain(['…']).collect() }
}

/// What `Display` shows is what [`Value::parse`] reads; null is empty.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::String(text) => f.pad(text),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Bool(truth) => truth.fmt(f),
            Self::Date(day) => day.fmt(f),
            Self::Timestamp(time) => f.pad(&time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
            Self::Decimal(number) => number.fmt(f),
            Self::List(_) => f.pad(&self.to_json().to_string()),
        }
    }
}

/// Total: nulls equal each other and come first, floats by [`f64::total_cmp`], so values can be keys.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Value {
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::String(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::Bool(_) => 4,
            Self::Date(_) => 5,
            Self::Timestamp(_) => 6,
            Self::Decimal(_) => 7,
            Self::List(_) => 8,
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// Without a type to go by: text stays text, so dates, instants and decimals come back as strings.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(truth) => Self::Bool(truth),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::Array(items) => {
                let items = items.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
                Self::List(items.map_err(serde::de::Error::custom)?)
            }
            _ => Self::Null,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: serde_json::Value, ty: Type) -> Result<Value, String> {
        Value::from_json(&json, ty).map_err(|error| error.to_string())
    }

    #[test]
    fn an_int_is_exact_or_refused() {
        for int in [i64::MIN, -1, 0, 336_432_622_316_028_723, i64::MAX] {
            assert_eq!(read(json!(int), Type::Int), Ok(Value::Int(int)));
            assert_eq!(read(json!(int.to_string()), Type::Int), Ok(Value::Int(int)));
        }
        assert_eq!(read(json!(5.0), Type::Int), Ok(Value::Int(5)));
        for (json, got) in [
            (json!(5.5), "5.5"),
            (json!("5.5"), "\"5.5\""),
            (json!("x"), "\"x\""),
            (
                json!(9_223_372_036_854_775_808_u64),
                "9223372036854775808, which may have lost digits on its way: send ints beyond 2^53 as text",
            ),
            (
                json!(336_432_622_316_028_723.0),
                "3.3643262231602874e+17, which may have lost digits on its way: send ints beyond 2^53 as text",
            ),
        ] {
            assert_eq!(read(json, Type::Int), Err(format!("expected int, got {got}")));
        }
    }

    #[test]
    fn what_is_no_finite_number_comes_neither_in_nor_out() {
        for text in ["NaN", "Infinity", "-inf", "1e999"] {
            assert!(
                read(json!(text), Type::Float).unwrap_err().ends_with("which is not a finite number"),
                "{text}"
            );
            assert!(Value::parse(text, Type::Float).is_err(), "{text}");
        }
        for float in [f64::NAN, f64::INFINITY] {
            assert_eq!(Value::Float(float).to_json(), serde_json::Value::Null);
        }
    }

    #[test]
    fn a_decimal_is_text_of_its_digits_or_a_whole_number() {
        let ty: Type = "decimal(20,2)".parse().unwrap();
        let price = |unscaled| Ok(Value::Decimal(Decimal::new(unscaled, 2)));
        for (json, read_as) in [
            (json!("123456789012345678.90"), price(12_345_678_901_234_567_890)),
            (json!(-7), price(-700)),
            (json!(u64::MAX / 100), price(18_446_744_073_709_551_600)),
            (json!("1.234"), Err("expected decimal(20,2), got \"1.234\"".to_owned())),
            (
                json!(0.1),
                Err("expected decimal(20,2), got 0.1, which may have lost digits on its way: send decimals as text".to_owned()),
            ),
        ] {
            assert_eq!(read(json, ty), read_as);
        }
    }

    #[test]
    fn a_list_has_its_length_and_nothing_missing() {
        let three: Type = "float[3]".parse().unwrap();
        let floats = Value::List([0.1, -0.0, 3.0].map(Value::Float).into());
        assert_eq!(read(json!([0.1, -0.0, 3]), three), Ok(floats.clone()));
        assert_eq!(Value::parse(&floats.to_string(), three), Ok(floats));
        for (json, got) in [
            (json!([0.1, 2]), "2 values"),
            (json!([0.1, null, 2]), "[0.1,null,2]"),
            (json!([0.1, "NaN", 2]), "[0.1,\"NaN\",2]"),
            (json!([0.1, [1], 2]), "[0.1,[1],2]"),
            (json!(0.1), "0.1"),
            (json!("[1,2,3]"), "\"[1,2,3]\""),
        ] {
            assert_eq!(read(json, three), Err(format!("expected float[3], got {got}")));
        }
        let list = |text: &str, ty: &str| Value::parse(text, ty.parse().unwrap()).map(|list| list.to_json());
        assert_eq!(list(r#"["a,]", "\"", ""]"#, "string[]"), Ok(json!(["a,]", "\"", ""])));
        assert_eq!(list("[9223372036854775807]", "int[]"), Ok(json!([i64::MAX])));
        assert_eq!(list("[12345678901234567.89]", "decimal(20,2)[]"), Ok(json!(["12345678901234567.89"])));
        assert_eq!(list("[]", "string[]"), Ok(json!([])));
        for text in ["[1]", "[null]", "[", "\"a\"", "[\"\\u0000\"]"] {
            assert!(list(text, "string[]").is_err(), "{text}");
        }
    }

    #[test]
    fn text_holds_no_nul() {
        let error = read(json!("a\0b"), Type::String).unwrap_err();
        assert_eq!(error, "expected string, got `a\\0b`, which holds a NUL character");
    }

    #[test]
    fn an_instant_has_microseconds() {
        let micros = |text| parse_time(text).map(|time| time.timestamp_nanos_opt().unwrap());
        assert_eq!(micros("1970-01-01T00:00:00.0000019Z"), Some(1_000));
        assert_eq!(micros("1969-12-31T23:59:59.9999999Z"), Some(-1_000));
        assert_eq!(micros("2016-12-31T23:59:60Z"), None);
    }

    #[test]
    fn a_day_and_an_instant_are_written_in_full_in_the_years_that_every_store_holds() {
        let day = |text| Value::parse(text, Type::Date).map_err(|error| error.to_string());
        assert_eq!(day("9999-12-31").unwrap().to_string(), "9999-12-31");
        for text in ["+10000-01-01", "0000-12-31", "-0001-01-01", "2024-5-2", " 2024-05-02", "2024-05-02 "] {
            assert_eq!(day(text), Err(format!("expected date, got `{text}`")));
            assert_eq!(parse_time(text), None, "{text}");
        }
        for text in ["2024-05-02T5:03", "2024-5-2 05:03:00", "2024-05-02 05:03:7", "2024-05-02é"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        let minutes = |text| parse_time(text).map(|time| time.to_rfc3339());
        for text in [
            "2024-05-02T05:03",
            "2024-05-02 05:03:00",
            "2024-05-02 05:03:00.000000",
            "2024-05-02T07:03:00+02:00",
        ] {
            assert_eq!(minutes(text).as_deref(), Some("2024-05-02T05:03:00+00:00"), "{text}");
        }
    }
}
