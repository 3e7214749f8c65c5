//! The source rows that the windows of some entities may count, in the total order, entity by entity.

use std::ops::Range;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch, UInt64Array},
    compute::{concat_batches, take},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use tidemill_rows::{arrow_type, source_schema};
use tidemill_spec::{Source, Type};

use super::{Windowed, reach::Reach};
use crate::{
    CommitRange, Error, KnownAt, Lake, Table, Version, View,
    pit::{self, Asked, Entities},
    span::Span,
    sql::{self, fill, list},
};

/// Rows in the total order of each entity, and which entity each asked row is of.
#[derive(Debug)]
pub(crate) struct Events {
    /// For each asked row its entity; `None` where a key is null.
    pub(super) entity_of: Vec<Option<usize>>,
    /// For each entity its rows.
    pub(super) spans: Vec<Range<usize>>,
    /// When each row became valid.
    pub(super) valid_us: Vec<i64>,
    /// From when each row counts.
    pub(super) known_us: Vec<i64>,
    /// From when it no longer does; `i64::MAX` for never.
    pub(super) until_us: Vec<i64>,
    /// For each window the column it aggregates, in its partial's type; for counts, whether the row counts.
    pub(super) values: Vec<ArrayRef>,
}

impl Events {
    /// The rows of an entity that are valid in `(after_us, upto_us]`, whether they count or not.
    pub(super) fn between(&self, entity: usize, after_us: i64, upto_us: i64) -> Range<usize> {
        let Range { start, end } = self.spans[entity];
        let valid = &self.valid_us[start..end];
        start + valid.partition_point(|at| *at <= after_us)
            ..start + valid.partition_point(|at| *at <= upto_us)
    }

    /// Whether a row counts at a moment: known by then, and not replaced yet.
    pub(super) fn counts(&self, row: usize, at_us: i64) -> bool {
        self.known_us[row] <= at_us && at_us < self.until_us[row]
    }
}

impl Lake {
    /// The rows that the windows may count at the asked moments, as of a version.
    pub(super) async fn events(
        &self,
        view: &View,
        windows: &[Windowed],
        asked: &Asked,
        version: Version,
        known_at: KnownAt,
    ) -> Result<Events, Error> {
        let source = view.source()?;
        let (table, commits, span) =
            (Table::source(&source.name), CommitRange::upto(version), span(windows, asked));
        let scan = self.scan_within(&table, Some(source), commits, span).await?;
        let rows = scan.rows(&columns_of(view, source, windows), &pit::condition(span, known_at));
        let keys = view.keys();
        let statement = statement(source, windows, &rows, &keys, known_at);
        let (schema, labels) = (result_schema(windows), asked.batch()?);
        let (asked, windowed) = (asked.clone(), windows.to_vec());
        let limit = windows.iter().any(Windowed::has_sql).then(|| self.duck.rows_limit());
        let doing = format!("reading the rows of view {}", view.name());
        let loaded = self.duck.run_declared(doing.clone(), move |session| {
            session.load("label", &labels)?;
            let entities = pit::entities(session, &keys)?;
            let (reach, mut kept) = (Reach::of(&entities, &asked, &windowed), Vec::new());
            // Most rows lie in no window that is asked for: they are never all in memory.
            let mut read = || {
                session.stream_as(&statement, &schema, |rows| {
                    kept.push(reach.within(rows)?);
                    Ok(())
                })
            };
            match limit {
                None => read()?,
                Some(limit) => session.in_time(&doing, limit, &mut read)?,
            }
            Ok(gather(entities, &concat_batches(&schema, &kept).map_err(tidemill_rows::Error::from)?)?)
        });
        loaded.await
    }
}

/// Entity keys, unique columns, what the windows read, and the system columns.
pub(super) fn columns_of(view: &View, source: &Source, windows: &[Windowed]) -> SchemaRef {
    let rules = windows.iter().filter_map(|windowed| view.definition.features.get(&windowed.name));
    let read: Vec<String> = rules.flat_map(|feature| feature.rule.columns()).collect();
    let needed = |name: &String| {
        view.entity.keys.contains_key(name)
            || source.unique.contains(name)
            || read.contains(name)
            || !source.columns.contains_key(name)
    };
    let schema = source_schema(source);
    let kept = schema.fields().iter().filter(|field| needed(field.name()));
    Schema::new(kept.map(|field| field.as_ref().clone()).collect::<Vec<_>>()).into()
}

/// Rows that no asked window reaches are not read. A row is only ever replaced by one that is valid later, so
/// leaving older ones out changes nothing.
fn span(windows: &[Windowed], asked: &Asked) -> Span {
    let Some((first, last)) = asked.span_us() else { return Span::NOTHING };
    let tail = windows.iter().map(|windowed| windowed.window.tail_us(first)).min();
    Span::of_us(tail.map(|tail| tail.saturating_add(1)), last)
}

