//! Schedules against the calendar: known traps one by one, and random lines against another library over every change
//! of the clocks in five zones.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod clocks;

use chrono::{DateTime, Datelike as _, Duration, NaiveDate, NaiveDateTime, Timelike as _};
use chrono_tz::America::New_York;
use clocks::{Change, changes, firsts};
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
fn a_line_that_names_every_hour_fires_in_each_real_hour() {
    let autumn = "2026-11-01T04:30:00Z";
    assert_eq!(
        fires("0 * * * *", autumn, 4),
        [
            "Sun 2026-11-01 01:00 EDT",
            "Sun 2026-11-01 01:00 EST",
            "Sun 2026-11-01 02:00 EST",
            "Sun 2026-11-01 03:00 EST"
        ]
    );
    let quarters = fires("*/15 * * * *", autumn, 10);
    assert_eq!(
        (quarters[1].as_str(), quarters[5].as_str()),
        ("Sun 2026-11-01 01:00 EDT", "Sun 2026-11-01 01:00 EST")
    );
    // Nothing is made up for the hour that the clocks skip: the next real hour comes an hour later.
    assert_eq!(
        fires("30 * * * *", "2026-03-08T06:00:00Z", 3),
        ["Sun 2026-03-08 01:30 EST", "Sun 2026-03-08 03:30 EDT", "Sun 2026-03-08 04:30 EDT"]
    );
    assert_eq!(fires("@hourly", autumn, 4), fires("0 0-23 * * *", autumn, 4));
}

#[test]
fn the_last_tick_is_found_however_far_back_it_is() {
    for (cron, expected) in [
        ("* * * * *", "2026-06-03T11:59:00Z"),
        ("0 12 * * *", "2026-06-02T16:00:00Z"),
        ("0 0 1 1 *", "2026-01-01T05:00:00Z"),
        ("0 0 29 2 *", "2024-02-29T05:00:00Z"),
    ] {
        let schedule = Schedule::new(cron, "America/New_York").unwrap();
        assert_eq!(schedule.last_before(at("2026-06-03T12:00:00Z")).unwrap().at, at(expected), "{cron}");
    }
    let never = Schedule::new("0 0 31 2 *", "UTC").unwrap();
    assert_eq!(never.last_before(at("2026-06-03T12:00:00Z")), None);
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
    assert_eq!(schedule.calendar().midnight(tick.date), at("2013-06-01T04:00:00Z"));
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

#[derive(Clone, Debug)]
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
    /// Of minutes and hours, on every day.
    fn daily(text: &str, minutes: &[u32], hours: &[u32]) -> Self {
        let all = |low, high| (low..=high).collect::<Vec<u32>>();
        let fields = [minutes.to_vec(), hours.to_vec(), all(1, 31), all(1, 12), all(0, 7)];
        Self { text: format!("{text} * * *"), fields, either_day: false }
    }

    fn names(&self, local: NaiveDateTime) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let weekday = local.weekday().num_days_from_sunday();
        let (day, weekday) = (days.contains(&local.day()), weekdays.iter().any(|named| named % 7 == weekday));
        minutes.contains(&local.minute())
            && hours.contains(&local.hour())
            && months.contains(&local.month())
            && if self.either_day { day || weekday } else { day && weekday }
    }

    /// When it fires around a change of the clocks: a line of every hour whenever they show what it names, a line of
    /// certain hours once for each local minute.
    fn instants(&self, walk: &[(Time, NaiveDateTime)]) -> Vec<Time> {
        let named = |minutes: &[(Time, NaiveDateTime)]| {
            let named = minutes.iter().filter(|(_, local)| self.names(*local));
            let mut instants = named.map(|(at, _)| *at).collect::<Vec<_>>();
            instants.dedup();
            instants
        };
        if self.fields[1].len() == 24 { named(walk) } else { named(&firsts(walk)) }
    }

    #[track_caller]
    fn check(&self, change: &Change, walk: &[(Time, NaiveDateTime)]) {
        let schedule = Schedule::new(&self.text, change.zone).unwrap();
        let (from, upto) = (walk[0].0 - Duration::minutes(1), walk.last().unwrap().0);
        let fired: Vec<Time> = schedule.due(from, upto).map(|tick| tick.at).collect();
        assert_eq!(fired, self.instants(walk), "{} in {} at {}", self.text, change.zone, change.at);
        for (before, tick) in fired.iter().zip(&fired[1.min(fired.len())..]) {
            assert_eq!(schedule.last_before(*tick).unwrap().at, *before, "{} {tick}", self.text);
        }
    }
}

#[test]
fn fixed_times_and_every_hour_agree_with_another_library_over_all_changes_of_clocks() {
    let every: Vec<u32> = (0..24).collect();
    let lines = [
        Line::daily("0 *", &[0], &every),
        Line::daily("30 *", &[30], &every),
        Line::daily("*/15 *", &[0, 15, 30, 45], &every),
        Line::daily("0 0", &[0], &[0]),
        Line::daily("30 1", &[30], &[1]),
        Line::daily("30 2", &[30], &[2]),
        Line::daily("*/20 0,1,2,3", &[0, 20, 40], &[0, 1, 2, 3]),
        Line::daily("0 */6", &[0], &[0, 6, 12, 18]),
        Line::daily("15 23", &[15], &[23]),
    ];
    for change in changes() {
        let walk = change.minutes(40);
        lines.iter().for_each(|line| line.check(&change, &walk));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_line_fires_when_the_wall_clock_says_so(
        line in line(),
        change in prop::sample::select(changes()),
        hours in 30..100_i64,
    ) {
        line.check(&change, &change.minutes(hours));
    }
}
