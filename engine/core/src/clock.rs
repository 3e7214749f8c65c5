//! Two notions of now: real time, and the data clock that a project declares.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// An instant in UTC, kept at microseconds everywhere.
pub type Time = DateTime<Utc>;

/// The last instant that every store of ours can hold and every format of ours can write:
/// 9999-12-31T23:59:59.999999Z.
pub const LATEST: Time = DateTime::from_timestamp_micros(253_402_300_799_999_999).expect("in range");

/// How far a data clock may be set beyond the later of real time and what it shows: it replays what has happened, or plays
/// what was made up step by step.
const AHEAD_MAX: TimeDelta = TimeDelta::days(366);

/// Where product code reads real time from, so that tests can set it.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Real time, in whole microseconds.
    fn now(&self) -> Time;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Time {
        whole_micros(Utc::now())
    }
}

/// What answers "now" for ttl, windows, freshness, schedules and predictions.
///
/// Leases, timeouts, retries, logs and latencies use real time instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataClock {
    /// Real time.
    #[default]
    Wall,
    /// History lived through again: at real time `anchored_at` the clock showed `start`, and it moves
    /// `speed` data seconds a real second (0 = frozen).
    Replay {
        /// What the clock showed when it was anchored.
        start: Time,
        /// Data seconds per real second, 0 to [`DataClock::SPEED_MAX`].
        speed: f64,
        /// The real moment at which it showed `start`.
        anchored_at: Time,
    },
}

impl DataClock {
    /// Data seconds per real second, at most: a year in half a minute.
    pub const SPEED_MAX: f64 = 1e6;

    /// What the data clock shows at the real moment `wall`. A replay stops at [`LATEST`].
    pub fn at(&self, wall: Time) -> Time {
        match *self {
            Self::Wall => wall,
            Self::Replay { start, speed, anchored_at } => {
                let micros = (wall - anchored_at).num_microseconds().unwrap_or(0).max(0);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    reason = "within 285 years"
                )]
                let moved = (micros as f64 * speed) as i64;
                start.checked_add_signed(TimeDelta::microseconds(moved)).map_or(LATEST, |now| now.min(LATEST))
            }
        }
    }

    /// The same clock set to `to` at the real moment `wall`.
    ///
    /// # Errors
    /// Why it can't be set there. As it never goes back, a year that was mistyped would be for ever.
    pub fn moved(&self, to: Time, wall: Time) -> Result<Self, Unmoved> {
        let Self::Replay { speed, .. } = *self else { return Err(Unmoved::Wall) };
        let now = self.at(wall);
        let furthest =
            now.max(wall).checked_add_signed(AHEAD_MAX).map_or(LATEST, |furthest| furthest.min(LATEST));
        if to < now {
            return Err(Unmoved::Backward);
        }
        if to > furthest {
            return Err(Unmoved::TooFar { furthest });
        }
        Ok(Self::Replay { start: to, speed, anchored_at: wall })
    }
}

/// Why a data clock can't be set to an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmoved {
    /// It is real time.
    Wall,
    /// It shows a later one.
    Backward,
    /// The instant is further than a year beyond real time and beyond what it shows.
    TooFar {
        /// The last instant that it can be set to now.
        furthest: Time,
    },
}

/// Drops what is below a microsecond, which neither Postgres nor Parquet would keep.
pub fn whole_micros(time: Time) -> Time {
    time.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_set_forward_and_at_most_a_year_beyond_real_time_or_what_it_shows() {
        let day = TimeDelta::days(1);
        let wall = Time::UNIX_EPOCH + day * 20_000;
        let at = |start| DataClock::Replay { start, speed: 0.0, anchored_at: wall };
        let past = at(wall - day * 5_000);
        for to in [wall - day * 5_000, wall, wall + AHEAD_MAX] {
            assert_eq!(past.moved(to, wall), Ok(at(to)));
        }
        assert_eq!(past.moved(wall - day * 5_001, wall), Err(Unmoved::Backward));
        assert_eq!(past.moved(LATEST, wall), Err(Unmoved::TooFar { furthest: wall + AHEAD_MAX }));
        // What is made up may lie in the future.
        let future = at(wall + day * 5_000);
        assert!(future.moved(wall + day * 5_300, wall).is_ok());
        assert!(future.moved(wall + day * 5_400, wall).is_err());
        assert_eq!(at(LATEST).moved(LATEST, wall), Ok(at(LATEST)));
        assert_eq!(DataClock::Wall.moved(wall, wall), Err(Unmoved::Wall));
    }

    #[test]
    fn a_replay_at_any_speed_stops_at_the_last_instant() {
        let (start, anchored_at) = (Time::UNIX_EPOCH, Time::UNIX_EPOCH);
        let wall = anchored_at + TimeDelta::days(20_000);
        for speed in [1e12, 1e308, f64::INFINITY] {
            assert_eq!(DataClock::Replay { start, speed, anchored_at }.at(wall), LATEST, "{speed}");
        }
        let frozen = DataClock::Replay { start, speed: f64::NAN, anchored_at };
        assert_eq!(frozen.at(wall), start);
        for (start, anchored_at) in [(Time::MAX_UTC, Time::MIN_UTC), (Time::MIN_UTC, Time::MAX_UTC)] {
            assert!(DataClock::Replay { start, speed: 1.0, anchored_at }.at(wall) <= LATEST);
        }
    }
}
