//! Which instants a window covers: named by a person, or ended by a tick. Pure.

use std::ops::Range;

use chrono::{DateTime, Months, NaiveDate};
use tidemill_core::{Calendar, Time, calendar::within_reach, schedule::Schedule};
use tidemill_spec::Monitor;

use crate::Error;

/// The window that a tick ends, `start ≤ t < end`; `None` where the tick is no end of one. Windows follow one another
/// without gaps, whatever becomes of the clocks: each begins where the one before ended.
pub fn window_ending(monitor: &Monitor, end: Time) -> Result<Option<Range<Time>>, Error> {
    let (calendar, every) = (calendar(monitor)?, monitor.every);
    let today = calendar.day_of(end);
    if every.begins_on(today).is_none() {
        return tick_before(monitor, end).map(|start| Some(start..end));
    }
    // A day that the calendar skips ends where the next one begins (Samoa, 30 December 2011).
    let ends = |day: &NaiveDate| every.ends_on(*day) && calendar.midnight(*day) == end;
    let Some(day) = [Some(today), today.pred_opt()].into_iter().flatten().find(ends) else { return Ok(None) };
    let first = |day| every.begins_on(day).ok_or_else(|| Error::Window(end.to_rfc3339()));
    let mut start = first(day)?;
    if calendar.midnight(start) == end {
        start = first(start)?;
    }
    Ok(Some(calendar.midnight(start)..end))
}

/// Where the window before one of hours or minutes ended.
fn tick_before(monitor: &Monitor, end: Time) -> Result<Time, Error> {
    let before = || {
        let ticks = Schedule::new(&monitor.every.cron()?, &monitor.timezone).ok()?;
        Some(ticks.last_before(end)?.at)
    };
    before().ok_or_else(|| Error::Window(end.to_rfc3339()))
}

/// An instant on the monitor's own clocks, to the minute.
pub(crate) fn local(monitor: &Monitor, time: Time) -> String {
    calendar(monitor)
        .map_or_else(|_| time.to_rfc3339(), |calendar| calendar.local(time).format("%F %R").to_string())
}

/// The window that a person names, in the monitor's time zone: a month `2013-09`, a day `2013-09-01`, or `FROM..TO` of
/// two days or instants.
pub fn parse_window(monitor: &Monitor, text: &str) -> Result<Range<Time>, Error> {
    let invalid = || Error::Window(text.to_owned());
    let calendar = calendar(monitor)?;
    let midnight =
        |day: Option<NaiveDate>| day.filter(|day| within_reach(*day)).map(|day| calendar.midnight(day));
    let instant = |text: &str| match text.parse::<NaiveDate>() {
        Ok(day) => midnight(Some(day)),
        Err(_) => DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok(),
    };
    let ends = if let Some((from, to)) = text.split_once("..") {
        (instant(from), instant(to))
    } else if let Ok(first) = format!("{text}-01").parse::<NaiveDate>() {
        (midnight(Some(first)), midnight(first.checked_add_months(Months::new(1))))
    } else {
        let day: NaiveDate = text.parse().map_err(|_| invalid())?;
        (midnight(Some(day)), midnight(day.succ_opt()))
    };
    match ends {
        (Some(from), Some(to)) if from < to => Ok(from..to),
        _ => Err(invalid()),
    }
}

fn calendar(monitor: &Monitor) -> Result<Calendar, Error> {
    Calendar::new(&monitor.timezone).map_err(|_| Error::Window(monitor.timezone.clone()))
}

#[cfg(test)]
mod tests {
    use tidemill_spec::{Every, Meta, MonitorTarget, Reference};

    use super::*;

    fn monitor() -> Monitor {
        Monitor {
            name: "drift".into(),
            meta: Meta::default(),
            target: MonitorTarget::Model("late_flight".into()),
            every: Every::Months(1),
            timezone: "America/New_York".into(),
            reference: Reference::Training,
            checks: vec![],
            notify: vec![],
        }
    }

    #[track_caller]
    fn check(window: &Range<Time>, from: &str, to: &str) {
        assert_eq!(*window, from.parse().unwrap()..to.parse().unwrap());
    }

    #[test]
    fn a_month_begins_and_ends_at_local_midnight() {
        let november = ("2013-11-01T04:00:00Z", "2013-12-01T05:00:00Z");
        check(&parse_window(&monitor(), "2013-11").unwrap(), november.0, november.1);
        let ended = window_ending(&monitor(), november.1.parse().unwrap()).unwrap().unwrap();
        check(&ended, november.0, november.1);
    }

