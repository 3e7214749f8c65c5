//! Records as rows of the log: [`tidemill_rows::prediction_log`] says which columns there are.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use indexmap::IndexMap;
use tidemill_rows::{
    CREATED_AT, DELETED, SEQ, VALID_AT, array,
    prediction_log::{
        ASKED_AS, CODE, Columns, DEFAULTED, ID, LATENCY_US, MASKED, OF_EVERY_ROW, REQUEST, VERSION, VIEWS,
    },
};
use tidemill_spec::{Type, Value};

use super::record::{Entry, Record};

/// Rows of records of one version; `seq`: of the first of them.
///
/// # Errors
/// A value that its column can't hold.
pub(super) fn rows(records: &[Record], seq: i64) -> anyhow::Result<RecordBatch> {
    let Some(first) = records.first() else { return Ok(RecordBatch::new_empty(Columns::default().schema())) };
    let live = &first.live;
    let columns = Columns::of_version(&live.keys, &live.hydration, &live.request, &live.outputs);
    let every = || records.iter().flat_map(|record| record.entries.iter().map(move |entry| (record, entry)));
    let outputs: Vec<IndexMap<String, Value>> = every().map(|(record, entry)| flat(record, entry)).collect();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (name, ty) in OF_EVERY_ROW {
        let values: Vec<Value> =
            every().map(|(record, entry)| of_every_row(name, record, entry, &columns)).collect();
        arrays.push(array(name, ty, &values)?);
    }
    for (name, ty) in &columns.row {
        let value = |(record, entry): (&'_ Record, &'_ Entry)| match entry.row.get(name) {
            Some(value) if !masks(record, name) => value.clone(),
            _ => Value::Null,
        };
        let values: Vec<Value> = every().map(value).collect();
        arrays.push(array(name, *ty, &values)?);
    }
    for (own, (name, ty)) in &columns.outputs {
        let value =
            |((record, _), said): ((&Record, &Entry), &'_ IndexMap<String, Value>)| match said.get(own) {
                Some(value) if !masks(record, own) => value.clone(),
                _ => Value::Null,
            };
        let values: Vec<Value> = every().zip(&outputs).map(value).collect();
        arrays.push(array(name, *ty, &values)?);
    }
    let times = |time: fn(&Record) -> tidemill_core::Time| {
        every().map(move |(record, _)| Value::Timestamp(time(record))).collect::<Vec<_>>()
    };
    arrays.push(array(VALID_AT, Type::Timestamp, &times(|record| record.now))?);
    arrays.push(array(CREATED_AT, Type::Timestamp, &times(|record| record.answered_at))?);
    let numbers: Vec<Value> = (seq..).take(outputs.len()).map(Value::Int).collect();
    arrays.push(array(SEQ, Type::Int, &numbers)?);
    let present: Vec<Value> = vec![Value::Bool(false); outputs.len()];
    arrays.push(array(DELETED, Type::Bool, &present)?);
    Ok(RecordBatch::try_new(columns.schema(), arrays)?)
}

fn of_every_row(column: &str, record: &Record, entry: &Entry, columns: &Columns) -> Value {
    let list = |names: Vec<String>| Value::List(names.into_iter().map(Value::String).collect());
    match column {
        ID => Value::String(entry.id.to_string()),
        REQUEST => Value::String(record.request.to_string()),
        VERSION => record.version.map_or(Value::Null, |version| Value::Int(version.into())),
        ASKED_AS => Value::String(record.asked_as.clone()),
        VIEWS => Value::String(serde_json::to_string(&entry.views).unwrap_or_default()),
        DEFAULTED => list(entry.defaulted.clone()),
        MASKED => {
            let there =
                |name: &&String| columns.row.contains_key(*name) || columns.outputs.contains_key(*name);
            list(record.log.mask.iter().filter(there).cloned().collect())
        }
        CODE => match &entry.outputs {
            Ok(_) => Value::Null,
            // An error always has a code, but for what a model raised without one.
            Err(code) => Value::String(code.map_or_else(|| "error".to_owned(), |code| code.to_string())),
        },
        LATENCY_US => Value::Int(i64::try_from(record.took.as_micros()).unwrap_or(i64::MAX)),
        _ => Value::Null,
    }
}

/// The outputs by the names of their flat columns.
fn flat(record: &Record, entry: &Entry) -> IndexMap<String, Value> {
    let Ok(outputs) = &entry.outputs else { return IndexMap::new() };
    let named =
        record.live.outputs.iter().filter_map(|(name, ty)| Some((ty.columns(name), outputs.get(name)?)));
    named.flat_map(|(columns, output)| columns.into_iter().map(|(name, _)| name).zip(output.flat())).collect()
}

fn masks(record: &Record, column: &str) -> bool {
    record.log.mask.iter().any(|masked| masked == column)
}

/// Records by the version whose columns they have, in the order in which they came.
pub(super) fn by_version(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut groups: Vec<Vec<Record>> = Vec::new();
    for record in records {
        let own = groups.iter_mut().find(|group| {
            let first = &group[0];
            // One version has one document, unless what it reads was changed: then its rows may have other columns.
            first.model == record.model
                && first.version == record.version
                && Arc::ptr_eq(&first.live, &record.live)
        });
        match own {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    groups
}
