//! The rows of a source's or view's window and of its reference, and how fresh tables are.

use std::{collections::BTreeMap, ops::Range};

use arrow::{
    array::{AsArray as _, BooleanArray, RecordBatch},
    compute::{and, concat_batches, filter_record_batch, is_not_null},
    datatypes::TimestampMicrosecondType,
};
use tidemill_core::Time;
use tidemill_offline::{Filter, KnownAt, PitRead, PitRequest, Read, View};
use tidemill_registry::Deps;
use tidemill_rows::{DELETED, VALID_AT};
use tidemill_spec::{Check, Monitor, MonitorTarget, Objects, Reference, Value, ViewKind};

use crate::{
    Error,
    column::named,
    facts::{Facts, Pin},
};

/// Everything that the checks ask of a source's or view's window: rows that became valid in it. Of a view of windows, or
/// one that holds nothing: what it said of the entity whenever its source, or an input, had a row, as serving would have had
/// it.
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
    Rows(Box<Read>),
    Values(Box<View>, Vec<Read>),
}

impl Target {
    async fn of(deps: &Deps, objects: &Objects, name: &str, pin: Pin) -> Result<Self, Error> {
        if let Some(source) = objects.sources.get(name) {
            return Ok(Self::Rows(Box::new(Read::source(source, pin.lake))));
        }
        let current = deps.catalog.current_view(name).await?;
        let current = current.ok_or_else(|| unknown("source or view", name))?;
        let view = View::of(&current.plan, current.version);
        Ok(match view.kind() {
            ViewKind::Windows | ViewKind::Derived => {
                let events = view.of_same_entity().into_iter().map(|view| moments_of(view, pin)).collect();
                Self::Values(Box::new(view), events)
            }
            ViewKind::Rows | ViewKind::Snapshots => Self::Rows(Box::new(Read::all(view.table(), pin.lake))),
        })
    }

    async fn rows(&self, deps: &Deps, range: Range<Time>, pin: Pin) -> Result<RecordBatch, Error> {
        // A tombstone's columns say nothing.
        let filter = Filter {
            between: Some((VALID_AT.to_owned(), range.start, range.end)),
            equal: vec![(DELETED.to_owned(), Value::Bool(false))],
            ..Filter::default()
        };
        match self {
            Self::Rows(rows) => Ok(deps.lake.read(&Read { filter, ..Read::clone(rows) }).await?),
            Self::Values(view, reads) => {
                let columns: Vec<String> = view.keys().into_iter().chain([VALID_AT.to_owned()]).collect();
                let mut events = Vec::new();
                for read in reads {
                    let (filter, columns) = (filter.clone(), Some(columns.clone()));
                    events.push(deps.lake.read(&Read { filter, columns, ..read.clone() }).await?);
                }
                let Some(schema) = events.first().map(RecordBatch::schema) else {
                    return Err(Error::Unknown {
                        kind: "input of the same entity in view",
                        name: view.name().to_owned(),
                        known: Vec::new(),
                    });
                };
                let events = concat_batches(&schema, &events)?;
                if events.num_rows() == 0 {
                    return Ok(events);
                }
                let request = PitRequest {
                    labels: of_entities(&events, view)?,
                    label_ts: VALID_AT.to_owned(),
                    reads: vec![PitRead::all(View::clone(view))],
                    version: pin.lake,
                    known_at: KnownAt::Any,
                    on_demand: None,
                };
                Ok(deps.lake.point_in_time(&request).await?)
            }
        }
    }
}

/// The rows at whose moments a view changes.
fn moments_of(view: &View, pin: Pin) -> Read {
    match &view.source {
        Some(source) if view.kind() == ViewKind::Windows => Read::source(source, pin.lake),
        _ => Read::all(view.table(), pin.lake),
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
        let mut oldest = None;
        for rows in rows_of(deps, objects, object, pin).await? {
            let between = Some((VALID_AT.to_owned(), Time::UNIX_EPOCH, end));
            let read = Read {
                filter: Filter { between, last: Some(1), ..Filter::default() },
                columns: Some(vec![VALID_AT.to_owned()]),
                ..rows
            };
            let rows = deps.lake.read(&read).await?;
            let last = rows.column_by_name(VALID_AT).and_then(|column| {
                column.as_primitive_opt::<TimestampMicrosecondType>()?.iter().flatten().max()
            });
            oldest = oldest.into_iter().chain(last.and_then(Time::from_timestamp_micros)).min();
        }
        newest.insert(object.clone(), oldest);
    }
    Ok(newest)
}

/// The rows of a source or view; of a view that holds nothing those of what it is computed from, the oldest of which says
/// how fresh it is.
async fn rows_of(deps: &Deps, objects: &Objects, name: &str, pin: Pin) -> Result<Vec<Read>, Error> {
    if let Some(source) = objects.sources.get(name) {
        return Ok(vec![Read::source(source, pin.lake)]);
    }
    let current = deps.catalog.current_view(name).await?.ok_or_else(|| unknown("source or view", name))?;
    let view = View::of(&current.plan, current.version);
    Ok(view.stored().into_iter().map(|view| Read::all(view.table(), pin.lake)).collect())
}

/// Nothing of that name is declared.
pub(crate) fn unknown(kind: &'static str, name: &str) -> Error {
    Error::Unknown { kind, name: name.to_owned(), known: Vec::new() }
}
