//! How rows that came in under an earlier declaration of their source differ from what is declared now.
//!
//! A row's times and tombstone are fixed when it comes in, and its values keep the types they had then. A source may be
//! declared otherwise afterwards: here it is counted what that does to the rows that are there.

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use tidemill_rows::{CREATED_AT, DELETED, Row, VALID_AT, rows_of, source_schema};
use tidemill_spec::{Source, Type, Value};

use crate::{
    CommitRange, Error, Lake, Table, Version,
    scan::{Scan, Types, converted},
    sql::quoted,
    upload::text::declared_as_text,
};

/// Rows of a source that are stored otherwise than it is declared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredOtherwise {
    /// All rows of the source.
    pub rows: i64,
    /// Those that count from another moment than `available_time` says.
    pub available: i64,
    /// Those that were recorded at another moment than `created_time` says, where that is declared.
    pub created: i64,
    /// Those that are tombstones, or not, against what `deleted` says.
    pub deleted: i64,
    /// Columns that were stored with another type.
    pub columns: Vec<StoredColumn>,
}

/// A column whose declared type changed after rows came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredColumn {
    /// Its name.
    pub name: String,
    /// The type that it is declared with now.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Rows with a value of another type that can be read as the declared one.
    pub converted: i64,
    /// Rows whose value can't: it is null wherever it is read.
    pub lost: i64,
    /// One of those values.
    pub example: Option<String>,
}

impl StoredOtherwise {
    /// What people have to know of it, a sentence each; nothing where all rows are as declared.
    pub fn told(&self, source: &Source) -> Vec<String> {
        let name = &source.name;
        let remedy = format!(
            "views, labels and datasets use the stored values; to fix it, declare the source under a new name and upload its files to that one (`{name}` keeps its rows)"
        );
        let times = [
            (self.available, "count from another moment", "available_time", Some(&source.available_time)),
            (self.created, "were recorded at another moment", "created_time", source.created_time.as_ref()),
            (self.deleted, "do not follow it", "deleted", source.deleted.as_ref()),
        ];
        let times = times.into_iter().filter(|(rows, ..)| *rows > 0).map(|(rows, what, field, column)| {
            let declared = column.map_or_else(|| "none".to_owned(), Clone::clone);
            format!(
                "source `{name}`: {rows} of {} rows were uploaded before `{field}: {declared}` was declared and {what}; {remedy}",
                self.rows
            )
        });
        let columns = self.columns.iter().filter(|column| column.converted + column.lost > 0).map(|column| {
            let StoredColumn { name: column, ty, converted, lost, example } = column;
            let example = example.as_ref().map(|text| format!(", such as `{text}`,")).unwrap_or_default();
            format!(
                "source `{name}`: column `{column}` is now declared {ty}; of the rows uploaded before, {converted} are read as {ty}; {lost} can't be read as {ty}{example} and are null in every view, label and dataset"
            )
        });
        times.chain(columns).collect()
    }
}

impl Lake {
    /// Counts the rows of a source that are stored otherwise than `source` declares.
    pub async fn stored_otherwise(
        &self,
        source: &Source,
        version: Version,
    ) -> Result<StoredOtherwise, Error> {
        let scan = self.scan(&Table::source(&source.name), CommitRange::upto(version)).await?;
        if scan.groups.is_empty() {
            return Ok(StoredOtherwise::default());
        }
        let times = times(source, &scan.rows(&source_schema(source), "true"));
        let columns = columns(source, &scan);
        let doing = format!("comparing rows of {} with what is declared", source.name);
        self.duck
            .run(doing, move |session| {
                let counted = first(&session.query(&times)?)?;
                let mut stored = StoredOtherwise {
                    rows: count(&counted, "rows"),
                    available: count(&counted, "available"),
                    created: count(&counted, "created"),
                    deleted: count(&counted, "deleted"),
                    columns: Vec::new(),
                };
                for (name, ty, statement) in columns {
                    let row = first(&session.query(&statement)?)?;
                    stored.add(name, ty, &row);
                }
                Ok(stored)
            })
            .await
    }
}

impl StoredOtherwise {
    fn add(&mut self, name: String, ty: Type, row: &Row) {
        let example = match row.get("example") {
            Some(Value::String(text)) => Some(text.chars().take(40).collect()),
            _ => None,
        };
        let (converted, lost) = (count(row, "converted"), count(row, "lost"));
        match self.columns.iter_mut().find(|column| column.name == name) {
            Some(column) => {
                column.converted += converted;
                column.lost += lost;
                column.example = column.example.take().or(example);
            }
            None => self.columns.push(StoredColumn { name, ty, converted, lost, example }),
        }
    }
}

fn times(source: &Source, rows: &str) -> String {
    let differ = |stored: &str, declared: String| {
        format!("count(*) FILTER (WHERE {stored} IS DISTINCT FROM {declared})")
    };
    let available = differ(VALID_AT, quoted(&source.available_time));
    let created = source.created_time.as_ref().map(|column| differ(CREATED_AT, quoted(column)));
    let deleted = match &source.deleted {
        Some(column) => differ(DELETED, format!("coalesce({}, false)", quoted(column))),
        None => format!("count(*) FILTER (WHERE {DELETED})"),
    };
    format!(
        "SELECT count(*) AS \"rows\", {available} AS available, {} AS created, {deleted} AS deleted FROM {rows}",
        created.unwrap_or_else(|| "0".to_owned())
    )
}

/// For each column that some files have of another type: its name, its declared type, and what counts it there.
fn columns(source: &Source, scan: &Scan) -> Vec<(String, Type, String)> {
    let wanted: Types = source.columns.iter().map(|(name, column)| (name.clone(), Some(column.ty))).collect();
    let mut statements = Vec::new();
    for group in &scan.groups {
        for (name, ty) in group.otherwise(&wanted) {
            let (stored, read) = (quoted(name), converted(name, ty));
            let lost = format!("{stored} IS NOT NULL AND ({read}) IS NULL");
            statements.extend(group.froms(scan.commits).into_iter().map(|from| {
                let statement = format!(
                    "SELECT count({read}) AS converted, count(*) FILTER (WHERE {lost}) AS lost, min({}) FILTER (WHERE {lost}) AS example FROM {from}",
                    declared_as_text(&stored)
                );
                (name.clone(), ty, statement)
            }));
        }
    }
    statements
}

fn first(rows: &RecordBatch) -> Result<Row, tidemill_rows::Error> {
    Ok(rows_of(rows)?.pop().unwrap_or_default())
}

fn count(row: &Row, name: &str) -> i64 {
    match row.get(name) {
        Some(Value::Int(count)) => *count,
        _ => 0,
    }
}
