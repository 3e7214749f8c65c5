//! The bytes of one entity's value in a view version.
//!
//! `order (24) · layout id (4) · flags (1) · body`. The order comes first and compares bytewise, so that Redis
//! can tell newer from older without knowing the rest. A row's body is a null bitmap and the columns that are
//! not null; a window view's body is its tiles, series by series.

use tidemill_core::Time;
use tidemill_spec::Value;
use tidemill_windows::Partial;

use crate::{
    codec::{self, Cursor, Reason},
    error::Error,
    view::{Layout, OnlineView, SeriesLayout},
};

const DELETED: u8 = 1;

/// Where a value stands among all values of its entity: later ones replace earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// Microseconds since 1970 at which a row became known; of what is computed, the lake version it stands for.
    pub first: i64,
    /// Microseconds since 1970 at which a row was accepted; of what is computed, the data clock it stands for.
    pub second: i64,
    /// A row's `seq`; 0 of tiles; of a last row among upserts when it became known, as in `first` of others.
    pub third: i64,
}

impl Order {
    /// A row's place: `(valid_at, created_at, seq)`.
    pub fn row(valid_at: Time, created_at: Time, seq: i64) -> Self {
        Self { first: valid_at.timestamp_micros(), second: created_at.timestamp_micros(), third: seq }
    }

    /// The place of tiles computed from the lake as of `lake_version` with rows up to `clock`.
    pub fn tiles(lake_version: i64, clock: Time) -> Self {
        Self { first: lake_version, second: clock.timestamp_micros(), third: 0 }
    }

    /// The place of an entity's last row among upserts, computed as [`Order::tiles`] are. `valid_at`: when that row
    /// became known; `None` where there is none any more.
    pub fn upserts(lake_version: i64, clock: Time, valid_at: Option<Time>) -> Self {
        let third = valid_at.map_or(0, |valid_at| valid_at.timestamp_micros());
        Self { third, ..Self::tiles(lake_version, clock) }
    }

    /// Bytes that compare as the orders do: big-endian with the sign flipped.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (part, eight) in [self.first, self.second, self.third].into_iter().zip(bytes.chunks_exact_mut(8))
        {
            eight.copy_from_slice(&(part ^ i64::MIN).to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let part = |index: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
            i64::from_be_bytes(eight) ^ i64::MIN
        };
        Self { first: part(0), second: part(1), third: part(2) }
    }
}

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
    /// Oldest first; tiles without rows are left out.
    pub tiles: Vec<Tile>,
}

/// Partial aggregates over one hop.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// `k`: the tile covers `(k·hop, (k+1)·hop]` since 1970.
    pub index: i64,
    /// Greatest `valid_at` of its rows.
    pub newest: Time,
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
            (Body::Tiles(series), Layout::Tiles(layouts)) if series.len() == layouts.len() => layouts
                .iter()
                .zip(series)
                .try_for_each(|(layout, series)| put_series(&mut out, layout, series)),
            (body, _) => Err(("*".to_owned(), format!("{body:?}"))),
        };
        written.map_err(|(column, value)| Error::WrongColumn {
            view: view.name().to_owned(),
            column,
            value,
        })?;
        Ok(out)
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

fn put_series(out: &mut Vec<u8>, layout: &SeriesLayout, series: &Series) -> Result<(), Misfit> {
    let misfit = || ("*".to_owned(), format!("{series:?}"));
    out.extend(u32::try_from(series.tiles.len()).map_err(|_| misfit())?.to_le_bytes());
    for tile in &series.tiles {
        if tile.partials.len() != layout.features.len() {
            return Err(misfit());
        }
        out.extend(tile.index.to_le_bytes());
        out.extend(tile.newest.timestamp_micros().to_le_bytes());
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
    }
    Ok(())
}

fn read(view: &OnlineView, bytes: &[u8]) -> Result<Stored, Reason> {
    let mut cursor = Cursor(bytes);
    let order = Order::from_bytes(cursor.take(24)?);
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
        (_, Layout::Tiles(series)) => Body::Tiles(
            series.iter().map(|layout| read_series(&mut cursor, layout)).collect::<Result<_, _>>()?,
        ),
    };
    if cursor.0.is_empty() { Ok(Stored { order, body }) } else { Err("it has bytes left over") }
}

fn read_series(cursor: &mut Cursor<'_>, layout: &SeriesLayout) -> Result<Series, Reason> {
    let count = cursor.u32()?;
    let tiles = (0..count).map(|_| read_tile(cursor, layout)).collect::<Result<_, _>>()?;
    Ok(Series { tiles })
}

fn read_tile(cursor: &mut Cursor<'_>, layout: &SeriesLayout) -> Result<Tile, Reason> {
    let index = cursor.i64()?;
    let newest = Time::from_timestamp_micros(cursor.i64()?).ok_or("an instant is out of range")?;
    let mut partials = Vec::with_capacity(layout.features.len());
    for (_, ty) in &layout.features {
        let rows = cursor.i64()?;
        let value = match ty {
            Some(ty) if rows > 0 => cursor.value(*ty)?,
            _ => Value::Null,
        };
        partials.push(Partial { rows: rows.saturating_abs(), value });
    }
    Ok(Tile { index, newest, partials })
}
