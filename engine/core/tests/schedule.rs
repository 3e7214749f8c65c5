//! Schedules against the calendar: known traps one by one, and random lines against a slow oracle.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use chrono::{
    DateTime, Datelike as _, Duration, NaiveDate, NaiveDateTime, TimeZone as _, Timelike as _, Utc,
};
use chrono_tz::{America::New_York, Tz};
use proptest::prelude::*;
use tidemill_core::{CatchUp, Schedule, Time};

fn at(text: &str) -> Time {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// The next `n` fires after `from`, in local time with its offset.
fn fires(cron: &str, from: &str, n: usize) -> Vec<String> {
    let schedule = Schedule::new(cron, "America/New_York").unwrap();
    let upto = at(from) + Duration::days(4000);
    let ticks = schedule.due(at(from), upto).take(n);
    ticks.map(|tick| tick.at.with_timezone(&New_York).format("%a %F %R %Z").to_string()).collect()
}

#[test]
fn a_minute_that_the_clocks_skip_fires_at_the_first_valid_one() {
    assert_eq!(
        fires("30 2 * * *", "2026-03-07T12:00:00Z", 2),
        ["Sun 2026-03-08 03:00 EDT", "Mon 2026-03-09 02:30 EDT"]
    );
    // Several skipped minutes are one fire, and so is one that falls on the first valid minute anyway.
    assert_eq!(
        fires("*/20 2,3 * * *", "2026-03-08T05:00:00Z", 3),
        ["Sun 2026-03-08 03:00 EDT", "Sun 2026-03-08 03:20 EDT", "Sun 2026-03-08 03:40 EDT"]
    );
}

#[test]
fn a_minute_that_the_clocks_repeat_fires_once() {
    assert_eq!(
        fires("30 1 * * *", "2026-10-31T12:00:00Z", 2),
        ["Sun 2026-11-01 01:30 EDT", "Mon 2026-11-02 01:30 EST"]
    );
    // Asked in the second 01:30, the next is tomorrow's.
    assert_eq!(fires("30 1 * * *", "2026-11-01T06:00:00Z", 1), ["Mon 2026-11-02 01:30 EST"]);
}

#[test]
fn weekdays_count_from_sunday_and_names_work() {
    for cron in ["0 9 * * 1", "0 9 * * mon", "0 9 * * MON"] {
        assert_eq!(fires(cron, "2026-06-03T00:00:00Z", 1), ["Mon 2026-06-08 09:00 EDT"], "{cron}");
    }
    for cron in ["0 9 * * 0", "0 9 * * 7", "0 9 * * sun"] {
        assert_eq!(fires(cron, "2026-06-03T00:00:00Z", 1), ["Sun 2026-06-07 09:00 EDT"], "{cron}");
    }
    let weekend = ["Fri 2026-06-05 09:00 EDT", "Sat 2026-06-06 09:00 EDT", "Sun 2026-06-07 09:00 EDT"];
    for cron in ["0 9 * * 5-7", "0 9 * * fri-sun", "0 9 * * 0,5,6"] {
        assert_eq!(fires(cron, "2026-06-03T00:00:00Z", 3), weekend, "{cron}");
    }
    assert_eq!(
        fires("0 9 * * 1-5/2", "2026-06-07T20:00:00Z", 3),
        ["Mon 2026-06-08 09:00 EDT", "Wed 2026-06-10 09:00 EDT", "Fri 2026-06-12 09:00 EDT"]
    );
}

#[test]
fn day_of_month_or_day_of_week_when_both_are_restricted() {
    assert_eq!(
        fires("0 0 13 * 5", "2026-06-10T12:00:00Z", 3),
        ["Fri 2026-06-12 00:00 EDT", "Sat 2026-06-13 00:00 EDT", "Fri 2026-06-19 00:00 EDT"]
    );
}

#[test]
fn a_leap_day_waits_for_its_year() {
    assert_eq!(fires("0 0 29 2 *", "2026-03-01T00:00:00Z", 1), ["Tue 2028-02-29 00:00 EST"]);
    assert_eq!(fires("0 0 31 2 *", "2026-03-01T00:00:00Z", 1), Vec::<String>::new());
}

#[test]
fn short_names_stand_for_lines() {
    for (name, cron) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ] {
        assert_eq!(fires(name, "2026-06-03T00:00:00Z", 2), fires(cron, "2026-06-03T00:00:00Z", 2), "{name}");
    }
}

#[test]
fn a_tick_names_the_local_day() {
    let schedule = Schedule::new("30 23 * * *", "America/New_York").unwrap();
    let tick = schedule.next_after(at("2013-06-01T12:00:00Z")).unwrap();
    assert_eq!(
        (tick.at, tick.date),
        (at("2013-06-02T03:30:00Z"), NaiveDate::from_ymd_opt(2013, 6, 1).unwrap())
    );
    assert_eq!(schedule.midnight(tick.date), at("2013-06-01T04:00:00Z"));
}

