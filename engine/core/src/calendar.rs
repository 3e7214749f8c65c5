//! The calendar of a time zone: which instant a local time is, and what a number of days later means.
//!
//! Neighbours: [`Schedule`](crate::Schedule) fires by it, `run.date` and `days()` count in it, and monitors cut their
//! windows by it. Invariant: a local time that the clocks skip is the first valid minute after it, one that they
//! repeat is the first of the two, and a day may have any number of hours.

use chrono::{Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone as _};
use chrono_tz::Tz;

use crate::{Time, schedule::InvalidSchedule};

/// A time zone's calendar. The default is UTC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar(Tz);

impl Default for Calendar {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl Calendar {
    /// By the name of a time zone of the IANA database.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn new(timezone: &str) -> Result<Self, InvalidSchedule> {
        timezone.parse().map(Self).map_err(|_| InvalidSchedule::TimeZone(timezone.to_owned()))
    }

    /// Its time zone.
    pub fn timezone(self) -> Tz {
        self.0
    }

    /// What its clocks show.
    pub fn local(self, time: Time) -> NaiveDateTime {
        time.with_timezone(&self.0).naive_local()
    }

    /// The day that an instant lies in.
    pub fn day_of(self, time: Time) -> NaiveDate {
        self.local(time).date()
    }

    /// The instant at which its clocks first show a local time; after a gap, the first valid minute.
    pub fn instant(self, local: NaiveDateTime) -> Time {
        match self.0.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
            LocalResult::None => self.end_of_gap(local),
        }
    }

    /// The first instant of a day.
    pub fn midnight(self, date: NaiveDate) -> Time {
        self.instant(date.and_time(NaiveTime::MIN))
    }

    /// The same local time some days later, or earlier where `days` is negative; of a day's first instant the other
    /// day's, also where one of them doesn't begin at midnight. `None` where the calendar ends.
    pub fn plus_days(self, time: Time, days: i64) -> Option<Time> {
        let (local, count) = (self.local(time), Days::new(days.unsigned_abs()));
        let first = self.midnight(local.date()) == time;
        let local = if first { local.date().and_time(NaiveTime::MIN) } else { local };
        let day = if days < 0 { local.checked_sub_days(count) } else { local.checked_add_days(count) };
        // Conversions near the ends of what can be counted overflow.
        day.filter(|day| within_reach(day.date())).map(|day| self.instant(day))
    }

    pub(crate) fn offset(self, time: Time) -> TimeDelta {
        let offset = self.0.offset_from_utc_datetime(&time.naive_utc());
        TimeDelta::seconds(offset.fix().local_minus_utc().into())
    }

    /// The first instant in `(from, upto]` at which its clocks are set otherwise than at `from`. There is at most one
    /// such change: ask for a day at most.
    pub(crate) fn change(self, from: Time, upto: Time) -> Option<Time> {
        let before = self.offset(from);
        if self.offset(upto) == before {
            return None;
        }
        let (mut same, mut other) = (from.timestamp(), upto.timestamp());
        while other - same > 1 {
            let middle = same + (other - same) / 2;
            let at = Time::from_timestamp(middle, 0)?;
            if self.offset(at) == before { same = middle } else { other = middle }
        }
        Time::from_timestamp(other, 0)
    }

    /// Gaps are at most a day (Samoa, 2011).
    fn end_of_gap(self, local: NaiveDateTime) -> Time {
        let valid =
            |minutes: i64| self.0.from_local_datetime(&(local + TimeDelta::minutes(minutes))).earliest();
        (1..=24 * 60 + 1).find_map(valid).map_or_else(|| local.and_utc(), |at| at.to_utc())
    }
}

/// Days of the years 1 to 9999: what ISO 8601, Postgres and Parquet all can write.
pub fn within_reach(date: NaiveDate) -> bool {
    (1..=9999).contains(&chrono::Datelike::year(&date))
}
