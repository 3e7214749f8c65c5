//! Tiles: what is kept online of a windowed view, computed anew for every entity that a change touches.
//!
//! Absolute, never incremented, so that computing them twice is harmless. They hold what a window that ends at the
//! data clock counts: rows up to the clock, of each unique key the newest of those.

use arrow::array::RecordBatch;
use tidemill_core::Time;
use tidemill_rows::{
    CREATED_AT, DELETED, Row, SEQ, VALID_AT, batch_of,
    schema::{HOP_US, NEWEST, TILE, counted},
    value_at,
};
use tidemill_spec::Value;
use tidemill_windows::Window;

use super::{Events, TileRange, Windowed, fold};
use crate::{Error, KnownAt, Lake, View, compute::Stamp, pit::Asked, touched::touched_entities};

pub(super) async fn touched(
    lake: &Lake,
    view: &View,
    range: TileRange,
    stamp: Stamp,
) -> Result<RecordBatch, Error> {
    let entities = touched_entities(lake, view, range).await?;
    let windows = Windowed::all(view);
    let asked = Asked::at(view, &entities, range.clock);
    let events = lake.events(view, &windows, &asked, range.commits.upto, KnownAt::Any).await?;
    let schema = view.schema();
    let rows = tokio::task::spawn_blocking(move || {
        let tiles = Tiles { windows: &windows, events: &events, asked: &asked, clock: range.clock, stamp };
        batch_of(&schema, &tiles.rows())
    });
    Ok(rows.await??)
}

struct Tiles<'a> {
    windows: &'a [Windowed],
    events: &'a Events,
    asked: &'a Asked,
    clock: Time,
    stamp: Stamp,
}

impl Tiles<'_> {
    fn rows(&self) -> Vec<Row> {
        let mut hops: Vec<i64> = self.windows.iter().map(|windowed| windowed.window.hop_us()).collect();
        hops.sort_unstable();
        hops.dedup();
        let mut rows = Vec::new();
        // Asked rows are the touched entities, one each, sorted by key.
        for (place, entity) in self.events.entity_of.iter().enumerate() {
            let Some(entity) = *entity else { continue };
            let before = rows.len();
            for hop in &hops {
                self.of_hop(place, entity, *hop, &mut rows);
            }
            if rows.len() == before {
                rows.extend(hops.first().map(|hop| self.emptied(place, *hop)));
            }
        }
        rows
    }

    /// One row for each tile of a hop in which the entity has a row that counts.
    fn of_hop(&self, place: usize, entity: usize, hop_us: i64, rows: &mut Vec<Row>) {
        let clock_us = self.clock.timestamp_micros();
        let of_hop: Vec<(usize, &Windowed)> = self
            .windows
            .iter()
            .enumerate()
            .filter(|(_, windowed)| windowed.window.hop_us() == hop_us)
            .collect();
        let longest = of_hop.iter().map(|(_, windowed)| windowed.window).max_by_key(Window::length_us);
        let Some(longest) = longest else { return };
        let mut left = self.events.between(entity, longest.tail_us(clock_us), clock_us);
        while let Some(first) = left.next() {
            let tile = longest.tile(self.events.valid_us[first]);
            while left.start < left.end && longest.tile(self.events.valid_us[left.start]) == tile {
                left.start += 1;
            }
            let span = first..left.start;
            let counted_rows = span.clone().rev().find(|row| self.events.counts(*row, clock_us));
            let Some(newest) = counted_rows else { continue };
            let mut row = self.row(place, hop_us, tile, Some(self.events.valid_us[newest]));
            for (slot, Windowed { name, window, .. }) in &of_hop {
                let values = &self.events.values[*slot];
                let total = fold::total(window, values, self.events, span.clone(), clock_us);
                let partial = window.partial(total);
                row.insert(counted(name), Value::Int(partial.rows));
                if window.partial_type().is_some() {
                    row.insert(name.clone(), partial.value);
                }
            }
            rows.push(row);
        }
    }

    /// What says that an entity has no tile any more.
    fn emptied(&self, place: usize, hop_us: i64) -> Row {
        let mut row = self.row(place, hop_us, 0, None);
        row.insert(DELETED.to_owned(), Value::Bool(true));
        row.extend(self.windows.iter().map(|windowed| (counted(&windowed.name), Value::Int(0))));
        row
    }

    fn row(&self, place: usize, hop_us: i64, tile: i64, newest_us: Option<i64>) -> Row {
        let keys = self.asked.keys.iter();
        let mut row: Row = keys.map(|(name, array)| (name.clone(), value_at(array, place))).collect();
        let end = Time::from_timestamp_micros((tile + 1).saturating_mul(hop_us));
        let newest = newest_us.and_then(Time::from_timestamp_micros).map_or(Value::Null, Value::Timestamp);
        let valid_at = end.filter(|_| newest_us.is_some()).map_or(self.clock, |end| end.min(self.clock));
        row.extend([
            (HOP_US.to_owned(), Value::Int(hop_us)),
            (TILE.to_owned(), Value::Int(tile)),
            (NEWEST.to_owned(), newest),
            (VALID_AT.to_owned(), Value::Timestamp(valid_at)),
            (CREATED_AT.to_owned(), Value::Timestamp(self.stamp.created_at)),
            (SEQ.to_owned(), Value::Int(self.stamp.seq)),
            (DELETED.to_owned(), Value::Bool(false)),
        ]);
        row
    }
}
