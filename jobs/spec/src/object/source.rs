//! Entities and sources: what is named, and the rows that come in.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Csv, Meta, Stream};
use crate::{Type, Value};

/// A thing that features describe, and the columns that name one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// Key columns in declared order; at least one, never float.
    pub keys: IndexMap<String, Type>,
}

/// A column of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether null is allowed.
    #[serde(default)]
    pub nullable: bool,
    /// Unit, for people.
    #[serde(default)]
    pub unit: Option<String>,
    /// Least allowed value.
    #[serde(default)]
    pub min: Option<Value>,
    /// Greatest allowed value.
    #[serde(default)]
    pub max: Option<Value>,
    /// The timestamp column that says when the world could know this one; default: the source's available time.
    #[serde(default)]
    pub known_at: Option<String>,
    /// Its name in files, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What a number in a timestamp column counts since 1970; none: a number is no timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
}

/// What is counted since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Epoch {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
}

impl Column {
    /// A column of which only the type is declared.
    pub fn of(ty: Type) -> Self {
        Self {
            ty,
            nullable: false,
            unit: None,
            min: None,
            max: None,
            known_at: None,
            from: None,
            epoch: None,
        }
    }

    /// What files call the column that is declared as `name`.
    pub fn in_files<'a>(&'a self, name: &'a str) -> &'a str {
        self.from.as_deref().unwrap_or(name)
    }

    /// The column that is declared as `name`, for messages about a file: with the file's own name.
    pub fn told(&self, name: &str) -> String {
        match &self.from {
            Some(from) if from != name => format!("`{name}` (`{from}` in the file)"),
            _ => format!("`{name}`"),
        }
    }
}

/// What becomes of columns, or keys of JSON, that files have beyond the declared ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extra {
    /// They are left out, and counted by name.
    #[default]
    Ignore,
    /// They are kept as JSON in a column of their own, [`Extra::COLUMN`].
    Keep,
    /// A file with such columns is refused, a line of JSON is a dead letter.
    Reject,
}

impl Extra {
    /// The column that holds what is kept.
    pub const COLUMN: &str = "extra";

    /// Whether it is what holds where nothing is declared.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which of the rows that share the unique columns counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Newest {
    /// The one that is valid last: an upsert has its own time.
    #[default]
    ValidAt,
    /// The one that was accepted last: a correction may move an event to an earlier time.
    Accepted,
    /// The one with the greatest value in a column; a row without one is older than all that have one.
    Column(String),
}

impl Newest {
    /// Whether it is what holds where nothing is declared.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValidAt => "valid_at",
            Self::Accepted => "accepted",
            Self::Column(column) => column,
        })
    }
}

/// Rows that come in, by file or stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// Its columns, in declared order; with [`Extra::Keep`], the last one is that of what is kept.
    pub columns: IndexMap<String, Column>,
    /// Timestamp column: when it happened.
    pub event_time: String,
    /// Timestamp column: when the world could know it. A row's `valid_at`.
    pub available_time: String,
    /// Timestamp column that gives `created_at`, for imported history; default: the data clock at acceptance.
    #[serde(default)]
    pub created_time: Option<String>,
    /// Bool column that marks a row as a deletion.
    #[serde(default)]
    pub deleted: Option<String>,
    /// Columns of which windows and labels count the newest row each; empty: every row counts.
    #[serde(default)]
    pub unique: Vec<String>,
    /// Which of the rows with the same unique columns that is.
    #[serde(default, skip_serializing_if = "Newest::is_default")]
    pub newest: Newest,
    /// What becomes of what isn't declared.
    #[serde(default, skip_serializing_if = "Extra::is_default")]
    pub extra: Extra,
    /// How its CSV files are written.
    #[serde(default, skip_serializing_if = "Csv::is_default")]
    pub csv: Csv,
    /// The topic whose records are rows too; none: files alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
}

impl Source {
    /// Whether a row may give way to one that is valid before it.
    pub fn corrects_times(&self) -> bool {
        !self.unique.is_empty() && !self.newest.is_default()
    }

    /// Whether a column is one of the row's own times.
    pub fn is_time(&self, column: &str) -> bool {
        let times = [Some(&self.event_time), Some(&self.available_time), self.created_time.as_ref()];
        times.into_iter().flatten().any(|time| time == column)
    }

    /// Whether a column says which row it is, or when it counts: there in a deletion too.
    pub fn names_a_row(&self, column: &str) -> bool {
        let key = self.stream.as_ref().and_then(|stream| stream.key.as_deref());
        self.is_time(column) || key == Some(column) || self.unique.iter().any(|name| name == column)
    }

    /// The column of what isn't declared, where that is kept.
    pub fn kept(&self) -> Option<&'static str> {
        (self.extra == Extra::Keep).then_some(Extra::COLUMN)
    }
}
