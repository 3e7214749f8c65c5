//! The bytes of one entity's value in a view version.
//!
//! `order (24) · layout id (4) · flags (1) · body`. The order comes first and compares bytewise, so that Redis
//! can tell newer from older without knowing the rest. A row's body is a null bitmap and the columns that are
//! not null. A window view's body is its tiles, `series (2) · index (8) · order (16) · length (4) · the tile`: Redis
//! replaces them one by one, so each has an order of its own.

use tidemill_core::Time;
use tidemill_spec::Value;
use tidemill_windows::Partial;

use crate::{
    codec::{self, Cursor, Reason},
    error::Error,
    order::{Order, TileOrder, instant},
    view::{Layout, OnlineView, SeriesLayout},
};

const DELETED: u8 = 1;

/// One entity's value, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its place among the entity's values.
    pub order: Order,
    /// What it says.
    pub body: Body,
}

/// What a stored value says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The entity's newest row is a deletion. Kept, so that older rows that arrive later don't come back.
    Deleted,
    /// The newest row's columns, in the layout's order.
    Row(Vec<Value>),
    /// Tiles, one series for each hop in the layout's order.
    Tiles(Vec<Series>),
}

/// The tiles of one entity and hop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Oldest first.
    pub tiles: Vec<Tile>,
}

/// Partial aggregates over one hop.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// `k`: the tile covers `(k·hop, (k+1)·hop]` since 1970.
    pub index: i64,
    /// Its place among all that were computed of it.
    pub order: TileOrder,
    /// Greatest `valid_at` of its rows; `None` where none is left, which replaces a tile that had some.
    pub newest: Option<Time>,
    /// One for each feature of the series.
    pub partials: Vec<Partial>,
}

impl Stored {
    /// The bytes to store.
    ///
    /// # Errors
    /// [`Error::WrongColumn`] if the body doesn't fit the view's layout.
    pub fn encode(&self, view: &OnlineView) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(64);
        out.extend(self.order.to_bytes());
        out.extend(view.layout_id().to_le_bytes());
        out.push(if matches!(self.body, Body::Deleted) { DELETED } else { 0 });
        let written = match (&self.body, view.layout()) {
            (Body::Deleted, _) => Ok(()),
            (Body::Row(values), Layout::Row(columns)) if values.len() == columns.len() => {
                put_row(&mut out, columns.iter().map(|(name, ty)| (name.as_str(), *ty)).zip(values))
            }
            (Body::Tiles(series), Layout::Tiles(layouts)) if series.len() == layouts.len() => (0..)
                .zip(layouts.iter().zip(series))
                .try_for_each(|(place, (layout, series))| put_series(&mut out, place, layout, series)),
            (body, _) => Err(("*".to_owned(), format!("{body:?}"))),
        };
        written.map_err(|(column, value)| Error::WrongColumn {
            view: view.name().to_owned(),
            column,
            value,
        })?;
        Ok(out)
    }

    /// Of tiles: for each series the first that is of use from when the newest of them was computed on, as bytes.
    pub(crate) fn first_tiles(&self, view: &OnlineView) -> Option<Vec<u8>> {
        let (Body::Tiles(series), Layout::Tiles(layouts)) = (&self.body, view.layout()) else { return None };
        let clocks = series.iter().flat_map(|series| &series.tiles).map(|tile| tile.order.clock);
        let clock = clocks.max().unwrap_or(Time::MIN_UTC);
        Some(layouts.iter().flat_map(|layout| layout.first_tile(clock).to_be_bytes()).collect())
    }

    /// Reads what [`Stored::encode`] wrote for the same view version.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if it was written for another layout or is damaged.
    pub fn decode(view: &OnlineView, bytes: &[u8]) -> Result<Self, Error> {
        read(view, bytes).map_err(|reason| view.unreadable(reason))
    }
}

/// Column and value that don't fit.
type Misfit = (String, String);

fn put_row<'a>(
    out: &mut Vec<u8>,
    columns: impl ExactSizeIterator<Item = ((&'a str, tidemill_spec::Type), &'a Value)>,
) -> Result<(), Misfit> {
    let bitmap = out.len();
    out.resize(bitmap + columns.len().div_ceil(8), 0);
    for (index, ((name, ty), value)) in columns.enumerate() {
        if value.is_null() {
            out[bitmap + index / 8] |= 1 << (index % 8);
        } else if !codec::put(out, ty, value) {
            return Err((name.to_owned(), format!("{value:?}")));
        }
    }
    Ok(())
}

