//! Changes of the clocks as another library has them, and what the clocks show around each.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use chrono::{Duration, NaiveDate, NaiveDateTime};
use jiff::{Timestamp, tz::TimeZone};
use tidemill_core::Time;

/// An hour, half an hour, at midnight, over a day's end, and a whole day (Samoa left out 30 December 2011).
pub(crate) const ZONES: [&str; 5] =
    ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"];

/// One change of the clocks.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) zone: &'static str,
    pub(crate) timezone: TimeZone,
    pub(crate) at: Time,
}

/// All of five zones from 1980 to 2036.
pub(crate) fn changes() -> Vec<Change> {
    let of_zone = |zone: &'static str| {
        let timezone = TimeZone::get(zone).unwrap();
        let (first, last) = ("1980-01-01T00:00:00Z", "2037-01-01T00:00:00Z");
        let last: Timestamp = last.parse().unwrap();
        let times = timezone.following(first.parse().unwrap()).map(|change| change.timestamp());
        let times: Vec<Timestamp> = times.take_while(|at| *at < last).collect();
        times.into_iter().map(move |at| Change { zone, timezone: timezone.clone(), at: time(at) })
    };
    let all: Vec<Change> = ZONES.into_iter().flat_map(of_zone).collect();
    assert!(all.len() > 400, "{}", all.len());
    all
}

impl Change {
    /// What the clocks show.
    pub(crate) fn local(&self, at: Time) -> NaiveDateTime {
        let shown = self.timezone.to_datetime(Timestamp::from_second(at.timestamp()).unwrap());
        let (month, day) = (shown.month().unsigned_abs().into(), shown.day().unsigned_abs().into());
        let day = NaiveDate::from_ymd_opt(shown.year().into(), month, day).unwrap();
        let (hour, minute) = (shown.hour().unsigned_abs().into(), shown.minute().unsigned_abs().into());
        day.and_hms_opt(hour, minute, shown.second().unsigned_abs().into()).unwrap()
    }

    /// Each real minute for some hours before and after it, and what the clocks show then.
    pub(crate) fn minutes(&self, hours: i64) -> Vec<(Time, NaiveDateTime)> {
        let minutes = (-hours * 60..=hours * 60).map(|minute| self.at + Duration::minutes(minute));
        minutes.map(|at| (at, self.local(at))).collect()
    }
}

/// The minutes at which each local minute is first shown or, where the clocks skip it, first passed.
pub(crate) fn firsts(walk: &[(Time, NaiveDateTime)]) -> Vec<(Time, NaiveDateTime)> {
    let (mut next, mut firsts) = (walk[0].1, Vec::new());
    for (at, local) in walk {
        while next <= *local {
            firsts.push((*at, next));
            next += Duration::minutes(1);
        }
    }
    firsts
}

fn time(at: Timestamp) -> Time {
    Time::from_timestamp(at.as_second(), 0).unwrap()
}
