//! Where values stand among each other: what Redis compares without knowing the rest.

use tidemill_core::Time;

use crate::codec::{Cursor, Reason};

/// Where a value stands among all values of its entity: later ones replace earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// Microseconds since 1970 at which a row became known; of what is computed, the lake version it stands for.
    pub first: i64,
    /// Microseconds since 1970 at which a row was accepted; of what is computed, the data clock it stands for.
    pub second: i64,
    /// A row's `seq`; of a last row among upserts when it became known, as in `first` of others.
    pub third: i64,
}

impl Order {
    /// That of a value of tiles, which have orders of their own: whoever would replace it as a whole comes too late.
    pub const TILES: Self = Self { first: i64::MAX, second: i64::MAX, third: i64::MAX };

    /// A row's place: `(valid_at, created_at, seq)`.
    pub fn row(valid_at: Time, created_at: Time, seq: i64) -> Self {
        Self { first: valid_at.timestamp_micros(), second: created_at.timestamp_micros(), third: seq }
    }

    /// The place of an entity's last row among upserts, computed as tiles are: from the lake as of `lake_version` with
    /// rows up to `clock`. `valid_at`: when that row became known; `None` where there is none any more.
    pub fn upserts(lake_version: i64, clock: Time, valid_at: Option<Time>) -> Self {
        let third = valid_at.map_or(0, |valid_at| valid_at.timestamp_micros());
        Self { first: lake_version, second: clock.timestamp_micros(), third }
    }

    /// Bytes that compare as the orders do.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (part, eight) in [self.first, self.second, self.third].into_iter().zip(bytes.chunks_exact_mut(8))
        {
            eight.copy_from_slice(&ordered(part));
        }
        bytes
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Reason> {
        Ok(Self { first: read_ordered(cursor)?, second: read_ordered(cursor)?, third: read_ordered(cursor)? })
    }
}

/// Which of two tiles of one place is newer: the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileOrder {
    /// The lake version that it was computed as of.
    pub lake_version: i64,
    /// The data clock then: it counts no later row.
    pub clock: Time,
}

impl TileOrder {
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&ordered(self.lake_version));
        bytes[8..].copy_from_slice(&ordered(self.clock.timestamp_micros()));
        bytes
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Reason> {
        Ok(Self { lake_version: read_ordered(cursor)?, clock: instant(read_ordered(cursor)?)? })
    }
}

/// Bytes that compare as the numbers do: big-endian with the sign flipped.
fn ordered(number: i64) -> [u8; 8] {
    (number ^ i64::MIN).to_be_bytes()
}

fn read_ordered(cursor: &mut Cursor<'_>) -> Result<i64, Reason> {
    Ok(i64::from_be_bytes(cursor.array()?) ^ i64::MIN)
}

pub(crate) fn instant(micros: i64) -> Result<Time, Reason> {
    Time::from_timestamp_micros(micros).ok_or("an instant is out of range")
}
