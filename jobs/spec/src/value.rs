//! The six column types, and values of them.

use std::{cmp::Ordering, fmt};

use chrono::{Datelike as _, NaiveDate};
use serde::{Deserialize, Serialize};
use tidemill_core::Time;

/// The type of a column, a key or a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// UTF-8 text.
    String,
    /// 64-bit signed.
    Int,
    /// 64-bit IEEE 754; NaN is a value of its own, not null.
    Float,
    /// True or false.
    Bool,
    /// A calendar day without a zone.
    Date,
    /// An instant, UTC, microseconds.
    Timestamp,
}

impl Type {
    /// Every type.
    pub const ALL: [Self; 6] =
        [Self::String, Self::Int, Self::Float, Self::Bool, Self::Date, Self::Timestamp];

    /// The word that YAML uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }

    /// The type's name in DuckDB.
    pub fn duckdb(self) -> &'static str {
        match self {
            Self::String => "VARCHAR",
            Self::Int => "BIGINT",
            Self::Float => "DOUBLE",
            Self::Bool => "BOOLEAN",
            Self::Date => "DATE",
            Self::Timestamp => "TIMESTAMPTZ",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One value. As JSON: null, text, number, bool; dates as `2013-06-01`, instants as RFC 3339 in UTC;
/// the floats that JSON lacks as `"NaN"`, `"Infinity"`, `"-Infinity"`. Reading one back needs its [`Type`].
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
            Self::Float(number) if number.is_nan() => "NaN".into(),
            Self::Float(number) if number.is_infinite() => {
                if *number > 0.0 {
                    "Infinity".into()
                } else {
                    "-Infinity".into()
                }
            }
            Self::Float(number) => (*number).into(),
            Self::Bool(truth) => (*truth).into(),
            Self::Date(day) => day.to_string().into(),
            Self::Timestamp(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into(),
        }
    }

    /// Reads JSON as `ty`. A whole number is taken for a float; nothing else is converted.
    pub fn from_json(json: &serde_json::Value, ty: Type) -> Result<Self, WrongType> {
        use serde_json::Value as Json;
        let wrong = || WrongType { expected: ty, got: shorten(&json.to_string()) };
        Ok(match (ty, json) {
            (_, Json::Null) => Self::Null,
            (Type::String, Json::String(text)) => Self::String(text.clone()),
            (Type::Int, Json::Number(number)) => Self::Int(number.as_i64().ok_or_else(wrong)?),
            (Type::Float, Json::Number(number)) => Self::Float(number.as_f64().ok_or_else(wrong)?),
            (Type::Float, Json::String(text)) => Self::Float(match text.as_str() {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => return Err(wrong()),
            }),
            (Type::Bool, Json::Bool(truth)) => Self::Bool(*truth),
            (Type::Date | Type::Timestamp, Json::String(text)) => Self::parse(text, ty)?,
            _ => return Err(wrong()),
        })
    }

    /// Reads text, as given on a command line, as `ty`. An instant without an offset is UTC.
    pub fn parse(text: &str, ty: Type) -> Result<Self, WrongType> {
        let wrong = || WrongType { expected: ty, got: format!("`{}`", shorten(text)) };
        Ok(match ty {
            Type::String => Self::String(text.to_owned()),
            Type::Int => Self::Int(text.parse().map_err(|_| wrong())?),
            Type::Float => Self::Float(text.parse().map_err(|_| wrong())?),
            Type::Bool => Self::Bool(text.parse().map_err(|_| wrong())?),
            Type::Date => Self::Date(text.parse().map_err(|_| wrong())?),
            Type::Timestamp => Self::Timestamp(parse_time(text).ok_or_else(wrong)?),
        })
    }
}

/// An instant as people write it: RFC 3339, or a naive date or date-time taken for UTC; in the years 1 to 9999, which
/// every store holds.
pub fn parse_time(text: &str) -> Option<Time> {
    any_time(text).filter(|time| (1..=9999).contains(&time.year()))
}

fn any_time(text: &str) -> Option<Time> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)))?;
    Some(naive.and_utc())
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

/// Without a type to go by: text stays text, so dates and instants come back as strings.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Bool(truth) => Self::Bool(truth),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            _ => Self::Null,
        })
    }
}
