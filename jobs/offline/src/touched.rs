//! What of a view may have changed at the data clock: the entities whose last rows, and the tiles whose rows.
//!
//! Causes are rows that are new, and rows that the clock has passed. A cause touches itself; with unique columns all rows
//! that it replaces; without them, a tombstone all rows that its entity had.

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use tidemill_rows::{
    field,
    schema::{HOP_US, TILE},
    source_schema,
};
use tidemill_spec::Type;
use tidemill_windows::Window;

use crate::{
    CommitRange, Error, Lake, Table, TileRange, View,
    span::Span,
    sql::{self, fill, list},
};

/// The entities whose last row may be another: their keys, in the columns of the view's entity, sorted.
pub(crate) async fn touched_entities(
    lake: &Lake,
    view: &View,
    range: TileRange,
) -> Result<RecordBatch, Error> {
    let touched = touched(lake, view, range, None).await?;
    let statement = fill(
        include_str!("../queries/compute/touched.sql"),
        &[("touched", &touched), ("key_columns", &list(&view.keys()))],
    );
    let schema: SchemaRef = Schema::new(key_fields(view)).into();
    lake.duck
        .run(format!("finding what changed in view {}", view.name()), move |session| {
            session.query_as(&statement, &schema)
        })
        .await
}

/// The tiles within reach of the clock that may be others: keys, [`HOP_US`] and [`TILE`], sorted by these. `longest`: of
/// each hop the longest window.
pub(crate) async fn touched_tiles(
    lake: &Lake,
    view: &View,
    range: TileRange,
    longest: &[Window],
) -> Result<RecordBatch, Error> {
    let clock_us = range.clock.timestamp_micros();
    // The clock only moves forward: what is behind the tail now will never count again.
    let tail_us = longest.iter().map(|window| window.tail_us(clock_us)).min();
    let reach = Span::of_us(tail_us.map(|tail| tail.saturating_add(1)), clock_us);
    let touched = touched(lake, view, range, reach.from).await?;
    let hops =
        longest.iter().map(|window| format!("({}, {})", window.hop_us(), window.tiles(clock_us).start()));
    let statement = fill(
        include_str!("../queries/window/touched.sql"),
        &[
            ("touched", &touched),
            ("key_columns", &list(&view.keys())),
            ("hops", &hops.collect::<Vec<_>>().join(", ")),
            ("tile", &sql::tile("_valid_us", "hop._hop_us")),
        ],
    );
    let places = [HOP_US, TILE].map(|name| field(name, Type::Int));
    let schema: SchemaRef =
        Schema::new(key_fields(view).into_iter().chain(places).collect::<Vec<_>>()).into();
    lake.duck
        .run(format!("finding what changed in view {}", view.name()), move |session| {
            session.query_as(&statement, &schema)
        })
        .await
}

fn key_fields(view: &View) -> Vec<Field> {
    view.entity.keys.iter().map(|(name, ty)| field(name, *ty)).collect()
}

/// A subquery of the touched rows that are valid from a moment on, of the entities of the range's part.
async fn touched(
    lake: &Lake,
    view: &View,
    range: TileRange,
    from: Option<tidemill_core::Time>,
) -> Result<String, Error> {
    let source = view.source()?;
    let (table, schema) = (Table::source(&source.name), source_schema(source));
    let rows = async |commits, span: Span| {
        let scan = lake.scan_within(&table, Some(source), commits, span).await?;
        Ok::<_, Error>(scan.rows(&schema, &span.condition()))
    };
    let (upto, known) = (CommitRange::upto(range.commits.upto), Span { from, upto: Some(range.clock) });
    // Rows that are valid before may take the place of some that are not.
    let causes = if source.corrects_times() { Span { from: None, ..known } } else { known };
    let changed = rows(range.commits, causes).await?;
    let tick = chrono::TimeDelta::microseconds(1);
    // What the clock passed since; nothing before the first time.
    let passed = match range.clock_before.map(|before| before + tick) {
        Some(after) => {
            rows(upto, Span { from: Some(from.map_or(after, |from| from.max(after))), ..known }).await?
        }
        None => format!("(FROM {changed} WHERE false)"),
    };
    let keys = view.keys();
    let (which, same) = match sql::same("earlier", "cause", &source.unique) {
        Some(same) => ("true", Some(same)),
        None if source.deleted.is_some() => ("deleted", Some(sql::equal_keys("earlier", "cause", &keys))),
        None => ("false", None),
    };
    let replaced = match same {
        None => format!("(FROM {changed} WHERE false)"),
        Some(same) => format!(
            "(FROM {} AS earlier SEMI JOIN (FROM cause WHERE {which}) AS cause ON {same})",
            rows(upto, known).await?
        ),
    };
    Ok(fill(
        include_str!("../queries/compute/causes.sql"),
        &[
            ("present", &format!("{} AND {}", sql::present(&keys), sql::part(&keys, range.part))),
            ("passed", &passed),
            ("changed", &changed),
            ("replaced", &replaced),
        ],
    ))
}
