//! Tiles: what is kept online of a windowed view, those computed anew in which a change lies.
//!
//! Absolute, never incremented, so that computing them twice is harmless. They hold what a window that ends at the
//! data clock counts: rows up to the clock, of each unique key the newest of those. One that no row counts in any more
//! is computed too, for it replaces one that had some.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{Field, Int64Type, Schema},
};
use indexmap::IndexMap;
use tidemill_core::Time;
use tidemill_rows::{
    CREATED_AT, DELETED, SEQ, VALID_AT, array,
    row::column,
    schema::{HOP_US, NEWEST, TILE, counted},
};
use tidemill_spec::{Source, Value};
use tidemill_windows::{Partial, Window};

use super::{
    TileRange, Windowed,
    events::{columns_of, int, sound, until, value_fields, values},
    fold::Values,
};
use crate::{
    CommitRange, Error, Lake, Table, View,
    compute::Stamp,
    duck::Session,
    span::Span,
    sql::{self, fill},
    touched::touched_tiles,
};

/// In the table of touched tiles: which one, from 0.
const PLACE: &str = "_place";

pub(super) async fn touched(
    lake: &Lake,
    view: &View,
    range: TileRange,
    stamp: Stamp,
) -> Result<RecordBatch, Error> {
    let windows = Windowed::all(view);
    let longest = longest(&windows);
    let touched = touched_tiles(lake, view, range, &longest).await?;
    let mut tiles = Tiles::of(windows, touched)?;
    let Some(statement) = statement(lake, view, range, &longest, &tiles).await? else {
        return tiles.batch(view, range.clock, stamp);
    };
    let (doing, view) = (format!("reading the rows of view {}", view.name()), view.clone());
    let limit = tiles.windows.iter().any(Windowed::has_sql).then(|| lake.duck.rows_limit());
    lake.duck
        .run_declared(doing.clone(), move |session| {
            session.load("touched", &tiles.placed()?)?;
            let mut fold = || tiles.fold(session, &statement);
            match limit {
                None => fold()?,
                Some(limit) => session.in_time(&doing, limit, &mut fold)?,
            }
            Ok(tiles.batch(&view, range.clock, stamp)?)
        })
        .await
}

/// Of each hop the longest window.
fn longest(windows: &[Windowed]) -> Vec<Window> {
    let mut longest: IndexMap<i64, Window> = IndexMap::new();
    for Windowed { window, .. } in windows {
        let known = longest.entry(window.hop_us()).or_insert(*window);
        if window.length_us() > known.length_us() {
            *known = *window;
        }
    }
    longest.into_values().collect()
}

/// What selects the rows that count in touched tiles, from the files that may hold one; `None` without any tile.
async fn statement(
    lake: &Lake,
    view: &View,
    range: TileRange,
    longest: &[Window],
    tiles: &Tiles,
) -> Result<Option<String>, Error> {
    let source = view.source()?;
    let spans = spans(source, tiles.intervals(), range.clock);
    let Some(hull) = Span::hull(&spans) else { return Ok(None) };
    let (table, commits) = (Table::source(&source.name), CommitRange::upto(range.commits.upto));
    let scan = lake
        .scan_where(&table, Some(source), commits, |valid_at| spans.iter().any(|span| span.meets(valid_at)));
    let rows = scan.await?.rows(&columns_of(view, source, &tiles.windows), &hull.condition());
    let keys = view.keys();
    let hops = longest.iter().map(|window| format!("({})", window.hop_us()));
    Ok(Some(fill(
        include_str!("../../queries/window/tiles.sql"),
        &[
            ("until", &until(source, &keys, false)),
            ("rows", &rows),
            ("hops", &hops.collect::<Vec<_>>().join(", ")),
            ("tile", &sql::tile("life._valid_us", "hop._hop_us")),
            ("clock_us", &range.clock.timestamp_micros().to_string()),
            ("keys", &sql::equal_keys("touched", "lying", &keys)),
            ("values", &values(&tiles.windows)),
            ("sound", &sound(&tiles.windows)),
        ],
    )))
}

/// The moments whose rows are read, of the `intervals` of touched tiles. Where rows end others, all later ones too, up to
/// the clock; and all earlier ones, where these may.
fn spans(source: &Source, intervals: Vec<(i64, i64)>, clock: Time) -> Vec<Span> {
    let ended = !source.unique.is_empty() || source.deleted.is_some();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (after, upto) in intervals {
        match merged.last_mut() {
            Some((_, end)) if ended || *end >= after => *end = upto.max(*end),
            _ => merged.push((after, upto)),
        }
    }
    let clock_us = clock.timestamp_micros();
    let span = |(after, upto): (i64, i64)| {
        let from = (!source.corrects_times()).then(|| after.saturating_add(1));
        Span::of_us(from, if ended { clock_us } else { upto.min(clock_us) })
    };
    merged.into_iter().map(span).collect()
}

/// Touched tiles, and what of them has been computed.
struct Tiles {
    windows: Vec<Windowed>,
    /// Keys, [`HOP_US`] and [`TILE`] of each.
    touched: RecordBatch,
    hops: Int64Array,
    indexes: Int64Array,
    /// Of each tile, when the newest row that counts became valid.
    newest: Vec<Option<i64>>,
    /// Of each window, of each tile; `None` in tiles of other hops.
    partials: Vec<Vec<Option<Partial>>>,
}

