//! Aggregates over the rows of a window: in row order within a tile, in tile order across.
//!
//! Pure. Tiles and moments go through the same [`aggregate`], so what is kept online adds up to what is computed
//! here to the last bit.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, TimestampMicrosecondArray},
    datatypes::{Float64Type, Int64Type, TimestampMicrosecondType},
};
use tidemill_rows::array;
use tidemill_spec::{Aggregate, Type, Value};

use super::{Events, Window};
use crate::{Error, pit::Asked};

/// One aggregate over some rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Folded {
    /// Rows counted: all of them for a count of rows, else those whose column is not null.
    pub(super) rows: i64,
    /// Sum (for means too), least or greatest value; null for counts, where `rows` is 0, and where a sum of ints leaves
    /// their range.
    pub(super) value: Value,
}

/// Each window's values at the asked moments, and when the newest row behind them became valid.
pub(super) fn evaluate(
    windows: &[Window],
    events: &Events,
    asked: &Asked,
) -> Result<(Vec<ArrayRef>, ArrayRef), Error> {
    let moments = asked.moments.as_primitive::<TimestampMicrosecondType>().values();
    let columns: Result<Vec<ArrayRef>, Error> = windows
        .iter()
        .zip(&events.values)
        .map(|(window, values)| {
            let at = events.entity_of.iter().zip(moments);
            let results: Vec<Value> = at
                .map(|(entity, at)| {
                    let rows = entity.map_or(0..0, |entity| events.between(entity, window.tail_us(*at), *at));
                    finish(window, aggregate(window, values, events, rows, *at))
                })
                .collect();
            Ok(array(&window.name, window.ty, &results)?)
        })
        .collect();
    let newest = events.entity_of.iter().zip(moments).map(|(entity, at)| {
        let tail = windows.iter().map(|window| window.tail_us(*at)).min()?;
        let mut rows = events.between((*entity)?, tail, *at).rev();
        rows.find(|row| events.counts(*row, *at)).map(|row| events.valid_us[row])
    });
    let newest: TimestampMicrosecondArray = newest.collect();
    Ok((columns?, Arc::new(newest.with_timezone("UTC"))))
}

/// The aggregate over those of `rows` that count at a moment.
pub(super) fn aggregate(
    window: &Window,
    values: &ArrayRef,
    events: &Events,
    rows: Range<usize>,
    at_us: i64,
) -> Folded {
    let fold = Fold { window, events, rows, at_us };
    match (window.aggregate, window.ty) {
        (Aggregate::Count, _) => {
            let values = values.as_boolean();
            fold.run(|row| values.value(row).then_some(()), |(), ()| (), |()| Value::Null)
        }
        (Aggregate::Mean, _) | (_, Type::Float) => {
            let values = values.as_primitive::<Float64Type>();
            let get = |row| values.is_valid(row).then(|| values.value(row));
            match window.aggregate {
                Aggregate::Min => fold.run(get, |a, b| if float_less(b, a) { b } else { a }, Value::Float),
                Aggregate::Max => fold.run(get, |a, b| if float_less(a, b) { b } else { a }, Value::Float),
                _ => fold.run(get, |a, b| a + b, Value::Float),
            }
        }
        (_, Type::Int) => {
            let values = values.as_primitive::<Int64Type>();
            let get = |row| values.is_valid(row).then(|| values.value(row));
            match window.aggregate {
                Aggregate::Min => fold.run(get, i64::min, Value::Int),
                Aggregate::Max => fold.run(get, i64::max, Value::Int),
                _ => fold.run(
                    |row| get(row).map(Some),
                    |a, b| a?.checked_add(b?),
                    |sum| sum.map_or(Value::Null, Value::Int),
                ),
            }
        }
        // Only least and greatest are left: there is no sum of these.
        (kind, _) => {
            let get = |row| values.is_valid(row).then_some(row);
            let at = |row| tidemill_rows::value_at(values, row);
            let pick = |a: usize, b: usize| {
                let less = at(b) < at(a);
                if less == (kind == Aggregate::Min) && at(a) != at(b) { b } else { a }
            };
            fold.run(get, pick, at)
        }
    }
}

/// The window's value: counts over nothing are 0, everything else is the default.
fn finish(window: &Window, folded: Folded) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "windows hold fewer than 2^52 rows")]
    match (window.aggregate, folded.value) {
        (Aggregate::Count, _) if window.ty == Type::Float => Value::Float(folded.rows as f64),
        (Aggregate::Count, _) => Value::Int(folded.rows),
        (_, Value::Null) => window.default.clone(),
        (Aggregate::Mean, Value::Float(sum)) => finite(sum / folded.rows as f64, window),
        (_, Value::Float(number)) => finite(number, window),
        (_, value) => value,
    }
}

/// What is no finite number is missing.
fn finite(number: f64, window: &Window) -> Value {
    if number.is_finite() { Value::Float(number) } else { window.default.clone() }
}

/// As DuckDB orders floats: NaN is greater than everything, and the zeros are equal.
fn float_less(a: f64, b: f64) -> bool {
    a < b || (b.is_nan() && !a.is_nan())
}

struct Fold<'a> {
    window: &'a Window,
    events: &'a Events,
    rows: Range<usize>,
    at_us: i64,
}

impl Fold<'_> {
    fn run<T: Copy>(
        self,
        get: impl Fn(usize) -> Option<T>,
        combine: impl Fn(T, T) -> T,
        value: impl Fn(T) -> Value,
    ) -> Folded {
        let join = |a: Option<T>, b: Option<T>| match (a, b) {
            (Some(a), Some(b)) => Some(combine(a, b)),
            (a, b) => a.or(b),
        };
        let (mut total, mut tile_total, mut tile, mut rows) = (None, None, None, 0);
        for row in self.rows.filter(|row| self.events.counts(*row, self.at_us)) {
            let Some(next) = get(row) else { continue };
            rows += 1;
            let of = self.window.tile(self.events.valid_us[row]);
            if tile != Some(of) {
                total = join(total, tile_total.take());
                tile = Some(of);
            }
            tile_total = join(tile_total, Some(next));
        }
        Folded { rows, value: join(total, tile_total).map_or(Value::Null, value) }
    }
}
