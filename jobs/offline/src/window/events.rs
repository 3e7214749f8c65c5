//! The source rows that the windows of some entities may count, in the total order, entity by entity.

use std::ops::Range;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, UInt64Array},
    compute::{concat_batches, take},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use tidemill_expressions::Rows;
use tidemill_rows::{arrow_type, source_schema};
use tidemill_spec::{Source, Type};

use super::{Windowed, files::Files, reach::Reach};
use crate::{
    CommitRange, Error, Lake, Table, Version, View,
    duck::{Failure, Session},
    pit::{Asked, Entities, grouped},
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
    /// When each row was accepted.
    created_us: Vec<i64>,
    /// From when each row no longer counts; null for never.
    until_us: ArrayRef,
    /// The same where a row counts only from when it was accepted.
    strict_until_us: ArrayRef,
    /// For each window the column it aggregates, in its partial's type; for counts, whether the row counts.
    pub(super) values: Vec<ArrayRef>,
}

/// Which rows count, as one kind of asked row sees it.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    accepted_us: Option<&'a [i64]>,
    until_us: Option<&'a Int64Array>,
}

impl Sight<'_> {
    /// Whether a row that is valid counts at a moment: accepted early enough, and not replaced yet.
    pub(super) fn counts(self, row: usize, at_us: i64) -> bool {
        self.accepted_us.is_none_or(|accepted| accepted[row] <= at_us)
            && self.until_us.is_none_or(|until| until.is_null(row) || at_us < until.value(row))
    }
}

impl Events {
    /// The rows of an entity that are valid in `(after_us, upto_us]`, whether they count or not.
    pub(super) fn between(&self, entity: usize, after_us: i64, upto_us: i64) -> Range<usize> {
        let Range { start, end } = self.spans[entity];
        let valid = &self.valid_us[start..end];
        start + valid.partition_point(|at| *at <= after_us)
            ..start + valid.partition_point(|at| *at <= upto_us)
    }

