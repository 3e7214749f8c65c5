//! `run.date` and `days()` against another library, over every change of the clocks in five zones.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use tidemill_core::{Calendar, Time};
use tidemill_spec::expr::cel::{Scope, resolve};

const ZONES: [&str; 5] =
    ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"];

/// The first instant of a day.
fn midnight(timezone: &TimeZone, day: Date) -> Time {
    let start = day.to_zoned(timezone.clone()).unwrap().start_of_day().unwrap();
    Time::from_timestamp(start.timestamp().as_second(), 0).unwrap()
}

fn changes(timezone: &TimeZone) -> Vec<Date> {
    let (first, last): (Timestamp, Timestamp) =
        ("1980-01-01T00:00:00Z".parse().unwrap(), "2037-01-01T00:00:00Z".parse().unwrap());
    let times = timezone.following(first).map(|change| change.timestamp()).take_while(|at| *at < last);
    times.map(|at| timezone.to_datetime(at).date()).collect()
}

#[test]
fn days_before_and_after_a_runs_date_are_midnights_of_its_time_zone() {
    for zone in ZONES {
        let (timezone, calendar) = (TimeZone::get(zone).unwrap(), Calendar::new(zone).unwrap());
        for change in changes(&timezone) {
            // A day that the zone leaves out has no midnight of its own to set out from.
            let days = (-2..=2).map(|days| change + days.days());
            for day in days.filter(|day| day.to_zoned(timezone.clone()).unwrap().date() == *day) {
                let date = calendar.midnight(day.to_string().parse().unwrap());
                assert_eq!(date, midnight(&timezone, day), "{zone} {day}");
                let scope = Scope { calendar, date, time: date, ..Scope::default() };
                let with =
                    json!({ "before": "${{ run.date - days(7) }}", "after": "${{ days(3) + run.date }}" });
                let got = resolve(with.as_object().unwrap(), &scope).unwrap();
                let time = |value: &Value| value.as_str().unwrap().parse::<Time>().unwrap();
                assert_eq!(time(&got["before"]), midnight(&timezone, day - 7.days()), "{zone} {day}");
                assert_eq!(time(&got["after"]), midnight(&timezone, day + 3.days()), "{zone} {day}");
            }
        }
    }
}
