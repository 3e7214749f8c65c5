//! A source's own columns: its times, its tombstone, its unique key.

use super::World;
use crate::{
    Encoding, Newest, ObjectKind, ObjectRef, StreamFormat, Type,
    yaml::{Data, fields::At},
};

pub(super) fn source(world: &World<'_>, name: &str, at: &At<'_>) {
    let (Some(source), Some(columns)) = (world.objects.sources.get(name), world.source_columns(name)) else {
        return;
    };
    let this = ObjectRef::new(ObjectKind::Source, name);
    let timestamp = |at: &At<'_>, column: &str| {
        match world.column(at, &this, &columns, column) {
            Some(Type::Timestamp) | None => {}
            Some(other) => drop(at.error(304, format!("`{column}` is {other}, but a time is wanted here"))),
        }
        if source.columns.get(column).is_some_and(|column| column.nullable) {
            at.error(304, format!("`{column}` is a time of the row and cannot be null"))
                .help("rows without it go to the dead letters");
        }
    };
    for (field, column) in [
        ("event_time", Some(&source.event_time)),
        ("available_time", Some(&source.available_time)),
        ("created_time", source.created_time.as_ref()),
    ] {
        // A default repeats the event time, which is checked by its own name.
        let there = at.node.get(field).is_some();
        column.into_iter().filter(|_| there).for_each(|column| timestamp(&at.find(&[field]), column));
    }
    for (column, declared) in &source.columns {
        if let Some(known_at) = &declared.known_at {
            timestamp(&at.find(&["columns", column, "known_at"]), known_at);
        }
    }
    if let Some(column) = &source.deleted {
        let at = at.find(&["deleted"]);
        match world.column(&at, &this, &columns, column) {
            Some(Type::Bool) | None => {}
            Some(other) => drop(at.error(304, format!("`{column}` is {other}, but a tombstone is a bool"))),
        }
    }
    if let Some(key) = source.stream.as_ref().and_then(|stream| stream.key.as_ref()) {
        world.column(&at.find(&["stream", "key"]), &this, &columns, key);
    }
    let of_csv = source.stream.as_ref().is_some_and(|stream| stream.format == StreamFormat::Csv);
    if of_csv && source.csv.encoding != Encoding::Utf8 {
        at.find(&["stream", "format"])
            .error(209, "records of CSV are read as UTF-8, whatever `csv.encoding` says")
            .help("leave the encoding out, or have the records sent as JSON");
    }
    let unique = at.find(&["unique"]);
    let keys = if matches!(unique.node.data, Data::Map(_)) { unique.find(&["keys"]) } else { unique };
    for (index, column) in source.unique.iter().enumerate() {
        world.column(&keys.find(&[&index.to_string()]), &this, &columns, column);
    }
    if let Newest::Column(column) = &source.newest {
        world.column(&at.find(&["unique", "newest"]), &this, &columns, column);
    }
}
