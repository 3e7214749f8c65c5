//! Which instants a window covers: named by a person, or ended by a tick. Pure.

use std::ops::Range;

use chrono::{DateTime, Days, Months, NaiveDate};
use tidemill_core::{Time, schedule::Schedule};
use tidemill_spec::{Every, Monitor};

use crate::Error;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The window that a tick ends, `start ≤ t < end`; `None` where the tick is no end of one.
pub fn window_ending(monitor: &Monitor, end: Time) -> Result<Option<Range<Time>>, Error> {
    let calendar = calendar(monitor)?;
    let last = end.with_timezone(&calendar.timezone()).date_naive();
    if !monitor.every.ends_on(last) {
        return Ok(None);
    }
    let first = match monitor.every {
        // A day of the calendar may have 23 or 25 hours.
        Every::Duration(length) if length.as_secs().is_multiple_of(DAY_SECONDS) => {
            last.checked_sub_days(Days::new(length.as_secs() / DAY_SECONDS))
        }
        Every::Duration(length) => return Ok(Some(end - length..end)),
        Every::Months(months) => last.checked_sub_months(Months::new(months)),
    };
    let first = first.ok_or_else(|| Error::Window(end.to_rfc3339()))?;
    Ok(Some(calendar.midnight(first)..end))
}

/// An instant on the monitor's own clocks, to the minute.
pub(crate) fn local(monitor: &Monitor, time: Time) -> String {
    calendar(monitor).map_or_else(
        |_| time.to_rfc3339(),
        |calendar| time.with_timezone(&calendar.timezone()).format("%F %R").to_string(),
    )
}

/// The window that a person names, in the monitor's time zone: a month `2013-09`, a day `2013-09-01`, or `FROM..TO` of
/// two days or instants.
pub fn parse_window(monitor: &Monitor, text: &str) -> Result<Range<Time>, Error> {
    let invalid = || Error::Window(text.to_owned());
    let calendar = calendar(monitor)?;
    let instant = |text: &str| match text.parse::<NaiveDate>() {
        Ok(day) => Ok(calendar.midnight(day)),
        Err(_) => DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).map_err(|_| invalid()),
    };
    let window = if let Some((from, to)) = text.split_once("..") {
        instant(from)?..instant(to)?
    } else if let Ok(first) = format!("{text}-01").parse::<NaiveDate>() {
        calendar.midnight(first)..calendar.midnight(first + Months::new(1))
    } else {
        let day: NaiveDate = text.parse().map_err(|_| invalid())?;
        calendar.midnight(day)..calendar.midnight(day.succ_opt().ok_or_else(invalid)?)
    };
    if window.is_empty() { Err(invalid()) } else { Ok(window) }
}

fn calendar(monitor: &Monitor) -> Result<Schedule, Error> {
    Schedule::new("0 0 * * *", &monitor.timezone).map_err(|_| Error::Window(monitor.timezone.clone()))
}

#[cfg(test)]
mod tests {
    use tidemill_spec::{Meta, MonitorTarget, Reference};

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
        assert_eq!(local(&monitor(), end), "2013-11-04 00:00");
    }
}