impl Tiles {
    /// None of which has a row.
    fn of(windows: Vec<Windowed>, touched: RecordBatch) -> Result<Self, Error> {
        let ints = |name| Ok::<_, Error>(column(&touched, name)?.as_primitive::<Int64Type>().clone());
        let (hops, indexes) = (ints(HOP_US)?, ints(TILE)?);
        let partials = |Windowed { window, .. }: &Windowed| {
            let nothing =
                |hop: &i64| (*hop == window.hop_us()).then_some(Partial { rows: 0, value: Value::Null });
            hops.values().iter().map(nothing).collect()
        };
        Ok(Self {
            newest: vec![None; touched.num_rows()],
            partials: windows.iter().map(partials).collect(),
            windows,
            touched,
            hops,
            indexes,
        })
    }

    /// The instants `(after, upto]` of the tiles, each once, in order.
    fn intervals(&self) -> Vec<(i64, i64)> {
        let tiles = self.hops.values().iter().zip(self.indexes.values());
        let interval =
            |(hop, tile): (&i64, &i64)| (tile.saturating_mul(*hop), (tile + 1).saturating_mul(*hop));
        let mut intervals: Vec<(i64, i64)> = tiles.map(interval).collect();
        intervals.sort_unstable();
        intervals.dedup();
        intervals
    }

    /// The tiles as a table: [`PLACE`], then what names them.
    fn placed(&self) -> Result<RecordBatch, Error> {
        let count = i64::try_from(self.touched.num_rows()).unwrap_or(i64::MAX);
        let place: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let schema = self.touched.schema();
        let named = schema.fields().iter().map(|field| field.name().as_str()).zip(self.touched.columns());
        let named = named.map(|(name, array)| (name, Arc::clone(array)));
        Ok(RecordBatch::try_from_iter([(PLACE, place)].into_iter().chain(named))
            .map_err(tidemill_rows::Error::from)?)
    }

    /// Computes the tiles from the rows that a statement selects, tile by tile: no more of them are in memory.
    fn fold(&mut self, session: &Session, statement: &str) -> Result<(), crate::duck::Failure> {
        let ints = [PLACE, "_valid_us"].map(int);
        let fields: Vec<Field> = ints.into_iter().chain(value_fields(&self.windows)).collect();
        let mut open: Vec<RecordBatch> = Vec::new();
        session.stream_as(statement, &Arc::new(Schema::new(fields)), |batch| {
            let places = batch.column(0).as_primitive::<Int64Type>().values();
            let mut rest = 0;
            while let Some(place) = places.get(rest) {
                if open.first().is_some_and(|part| place_of(part) != *place) {
                    self.close(&open);
                    open.clear();
                }
                let count = places[rest..].partition_point(|other| other == place);
                open.push(batch.slice(rest, count));
                rest += count;
            }
            Ok(())
        })?;
        self.close(&open);
        Ok(())
    }

    /// Computes one tile from its rows.
    fn close(&mut self, rows: &[RecordBatch]) {
        let Some(last) = rows.last() else { return };
        let Ok(place) = usize::try_from(place_of(last)) else { return };
        let valid = |part: &RecordBatch| part.column(1).as_primitive::<Int64Type>().clone();
        self.newest[place] = valid(last).values().last().copied();
        for (slot, Windowed { window, .. }) in self.windows.iter().enumerate() {
            if let Some(partial) = &mut self.partials[slot][place] {
                let values = rows.iter().flat_map(|part| {
                    let (valid, values) = (valid(part), Values::of(part.column(2 + slot)));
                    (0..part.num_rows()).map(move |row| (valid.value(row), values.at(row)))
                });
                *partial = window.partial(window.fold(values));
            }
        }
    }

    /// In the columns of the view's table.
    fn batch(&self, view: &View, clock: Time, stamp: Stamp) -> Result<RecordBatch, Error> {
        let (count, clock_us) = (self.touched.num_rows(), clock.timestamp_micros());
        let times = |micros: Vec<Option<i64>>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
        };
        let ends = self.hops.values().iter().zip(self.indexes.values());
        let ends = ends.map(|(hop, tile)| Some((tile + 1).saturating_mul(*hop).min(clock_us)));
        let mut columns: IndexMap<String, ArrayRef> = IndexMap::from([
            (NEWEST.to_owned(), times(self.newest.clone())),
            (VALID_AT.to_owned(), times(ends.collect())),
            (CREATED_AT.to_owned(), times(vec![Some(stamp.created_at.timestamp_micros()); count])),
            (SEQ.to_owned(), Arc::new(Int64Array::from(vec![stamp.seq; count])) as ArrayRef),
            (
                DELETED.to_owned(),
                Arc::new(self.newest.iter().map(|at| Some(at.is_none())).collect::<BooleanArray>()),
            ),
        ]);
        for (windowed, partials) in self.windows.iter().zip(&self.partials) {
            let rows = partials.iter().map(|partial| partial.as_ref().map(|partial| partial.rows));
            columns.insert(counted(&windowed.name), Arc::new(rows.collect::<Int64Array>()));
            if let Some(ty) = windowed.window.partial_type() {
                let values = partials.iter().map(|partial| match partial {
                    Some(partial) => &partial.value,
                    None => &Value::Null,
                });
                columns.insert(windowed.name.clone(), array(&windowed.name, ty, values)?);
            }
        }
        let schema = view.schema();
        let of_name = |field: &Arc<Field>| match columns.get(field.name()) {
            Some(array) => Ok(Arc::clone(array)),
            None => Ok(Arc::clone(column(&self.touched, field.name())?)),
        };
        let arrays = schema.fields().iter().map(of_name).collect::<Result<Vec<_>, Error>>()?;
        Ok(RecordBatch::try_new(schema, arrays).map_err(tidemill_rows::Error::from)?)
    }
}

fn place_of(rows: &RecordBatch) -> i64 {
    rows.column(0).as_primitive::<Int64Type>().value(0)
}
