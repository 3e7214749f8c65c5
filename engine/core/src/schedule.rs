//! Five-field cron in a time zone, as Unix means it.
//!
//! Neighbours: the store keeps schedules and their ticks; the data clock says what is due. Invariant: a line that
//! names every hour fires in each real hour, at each minute whose local time it names, also when the clocks show an
//! hour twice. A line that names certain hours fires once for each local time it names: one that the clocks skip at
//! the first valid minute after it, one that they repeat the first time only.

use std::str::FromStr as _;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use cron::TimeUnitSpec as _;
use serde::{Deserialize, Serialize};

use crate::{Calendar, Time};

mod fields;

/// When a pipeline or monitor runs by itself.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: String,
    calendar: Calendar,
    /// Whether it names every hour of the day.
    hourly: bool,
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
        let calendar = Calendar::new(timezone)?;
        let invalid = |reason| InvalidSchedule::Cron { cron: cron.to_owned(), reason };
        let mut ways = Vec::new();
        for line in fields::translate(cron).map_err(invalid)? {
            ways.push(cron::Schedule::from_str(&line).map_err(|error| invalid(error.to_string()))?);
        }
        let hourly = ways.iter().all(|way: &cron::Schedule| way.hours().count() == 24);
        Ok(Self { cron: cron.to_owned(), calendar, hourly, ways })
    }

    /// The cron line as it was written.
    pub fn cron(&self) -> &str {
        &self.cron
    }

    /// The calendar whose wall clock it follows.
    pub fn calendar(&self) -> Calendar {
        self.calendar
    }

    /// The first tick after `after`, or `None` when there is none within a century.
    pub fn next_after(&self, after: Time) -> Option<Tick> {
        let at = if self.hourly { self.next_real(after) } else { self.next_named(after) }?;
        Some(Tick { at, date: self.calendar.day_of(at) })
    }

    /// The last tick before `before`, or `None` when there is none within ten years.
    pub fn last_before(&self, before: Time) -> Option<Tick> {
        let upto = before - TimeDelta::microseconds(1);
        // The shortest look back that finds one lists few.
        let looks = [1, 24, 40 * 24, 400 * 24, 3660 * 24].map(TimeDelta::hours);
        looks.into_iter().find_map(|back| self.due(before - back, upto).last())
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
            CatchUp::Last => {
                let last = self.last_before(now + TimeDelta::microseconds(1));
                last.filter(|tick| tick.at > after).into_iter().collect()
            }
            CatchUp::None => {
                self.due(after.max(now - TimeDelta::minutes(1)), now).last().into_iter().collect()
            }
        }
    }

    /// The first local time it names, as an instant, that lies after `after`.
    fn next_named(&self, after: Time) -> Option<Time> {
        let mut local = self.calendar.local(after);
        loop {
            local = self.next_local(local)?;
            // Instants never decrease with local time, so the first one that is later is the next. Those
            // passed over lie in a repeated hour (they fired the first time) or in a gap (they fire as one).
            let at = self.calendar.instant(local);
            if at > after {
                return Some(at);
            }
        }
    }

    /// The first instant after `after` whose local time it names.
    fn next_real(&self, after: Time) -> Option<Time> {
        let (micro, day) = (TimeDelta::microseconds(1), TimeDelta::days(1));
        let mut from = after + micro;
        loop {
            // As long as the clocks are not set, local time is real time moved by an offset.
            let offset = self.calendar.offset(from);
            let next = self.next_local((from + offset - micro).naive_utc())?.and_utc() - offset;
            let upto = next.min(from + day);
            match self.calendar.change(from, upto) {
                Some(change) => from = change,
                None if upto == next => return Some(next),
                // What is set later shows nothing of before `next` anew, and `next` a day earlier at most.
                None => from = upto.max(next - day),
            }
        }
    }

    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        // The crate's own zone handling drops skipped minutes and doubles repeated ones, so it is asked
        // about plain calendars only, as if local time were UTC.
        let after = after.and_utc();
        self.ways.iter().filter_map(|way| way.after(&after).next()).min().map(|next| next.naive_utc())
    }
}
