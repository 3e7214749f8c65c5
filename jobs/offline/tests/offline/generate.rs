//! Random worlds over a domain so small that rows collide all the time. Seeded: the same seed is the same world.

use tidemill_core::Time;
use tidemill_rows::Row;
use tidemill_spec::{Decimal, Value};

use crate::{
    brute::{Event, Key},
    world::{at, row},
};

/// Moments lie within this many seconds.
pub(crate) const SPAN: i64 = 1_200;

/// A small random generator (the mixer of `SplitMix64`), so that a seed printed by a failure says everything.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }

    /// Half-minutes mostly, so that ties, window ends and ttl ends are hit; sometimes a microsecond beside.
    pub(crate) fn moment(&mut self) -> Time {
        let grid = self.roll(SPAN as u64 / 30 + 1) as i64 * 30;
        let beside = if self.chance(10) { self.pick(&[-1, 1]) } else { 0 };
        at(grid) + chrono::TimeDelta::microseconds(beside)
    }

    pub(crate) fn key(&mut self) -> Key {
        let a = self.pick(&["a", "b", "ab"]).to_owned();
        let b = self.pick(&[1, 2, 12]);
        (Some(a).filter(|_| !self.chance(4)), Some(b).filter(|_| !self.chance(4)))
    }

    pub(crate) fn event(&mut self, seq: i64) -> Event {
        let valid_at = self.moment();
        // Usually accepted a little later; sometimes long after (a late row), sometimes before (a plan).
        let created_at = if self.chance(60) { valid_at } else { self.moment() };
        Event {
            key: self.key(),
            id: self.roll(12) as i64,
            valid_at,
            created_at,
            seq,
            deleted: self.chance(12),
            x: Some(self.pick(&[0.1, 0.25, -3.5, 0.7, 1e6])).filter(|_| !self.chance(20)),
            n: Some(self.roll(9) as i64 - 4).filter(|_| !self.chance(20)),
        }
    }
}

pub(crate) fn source_row(event: &Event) -> Row {
    let [a, b] = key_values(&event.key);
    row([
        ("a", a),
        ("b", b),
        ("id", Value::Int(event.id)),
        ("x", event.x.map_or(Value::Null, Value::Float)),
        ("n", event.n.map_or(Value::Null, Value::Int)),
        ("cents", cents(event).unwrap_or(Value::Null)),
        ("spot", spot(event).map_or(Value::Null, floats)),
        ("gone", Value::Bool(event.deleted)),
        ("happened_at", Value::Timestamp(event.valid_at)),
        ("valid_at", Value::Timestamp(event.valid_at)),
        ("created_at", Value::Timestamp(event.created_at)),
        ("seq", Value::Int(event.seq)),
        ("deleted", Value::Bool(event.deleted)),
    ])
}

/// What the source has of an event as an exact number.
pub(crate) fn cents(event: &Event) -> Option<Value> {
    event.n.map(|n| Value::Decimal(Decimal::new(i128::from(n * 37 + event.id), 2)))
}

/// What it has as a list.
pub(crate) fn spot(event: &Event) -> Option<[f64; 2]> {
    event.x.zip(event.n).map(|(x, n)| [x, n as f64])
}

pub(crate) fn floats(floats: [f64; 2]) -> Value {
    Value::List(floats.map(Value::Float).into())
}

pub(crate) fn key_values(key: &Key) -> [Value; 2] {
    [key.0.clone().map_or(Value::Null, Value::String), key.1.map_or(Value::Null, Value::Int)]
}
