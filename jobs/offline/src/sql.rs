//! Every generated statement: templates of `queries/`, filled with quoted names, literals and scans.
//!
//! Expressions of users come in as they were declared: `spec` has proven that each is one scalar expression over
//! the columns that are there. Nothing else is ever spliced in unquoted.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use arrow::datatypes::{DataType, SchemaRef};
use tidemill_core::Time;
use tidemill_rows::{CREATED_AT, SEQ, VALID_AT, type_of};
use tidemill_spec::{Type, Value};

use crate::CommitRange;

/// In merged files: the commit that a row came with.
pub(crate) const LAKE_COMMIT: &str = "_lake_commit";

/// A name as SQL reads it, whatever it holds.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names, quoted, between commas.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// Text as SQL reads it.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// An instant as SQL reads it.
pub(crate) fn instant(time: Time) -> String {
    format!("TIMESTAMPTZ '{}+00'", time.format("%Y-%m-%d %H:%M:%S%.6f"))
}

/// A value as SQL reads it, of its own type; null is typed by `ty`.
pub(crate) fn literal(value: &Value, ty: Type) -> String {
    let plain = match value {
        Value::Null => "NULL".to_owned(),
        Value::Timestamp(time) => instant(*time),
        other => text(&other.to_string()),
    };
    format!("CAST({plain} AS {})", ty.duckdb())
}

/// Fills the `{holes}` of a template from `queries/`; its header stays out.
pub(crate) fn fill(template: &str, holes: &[(&str, &str)]) -> String {
    let body = template.lines().filter(|line| !line.trim_start().starts_with("--"));
    // Holes that come later may stand in what fills earlier ones, never the other way round.
    holes.iter().fold(body.collect::<Vec<_>>().join("\n"), |sql, (hole, filling)| {
        sql.replace(&format!("{{{hole}}}"), filling)
    })
}

/// `keys` of two relations are equal; nulls equal nothing.
pub(crate) fn equal_keys<'a>(left: &str, right: &str, keys: impl IntoIterator<Item = &'a String>) -> String {
    let equal = |key: &String| format!("{left}.{key} = {right}.{key}", key = quoted(key));
    keys.into_iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// Two rows share the unique columns, where a null is a value like others; `None` without such columns.
pub(crate) fn same(left: &str, right: &str, unique: &[String]) -> Option<String> {
    let same = |column: &String| {
        format!("{left}.{column} IS NOT DISTINCT FROM {right}.{column}", column = quoted(column))
    };
    (!unique.is_empty()).then(|| unique.iter().map(same).collect::<Vec<_>>().join(" AND "))
}

/// No key is null.
pub(crate) fn present<'a>(keys: impl IntoIterator<Item = &'a String>) -> String {
    let present = |key: &String| format!("{} IS NOT NULL", quoted(key));
    keys.into_iter().map(present).collect::<Vec<_>>().join(" AND ")
}

/// The entity is of this part: `(which from 0, of how many)`.
pub(crate) fn part<'a>(keys: impl IntoIterator<Item = &'a String>, (which, of): (u32, u32)) -> String {
    if of <= 1 { "true".to_owned() } else { format!("hash({}) % {of} = {which}", list(keys)) }
}

/// `expression` where it is a feature of a row that isn't a deletion, typed and named.
pub(crate) fn feature(name: &str, expression: &str, ty: Type) -> String {
    format!("CAST(({expression}) AS {}) AS {}, ", ty.duckdb(), quoted(name))
}

/// Keeps the newest row of each unique key; every row where there is none.
pub(crate) fn newest_of(unique: &[String]) -> String {
    if unique.is_empty() {
        return String::new();
    }
    format!(
        "QUALIFY row_number() OVER (PARTITION BY {} ORDER BY {VALID_AT} DESC, {CREATED_AT} DESC, {SEQ} DESC) = 1",
        list(unique)
    )
}

/// In whole microseconds.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Rows of a table's files, local by now.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    /// Files of which every row counts.
    pub(crate) whole: Vec<PathBuf>,
    /// Merged files of which only the rows of some commits count.
    pub(crate) partly: Vec<PathBuf>,
    /// Those commits.
    pub(crate) commits: CommitRange,
}

impl Scan {
    /// A subquery with exactly the columns of `schema`, which older files may lack; rows that `condition` holds of.
    pub(crate) fn rows(&self, schema: &SchemaRef, condition: &str) -> String {
        let fields = || schema.fields().iter();
        let names: Vec<String> = fields().map(|field| quoted(field.name())).collect();
        let typed = fields().map(|field| {
            format!("CAST(NULL AS {}) AS {}", duckdb_type(field.data_type()), quoted(field.name()))
        });
        let mut sql = format!(
            "(SELECT {} FROM (SELECT {} WHERE false",
            names.join(", "),
            typed.collect::<Vec<_>>().join(", ")
        );
        self.push_files(&mut sql, " UNION ALL BY NAME ");
        let _ = write!(sql, ") WHERE {condition})");
        sql
    }

    /// A subquery with whatever columns the files have; `None` without files.
    pub(crate) fn any_rows(&self) -> Option<String> {
        let mut sql = String::new();
        self.push_files(&mut sql, " UNION ALL BY NAME ");
        let sql = sql.strip_prefix(" UNION ALL BY NAME ")?;
        Some(format!("(SELECT COLUMNS(column_name -> column_name <> '{LAKE_COMMIT}') FROM ({sql}))"))
    }

    fn push_files(&self, sql: &mut String, between: &str) {
        let files = |paths: &[PathBuf]| {
            paths.iter().map(|path| text(&path.to_string_lossy())).collect::<Vec<_>>().join(", ")
        };
        if !self.whole.is_empty() {
            let _ = write!(
                sql,
                "{between}SELECT * FROM read_parquet([{}], union_by_name = true)",
                files(&self.whole)
            );
        }
        if !self.partly.is_empty() {
            let _ = write!(
                sql,
                "{between}SELECT * FROM read_parquet([{}], union_by_name = true) WHERE {LAKE_COMMIT} > {} AND {LAKE_COMMIT} <= {}",
                files(&self.partly),
                self.commits.after,
                self.commits.upto,
            );
        }
    }
}

/// The DuckDB type of a column of ours.
fn duckdb_type(arrow: &DataType) -> &'static str {
    type_of(arrow).map_or("VARCHAR", Type::duckdb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_text_cannot_end_their_quotes() {
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
        assert_eq!(text("it's"), "'it''s'");
        assert_eq!(literal(&Value::Int(-3), Type::Int), "CAST('-3' AS BIGINT)");
    }

    #[test]
    fn a_header_stays_out_of_the_statement() {
        assert_eq!(fill("-- In: {a}\nSELECT {a}, {b}", &[("a", "1"), ("b", "2")]), "SELECT 1, 2");
    }
}