fn statement(
    source: &Source,
    windows: &[Windowed],
    rows: &str,
    keys: &[String],
    known_at: KnownAt,
) -> String {
    fill(
        include_str!("../../queries/window/events.sql"),
        &[
            ("known", known(known_at)),
            ("until", &until(source, keys, known_at)),
            ("keys", &sql::equal_keys("life", "asked", keys)),
            ("values", &values(windows)),
            ("sound", &sound(windows)),
            ("rows", rows),
        ],
    )
}

/// From when a row counts.
fn known(known_at: KnownAt) -> &'static str {
    match known_at {
        KnownAt::Label => "greatest(epoch_us(valid_at), epoch_us(created_at))",
        KnownAt::Any | KnownAt::Time(_) => "epoch_us(valid_at)",
    }
}

/// From when it no longer does. `keys`: of the entity.
pub(super) fn until(source: &Source, keys: &[String], known_at: KnownAt) -> String {
    let known = known(known_at);
    match (source.unique.is_empty(), &source.deleted) {
        (false, _) => ended_by(known, "true", &source.unique, known_at),
        // Without unique columns nothing is replaced, and a tombstone ends all that its entity had before it.
        (true, Some(_)) => ended_by(known, "deleted", keys, KnownAt::Label),
        (true, None) => "NULL::BIGINT".to_owned(),
    }
}

/// What each window aggregates of a row, named by its place; null where its SQL fails.
pub(super) fn values(windows: &[Windowed]) -> String {
    let values = windows.iter().enumerate();
    let values = values.map(|(index, windowed)| format!("TRY({}) AS {}", windowed.value(), slot(index)));
    values.collect::<Vec<_>>().join(", ")
}

/// The same where it makes what no value is.
pub(super) fn sound(windows: &[Windowed]) -> String {
    let typed: Vec<(String, Type)> = (0..)
        .zip(windows)
        .filter_map(|(index, windowed)| Some((slot(index), windowed.window.row_type()?)))
        .collect();
    sql::sound(typed.iter().map(|(slot, ty)| (slot.as_str(), *ty)))
}

/// From when a row no longer counts: when the first of the rows known that come after it in the order of its `group`,
/// and of which `which` holds, ends it.
fn ended_by(known: &str, which: &str, group: &[String], known_at: KnownAt) -> String {
    let order = format!("(PARTITION BY {} ORDER BY valid_at, created_at, seq", list(group));
    match known_at {
        KnownAt::Label => format!(
            "min({known}) FILTER (WHERE {which}) OVER {order} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
        ),
        // Without `known_at` rows become known in their order, so the next one is the first.
        KnownAt::Any | KnownAt::Time(_) => format!("lead({known}) OVER {order})"),
    }
}

fn slot(index: usize) -> String {
    format!("_value_{index}")
}

pub(super) fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn result_schema(windows: &[Windowed]) -> SchemaRef {
    let ints = ["_entity", "_valid_us", "_known_us", "_until_us", "_created_us", "seq"].map(int);
    Schema::new(ints.into_iter().chain(value_fields(windows)).collect::<Vec<_>>()).into()
}

/// The columns of [`values`].
pub(super) fn value_fields(windows: &[Windowed]) -> impl Iterator<Item = Field> {
    windows.iter().enumerate().map(|(index, windowed)| {
        let ty = windowed.window.row_type().unwrap_or(Type::Bool);
        Field::new(slot(index), arrow_type(ty), true)
    })
}

/// Sorts rows, entity by entity, in the total order.
fn gather(entities: Entities, rows: &RecordBatch) -> Result<Events, tidemill_rows::Error> {
    let ints = |place: usize| rows.column(place).as_primitive::<Int64Type>();
    let (entity, valid, created, seq) =
        (ints(0).values(), ints(1).values(), ints(4).values(), ints(5).values());
    let mut order: Vec<usize> = (0..rows.num_rows()).collect();
    order.sort_unstable_by_key(|row| (entity[*row], valid[*row], created[*row], seq[*row]));
    let mut spans = vec![0..0; entities.count];
    let mut start = 0;
    for same in order.chunk_by(|a, b| entity[*a] == entity[*b]) {
        if let Some(span) = usize::try_from(entity[same[0]]).ok().and_then(|entity| spans.get_mut(entity)) {
            *span = start..start + same.len();
        }
        start += same.len();
    }
    let (known, until) = (ints(2).values(), ints(3));
    let sorted = UInt64Array::from_iter_values(order.iter().map(|row| *row as u64));
    let values = rows.columns()[6..].iter().map(|values| take(values, &sorted, None));
    Ok(Events {
        entity_of: entities.of,
        spans,
        valid_us: order.iter().map(|row| valid[*row]).collect(),
        known_us: order.iter().map(|row| known[*row]).collect(),
        until_us: order
            .iter()
            .map(|row| if until.is_null(*row) { i64::MAX } else { until.value(*row) })
            .collect(),
        values: values.collect::<Result<_, _>>()?,
    })
}
