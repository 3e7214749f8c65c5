//! Days of the calendar, against another library over every change of the clocks in five zones.

mod clocks;

use chrono::{Days, Duration};
use clocks::{changes, firsts};
use tidemill_core::Calendar;

#[test]
fn a_day_begins_with_its_first_minute_whatever_the_clocks_do() {
    for change in changes() {
        let calendar = Calendar::new(change.zone).unwrap();
        for (at, local) in firsts(&change.minutes(50)) {
            if local.time() == chrono::NaiveTime::MIN {
                assert_eq!(calendar.midnight(local.date()), at, "{} {local}", change.zone);
            }
            assert_eq!(calendar.instant(local), at, "{} {local}", change.zone);
            assert_eq!(calendar.local(at), change.local(at), "{} {at}", change.zone);
        }
    }
}

#[test]
fn days_later_is_the_same_local_time_and_not_so_many_times_24_hours() {
    for change in changes() {
        let calendar = Calendar::new(change.zone).unwrap();
        let firsts = firsts(&change.minutes(80));
        for (at, local) in firsts.iter().step_by(30).filter(|(at, local)| change.local(*at) == *local) {
            for days in -3..=3_i64 {
                let count = Days::new(days.unsigned_abs());
                let first = calendar.midnight(local.date()) == *at;
                let local = if first { local.date().and_time(chrono::NaiveTime::MIN) } else { *local };
                let wanted = if days < 0 { local - count } else { local + count };
                let Some((expected, _)) = firsts.iter().find(|(_, first)| *first == wanted) else { continue };
                assert_eq!(calendar.plus_days(*at, days), Some(*expected), "{} {local} {days}", change.zone);
            }
        }
        assert_eq!(calendar.plus_days(change.at, i64::MAX), None);
        assert_eq!(calendar.plus_days(change.at + Duration::hours(1), -800_000), None);
    }
}