    #[test]
    fn days_and_instants_name_windows_too() {
        let day = parse_window(&monitor(), "2013-06-01").unwrap();
        check(&day, "2013-06-01T04:00:00Z", "2013-06-02T04:00:00Z");
        let days = parse_window(&monitor(), "2013-06-01..2013-06-08T00:00:00Z").unwrap();
        check(&days, "2013-06-01T04:00:00Z", "2013-06-08T00:00:00Z");
        for text in ["june", "2013-13", "2013-06-02..2013-06-01"] {
            assert!(parse_window(&monitor(), text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_follow_the_calendar_and_hours_the_clock() {
        let every = |hours: u64| Monitor {
            every: Every::Duration(std::time::Duration::from_hours(hours)),
            ..monitor()
        };
        // The clocks were set back on 3 November: that day had 25 hours.
        let end = "2013-11-04T05:00:00Z".parse().unwrap();
        let ended = |hours| window_ending(&every(hours), end).unwrap();
        check(&ended(24).unwrap(), "2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z");
        check(&ended(7 * 24).unwrap(), "2013-10-28T04:00:00Z", "2013-11-04T05:00:00Z");
        check(&ended(6).unwrap(), "2013-11-03T23:00:00Z", "2013-11-04T05:00:00Z");
        assert_eq!(ended(3 * 24), None, "three days end on the day before and two days later");
        // The clocks showed the hour from one to two twice: of six hours by the clock, the first had seven.
        let at = |hours, end: &str| window_ending(&every(hours), end.parse().unwrap()).unwrap().unwrap();
        check(&at(6, "2013-11-03T11:00:00Z"), "2013-11-03T04:00:00Z", "2013-11-03T11:00:00Z");
        check(&at(1, "2013-11-03T06:00:00Z"), "2013-11-03T05:00:00Z", "2013-11-03T06:00:00Z");
        check(&at(1, "2013-11-03T07:00:00Z"), "2013-11-03T06:00:00Z", "2013-11-03T07:00:00Z");
        assert_eq!(local(&monitor(), end), "2013-11-04 00:00");
    }

    const ZONES: [&str; 5] =
        ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"];

    /// The instants at which the clocks of a zone are set, from 1980 to 2036, by another library.
    fn changes(timezone: &jiff::tz::TimeZone) -> Vec<Time> {
        let from = "1980-01-01T00:00:00Z".parse().unwrap();
        let seconds = timezone.following(from).map(|change| change.timestamp().as_second());
        let times = seconds.map(|second| Time::from_timestamp(second, 0).unwrap());
        times.take_while(|at| *at < "2037-01-01T00:00:00Z".parse::<Time>().unwrap()).collect()
    }

    /// Whether a day begins at an instant, by another library.
    fn begins_a_day(timezone: &jiff::tz::TimeZone, at: Time) -> bool {
        let zoned = jiff::Timestamp::from_second(at.timestamp()).unwrap().to_zoned(timezone.clone());
        zoned.start_of_day().unwrap() == zoned
    }

    #[test]
    fn windows_follow_one_another_without_gaps_over_all_changes_of_clocks() {
        let minutes = |minutes| Every::Duration(std::time::Duration::from_mins(minutes));
        let (hour, day) = (60, 24 * 60);
        let cadences = [
            (minutes(15), 2),
            (minutes(hour), 2),
            (minutes(6 * hour), 3),
            (minutes(day), 4),
            (minutes(5 * day), 20),
            (minutes(7 * day), 30),
            (Every::Months(1), 100),
        ];
        for zone in ZONES {
            let timezone = jiff::tz::TimeZone::get(zone).unwrap();
            for (change, (every, days)) in
                changes(&timezone).into_iter().flat_map(|change| cadences.map(|cadence| (change, cadence)))
            {
                let monitor = Monitor { every, timezone: zone.to_owned(), ..monitor() };
                let ticks = Schedule::new(&every.cron().unwrap(), zone).unwrap();
                let around = chrono::TimeDelta::days(days);
                let ends = ticks.due(change - around, change + around).map(|tick| tick.at);
                let windows: Vec<_> = ends.filter_map(|end| window_ending(&monitor, end).unwrap()).collect();
                assert!(windows.len() > 3, "{zone} {change} {every:?}: {windows:?}");
                for pair in windows.windows(2) {
                    assert_eq!(pair[0].end, pair[1].start, "{zone} {every:?}");
                    assert!(pair[0].start < pair[0].end, "{zone} {every:?}");
                }
                let whole_days = every.begins_on("2013-06-01".parse().unwrap()).is_some();
                for window in windows.iter().filter(|_| whole_days) {
                    assert!(begins_a_day(&timezone, window.start), "{zone} {window:?}");
                    assert!(begins_a_day(&timezone, window.end), "{zone} {window:?}");
                }
            }
        }
    }
}
