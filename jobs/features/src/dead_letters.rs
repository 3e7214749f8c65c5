//! Rows that a view could not be computed from: kept in the lake beside its values, and told to whoever asks.

use std::collections::BTreeSet;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use serde::Serialize;
use tidemill_core::Time;
use tidemill_offline::{Filter, Read, Table};
use tidemill_rows::{
    CREATED_AT, DELETED, Row, SEQ, VALID_AT, batch_of, field, rows_of, schema::system_fields,
};
use tidemill_spec::{Type, Value};

use crate::{Deps, Error, compute::DeadRow, subject::Subject, target::Target};

/// A view's dead letters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeadLetters {
    /// All of every version.
    pub count: i64,
    /// The last ones by the time at which their rows became known, newest first.
    pub newest: Vec<DeadLetter>,
}

/// A row that a view's SQL or Python failed on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeadLetter {
    /// The view's version that it is missing in.
    pub version: i64,
    /// When the row became known.
    pub valid_at: Option<Time>,
    /// Why, in one line.
    pub reason: String,
    /// More of it, such as a traceback trimmed to the user's own frames.
    pub detail: Option<String>,
    /// The row as it was read.
    pub row: serde_json::Value,
}

/// A view's dead letters, of which at most `last` are shown.
pub async fn dead_letters(deps: &Deps, view: &str, last: u32) -> Result<DeadLetters, Error> {
    let (table, head) = (table(view), deps.lake.head().await?);
    let count = deps.lake.files(&table, head).await?.iter().map(|file| file.rows).sum();
    let filter = Filter { last: Some(last), ..Filter::default() };
    let rows = rows_of(&deps.lake.read(&Read { filter, ..Read::all(table, head) }).await?)?;
    let mut newest: Vec<DeadLetter> = rows.into_iter().map(letter).collect();
    newest.sort_by_key(|letter| std::cmp::Reverse(letter.valid_at));
    Ok(DeadLetters { count, newest })
}

/// The moments of a version's dead letters.
pub(crate) async fn moments(deps: &Deps, subject: &Subject) -> Result<BTreeSet<Time>, Error> {
    let columns = Some(vec!["version".to_owned(), VALID_AT.to_owned()]);
    let read = Read { columns, ..Read::all(table(subject.name()), deps.lake.head().await?) };
    let own = Value::Int(subject.version.version.into());
    let letters = rows_of(&deps.lake.read(&read).await?)?;
    let moments = letters.iter().filter(|letter| letter.get("version") == Some(&own));
    let moments = moments.filter_map(|letter| match letter.get(VALID_AT) {
        Some(Value::Timestamp(time)) => Some(*time),
        _ => None,
    });
    Ok(moments.collect())
}

/// Where a view's dead letters are.
pub(crate) fn table(view: &str) -> Table {
    Table::from(format!("dead/view/{view}"))
}

/// Dead letters as they are kept.
pub(crate) fn batch(
    subject: &Subject,
    target: &Target,
    dead: &[DeadRow],
) -> Result<(SchemaRef, RecordBatch), Error> {
    let mut fields = vec![field("version", Type::Int)];
    fields.extend(["reason", "detail", "raw"].map(|name| field(name, Type::String)));
    fields.extend(system_fields());
    let schema: SchemaRef = Schema::new(fields).into();
    let row = |dead: &DeadRow| -> Row {
        let text = |text: &str| Value::String(text.to_owned());
        Row::from_iter([
            ("version".to_owned(), Value::Int(subject.version.version.into())),
            ("reason".to_owned(), text(&dead.fault.message)),
            ("detail".to_owned(), dead.fault.detail.as_deref().map_or(Value::Null, text)),
            ("raw".to_owned(), text(&dead.raw)),
            (VALID_AT.to_owned(), dead.valid_at.clone()),
            (CREATED_AT.to_owned(), Value::Timestamp(target.clock)),
            (SEQ.to_owned(), Value::Int(target.lake_version)),
            (DELETED.to_owned(), Value::Bool(false)),
        ])
    };
    let rows: Vec<Row> = dead.iter().map(row).collect();
    Ok((schema.clone(), batch_of(&schema, &rows)?))
}

fn letter(mut row: Row) -> DeadLetter {
    let mut text = |name: &str| match row.swap_remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (reason, detail, raw) = (text("reason"), text("detail"), text("raw").unwrap_or_default());
    DeadLetter {
        version: if let Some(Value::Int(version)) = row.get("version") { *version } else { 0 },
        valid_at: if let Some(Value::Timestamp(time)) = row.get(VALID_AT) { Some(*time) } else { None },
        reason: reason.unwrap_or_default(),
        detail,
        row: serde_json::from_str(&raw).unwrap_or(serde_json::Value::String(raw)),
    }
}
