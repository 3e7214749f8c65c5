//! The rows of a source's or view's window and of its reference, and how fresh tables are.

use std::{collections::BTreeMap, ops::Range};

use arrow::{
    array::{AsArray as _, BooleanArray, RecordBatch},
    compute::{and, filter_record_batch, is_not_null},
    datatypes::TimestampMicrosecondType,
};
use tidemill_core::Time;
use tidemill_offline::{Filter, KnownAt, PitRead, PitRequest, Read, Table, View};
use tidemill_registry::Deps;
use tidemill_rows::{DELETED, VALID_AT};
use tidemill_spec::{Check, Monitor, MonitorTarget, Objects, Reference, Value, ViewKind};

use crate::{
    Error,
    column::named,
    facts::{Facts, Pin},
};

/// Everything that the checks ask of a source's or view's window: rows that became valid in it. Of a view that keeps
/// tiles: what it said of the entity whenever its source had a row, as serving would have had it.
pub(crate) async fn of_table(
    deps: &Deps,
    objects: &Objects,
    monitor: &Monitor,
    window: Range<Time>,
    pin: Pin,
) -> Result<Facts, Error> {
    let (MonitorTarget::Source(name) | MonitorTarget::View(name) | MonitorTarget::Model(name)) =
        &monitor.target;
    let Reference::Range { from, to } = monitor.reference else {
        return Err(Error::NoReference(format!("`{name}` has no training snapshot")));
    };
    let (end, due) = (window.end.min(pin.clock), window.end);
    let table = Target::of(deps, objects, name, pin).await?;
    Ok(Facts {
        reference: table.rows(deps, from..to, pin).await?,
        window: table.rows(deps, window.start..end, pin).await?,
        auc: None,
        learnt: false,
        auc_reference: None,
        newest: newest(deps, objects, monitor, end, pin).await?,
        label: None,
        end,
        due,
        now: pin.clock,
        awaited: Vec::new(),
    })
}

/// Rows that a monitor of a source or view watches.
enum Target {
    Rows(Read),
    Windows(Box<View>, Read),
}

impl Target {
    async fn of(deps: &Deps, objects: &Objects, name: &str, pin: Pin) -> Result<Self, Error> {
        if let Some(source) = objects.sources.get(name) {
            return Ok(Self::Rows(Read::source(source, pin.lake)));
        }
        let current = deps.catalog.current_view(name).await?;
        let current = current.ok_or_else(|| unknown("source or view", name))?;
        let view = View::of(&current.plan, current.version);
        Ok(match &view.source {
            Some(source) if view.kind() == ViewKind::Windows => {
                let events = Read::source(source, pin.lake);
                Self::Windows(Box::new(view), events)
            }
            _ => Self::Rows(Read::all(view.table(), pin.lake)),
        })
    }

    async fn rows(&self, deps: &Deps, range: Range<Time>, pin: Pin) -> Result<RecordBatch, Error> {
        // A tombstone's columns say nothing.
        let filter = Filter {
            between: Some((VALID_AT.to_owned(), range.start, range.end)),
            equal: vec![(DELETED.to_owned(), Value::Bool(false))],
            last: None,
        };
        match self {
            Self::Rows(rows) => Ok(deps.lake.read(&Read { filter, ..rows.clone() }).await?),
            Self::Windows(view, events) => {
                let columns = view.keys().into_iter().chain([VALID_AT.to_owned()]).collect();
                let events = Read { filter, columns: Some(columns), ..events.clone() };
                let events = deps.lake.read(&events).await?;
                if events.num_rows() == 0 {
                    return Ok(events);
                }
                let request = PitRequest {
                    labels: of_entities(&events, view)?,
                    label_ts: VALID_AT.to_owned(),
                    reads: vec![PitRead::all(View::clone(view))],
                    version: pin.lake,
                    known_at: KnownAt::Any,
                };
                Ok(deps.lake.point_in_time(&request).await?)
            }
        }
    }
}

/// Rows that name an entity.
fn of_entities(rows: &RecordBatch, view: &View) -> Result<RecordBatch, Error> {
    let mut complete = BooleanArray::from(vec![true; rows.num_rows()]);
    for key in view.keys() {
        complete = and(&complete, &is_not_null(named(rows, &key, "the source")?)?)?;
    }
    Ok(filter_record_batch(rows, &complete)?)
}

/// Newest row of each source and view whose freshness is watched, as of an instant.
pub(crate) async fn newest(
    deps: &Deps,
    objects: &Objects,
    monitor: &Monitor,
    end: Time,
    pin: Pin,
) -> Result<BTreeMap<String, Option<Time>>, Error> {
    let mut newest = BTreeMap::new();
    for check in &monitor.checks {
        let Check::Freshness { object, .. } = check else { continue };
        let between = Some((VALID_AT.to_owned(), Time::UNIX_EPOCH, end));
        let read = Read {
            filter: Filter { between, last: Some(1), ..Filter::default() },
            columns: Some(vec![VALID_AT.to_owned()]),
            ..rows_of(deps, objects, object, pin).await?
        };
        let rows = deps.lake.read(&read).await?;
        let last = rows
            .column_by_name(VALID_AT)
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()?.iter().flatten().max());
        newest.insert(object.clone(), last.and_then(Time::from_timestamp_micros));
    }
    Ok(newest)
}

async fn rows_of(deps: &Deps, objects: &Objects, name: &str, pin: Pin) -> Result<Read, Error> {
    if let Some(source) = objects.sources.get(name) {
        return Ok(Read::source(source, pin.lake));
    }
    let view = deps.catalog.current_view(name).await?.ok_or_else(|| unknown("source or view", name))?;
    Ok(Read::all(Table::view(name, view.version), pin.lake))
}

/// Nothing of that name is declared.
pub(crate) fn unknown(kind: &'static str, name: &str) -> Error {
    Error::Unknown { kind, name: name.to_owned(), known: Vec::new() }
}
