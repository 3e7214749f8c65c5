//! The last row of an entity in a row view whose source has `unique` columns: rows replace and withdraw each other.
//!
//! Which row it is, is decided over the source's rows, since a key may move to another entity, or to none; its
//! features are those of the view's row with the same `seq`.

mod replay;

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::{
    array::{Array as _, Int64Array, RecordBatch},
    datatypes::{Field, Int64Type, Schema, SchemaRef},
};
use tidemill_core::Time;
use tidemill_rows::{CREATED_AT, DELETED, SEQ, VALID_AT, field, source_schema};
use tidemill_spec::Type;

use super::{Asked, Entities};
use crate::{
    CommitRange, Error, Lake, Table, TileRange, Version, View,
    scan::Scan,
    span::Span,
    sql::{self, fill, quoted},
    touched::touched_entities,
};
use replay::{Change, at, replay};

/// What of the lake is read: the source as of one version, the view's rows as of another that may be later, since
/// rows computed from a version are committed after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions {
    pub(super) source: Version,
    pub(super) view: Version,
}

/// For each asked row the `seq` of the row that is its entity's last at its moment; null where none is.
pub(super) async fn chosen(
    lake: &Lake,
    view: &View,
    asked: &Asked,
    versions: Versions,
) -> Result<Int64Array, Error> {
    let source = view.source()?;
    let (table, commits) = (Table::source(&source.name), CommitRange::upto(versions.source));
    let span = span(asked);
    let rows = lake.scan_within(&table, Some(source), commits, span).await?;
    let covered = lake.scan(&view.table(), CommitRange::upto(versions.view)).await?;
    let statement = statement(view, &rows, &covered, &asked.condition(span))?;
    let (asked, moves) = (asked.clone(), source.corrects_times());
    lake.duck
        .run(format!("finding the last rows of view {}", view.name()), move |session| {
            let entities = Entities::of(&asked)?;
            session.load("asked", &entities.table()?)?;
            let rows = session.query_as(&statement, &changes_schema())?;
            let mut last = vec![None; entities.of.len()];
            for strict in asked.kinds() {
                let changes = changes(&rows, strict);
                let courses = replay(&changes, entities.count, moves);
                for (row, (entity, moment)) in entities.of.iter().zip(asked.moments_us()).enumerate() {
                    if let (Some(entity), true) = (entity, asked.known.is_strict(row) == strict) {
                        last[row] = at(&courses[*entity], *moment).map(|row| changes[row].place.2);
                    }
                }
            }
            Ok(last.into())
        })
        .await
}

impl Lake {
    /// The last row of every entity whose last row may have changed: `range` as for tiles. The view's rows are read as
    /// of `version`, which must hold those of the range. Columns as in [`View::schema`], sorted by key; an entity
    /// without a last row has a deleted one.
    pub async fn last_rows(
        &self,
        view: &View,
        range: TileRange,
        version: Version,
    ) -> Result<RecordBatch, Error> {
        let entities = touched_entities(self, view, range).await?;
        let asked = Asked::at(view, &entities, range.clock);
        let versions = Versions { source: range.commits.upto, view: version };
        let chosen = chosen(self, view, &asked, versions).await?;
        let rows = self.scan(&view.table(), CommitRange::upto(version)).await?;
        let statement = last_rows_statement(view, &rows, range.clock);
        let (schema, labels) = (view.schema(), asked.choosing(chosen)?);
        self.duck
            .run(format!("reading the last rows of view {}", view.name()), move |session| {
                session.load("label", &labels)?;
                session.query_as(&statement, &schema)
            })
            .await
    }
}

fn last_rows_statement(view: &View, rows: &Scan, clock: Time) -> String {
    let clock = sql::instant(clock);
    let output = |name: &String| {
        let candidate = format!("candidate.{}", quoted(name));
        let value = match name.as_str() {
            key if view.entity.keys.contains_key(key) => format!("label.{}", quoted(key)),
            VALID_AT | CREATED_AT => format!("coalesce({candidate}, {clock})"),
            SEQ => format!("coalesce({candidate}, 0)"),
            DELETED => format!("coalesce({candidate}, true)"),
            _ => candidate,
        };
        format!("{value} AS {}", quoted(name))
    };
    let schema = view.schema();
    let outputs: Vec<String> = schema.fields().iter().map(|field| output(field.name())).collect();
    fill(
        include_str!("../../queries/join/chosen.sql"),
        &[("outputs", &outputs.join(", ")), ("rows", &rows.rows(&schema, "true"))],
    )
}

fn statement(view: &View, rows: &Scan, covered: &Scan, condition: &str) -> Result<String, Error> {
    let source = view.source()?;
    let keys = view.keys();
    let needed = |field: &&Arc<Field>| {
        let name = field.name();
        keys.contains(name) || sql::decides(source, name) || !source.columns.contains_key(name)
    };
    let columns: Vec<_> = source_schema(source).fields().iter().filter(needed).cloned().collect();
    let columns: SchemaRef = Schema::new(columns).into();
    let seq: SchemaRef = Schema::new(vec![field(SEQ, Type::Int)]).into();
    let unique = source.unique.iter().map(|name| format!("life.{}", quoted(name)));
    Ok(fill(
        include_str!("../../queries/join/upserts.sql"),
        &[
            ("present", &sql::present(&keys)),
            ("keys", &sql::equal_keys("life", "asked", &keys)),
            ("unique", &unique.collect::<Vec<_>>().join(", ")),
            ("order", &sql::key_order(source)),
            ("rows", &rows.rows(&columns, condition)),
            ("covered", &covered.rows(&seq, "true")),
        ],
    ))
}

/// Rows that become known after the last moment change nothing.
fn span(asked: &Asked) -> Span {
    asked.span_us().map_or(Span::NOTHING, |(_, last)| Span::of_us(None, last))
}

const CHANGES: [&str; 6] = ["_key", "_entity", "_rank", "_valid_us", "_created_us", SEQ];

fn changes_schema() -> SchemaRef {
    let ints = CHANGES.iter().map(|name| field(name, Type::Int));
    Schema::new(ints.chain([field(DELETED, Type::Bool)]).collect::<Vec<_>>()).into()
}

/// Rows in the order in which they become known. `strict`: none does before it was accepted.
fn changes(rows: &RecordBatch, strict: bool) -> Vec<Change> {
    let ints = |index: usize| rows.column(index).as_primitive::<Int64Type>();
    let [key, entity, rank, valid, created, seq] = [0, 1, 2, 3, 4, 5].map(ints);
    let deleted = rows.column(6).as_boolean();
    let change = |row: usize| {
        let place = (valid.value(row), created.value(row), seq.value(row));
        Change {
            key: key.value(row),
            entity: entity.is_valid(row).then(|| usize::try_from(entity.value(row)).ok()).flatten(),
            known_us: if strict { place.0.max(place.1) } else { place.0 },
            place,
            rank: rank.value(row),
            deleted: deleted.value(row),
        }
    };
    let mut changes: Vec<Change> = (0..rows.num_rows()).map(change).collect();
    changes.sort_unstable_by_key(|change| (change.known_us, change.place));
    changes
}