fn put_series(out: &mut Vec<u8>, place: u16, layout: &SeriesLayout, series: &Series) -> Result<(), Misfit> {
    for tile in &series.tiles {
        out.extend(place.to_be_bytes());
        out.extend(tile.index.to_be_bytes());
        out.extend(tile.order.to_bytes());
        let length = out.len();
        out.extend([0; 4]);
        put_tile(out, layout, tile)?;
        let written = u32::try_from(out.len() - length - 4);
        let written = written.map_err(|_| ("*".to_owned(), "a tile of more than 4 GiB".to_owned()))?;
        out[length..length + 4].copy_from_slice(&written.to_be_bytes());
    }
    Ok(())
}

/// When its newest row became valid, then the partials; nothing of a tile that has no rows.
fn put_tile(out: &mut Vec<u8>, layout: &SeriesLayout, tile: &Tile) -> Result<(), Misfit> {
    let Some(newest) = tile.newest else { return Ok(()) };
    if tile.partials.len() != layout.features.len() {
        return Err(("*".to_owned(), format!("{tile:?}")));
    }
    out.extend(newest.timestamp_micros().to_le_bytes());
    for ((name, ty), partial) in layout.features.iter().zip(&tile.partials) {
        // Rows without a value of theirs are counted below 0: their sum leaves the range of its type.
        let none = ty.is_some() && partial.rows > 0 && partial.value.is_null();
        out.extend(if none { -partial.rows } else { partial.rows }.to_le_bytes());
        if let Some(ty) = ty
            && partial.rows > 0
            && !none
            && !codec::put(out, *ty, &partial.value)
        {
            return Err((name.clone(), format!("{:?}", partial.value)));
        }
    }
    Ok(())
}

fn read(view: &OnlineView, bytes: &[u8]) -> Result<Stored, Reason> {
    let mut cursor = Cursor(bytes);
    let order = Order::read(&mut cursor)?;
    if cursor.u32()? != view.layout_id() {
        return Err("it was written with other columns");
    }
    let body = match (cursor.byte()?, view.layout()) {
        (DELETED, _) => Body::Deleted,
        (_, Layout::Row(columns)) => {
            let bitmap = cursor.take(columns.len().div_ceil(8))?;
            let null = |index: usize| bitmap[index / 8] & (1 << (index % 8)) != 0;
            let values = columns.iter().enumerate();
            Body::Row(
                values
                    .map(|(index, (_, ty))| if null(index) { Ok(Value::Null) } else { cursor.value(*ty) })
                    .collect::<Result<_, _>>()?,
            )
        }
        (_, Layout::Tiles(layouts)) => Body::Tiles(read_tiles(&mut cursor, layouts)?),
    };
    if cursor.0.is_empty() { Ok(Stored { order, body }) } else { Err("it has bytes left over") }
}

fn read_tiles(cursor: &mut Cursor<'_>, layouts: &[SeriesLayout]) -> Result<Vec<Series>, Reason> {
    let mut series = vec![Series::default(); layouts.len()];
    while !cursor.0.is_empty() {
        let place = usize::from(u16::from_be_bytes(cursor.array()?));
        let layout = layouts.get(place).ok_or("it has a series too many")?;
        let (index, order) = (i64::from_be_bytes(cursor.array()?), TileOrder::read(cursor)?);
        let length = u32::from_be_bytes(cursor.array()?) as usize;
        let (newest, partials) = read_tile(Cursor(cursor.take(length)?), layout)?;
        series[place].tiles.push(Tile { index, order, newest, partials });
    }
    Ok(series)
}

fn read_tile(mut cursor: Cursor<'_>, layout: &SeriesLayout) -> Result<(Option<Time>, Vec<Partial>), Reason> {
    if cursor.0.is_empty() {
        return Ok((None, vec![Partial { rows: 0, value: Value::Null }; layout.features.len()]));
    }
    let newest = instant(cursor.i64()?)?;
    let mut partials = Vec::with_capacity(layout.features.len());
    for (_, ty) in &layout.features {
        let rows = cursor.i64()?;
        let value = match ty {
            Some(ty) if rows > 0 => cursor.value(*ty)?,
            _ => Value::Null,
        };
        partials.push(Partial { rows: rows.saturating_abs(), value });
    }
    if cursor.0.is_empty() { Ok((Some(newest), partials)) } else { Err("a tile has bytes left over") }
}
