//! What a changed declaration of a source does to the rows that are there.
//!
//! Times, tombstones and types follow the declaration whenever rows are read. Here it is counted where they can't: rows
//! without the column that became the available time, and values that can't be read as another type.

use arrow::{array::RecordBatch, datatypes::Schema};
use serde::{Deserialize, Serialize};
use tidemill_rows::{Row, field, rows_of};
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
    /// Those that have no available time: they count nowhere.
    pub timeless: i64,
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
        let timeless = (self.timeless > 0).then(|| {
            let Source { available_time, .. } = source;
            format!(
                "source `{name}`: {} of {} rows were uploaded before `available_time: {available_time}` was declared and have no `{available_time}`: no view, label or dataset counts them; to fix it, upload their files again with that column",
                self.timeless, self.rows
            )
        });
        let columns = self.columns.iter().filter(|column| column.converted + column.lost > 0).map(|column| {
            let StoredColumn { name: column, ty, converted, lost, example } = column;
            let example = example.as_ref().map(|text| format!(", such as `{text}`,")).unwrap_or_default();
            format!(
                "source `{name}`: column `{column}` is now declared {ty}; of the rows uploaded before, {converted} are read as {ty}; {lost} can't be read as {ty}{example} and are null in every view, label and dataset"
            )
        });
        timeless.into_iter().chain(columns).collect()
    }
}

impl Lake {
    /// Counts the rows of a source that are stored otherwise than `source` declares.
    pub async fn stored_otherwise(
        &self,
        source: &Source,
        version: Version,
    ) -> Result<StoredOtherwise, Error> {
        // As they are stored: without what can't be read as it is declared.
        let scan = self.scan(&Table::source(&source.name), CommitRange::upto(version)).await?;
        if scan.groups.is_empty() {
            return Ok(StoredOtherwise::default());
        }
        let available = Schema::new(vec![field(&source.available_time, Type::Timestamp)]);
        let times = format!(
            "SELECT count(*) AS \"rows\", count(*) FILTER (WHERE {} IS NULL) AS timeless FROM {}",
            quoted(&source.available_time),
            scan.rows(&available.into(), "true"),
        );
        let columns = columns(source, &scan);
        let doing = format!("comparing rows of {} with what is declared", source.name);
        self.duck
            .run(doing, move |session| {
                let counted = first(&session.query(&times)?)?;
                let mut stored = StoredOtherwise {
                    rows: count(&counted, "rows"),
                    timeless: count(&counted, "timeless"),
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

/// For each column that some files have of another type: its name, its declared type, and what counts it there.
fn columns(source: &Source, scan: &Scan) -> Vec<(String, Type, String)> {
    let wanted: Types = source.columns.iter().map(|(name, column)| (name.clone(), Some(column.ty))).collect();
    let mut statements = Vec::new();
    for group in &scan.groups {
        for (name, stored_as, ty) in group.otherwise(&wanted) {
            let (stored, read) = (quoted(name), converted(name, stored_as, ty));
            let lost = format!("{stored} IS NOT NULL AND ({read}) IS NULL");
            statements.extend(group.froms(scan.commits).into_iter().map(|from| {
                let statement = format!(
                    "SELECT count({read}) AS converted, count(*) FILTER (WHERE {lost}) AS lost, min({}) FILTER (WHERE {lost}) AS example FROM {from}",
                    declared_as_text(&stored, stored_as)
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
