//! Partial aggregates: rows fold into one, in the total order within a tile; those of tiles are joined in tile order.
//!
//! Floats don't add up the same in every order. Here the one order is kept, so a value from tiles is that from rows to
//! the last bit.

mod bytes;
mod distinct;
mod moments;
mod sketch;
mod tally;

use std::mem;

use tidemill_spec::{Aggregate, Value};

pub use bytes::Damaged;

use crate::Window;
use distinct::Distinct;
use moments::Moments;
use sketch::Sketch;
use tally::Tally;

/// An aggregate over the rows of a tile, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// Rows counted: all of them for a count of rows, else those whose value is not null.
    pub rows: i64,
    /// Of type [`Window::partial_type`]: sum (for means too), least, greatest, first or last value, or the last values; what
    /// is more than that as text, each kind in a format of its own that begins with its version. Null for counts, where `rows` is 0, and
    /// where a sum of ints or decimals leaves their range.
    pub value: Value,
}

/// An aggregate over some rows, which later rows and totals over later rows are joined to.
#[derive(Clone, Debug)]
pub struct Total {
    rows: i64,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Null where there are no rows yet, and of counts.
    Value(Value),
    Moments(Moments),
    Distinct(Distinct),
    Tally(Tally),
    Sketch(Sketch),
}

impl Window {
    /// The aggregate over rows in the total order, each with its `valid_at` and its value, which has the type
    /// [`Window::row_type`]; one whose value is null does not count.
    pub fn fold(&self, rows: impl IntoIterator<Item = (i64, Value)>) -> Total {
        let (mut total, mut of_tile, mut end_us) = (self.nothing(), self.nothing(), i64::MIN);
        for (valid_us, value) in rows.into_iter().filter(|(_, value)| !value.is_null()) {
            if valid_us > end_us {
                self.join(&mut total, mem::replace(&mut of_tile, self.nothing()));
                end_us = self.tile_end_us(valid_us);
            }
            self.add(&mut of_tile, value);
        }
        self.join(&mut total, of_tile);
        total
    }

    /// The value at a moment from the partials of tiles, oldest first; those that the window doesn't reach are passed over.
    ///
    /// # Errors
    /// A partial was not written for such a window.
    pub fn merge<'a>(
        &self,
        tiles: impl IntoIterator<Item = (i64, &'a Partial)>,
        at_us: i64,
    ) -> Result<Value, Damaged> {
        let within = self.tiles(at_us);
        let mut total = self.nothing();
        for (_, partial) in tiles.into_iter().filter(|(tile, _)| within.contains(tile)) {
            self.join(&mut total, self.read(partial)?);
        }
        Ok(self.value(total))
    }

    /// What a total over all rows of the window comes to: a count of nothing is 0, everything else of nothing is null. So
    /// is a sum of ints or decimals that leaves their range, the deviation of a single row, and what is no finite number.
    pub fn value(&self, total: Total) -> Value {
        let rows = total.rows;
        #[expect(clippy::cast_precision_loss, reason = "windows hold fewer than 2^52 rows")]
        let value = match (self.aggregate, total.state) {
            (Aggregate::Count, _) => Value::Int(rows),
            (_, State::Distinct(distinct)) => Value::Int(distinct.count()),
            (Aggregate::Mean, State::Value(Value::Float(sum))) => Value::Float(sum / rows as f64),
            (_, State::Moments(moments)) => moments.deviation().map_or(Value::Null, Value::Float),
            (Aggregate::Top { n }, State::Tally(tally)) => {
                tally.commonest(n as usize).filter(|_| rows > 0).map_or(Value::Null, Value::List)
            }
            (_, State::Tally(tally)) => {
                tally.commonest(1).and_then(|mut one| one.pop()).unwrap_or(Value::Null)
            }
            (Aggregate::Percentile { p }, State::Sketch(sketch)) => {
                sketch.percentile(p).map_or(Value::Null, Value::Float)
            }
            (_, State::Value(value)) => value,
            (_, State::Sketch(_)) => Value::Null,
        };
        match value {
            Value::Float(number) if !number.is_finite() => Value::Null,
            value => value,
        }
    }

    /// A total as a tile keeps it.
    pub fn partial(&self, total: Total) -> Partial {
        let value = match total.state {
            _ if total.rows == 0 => Value::Null,
            State::Value(value) => value,
            State::Moments(moments) => Value::String(moments.write()),
            State::Distinct(distinct) => Value::String(distinct.write()),
            State::Tally(tally) => Value::String(tally.write()),
            State::Sketch(sketch) => Value::String(sketch.write()),
        };
        Partial { rows: total.rows, value }
    }

