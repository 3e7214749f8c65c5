//! Windowed aggregates from tiles at a moment: pure.
//!
//! Tile `k` of a hop holds rows with `valid_at` in `(k·hop, (k+1)·hop]`, UTC. The window that ends at `t` is
//! `(floor(t - window, hop), t]`: whole tiles, but for the newest, which holds no row past the data clock
//! because writers leave those out.

use std::time::Duration;

use tidemill_core::Time;
use tidemill_spec::{Aggregate, Value};

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

/// One feature's aggregate over one tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// Rows counted: all of them for a count of rows, else those whose column is not null.
    pub rows: i64,
    /// Sum (for means too), least or greatest value; null for counts, where `rows` is 0, and where a sum of ints leaves
    /// their range.
    pub value: Value,
}

/// The tile that a row with this `valid_at` lies in.
pub fn tile_of(valid_at: Time, hop: Duration) -> i64 {
    let hop = micros(hop);
    (valid_at.timestamp_micros() - 1).div_euclid(hop)
}

/// The oldest tile of a window that ends at `t`.
pub fn first_tile(t: Time, window: Duration, hop: Duration) -> i64 {
    (t.timestamp_micros() - micros(window)).div_euclid(micros(hop))
}

/// One feature's value over the window that ends at `t`. `position`: of the feature within the series.
/// Counts over nothing are 0, everything else is null; so is a sum of ints that leaves their range, and what is no finite
/// number. Sums add in tile order.
pub fn merge(
    aggregate: Aggregate,
    series: &Series,
    position: usize,
    t: Time,
    window: Duration,
    hop: Duration,
) -> Value {
    let tiles = first_tile(t, window, hop)..=tile_of(t, hop);
    let partials = || {
        series
            .tiles
            .iter()
            .filter(|tile| tiles.contains(&tile.index))
            .map(|tile| &tile.partials[position])
            .filter(|partial| partial.rows > 0)
    };
    let rows = partials().map(|partial| partial.rows).sum::<i64>();
    if aggregate == Aggregate::Count {
        return Value::Int(rows);
    }
    let values = partials().map(|partial| partial.value.clone());
    let merged = match aggregate {
        Aggregate::Count => None,
        Aggregate::Sum | Aggregate::Mean => values.reduce(add),
        Aggregate::Min => values.reduce(least),
        Aggregate::Max => values.reduce(greatest),
    };
    match (aggregate, merged) {
        (_, None) => Value::Null,
        #[expect(clippy::cast_precision_loss, reason = "windows hold fewer than 2^52 rows")]
        (Aggregate::Mean, Some(Value::Float(sum))) => finite(sum / rows as f64),
        (_, Some(Value::Float(number))) => finite(number),
        (_, Some(value)) => value,
    }
}

fn add(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Value::Float(a + b),
        (Value::Int(a), Value::Int(b)) => a.checked_add(b).map_or(Value::Null, Value::Int),
        _ => Value::Null,
    }
}

fn finite(number: f64) -> Value {
    if number.is_finite() { Value::Float(number) } else { Value::Null }
}

/// As DuckDB orders floats: NaN is greater than everything, and the zeros are equal.
fn less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a < b || (b.is_nan() && !a.is_nan()),
        (a, b) => a < b,
    }
}

fn least(a: Value, b: Value) -> Value {
    if less(&b, &a) { b } else { a }
}

fn greatest(a: Value, b: Value) -> Value {
    if less(&a, &b) { b } else { a }
}

fn micros(duration: Duration) -> i64 {
    // `check` refuses windows and hops of less than a second or more than a century.
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).max(1)
}