#[test]
fn catch_up_fires_all_the_last_or_none_of_the_past() {
    let schedule = Schedule::new("0 * * * *", "UTC").unwrap();
    let hours = |policy, now| {
        let ticks = schedule.catch_up(policy, at("2026-06-03T00:00:00Z"), at(now));
        ticks.iter().map(|tick| tick.at.hour()).collect::<Vec<_>>()
    };
    assert_eq!(hours(CatchUp::All, "2026-06-03T03:10:00Z"), [1, 2, 3]);
    assert_eq!(hours(CatchUp::Last, "2026-06-03T03:10:00Z"), [3]);
    assert!(hours(CatchUp::None, "2026-06-03T03:10:00Z").is_empty());
    assert_eq!(hours(CatchUp::None, "2026-06-03T03:00:30Z"), [3]);
    assert!(hours(CatchUp::All, "2026-06-02T03:10:00Z").is_empty());
}

#[test]
fn what_cannot_be_read_says_why() {
    for (cron, reason) in [
        ("30 3 * *", "it has 4 fields"),
        ("0 30 3 * * *", "it has 6 fields"),
        ("@often", "it has 1 fields"),
        ("61 * * * *", ""),
        ("0 0 * * 8", "`8` is not a weekday"),
        ("0 0 * * 5-2", "runs backward"),
        ("0 0 * * 1/0", "bad step"),
        ("0 0 L * *", "`L` uses a sign"),
        ("0 0 ? * *", "`?` uses a sign"),
        ("0 0 * * 1#2", "`1#2` uses a sign"),
    ] {
        let error = Schedule::new(cron, "UTC").unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{cron}` is not a cron line")) && error.contains(reason),
            "{error}"
        );
    }
    let error = Schedule::new("@daily", "Mars/Olympus").unwrap_err().to_string();
    assert!(error.contains("Mars/Olympus"), "{error}");
}

/// One field as a set of values, with a text that means it.
fn field(low: u32, high: u32) -> impl Strategy<Value = (String, Vec<u32>)> {
    let all = (low..=high).collect::<Vec<_>>();
    prop_oneof![
        3 => Just(("*".to_owned(), all)),
        2 => prop::collection::btree_set(low..=high, 1..4).prop_map(|set| {
            let texts: Vec<_> = set.iter().map(ToString::to_string).collect();
            (texts.join(","), set.into_iter().collect())
        }),
        2 => (low..=high, 1..6_u32).prop_map(move |(first, step)| {
            let last = high.min(first + 3 * step);
            (format!("{first}-{last}/{step}"), (first..=last).step_by(step as usize).collect())
        }),
    ]
}

#[derive(Debug)]
struct Line {
    text: String,
    fields: [Vec<u32>; 5],
    either_day: bool,
}

fn line() -> impl Strategy<Value = Line> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).prop_map(|fields| {
        let (minute, hour, day, month, weekday) = fields;
        let text = format!("{} {} {} {} {}", minute.0, hour.0, day.0, month.0, weekday.0);
        let either_day = day.0 != "*" && weekday.0 != "*";
        Line { text, fields: [minute.1, hour.1, day.1, month.1, weekday.1], either_day }
    })
}

impl Line {
    fn names(&self, local: NaiveDateTime) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let weekday = local.weekday().num_days_from_sunday();
        let (day, weekday) = (days.contains(&local.day()), weekdays.iter().any(|named| named % 7 == weekday));
        minutes.contains(&local.minute())
            && hours.contains(&local.hour())
            && months.contains(&local.month())
            && if self.either_day { day || weekday } else { day && weekday }
    }

    /// Walks every minute of the wall clock, also those that don't exist, and keeps the instants.
    fn instants(&self, timezone: Tz, from: Time, upto: Time) -> Vec<Time> {
        let first = from.with_timezone(&timezone).naive_local() - Duration::hours(3);
        let minutes = (upto - from).num_minutes() + 6 * 60;
        let mut instants: Vec<Time> = (0..minutes)
            .map(|minute| first + Duration::minutes(minute))
            .filter(|local| self.names(*local))
            .map(|local| first_valid(timezone, local))
            .filter(|instant| (from..=upto).contains(instant) && *instant > from)
            .collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }
}

fn first_valid(timezone: Tz, local: NaiveDateTime) -> Time {
    let mut minute = local;
    loop {
        if let Some(instant) = timezone.from_local_datetime(&minute).earliest() {
            return instant.to_utc();
        }
        minute += Duration::minutes(1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_line_fires_when_the_wall_clock_says_so(
        line in line(),
        // Around both changes of the clocks, and anywhere.
        start in prop_oneof![Just(1_772_900_000_i64), Just(1_793_400_000), 1_700_000_000..1_900_000_000_i64],
        timezone in prop::sample::select(vec![New_York, Tz::Europe__Berlin, Tz::Australia__Lord_Howe, Tz::UTC]),
    ) {
        let from = Utc.timestamp_opt(start - start % 60, 0).unwrap();
        let upto = from + Duration::days(3);
        let schedule = Schedule::new(&line.text, timezone.name()).unwrap();
        let fired: Vec<Time> = schedule.due(from, upto).map(|tick| tick.at).collect();
        prop_assert_eq!(fired, line.instants(timezone, from, upto), "{}", line.text);
    }
}