    fn read(&self, partial: &Partial) -> Result<Total, Damaged> {
        let mut total = self.nothing();
        if partial.rows == 0 {
            return Ok(total);
        }
        total.rows = partial.rows;
        match (&mut total.state, &partial.value) {
            (State::Value(state), value) => *state = value.clone(),
            (State::Moments(state), Value::String(text)) => *state = Moments::read(text)?,
            (State::Distinct(state), Value::String(text)) => *state = Distinct::read(text)?,
            (State::Tally(state), Value::String(text)) => {
                *state = Tally::read(text, self.row_type().unwrap_or(self.ty))?;
            }
            (State::Sketch(state), Value::String(text)) => *state = Sketch::read(text)?,
            _ => return Err(Damaged("a partial aggregate has the wrong type")),
        }
        Ok(total)
    }

    fn nothing(&self) -> Total {
        let state = match self.aggregate {
            Aggregate::Stddev => State::Moments(Moments::default()),
            Aggregate::Distinct => State::Distinct(Distinct::default()),
            Aggregate::Mode | Aggregate::Top { .. } => State::Tally(Tally::default()),
            Aggregate::Percentile { .. } => State::Sketch(Sketch::default()),
            _ => State::Value(Value::Null),
        };
        Total { rows: 0, state }
    }

    fn add(&self, total: &mut Total, value: Value) {
        match (&mut total.state, value) {
            (State::Moments(moments), Value::Float(number)) => moments.add(number),
            (State::Distinct(distinct), Value::String(text)) => distinct.add(&text),
            (State::Tally(tally), value) => tally.add(value),
            (State::Sketch(sketch), Value::Float(number)) => sketch.add(number),
            (State::Value(state), value) => {
                let many = matches!(self.aggregate, Aggregate::LastN { .. });
                let value = if many { Value::List(vec![value]) } else { value };
                self.join_value(total.rows, state, value);
            }
            (_, value) => debug_assert!(false, "{value:?} is not of the type that is aggregated"),
        }
        total.rows += 1;
    }

    fn join(&self, total: &mut Total, later: Total) {
        if later.rows == 0 {
            return;
        }
        match (&mut total.state, later.state) {
            (State::Value(state), State::Value(value)) => self.join_value(total.rows, state, value),
            (State::Moments(state), State::Moments(later)) => state.join(later),
            (State::Distinct(state), State::Distinct(later)) => state.join(later),
            (State::Tally(state), State::Tally(later)) => state.join(later),
            (State::Sketch(state), State::Sketch(later)) => state.join(later),
            _ => debug_assert!(false, "totals of one window are alike"),
        }
        total.rows += later.rows;
    }

    /// Joins a value to that of `rows` earlier rows.
    fn join_value(&self, rows: i64, state: &mut Value, later: Value) {
        match (self.aggregate, &mut *state, later) {
            (Aggregate::Count, ..) => {}
            (_, _, later) if rows == 0 => *state = later,
            (Aggregate::Sum | Aggregate::Mean, Value::Float(sum), Value::Float(number)) => *sum += number,
            (Aggregate::Sum | Aggregate::Mean, Value::Int(sum), Value::Int(number)) => {
                *state = sum.checked_add(number).map_or(Value::Null, Value::Int);
            }
            (Aggregate::Sum, Value::Decimal(sum), Value::Decimal(number)) => {
                *state = sum.checked_add(number).map_or(Value::Null, Value::Decimal);
            }
            // A sum of ints or decimals that has left their range stays null.
            (Aggregate::Sum | Aggregate::Mean, ..) => *state = Value::Null,
            (Aggregate::Min, least, later) if less(&later, least) => *state = later,
            (Aggregate::Max, greatest, later) if less(greatest, &later) => *state = later,
            (Aggregate::Last, _, later) => *state = later,
            // The newest first.
            (Aggregate::LastN { n }, Value::List(values), Value::List(mut later)) => {
                later.append(values);
                later.truncate(n as usize);
                *values = later;
            }
            _ => {}
        }
    }
}

/// As DuckDB orders floats: NaN is greater than everything, and the zeros are equal.
fn less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a < b || (b.is_nan() && !a.is_nan()),
        (a, b) => a < b,
    }
}