    /// What counts for rows that see only what was accepted by their moment, or for the others.
    pub(super) fn seen(&self, strict: bool) -> Sight<'_> {
        let until = if strict { &self.strict_until_us } else { &self.until_us };
        let until = until.as_primitive::<Int64Type>();
        Sight {
            accepted_us: strict.then_some(&self.created_us),
            until_us: (until.null_count() < until.len()).then_some(until),
        }
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
    ) -> Result<Events, Error> {
        let source = view.source()?;
        let (table, commits, span) =
            (Table::source(&source.name), CommitRange::upto(version), span(source, windows, asked));
        let scan = self.scan_within(&table, Some(source), commits, span).await?;
        let columns = columns_of(view, source, windows);
        // What no row ends is found in the files; what does, and what was declared otherwise, by a statement.
        let files = if source.unique.is_empty() && source.deleted.is_none() {
            let read = columns_read(view, windows);
            Files::of(&scan, &columns, &view.keys(), &read, span, asked.known.by)
        } else {
            None
        };
        let rows = scan.rows(&columns, &asked.condition(span));
        let statement = statement(source, windows, &rows, &view.keys(), asked);
        let (schema, asked, windowed) = (result_schema(windows), asked.clone(), windows.to_vec());
        let limit = windows.iter().any(Windowed::has_sql).then(|| self.duck.rows_limit());
        let (doing, threads) = (format!("reading the rows of view {}", view.name()), self.duck.threads());
        let loaded = self.duck.run_declared(doing.clone(), move |session| {
            let entities = Entities::of(&asked)?;
            // Most rows lie in no window that is asked for: they are never all in memory.
            let (reach, mut kept) = (Reach::of(&entities, &asked, &windowed), Vec::new());
            let mut read = || match &files {
                Some(files) => files.each(threads, &entities, &reach, |rows| {
                    kept.push(valued(session, &rows, &windowed, &schema)?);
                    Ok(())
                }),
                None => {
                    session.load("asked", &entities.table()?)?;
                    session.stream_as(&statement, &schema, |rows| {
                        kept.push(reach.within(rows)?);
                        Ok(())
                    })
                }
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

/// What the windows aggregate of some rows that nothing ends, beside [`PLACED`] and the columns that the windows read.
fn valued(
    session: &Session,
    rows: &RecordBatch,
    windows: &[Windowed],
    schema: &SchemaRef,
) -> Result<RecordBatch, Failure> {
    let rows = Rows::of(rows).map_err(tidemill_rows::Error::from)?;
    let never = ENDS.map(|name| format!("NULL::BIGINT AS {name}"));
    let placed = PLACED.into_iter().map(str::to_owned).chain(never).collect::<Vec<_>>().join(", ");
    let (values, sound) = (values(windows), sound(windows));
    let statement = format!("SELECT {sound} FROM (SELECT {placed}, {values} FROM rows({}))", rows.number);
    session.query_as(&statement, schema)
}

/// The columns that windows read of a row.
fn columns_read(view: &View, windows: &[Windowed]) -> Vec<String> {
    let rules = windows.iter().filter_map(|windowed| view.definition.features.get(&windowed.name));
    rules.flat_map(|feature| feature.rule.columns()).collect()
}

/// Entity keys, unique columns, what the windows read, and the system columns.
pub(super) fn columns_of(view: &View, source: &Source, windows: &[Windowed]) -> SchemaRef {
    let read = columns_read(view, windows);
    let needed = |name: &String| {
        view.entity.keys.contains_key(name)
            || sql::decides(source, name)
            || read.contains(name)
            || !source.columns.contains_key(name)
    };
    let schema = source_schema(source);
    let kept = schema.fields().iter().filter(|field| needed(field.name()));
    Schema::new(kept.map(|field| field.as_ref().clone()).collect::<Vec<_>>()).into()
}

/// Rows that no asked window reaches are not read, unless they may take the place of later ones.
fn span(source: &Source, windows: &[Windowed], asked: &Asked) -> Span {
    let Some((first, last)) = asked.span_us() else { return Span::NOTHING };
    let tails = windows.iter().map(|windowed| windowed.window.tail_us(first));
    let tail = if source.corrects_times() { None } else { tails.min() };
    Span::of_us(tail.map(|tail| tail.saturating_add(1)), last)
}

fn statement(source: &Source, windows: &[Windowed], rows: &str, keys: &[String], asked: &Asked) -> String {
    let kinds: Vec<bool> = asked.kinds().collect();
    // What nobody sees has no end, and keeps no row.
    let until = |strict: bool| {
        if kinds.contains(&strict) { until(source, keys, strict) } else { "NULL::BIGINT".to_owned() }
    };
    let counts = |strict: &bool| {
        let ends = format!("life.{}", ENDS[usize::from(*strict)]);
        format!("{ends} IS NULL OR {ends} > {}", known(*strict))
    };
    fill(
        include_str!("../../queries/window/events.sql"),
        &[
            ("until", &until(false)),
            ("strict", &until(true)),
            ("counts", &kinds.iter().map(counts).collect::<Vec<_>>().join(" OR ")),
            ("keys", &sql::equal_keys("life", "asked", keys)),
            ("values", &values(windows)),
            ("sound", &sound(windows)),
            ("rows", rows),
        ],
    )
}

/// From when a row counts. `strict`: not before it was accepted.
fn known(strict: bool) -> &'static str {
    if strict { "greatest(epoch_us(valid_at), epoch_us(created_at))" } else { "epoch_us(valid_at)" }
}

/// From when it no longer does. `keys`: of the entity.
pub(super) fn until(source: &Source, keys: &[String], strict: bool) -> String {
    match (source.unique.is_empty(), &source.deleted) {
        // Rows that are known as soon as they are valid become so in their order: the next one is the first.
        (false, _) if !strict && !source.corrects_times() => {
            format!("lead({}) OVER ({})", known(strict), sql::key_order(source))
        }
        (false, _) => ended_by("true", &sql::key_order(source), strict),
        // Without unique columns nothing is replaced, and a tombstone ends all that its entity had before it.
        (true, Some(_)) => ended_by("deleted", &total_order(keys), strict),
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

/// When the first of the rows known that come after a row in an order, and of which `which` holds, ends it.
fn ended_by(which: &str, order: &str, strict: bool) -> String {
    let known = known(strict);
    format!(
        "min({known}) FILTER (WHERE {which}) OVER ({order} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
    )
}

/// The rows of each group in the total order.
fn total_order(group: &[String]) -> String {
    format!("PARTITION BY {} ORDER BY valid_at, created_at, seq", list(group))
}

fn slot(index: usize) -> String {
    format!("_value_{index}")
}

pub(super) fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

/// The columns that say whose a row is, and where in the total order.
pub(super) const PLACED: [&str; 4] = ["_entity", "_valid_us", "_created_us", "seq"];

/// Those that say from when it no longer counts: for rows that see everything, and for strict ones.
const ENDS: [&str; 2] = ["_until_us", "_strict_until_us"];

fn result_schema(windows: &[Windowed]) -> SchemaRef {
    let ints = PLACED.into_iter().chain(ENDS).map(int);
    Schema::new(ints.chain(value_fields(windows)).collect::<Vec<_>>()).into()
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
    let ints = |place: usize| rows.column(place).as_primitive::<Int64Type>().values();
    let [entity, valid, created, seq] = [0, 1, 2, 3].map(ints);
    let of = entity.iter().map(|entity| usize::try_from(*entity).ok()).collect::<Vec<_>>();
    let (mut order, spans) = grouped(&of, entities.count);
    for span in &spans {
        order[span.clone()].sort_unstable_by_key(|row| (valid[*row], created[*row], seq[*row]));
    }
    let sorted = UInt64Array::from_iter_values(order.iter().map(|row| *row as u64));
    let column = |place: usize| take(rows.column(place), &sorted, None);
    Ok(Events {
        entity_of: entities.of,
        spans,
        valid_us: order.iter().map(|row| valid[*row]).collect(),
        created_us: order.iter().map(|row| created[*row]).collect(),
        until_us: column(4)?,
        strict_until_us: column(5)?,
        values: (6..rows.num_columns()).map(column).collect::<Result<_, _>>()?,
    })
}
