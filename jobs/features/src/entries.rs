//! Which computed rows go to Redis, and as what. Pure.

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use std::collections::BTreeMap;
use tidemill_core::Time;
use tidemill_online::{
    Body, Entry, Layout, OnlineView, Order, Series, Stored, Tile, TileOrder, view::SeriesLayout,
};
use tidemill_rows::{CREATED_AT, DELETED, SEQ, VALID_AT, row::column, schema, value_at};
use tidemill_spec::{Type, Value};
use tidemill_windows::Partial;

use crate::Error;

/// The newest row of each entity that is known at the data clock; later ones reach Redis when the clock has
/// passed them. Rows in the columns of the view's table.
pub(crate) fn row_entries(view: &OnlineView, rows: &RecordBatch, clock: Time) -> Result<Vec<Entry>, Error> {
    let Layout::Row(columns) = view.layout() else { return Ok(Vec::new()) };
    let keys = columns_of(rows, view.keys().keys())?;
    let values = columns_of(rows, columns.iter().map(|(name, _)| name))?;
    let system = System::of(rows)?;
    let mut newest: BTreeMap<Vec<Value>, usize> = BTreeMap::new();
    for row in 0..rows.num_rows() {
        if system.order(row).first > clock.timestamp_micros() {
            continue;
        }
        let best = newest.entry(row_of(&keys, row)).or_insert(row);
        if system.order(row) > system.order(*best) {
            *best = row;
        }
    }
    let entry = |(key, row): (Vec<Value>, usize)| {
        let body = if system.deleted(row) { Body::Deleted } else { Body::Row(row_of(&values, row)) };
        Entry { key, stored: Stored { order: system.order(row), body } }
    };
    Ok(newest.into_iter().map(entry).collect())
}

/// Rows that are each the last one of its entity among upserts, as of a lake version and the data clock; a deleted one
/// says that there is none. Rows in the columns of the view's table.
pub(crate) fn upsert_entries(
    view: &OnlineView,
    rows: &RecordBatch,
    lake_version: i64,
    clock: Time,
) -> Result<Vec<Entry>, Error> {
    let Layout::Row(columns) = view.layout() else { return Ok(Vec::new()) };
    let keys = columns_of(rows, view.keys().keys())?;
    let values = columns_of(rows, columns.iter().map(|(name, _)| name))?;
    let system = System::of(rows)?;
    let entry = |row| {
        let valid_at = Time::from_timestamp_micros(system.order(row).first);
        let (valid_at, body) = if system.deleted(row) {
            (None, Body::Deleted)
        } else {
            (valid_at, Body::Row(row_of(&values, row)))
        };
        Entry {
            key: row_of(&keys, row),
            stored: Stored { order: Order::upserts(lake_version, clock, valid_at), body },
        }
    };
    Ok((0..rows.num_rows()).map(entry).collect())
}

/// Tiles, those of an entity together; a deleted one says that none of its rows is left. Rows in the columns of the view's
/// table.
pub(crate) fn tile_entries(
    view: &OnlineView,
    tiles: &RecordBatch,
    lake_version: i64,
    clock: Time,
) -> Result<Vec<Entry>, Error> {
    let Layout::Tiles(layouts) = view.layout() else { return Ok(Vec::new()) };
    let keys = columns_of(tiles, view.keys().keys())?;
    let order = TileOrder { lake_version, clock };
    let series =
        layouts.iter().map(|layout| SeriesColumns::of(tiles, layout)).collect::<Result<Vec<_>, Error>>()?;
    let mut entities: BTreeMap<Vec<Value>, Vec<Series>> = BTreeMap::new();
    for row in 0..tiles.num_rows() {
        let entity =
            entities.entry(row_of(&keys, row)).or_insert_with(|| vec![Series::default(); layouts.len()]);
        for (series, columns) in entity.iter_mut().zip(&series) {
            series.tiles.extend(columns.tile(row, order));
        }
    }
    let entry = |(key, mut series): (Vec<Value>, Vec<Series>)| {
        for series in &mut series {
            series.tiles.sort_by_key(|tile| tile.index);
        }
        Entry { key, stored: Stored { order: Order::TILES, body: Body::Tiles(series) } }
    };
    Ok(entities.into_iter().map(entry).collect())
}

/// The columns that place a row among those of its entity.
struct System<'a> {
    valid_at: &'a ArrayRef,
    created_at: &'a ArrayRef,
    seq: &'a ArrayRef,
    deleted: &'a ArrayRef,
}

impl<'a> System<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, Error> {
        Ok(Self {
            valid_at: column(rows, VALID_AT)?,
            created_at: column(rows, CREATED_AT)?,
            seq: column(rows, SEQ)?,
            deleted: column(rows, DELETED)?,
        })
    }

    fn order(&self, row: usize) -> Order {
        let micros = |array: &ArrayRef| array.as_primitive::<TimestampMicrosecondType>().value(row);
        Order {
            first: micros(self.valid_at),
            second: micros(self.created_at),
            third: self.seq.as_primitive::<Int64Type>().value(row),
        }
    }

    fn deleted(&self, row: usize) -> bool {
        self.deleted.as_boolean().value(row)
    }
}

/// The columns that hold one hop's tiles.
struct SeriesColumns<'a> {
    hop_us: i64,
    hops: &'a ArrayRef,
    tiles: &'a ArrayRef,
    newest: &'a ArrayRef,
    /// Of each feature: rows counted, and its value unless it counts.
    partials: Vec<(&'a ArrayRef, Option<&'a ArrayRef>)>,
}

impl<'a> SeriesColumns<'a> {
    fn of(tiles: &'a RecordBatch, layout: &SeriesLayout) -> Result<Self, Error> {
        let partial = |(feature, ty): &(String, Option<Type>)| {
            let value = ty.map(|_| column(tiles, feature)).transpose()?;
            Ok((column(tiles, &schema::counted(feature))?, value))
        };
        Ok(Self {
            hop_us: i64::try_from(layout.hop.as_micros()).unwrap_or(i64::MAX),
            hops: column(tiles, schema::HOP_US)?,
            tiles: column(tiles, schema::TILE)?,
            newest: column(tiles, schema::NEWEST)?,
            partials: layout.features.iter().map(partial).collect::<Result<_, Error>>()?,
        })
    }

    /// The tile in a row, if it is of this hop.
    fn tile(&self, row: usize, order: TileOrder) -> Option<Tile> {
        let int = |array: &ArrayRef| array.as_primitive::<Int64Type>().value(row);
        if int(self.hops) != self.hop_us {
            return None;
        }
        let partial = |(rows, value): &(&ArrayRef, Option<&ArrayRef>)| Partial {
            rows: if rows.is_null(row) { 0 } else { int(rows) },
            value: value.map_or(Value::Null, |value| value_at(value, row)),
        };
        let newest = match value_at(self.newest, row) {
            Value::Timestamp(newest) => Some(newest),
            _ => None,
        };
        let partials = self.partials.iter().map(partial).collect();
        Some(Tile { index: int(self.tiles), order, newest, partials })
    }
}

fn columns_of<'a>(
    rows: &'a RecordBatch,
    names: impl Iterator<Item = &'a String>,
) -> Result<Vec<&'a ArrayRef>, Error> {
    names.map(|name| Ok(column(rows, name)?)).collect()
}

fn row_of(columns: &[&ArrayRef], row: usize) -> Vec<Value> {
    columns.iter().map(|array| value_at(array, row)).collect()
}
