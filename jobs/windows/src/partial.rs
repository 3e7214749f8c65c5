//! Partial aggregates: rows fold into one, in the total order within a tile; those of tiles are joined in tile order.
//!
//! Floats don't add up the same in every order. Here the one order is kept, so a value from tiles is that from rows to
//! the last bit.

use tidemill_spec::{Aggregate, Value};

use crate::Window;

/// An aggregate over some rows, that can be joined with that over later ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// Rows counted: all of them for a count of rows, else those whose value is not null.
    pub rows: i64,
    /// Sum (for means too), least or greatest value; null for counts, where `rows` is 0, and where a sum of ints leaves
    /// their range.
    pub value: Value,
}

impl Partial {
    /// Over no rows.
    pub const NONE: Self = Self { rows: 0, value: Value::Null };
}

impl Window {
    /// The aggregate over rows in the total order, each with its `valid_at`; one whose value is null does not count.
    pub fn fold(&self, rows: impl IntoIterator<Item = (i64, Value)>) -> Partial {
        let (mut total, mut of_tile, mut tile) = (Partial::NONE, Partial::NONE, None);
        for (valid_us, value) in rows.into_iter().filter(|(_, value)| !value.is_null()) {
            let of = self.tile(valid_us);
            if tile != Some(of) {
                self.join(&mut total, std::mem::replace(&mut of_tile, Partial::NONE));
                tile = Some(of);
            }
            self.join(&mut of_tile, self.one(value));
        }
        self.join(&mut total, of_tile);
        total
    }

    /// The value at a moment from the partials of tiles, oldest first; those that the window doesn't reach are passed over.
    pub fn merge<'a>(&self, tiles: impl IntoIterator<Item = (i64, &'a Partial)>, at_us: i64) -> Value {
        let within = self.tiles(at_us);
        let mut total = Partial::NONE;
        for (_, partial) in tiles.into_iter().filter(|(tile, _)| within.contains(tile)) {
            self.join(&mut total, partial.clone());
        }
        self.value(total)
    }

    /// What a partial over all rows of the window comes to: a count of nothing is 0, everything else of nothing is null.
    /// So is a sum of ints that leaves their range, and what is no finite number.
    pub fn value(&self, total: Partial) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "windows hold fewer than 2^52 rows")]
        let value = match (self.aggregate, total.value) {
            (Aggregate::Count, _) => Value::Int(total.rows),
            (Aggregate::Mean, Value::Float(sum)) => Value::Float(sum / total.rows as f64),
            (_, value) => value,
        };
        match value {
            Value::Float(number) if !number.is_finite() => Value::Null,
            value => value,
        }
    }

    fn one(&self, value: Value) -> Partial {
        Partial { rows: 1, value: if self.aggregate == Aggregate::Count { Value::Null } else { value } }
    }

    fn join(&self, total: &mut Partial, later: Partial) {
        if total.rows == 0 || later.rows == 0 {
            if total.rows == 0 {
                *total = later;
            }
            return;
        }
        total.rows += later.rows;
        let value = std::mem::replace(&mut total.value, Value::Null);
        total.value = match self.aggregate {
            Aggregate::Count => Value::Null,
            Aggregate::Sum | Aggregate::Mean => sum(value, later.value),
            Aggregate::Min if less(&later.value, &value) => later.value,
            Aggregate::Max if less(&value, &later.value) => later.value,
            Aggregate::Min | Aggregate::Max => value,
        };
    }
}

fn sum(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Value::Float(a + b),
        (Value::Int(a), Value::Int(b)) => a.checked_add(b).map_or(Value::Null, Value::Int),
        // A sum of ints that has left their range stays null.
        _ => Value::Null,
    }
}

/// As DuckDB orders floats: NaN is greater than everything, and the zeros are equal.
fn less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a < b || (b.is_nan() && !a.is_nan()),
        (a, b) => a < b,
    }
}
