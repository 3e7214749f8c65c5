//! Five-field cron in a time zone, as Unix means it.
//!
//! Neighbours: the store keeps schedules and their ticks; the data clock says what is due. Invariant: a
//! schedule fires once per local wall-clock minute it names: a minute that the clocks skip fires at the first
//! valid one after it, a minute that they repeat fires the first time only.

use std::str::FromStr as _;

use chrono::{LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::Time;

mod fields;

/// When a pipeline or monitor runs by itself.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: String,
    timezone: Tz,
    /// As the `cron` crate reads it, one for each way a day can match: it demands day of month *and* day of
    /// week, where Unix takes either when both are restricted.
    ways: Vec<cron::Schedule>,
}

/// One fire of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tick {
    /// The instant, on the data clock. Unique within a schedule: the key of what it starts.
    pub at: Time,
    /// The local calendar day of the schedule's time zone.
    pub date: NaiveDate,
}

/// What happens to ticks that were due while nobody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Each fires, oldest first.
    All,
    /// Only the newest fires.
    #[default]
    Last,
    /// None fires, unless it is due in this very minute.
    None,
}

/// What a tick does while an earlier run of its schedule is unfinished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is recorded as skipped.
    #[default]
    Skip,
    /// It waits, unless another waits already.
    QueueOne,
    /// It waits.
    QueueAll,
    /// It cancels the earlier run and starts.
    CancelOther,
    /// It starts beside it.
    Allow,
}

/// The text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// The cron line.
    #[error("`{cron}` is not a cron line of five fields: {reason}")]
    Cron {
        /// What was given.
        cron: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The time zone.
    #[error("`{0}` is not a time zone of the IANA database, such as `America/New_York`")]
    TimeZone(String),
}

impl Schedule {
    /// Reads a five-field cron line (or `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`,
    /// `@annually`) and the name of a time zone. Weekdays: 0 and 7 are Sunday, or names.
    ///
    /// # Errors
    /// What can't be read.
    pub fn new(cron: &str, timezone: &str) -> Result<Self, InvalidSchedule> {
        let timezone = timezone.parse().map_err(|_| InvalidSchedule::TimeZone(timezone.to_owned()))?;
        let invalid = |reason| InvalidSchedule::Cron { cron: cron.to_owned(), reason };
        let mut ways = Vec::new();
        for line in fields::translate(cron).map_err(invalid)? {
            ways.push(cron::Schedule::from_str(&line).map_err(|error| invalid(error.to_string()))?);
        }
        Ok(Self { cron: cron.to_owned(), timezone, ways })
    }

    /// The cron line as it was written.
    pub fn cron(&self) -> &str {
        &self.cron
    }

    /// The time zone whose wall clock it follows.
    pub fn timezone(&self) -> Tz {
        self.timezone
    }

    /// The first tick after `after`, or `None` when there is none within a century.
    pub fn next_after(&self, after: Time) -> Option<Tick> {
        let mut local = after.with_timezone(&self.timezone).naive_local();
        loop {
            local = self.next_local(local)?;
            // Instants never decrease with local time, so the first one that is later is the next. Those
            // passed over lie in a repeated hour (they fired the first time) or in a gap (they fire as one).
            let at = self.instant(local);
            if at > after {
                return Some(Tick { at, date: at.with_timezone(&self.timezone).date_naive() });
            }
        }
    }

    /// The ticks in `(after, upto]`, oldest first.
    pub fn due(&self, after: Time, upto: Time) -> impl Iterator<Item = Tick> {
        let next = move |from: Time| self.next_after(from).filter(|tick| tick.at <= upto);
        std::iter::successors(next(after), move |tick| next(tick.at))
    }

    /// The ticks to fire when the position stands at `after` and the clock shows `now`, oldest first; of a
    /// long past the first thousand, for the position then moves and the next look finds more.
    pub fn catch_up(&self, policy: CatchUp, after: Time, now: Time) -> Vec<Tick> {
        match policy {
            CatchUp::All => self.due(after, now).take(1000).collect(),
            CatchUp::Last => self.due(after, now).last().into_iter().collect(),
            CatchUp::None => {
                self.due(after.max(now - TimeDelta::minutes(1)), now).last().into_iter().collect()
            }
        }
    }

    /// Midnight of a local day as an instant: the first valid minute of it.
    pub fn midnight(&self, date: NaiveDate) -> Time {
        self.instant(date.and_time(NaiveTime::MIN))
    }

    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        // The crate's own zone handling drops skipped minutes and doubles repeated ones, so it is asked
        // about plain calendars only, as if local time were UTC.
        let after = after.and_utc();
        self.ways.iter().filter_map(|way| way.after(&after).next()).min().map(|next| next.naive_utc())
    }

    /// The instant of a local minute: the earlier of two, the first valid one after a gap.
    fn instant(&self, local: NaiveDateTime) -> Time {
        match self.timezone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
            LocalResult::None => end_of_gap(self.timezone, local),
        }
    }
}

/// The first valid minute after `local`, which lies in a gap: gaps are at most a day (Samoa, 2011).
fn end_of_gap(timezone: Tz, local: NaiveDateTime) -> Time {
    let valid =
        |minutes: i64| timezone.from_local_datetime(&(local + TimeDelta::minutes(minutes))).earliest();
    (1..=24 * 60 + 1).find_map(valid).map_or_else(|| local.and_utc(), |at| at.to_utc())
}
