use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn population(seed: u64, users: u32) -> Population {
    Population { seed, users, since: time("2026-03-01T00:00:00Z") }
}

fn timeline() -> Timeline {
    Timeline::over(time("2026-03-01T00:00:00Z"), time("2026-04-30T00:00:00Z"), 20_000)
}

fn users(seed: u64, shares: Shares, rows: u64) -> Users {
    Users::new(population(seed, 500), timeline(), shares, Some(rows))
}

/// Records by kind.
fn counts(records: &[UserRecord]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    records.iter().for_each(|record| *counts.entry(record.kind.name()).or_default() += 1);
    counts
}

fn instant(event: &Value, name: &str) -> Option<Time> {
    event[name].as_str().map(time)
}

#[test]
fn an_event_reads_as_a_client_would_write_it() {
    let first: Vec<String> = users(7, Shares::default(), 3).map(|record| record.text).collect();
    insta::assert_snapshot!(first.join("\n"));
}

#[test]
fn visits_begin_with_a_view_and_end_in_few_purchases() {
    let mut sessions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut purchases = 0;
    for record in users(7, Shares::default(), 20_000) {
        let event: Value = serde_json::from_str(&record.text).unwrap();
        let action = event["action"].as_str().unwrap();
        assert_eq!(event["value"].is_number(), action == "purchase");
        if action == "purchase" {
            assert_eq!(event["last_purchase_at"], event["timestamp"]);
            purchases += 1;
        }
        sessions.entry(event["session_id"].to_string()).or_default().push(action.to_owned());
    }
    assert!(sessions.values().all(|actions| actions[0] == "view"));
    let share = f64::from(purchases) / sessions.len() as f64;
    assert!((0.05..0.3).contains(&share), "{share} of the visits end in a purchase");
}

#[test]
fn some_users_fall_silent_for_good_and_the_others_go_on() {
    let mut last: BTreeMap<u32, Time> = BTreeMap::new();
    for record in users(7, Shares::default(), 20_000) {
        let event: Value = serde_json::from_str(&record.text).unwrap();
        last.insert(record.user_id, instant(&event, "timestamp").unwrap());
    }
    let silent = |user: &u32| population(7, 500).person(*user).silent_at;
    // A visit that has begun goes on to the end of its block.
    let block = timeline().at(place(BLOCK)) - timeline().from;
    assert!(last.iter().all(|(user, at)| *at < silent(user) + block));
    let gone = (1..=500).filter(|user| silent(user) < time("2026-04-30T00:00:00Z")).count();
    assert!((100..300).contains(&gone), "{gone} of 500 in sixty days");
}

#[test]
fn files_tell_everybody_once_and_then_a_few_anew() {
    let at = time("2026-03-01T00:00:00Z");
    let (all, rows) = population(7, 500).file(0, at);
    assert_eq!((rows, all.lines().count()), (500, 501));
    let unknown = all.lines().filter(|line| line.contains(",,")).count();
    assert!((30..100).contains(&unknown), "{unknown} ages are missing");
    let (anew, rows) = population(7, 500).file(3, at);
    assert!((1..40).contains(&rows) && !anew.contains(",,"), "{anew}");
    assert_eq!(population(7, 500).file(3, at), (anew, rows));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Dealt out to any number of producers, the records are those of one, and each user's keep their order.
    #[test]
    fn the_number_of_producers_changes_nothing(seed in any::<u64>(), producers in 1_u32..5, rows in 1_u64..3_000) {
        let shares = Shares { late: 0.05, doubled: 0.03, out_of_order: 0.1, malformed: 0.02 };
        let whole: Vec<UserRecord> = users(seed, shares, rows).collect();
        let mut dealt: Vec<UserRecord> = (0..producers)
            .flat_map(|mine| users(seed, shares, rows).filter(move |record| record.user_id % producers == mine))
            .collect();
        let of_user = |records: &[UserRecord], user: u32| -> Vec<UserRecord> {
            records.iter().filter(|record| record.user_id == user).cloned().collect()
        };
        prop_assert_eq!(of_user(&whole, whole[0].user_id), of_user(&dealt, whole[0].user_id));
        let mut sorted = whole.clone();
        sorted.sort();
        dealt.sort();
        prop_assert_eq!(sorted, dealt);
    }

    /// A shorter run sends the first part of a longer one.
    #[test]
    fn the_length_of_a_run_changes_nothing_before_its_end(seed in any::<u64>(), rows in 1_u64..2_000) {
        let shares = Shares { late: 0.1, ..Shares::default() };
        let short: Vec<UserRecord> = users(seed, shares, rows).collect();
        let long: Vec<UserRecord> = users(seed, shares, 3_000).take(short.len()).collect();
        prop_assert_eq!(short, long);
    }

    /// What is asked to be wrong is wrong, in its share, and everything else is right.
    #[test]
    fn shares_are_as_asked_and_every_record_is_what_it_is_counted_as(
        seed in any::<u64>(), late in 0.0..0.2, doubled in 0.0..0.2, out_of_order in 0.0..0.2, malformed in 0.0..0.2,
    ) {
        let rows = 8_000_u64;
        let records: Vec<UserRecord> =
            users(seed, Shares { late, doubled, out_of_order, malformed }, rows).collect();
        let counts = counts(&records);
        let doubles = counts.get("doubled").copied().unwrap_or(0);
        prop_assert_eq!(records.len(), usize::try_from(rows).unwrap() + doubles);
        for (name, asked) in [("late", late), ("doubled", doubled), ("out_of_order", out_of_order), ("malformed", malformed)] {
            let share = counts.get(name).copied().unwrap_or(0) as f64 / rows as f64;
            prop_assert!((share - asked).abs() < 0.03, "{} of {name}, asked {}", share, asked);
        }
        let texts: HashSet<&str> =
            records.iter().filter(|record| record.kind == Kind::Event).map(|record| record.text.as_str()).collect();
        for record in &records {
            let event: Option<Value> = serde_json::from_str(&record.text).ok();
            let told = event.as_ref().filter(|event| event["user_id"] == record.user_id);
            let at = told.and_then(|event| event["timestamp"].as_str()?.parse::<Time>().ok());
            let place = timeline().at(i64::try_from(record.number).unwrap());
            match record.kind {
                Kind::Malformed => prop_assert!(at.is_none(), "{}", record.text),
                Kind::Event => prop_assert_eq!(at, Some(place)),
                Kind::Late => prop_assert!(at.unwrap() <= place - TimeDelta::minutes(10)),
                Kind::OutOfOrder => prop_assert!(at.unwrap() < place),
                Kind::Doubled => prop_assert!(texts.contains(record.text.as_str())),
            }
            let bought = event.as_ref().and_then(|event| instant(event, "last_purchase_at"));
            prop_assert!(at.is_none() || bought <= at);
        }
    }
}
