//! One windowed feature, and how its window is cut into tiles.
//!
//! Tile `k` of a hop holds rows with `valid_at` in `(k·hop, (k+1)·hop]`, UTC. The window that ends at `t` is
//! `(floor(t - length, hop), t]`: whole tiles, but for the newest, which holds no row past `t`.

use std::{ops::RangeInclusive, time::Duration};

use tidemill_spec::{Aggregate, Feature, Rule, Type};

/// An aggregate over a window that ends at the moment of asking. Instants are microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub(crate) aggregate: Aggregate,
    pub(crate) ty: Type,
    length_us: i64,
    hop_us: i64,
}

impl Window {
    /// The window of a feature, if it is windowed.
    pub fn of(feature: &Feature) -> Option<Self> {
        let Rule::Window { aggregate, window, hop, .. } = &feature.rule else { return None };
        let (length_us, hop_us) = (micros(*window), micros(*hop));
        Some(Self { aggregate: *aggregate, ty: feature.ty, length_us, hop_us })
    }

    /// How far back it reaches, its tail not yet floored.
    pub fn length_us(&self) -> i64 {
        self.length_us
    }

    /// How long a tile is.
    pub fn hop_us(&self) -> i64 {
        self.hop_us
    }

    /// The tile that a row lies in.
    pub fn tile(&self, valid_us: i64) -> i64 {
        (valid_us - 1).div_euclid(self.hop_us)
    }

    /// The last instant of the tile that a row lies in.
    pub(crate) fn tile_end_us(&self, valid_us: i64) -> i64 {
        (self.tile(valid_us) + 1).saturating_mul(self.hop_us)
    }

    /// The tiles of the window that ends at a moment; those before them are never of use again.
    pub fn tiles(&self, at_us: i64) -> RangeInclusive<i64> {
        self.first_tile(at_us)..=self.tile(at_us)
    }

    /// No row at or before this counts at that moment.
    pub fn tail_us(&self, at_us: i64) -> i64 {
        self.first_tile(at_us) * self.hop_us
    }

    fn first_tile(&self, at_us: i64) -> i64 {
        (at_us - self.length_us).div_euclid(self.hop_us)
    }

    /// The type in which a row's value is aggregated; `None` for counts, of which only that there is one matters.
    pub fn row_type(&self) -> Option<Type> {
        self.aggregate.row_type(self.ty)
    }

    /// The type of a partial's value; `None` for counts, which have none besides the number of rows. What is more than a
    /// value or a list of values is kept as text.
    pub fn partial_type(&self) -> Option<Type> {
        match self.aggregate {
            Aggregate::Stddev
            | Aggregate::Distinct
            | Aggregate::Mode
            | Aggregate::Percentile { .. }
            | Aggregate::Top { .. } => Some(Type::String),
            Aggregate::LastN { .. } => Some(self.ty),
            _ => self.row_type(),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    // `check` refuses windows and hops of less than a second or more than a century.
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).max(1)
}
